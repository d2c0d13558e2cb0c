"""Every bucket counts once, in its interval, whenever it comes; a gauge is so until its process is silent."""

import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast.signals.buckets import Bucket, Counts, Levels
from holdfast.signals.store import Stored
from holdfast.watch.reader import FrameReader

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def counted(source, seconds, amount):
    return Stored(source, Bucket("events", at(seconds), 5, Counts({"": amount})))


def gauge(source, seconds, value, over="max"):
    return Stored(source, Bucket("depth", at(seconds), 5, Levels({"": value}, over)))


def test_the_first_reading_goes_back_in_steps():
    reader = FrameReader(NOON)
    frames = reader.take([counted(ONE, 3, 1.0), counted(ONE, 8, 2.0), counted(TWO, 9, 4.0)], at(20))
    assert [frame.at for frame in frames] == [at(5), at(10), at(15), at(20)]
    assert [frame.count("events") for frame in frames] == [1.0, 6.0, 0.0, 0.0]


def test_a_bucket_that_comes_late_counts_in_the_tick_that_sees_it():
    reader = FrameReader(NOON)
    reader.take([], at(5))
    (frame,) = reader.take([counted(ONE, 3, 7.0)], at(10))
    assert frame.count("events") == 7.0


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.integers(1, 60)), unique=True), st.data())
def test_nothing_is_counted_twice_however_often_it_is_read(keys, data):
    buckets = [counted(source, seconds, 1.0) for source, seconds in keys]
    reader, seen, now = FrameReader(NOON), 0.0, 0
    while now < 75:
        now += data.draw(st.integers(3, 7))
        visible = [one for one in buckets if at(now - 37) < one.bucket.at <= at(now)]
        seen += sum(frame.count("events") for frame in reader.take(visible, at(now)))
    assert seen == len(buckets)


def test_a_gauge_holds_for_as_long_as_its_process_may_be_silent():
    reader = FrameReader(NOON)
    (frame,) = reader.take([gauge(ONE, 4, 3.0), gauge(TWO, 5, 9.0)], at(5))
    assert frame.level("depth") == 9.0
    (frame,) = reader.take([gauge(ONE, 9, 4.0)], at(10))
    assert frame.level("depth") == 9.0
    frames = [reader.take([gauge(ONE, seconds, 4.0)], at(seconds))[0] for seconds in (15, 20)]
    assert [frame.level("depth") for frame in frames] == [9.0, 4.0]


def test_gauges_of_several_processes_add_up_where_they_are_shares():
    (frame,) = FrameReader(NOON).take([gauge(ONE, 4, 3.0, "sum"), gauge(TWO, 5, 9.0, "sum")], at(5))
    assert frame.level("depth") == 12.0

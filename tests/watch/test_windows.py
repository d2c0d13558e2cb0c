"""What detectors are made of."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.watch.windows import Usual, Window, surprise, ticks


@given(st.lists(st.floats(0, 1e6), max_size=40), st.integers(1, 8))
def test_a_window_is_the_sum_of_its_last_ticks(values, length):
    window = Window(5.0 * length)
    for value in values:
        window.add(value)
    recent = values[-length:]
    assert abs(window.total - sum(recent)) <= 1e-6 * max(1.0, sum(values))
    assert window.is_full == (len(values) >= length)
    assert window.least == min(recent, default=0.0)


@given(st.lists(st.floats(0, 1000), min_size=10, max_size=60))
def test_the_usual_is_the_median_of_the_minutes(minutes):
    usual = Usual(30)
    for minute in minutes:
        for _ in range(ticks(60)):
            usual.add(minute)
    learned = sorted(minutes[-30:])
    assert usual.value is not None
    assert abs(usual.value - learned[len(learned) // 2]) < 1e-6


def test_nothing_is_usual_before_enough_minutes_were_seen():
    usual = Usual(least=10)
    for _ in range(9 * ticks(60)):
        usual.add(1.0)
    assert usual.value is None


def test_a_minute_that_is_known_to_be_strange_teaches_nothing():
    usual = Usual(least=2)
    for minute in (1.0, 1.0, 900.0, 900.0, 900.0, 1.0):
        for _ in range(ticks(60)):
            usual.add(minute, strange=minute > 100)
    assert usual.value == 1.0


@given(st.floats(0.1, 1e4), st.floats(0, 1e4))
def test_more_is_more_surprising_and_no_more_than_expected_is_none(expected, more):
    assert surprise(expected, expected) == 0.0
    assert surprise(expected + more, expected) <= surprise(expected + more + 1, expected)


def test_surprise_is_in_powers_of_e():
    assert surprise(4, 4.0) == 0.0
    assert 6 < surprise(15, 5.0) < 7  # the chance of 15 where 5 are usual is 2 in 10,000

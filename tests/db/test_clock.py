"""A process whose clock is not the store's says so."""

from datetime import UTC, datetime

import pytest

from holdfast.db.clock import ClockWatch


class Clock:
    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


def heard(watch: ClockWatch, clock: Clock, store: float, took: float = 0.0) -> list[float]:
    """What is warned of when the store says `store` seconds more than we had when we asked."""
    asked = clock.at
    clock.at += took
    ahead = watch.compare(datetime.fromtimestamp(asked + store, UTC), asked)
    return [] if ahead is None else [ahead]


@pytest.mark.parametrize(
    ("store", "took", "said"),
    [(0, 0, []), (-1.5, 0, []), (-60, 0, [60.0]), (6, 0, [-6.0]), (8, 9, []), (20, 9, [-11.0])],
)
def test_clocks_that_differ_are_told_whatever_the_answer_took(store, took, said):
    clock = Clock()
    assert heard(ClockWatch(clock), clock, store, took) == said


def test_it_is_said_once_a_minute():
    clock = Clock()
    watch = ClockWatch(clock)
    said = []
    for _ in range(130):
        said += heard(watch, clock, -60)
        clock.at += 1
    assert len(said) == 3

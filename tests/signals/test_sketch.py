"""Quantiles within one per cent, that add up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.signals.sketch import ACCURACY, LEAST, MOST, Sketch, merged

values = st.lists(st.floats(LEAST * 1.1, MOST / 1.1), min_size=1, max_size=200)


def sketch(*observed: float) -> Sketch:
    made = Sketch()
    for value in observed:
        made.observe(value)
    return made


@given(values, st.floats(0, 1))
def test_every_quantile_is_within_one_per_cent(observed, share):
    found = sketch(*observed).quantile(share)
    exact = sorted(observed)[math.floor(share * (len(observed) - 1))]
    assert found == pytest.approx(exact, rel=ACCURACY * 1.001)


@given(values, values)
def test_sketches_add_up(one, two):
    together = merged([sketch(*one), sketch(*two)])
    whole = sketch(*one, *two)
    assert together.bins == whole.bins
    assert together.total == pytest.approx(whole.total)


@given(values, values)
def test_what_came_since_a_copy_is_what_was_observed_since(before, after):
    growing = sketch(*before)
    copy = growing.copy()
    for value in after:
        growing.observe(value)
    assert growing.since(copy).bins == sketch(*after).bins


@given(st.lists(st.floats(), max_size=50))
def test_any_number_is_counted_and_the_sum_stays_a_number(observed):
    made = sketch(*observed)
    assert made.count == len(observed)
    assert math.isfinite(made.total)


def test_an_empty_sketch_has_no_quantile():
    assert Sketch().quantile(0.5) is None


def test_a_histogram_counts_each_value_once():
    made = sketch(0.05, 0.1, 0.5, 1.0, 7)
    assert made.histogram((0.1, 1.0)) == [2, 2, 1]
    assert made.at_most(0.1) == 2


def test_a_sketch_stays_small():
    made = sketch(*(10 ** (number / 1000 - 8) for number in range(20_000)))
    assert len(made.bins) < 1600

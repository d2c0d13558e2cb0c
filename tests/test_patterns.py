"""Event type patterns: which types a subscription or a lane rule means."""

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from holdfast.patterns import matches


def test_a_pattern_without_stars_is_literal():
    assert matches(("charge.succeeded",), "charge.succeeded")
    assert not matches(("charge.succeeded",), "charge_succeeded")
    assert not matches(("charge.succeeded",), "charge.succeeded.twice")


def test_any_pattern_of_several_is_enough():
    assert matches(["payout.*", "charge.failed"], "charge.failed")
    assert not matches(["payout.*", "charge.failed"], "charge.succeeded")


def test_no_pattern_matches_nothing():
    assert not matches((), "charge.failed")
    assert not matches((), "")


def test_thin_events_need_patterns_of_their_own():
    assert not matches(("charge.failed",), "v1.charge.failed")
    assert matches(("v1.charge.*",), "v1.charge.failed")


@given(pattern=st.text("ab.*[?", max_size=10), event_type=st.text("ab.[?", max_size=12))
def test_stars_mean_what_fnmatch_means(pattern, event_type):
    assert matches((pattern,), event_type) == fnmatchcase(event_type, pattern.replace("[", "[[]").replace("?", "[?]"))


def test_no_pattern_makes_matching_slow():
    assert not matches(("*a" * 40 + "b",), "a" * 255)  # a backtracking matcher would not come back from this

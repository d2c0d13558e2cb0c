"""What the Debugger's codes mean, in few words and few labels."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.voice.debugger import DOOR_CODES, WHOSE, by_whose, known_code, meaning


def test_codes_are_told_by_whose_trouble_they_are():
    assert {code: meaning(code).whose for code in (11200, 11205, 12100, 13227)} == dict.fromkeys(
        (11200, 11205, 12100, 13227), "ours"
    )
    assert (meaning(32011).whose, meaning(32999).whose) == ("carrier", "carrier")
    assert (meaning(13224).whose, meaning(30003).whose) == ("customer", "customer")
    assert meaning(20503).whose == "twilio"
    assert meaning(99999).whose == "unknown"
    assert by_whose([(11200, 2), (12100, 1), (32011, 4)]) == {"ours": 3, "carrier": 4}


def test_what_twilio_cannot_use_of_our_doors_is_ours():
    assert {meaning(code).whose for code in DOOR_CODES} == {"ours"}


@given(st.integers(0, 99_999))
def test_whatever_the_code_it_means_something_in_few_labels(code):
    found = meaning(code)
    assert found.whose in WHOSE
    assert found.said
    assert len(known_code(code)) <= 5


def test_there_are_few_labels_whatever_codes_come():
    assert len({known_code(code) for code in range(10_000, 70_000)}) < 700

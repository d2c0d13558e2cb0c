"""What the Debugger's codes mean, in few words and few labels."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.voice.debugger import DOOR_CODES, WHOSE, by_whose, is_of_our_doors, known_code, meaning


def test_codes_are_told_by_whose_trouble_they_are():
    assert {code: meaning(code).whose for code in (11200, 11205, 12100, 13227)} == dict.fromkeys(
        (11200, 11205, 12100, 13227), "ours"
    )
    assert (meaning(32011).whose, meaning(32999).whose) == ("carrier", "carrier")
    assert (meaning(13224).whose, meaning(30003).whose) == ("customer", "customer")
    assert meaning(20503).whose == "twilio"
    assert meaning(99999).whose == "unknown"
    assert by_whose([(11200, False, 2), (12100, False, 1), (32011, False, 4)]) == {"ours": 3, "carrier": 4}


def test_what_twilio_cannot_use_of_our_doors_is_ours():
    assert {meaning(code).whose for code in DOOR_CODES} == {"ours"}


def test_what_twilio_cannot_use_of_another_program_is_that_ones_trouble():
    assert [meaning(code, is_foreign=True).whose for code in (11200, 12100, 13227)] == ["other"] * 3
    assert not is_of_our_doors(11200, is_foreign=True)
    assert is_of_our_doors(11200)
    assert by_whose([(11200, True, 5), (11200, False, 1)]) == {"other": 5, "ours": 1}


def test_whose_address_it_is_makes_no_difference_to_what_is_not_about_addresses():
    assert meaning(20003, is_foreign=True).whose == "ours", "Twilio's API was asked"
    assert meaning(32011, is_foreign=True).whose == "carrier"


def test_a_texts_media_is_no_door():
    assert not is_of_our_doors(11751)


@given(st.integers(0, 99_999))
def test_whatever_the_code_it_means_something_in_few_labels(code):
    found = meaning(code)
    assert found.whose in WHOSE
    assert found.said
    assert len(known_code(code)) <= 5


def test_there_are_few_labels_whatever_codes_come():
    assert len({known_code(code) for code in range(10_000, 70_000)}) < 700

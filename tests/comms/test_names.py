"""A text that many read names no merchant: as whole words."""

import pytest

from holdfast.comms.names import named_in

NAMES = ("Ann", "Joe", "Bakery", "Ann & Sons", "Stripe", "C+A Shop", "Ode")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bakery's endpoint did it.", "Bakery"),
        ("(Bakery)", "Bakery"),
        ("ANN  &\nSONS is down", "Ann & Sons"),
        ("At c+a shop.", "C+A Shop"),
    ],
)
def test_a_merchant_is_named_by_whole_words(text, name):
    assert named_in(text, NAMES) == name


@pytest.mark.parametrize(
    "text", ["", "Bakerystreet", "every bakery", "An Ode to Joe, by Ann.", "Stripe sends twice", "Annual & Sons"]
)
def test_other_words_name_nobody(text):
    assert named_in(text, NAMES) is None

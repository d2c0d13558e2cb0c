"""What Twilio's status page means for our numbers."""

import json

import pytest

from holdfast.health.twilio_page import countries_in, countries_of, read


def page(*components, indicator="none", groups=()):
    rows = [
        {"id": f"c{place}", "name": name, "status": status, "group": False, "group_id": next(iter(more), None)}
        for place, (name, status, *more) in enumerate(components)
    ]
    rows += [{"id": group, "name": name, "status": "major_outage", "group": True} for group, name in groups]
    return json.dumps({"status": {"indicator": indicator}, "components": rows}).encode()


def test_what_names_our_products_and_countries_is_ours_and_the_rest_is_not():
    body = page(
        ("Programmable Voice", "operational"),
        ("Voice, United States", "operational"),
        ("Voice, Germany", "major_outage"),
        ("SMS, United States, AT&T", "operational"),
        ("Segment", "major_outage"),
        indicator="major",
    )
    ours = read(body, {"US"})
    assert [part.name for part in ours.depends] == [
        "Programmable Voice",
        "Voice, United States",
        "SMS, United States, AT&T",
    ]
    assert (ours.overall, ours.status) == ("fail", "pass")
    german = read(body, {"DE"})
    assert (german.status, [part.name for part in german.ill]) == ("fail", ["Voice, Germany"])


def test_a_component_is_in_the_words_of_its_group_and_a_group_is_none_itself():
    body = page(("United States", "partial_outage", "g"), ("Billing", "major_outage"), groups=[("g", "Voice")])
    found = read(body, {"US"})
    assert [(part.name, part.status) for part in found.depends] == [("Voice: United States", "partial_outage")]
    assert found.status == "warn"
    assert not read(body, {"DE"}).depends


def test_a_status_in_no_word_that_we_know_is_unknown():
    assert read(page(("Programmable Voice", "on_fire")), {"US"}).status == "unknown"
    assert read(page(("Billing", "operational")), {"US"}).status == "unknown"


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"status": {"indicator": "odd"}}', b'{"status": null}', b'{"components": [1]}', b"\xff"],
)
def test_what_is_no_status_page_is_not_guessed_at(body):
    with pytest.raises(ValueError, match=r"status page|indicator"):
        read(body, {"US"})


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("SMS, United Kingdom", {"GB"}),
        ("Voice - US & Canada", {"US", "CA"}),
        ("SMS to Papua New Guinea", {"PG"}),
        ("South Korea", {"KR"}),
        ("Contact us", set()),
        ("Programmable Voice", set()),
    ],
)
def test_countries_are_found_by_their_names(text, codes):
    assert countries_in(text) == codes


def test_a_region_is_a_country_by_its_name_or_by_a_number_in_it():
    assert countries_of([("US-CA", "+14155550100"), ("west", "+4930123456"), ("GB", "+442079460000")]) == {
        "US",
        "DE",
        "GB",
    }

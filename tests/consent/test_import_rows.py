"""What rows of files say, and why some cannot be taken."""

from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.consent import import_rows
from holdfast.consent.import_dates import AMBIGUOUS, DateError, read_date
from holdfast.consent.import_files import Unread
from holdfast.consent.import_rows import Parsed, Reading, Taken
from holdfast.consent.model import ConsentError

NOW = datetime(2026, 5, 4, 19, tzinfo=UTC)
GIVEN = "2025-03-01T10:00:00Z"


def parse(given: dict[str, str], **options: Any) -> Parsed:
    columns = {name: place for place, name in enumerate(given)}
    reading = Reading(columns, NOW, **{"purpose": "informational", **options})
    return import_rows.parse([(7, list(given.values()))], reading)


def taken(given: dict[str, str], **options: Any) -> Taken:
    parsed = parse(given, **options)
    assert parsed.rejects == []
    return parsed.rows[0]


def rejected(given: dict[str, str], **options: Any) -> str:
    (reject,) = parse(given, **options).rejects
    assert reject.line == 7
    return reject.reason


@pytest.mark.parametrize(
    ("text", "region", "phone"),
    [
        ("+14155550111", None, "+14155550111"),
        ("(415) 555-0111", "US", "+14155550111"),
        ("415.555.0111", "US", "+14155550111"),
        ("14155550111", "US", "+14155550111"),
        ("tel:+1-415-555-0111", None, "+14155550111"),
        ("612 345 678", "ES", "+34612345678"),
        ("+44 7911 123456", "US", "+447911123456"),
    ],
)
def test_numbers_are_read_as_people_write_them(text, region, phone):
    assert taken({"phone": text, "given_at": GIVEN}, region=region).phone == phone


@pytest.mark.parametrize(
    ("given", "options", "reason"),
    [
        ({"phone": ""}, {}, "has no phone number"),
        ({"phone": "(415) 555-0111"}, {}, "no country's code: say --region"),
        ({"phone": "+1415555"}, {}, "too few or too many digits"),
        ({"phone": "ask me"}, {"region": "US"}, "is no phone number"),
        ({"phone": "1.41556E+10"}, {"region": "US"}, "rounded by a spreadsheet"),
        ({"given_at": "", "status": "opt-in"}, {}, "has no date of consent"),
        ({"given_at": "soon"}, {}, "is no date"),
        ({"given_at": "2026-05-05"}, {}, "is in the future"),
        ({"given_at": "1970-01-01"}, {}, "is before 1990"),
        ({"given_at": "03/04/2025"}, {}, "--dates dmy"),
        ({"given_at": GIVEN, "zone": "Mars/Olympus"}, {}, "is no time zone"),
        ({"given_at": GIVEN, "status": "perhaps"}, {}, "write opt-in or opt-out"),
        ({"given_at": GIVEN, "purpose": "fun"}, {}, "write marketing or informational"),
        ({"given_at": GIVEN}, {"purpose": None}, "say --purpose"),
        ({"given_at": GIVEN, "name": "x" * 201}, {}, "the name is longer than 200"),
        ({"given_at": GIVEN, "reference": "x" * 201}, {}, "reference is longer than 200"),
        ({"given_at": GIVEN, "name": "A\0"}, {}, "has a NUL character"),
    ],
)
def test_a_row_that_cannot_be_taken_says_why(given, options, reason):
    assert reason in rejected({"phone": "+14155550111", **given}, **options)


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"phone": "+442079460000"}, "landline"),
        ({"phone": "+18002530000"}, "toll-free"),
        ({"purpose": "marketing"}, "no disclosure"),
        ({"email": "nobody"}, "e-mail address is none"),
    ],
)
def test_what_is_odd_is_taken_with_a_warning(given, warning):
    found = taken({"phone": "+14155552671", "given_at": GIVEN, **given})
    assert any(warning in one for one in found.warnings)


def test_a_row_without_a_status_in_a_file_that_has_them_is_a_contact_alone():
    found = taken({"phone": "+14155550111", "status": "", "given_at": ""})
    assert (found.action, found.given_at) == (None, None)


@pytest.mark.parametrize("date", ["", "soon", "2030-01-01", "03/04/2025"])
def test_an_opt_out_counts_whatever_its_date(date):
    found = taken({"phone": "+14155550111", "status": "opt-out", "given_at": date})
    assert (found.action, found.given_at) == ("revoke", NOW)
    assert any("counts from now" in one for one in found.warnings)


def test_a_row_without_a_date_in_a_file_that_has_nothing_but_dates_is_a_contact_alone():
    found = taken({"phone": "+14155550111", "given_at": ""})
    assert (found.action, found.warnings) == (None, (import_rows.NO_CONSENT,))


@pytest.mark.parametrize(
    "word",
    [
        "Opt-Out", "opted out", "DNC", "Do Not Contact", "do not text", "DO_NOT_CALL", "removed", "Unsubscribed",
        "unsubscribed (SMS)", "Unsubscribed - all", "opted out of texts", "SMS: stop", "Baja", "baja (todos)",
        "No contactar", "no contactar.", "blocked",
    ],
)  # fmt: skip
def test_opt_outs_are_known_in_many_words(word):
    assert taken({"phone": "+14155550111", "status": word}).action == "revoke"


@pytest.mark.parametrize("word", ["unsubscribed (email)", "opt-out email", "maybe", "-1", "do not", "not no"])
def test_a_status_that_is_not_known_may_be_an_opt_out(word):
    columns = {"phone": "+14155550111", "status": word}
    reason = rejected(columns)
    assert reason == import_rows.UNKNOWN_STATUS
    assert import_rows.may_be_opt_out(reason, Reading({"phone": 0, "status": 1}, NOW))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"name": "N" * 201}, "its name"),
        ({"name": "bad\x07name"}, "its name"),
        ({"reference": "r" * 201}, "its reference"),
        ({"collector": "r" * 201}, "its collector"),
        ({"method": "r" * 501}, "its method"),
        ({"email": "nobody"}, "e-mail address is none"),
        ({"name": "A\0"}, "has a NUL character"),
        ({"zone": "Mars"}, "counts from now"),
    ],
)
def test_an_opt_out_counts_without_what_cannot_be_taken(given, what):
    found = taken({"phone": "+14155550111", "status": "opt-out", "given_at": GIVEN, **given})
    assert (found.action, found.name, found.email, found.reference) == ("revoke", None, None, None)
    assert any(what in one for one in found.warnings)


def test_an_opt_out_without_a_number_that_can_be_read_is_told_from_other_rejects():
    reason = rejected({"phone": "x", "status": "opt-out"}, region="US")
    assert reason == "an opt-out that cannot be taken: is no phone number"
    reading = Reading({"phone": 0, "status": 1}, NOW)
    assert import_rows.may_be_opt_out(reason, reading)
    assert import_rows.may_be_opt_out("is not CSV", reading)
    assert not import_rows.may_be_opt_out("is no phone number", reading)
    assert not import_rows.may_be_opt_out("is not CSV", Reading({"phone": 0}, NOW))


def test_twilios_fields_are_known():
    columns = ("contact_id", "correlation_id", "sender_id", "status", "source", "date_of_consent")
    assert import_rows.guess(columns, {}) == {"phone": 0, "reference": 1, "status": 3, "source": 4, "given_at": 5}
    row = ["+14155550111", "c1", "MG1", "re-opt-in", "website", GIVEN]
    found = import_rows.parse([(2, row)], Reading(import_rows.guess(columns, {}), NOW, purpose="marketing"))
    assert (found.rows[0].action, found.rows[0].detail) == ("grant", {"source": "website"})


def test_spanish_columns_are_known_and_names_put_together():
    columns = ("Nombre", "Apellidos", "Teléfono móvil", "Fecha de consentimiento", "Texto legal")
    places = import_rows.guess(columns, {})
    assert places == {"name": 0, "surname": 1, "phone": 2, "given_at": 3, "disclosure": 4}
    row = ["Ana", "García Ruiz", "612345678", "3 de marzo de 2025", "Acepto"]
    reading = Reading(places, NOW, region="ES", purpose="marketing", zone="Europe/Madrid")
    (found,) = import_rows.parse([(2, row)], reading).rows
    assert (found.name, found.given_at) == ("Ana García Ruiz", datetime(2025, 3, 2, 23, tzinfo=UTC))


def test_columns_are_taken_as_told():
    assert import_rows.guess(("Mobile", "Work"), {"phone": "Work"}) == {"phone": 1}
    with pytest.raises(ConsentError, match="there is no such field"):
        import_rows.guess(("a",), {"fone": "a"})
    with pytest.raises(ConsentError, match="no such column; it has a"):
        import_rows.guess(("a",), {"phone": "b"})
    with pytest.raises(ConsentError, match="say --map phone=COLUMN"):
        import_rows.guess(("a", "b"), {})


@pytest.mark.parametrize(
    ("text", "order", "date"),
    [
        ("2025-03-04", None, "2025-03-04T05:00:00"),
        ("2025-03-04 10:30:00", None, "2025-03-04T15:30:00"),
        ("2025-03-04T10:30:00+01:00", None, "2025-03-04T09:30:00"),
        ("2025-03-04 10:30:00 UTC", None, "2025-03-04T10:30:00"),
        ("2025/03/04", None, "2025-03-04T05:00:00"),
        ("13/04/2025", None, "2025-04-13T04:00:00"),
        ("04/13/2025 3:05 PM", None, "2025-04-13T19:05:00"),
        ("05/05/2025", None, "2025-05-05T04:00:00"),
        ("4.3.2025", None, "2025-03-04T05:00:00"),
        ("03/04/2025", "dmy", "2025-04-03T04:00:00"),
        ("03/04/25 12:00 am", "mdy", "2025-03-04T05:00:00"),
        ("Mar 4, 2025", None, "2025-03-04T05:00:00"),
        ("4 March 2025", None, "2025-03-04T05:00:00"),
        ("4 de marzo de 2025", None, "2025-03-04T05:00:00"),
        ("1741102200", None, "2025-03-04T15:30:00"),
        ("1741102200000", None, "2025-03-04T15:30:00"),
    ],
)
def test_dates_are_read_as_people_and_programs_write_them(text, order, date):
    found = read_date(text, "America/New_York", order)
    assert found == datetime.fromisoformat(date).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "x", "2025-13-01", "30/02/2025", "13/13/2025", "4 Foo 2025", "9" * 20])
def test_what_is_no_date_is_said(text):
    with pytest.raises(DateError, match="no date"):
        read_date(text, "UTC", "dmy")


def test_a_date_that_can_be_read_in_two_ways_is_not_guessed():
    with pytest.raises(DateError) as caught:
        read_date("03/04/2025", "UTC", None)
    assert str(caught.value) == AMBIGUOUS


def test_rows_that_could_not_be_read_stay_rejected():
    parsed = import_rows.parse([Unread(3, "is not CSV")], Reading({"phone": 0}, NOW))
    assert (parsed.last, parsed.rejects) == (3, [Unread(3, "is not CSV")])

"""One view of all that is known, and the file of it for an auditor."""

import csv
import hashlib
import io
import json
import zipfile
from datetime import timedelta

import msgspec
import pytest

from holdfast.complaints import export, proof, service, view
from holdfast.complaints.model import ComplaintError
from tests.complaints.people import MINUTE, SETTINGS, adopt, complain, incident
from tests.complaints.test_cohort import OTHERS, imported
from tests.messaging.texts import ANN, BAKERY, BOB, FORM, NOON, ask, grant, stop, town

DAY = timedelta(days=1)


@pytest.fixture
async def story(pool):
    """Ann agreed to the bakery's texts, was texted, said stop, and was texted again by the garage, without consent."""
    place = await town(pool)
    number = await imported(pool, place.bakery, *OTHERS[:2])
    await grant(
        pool,
        place.bakery,
        ANN,
        NOON - 20 * DAY,
        source="import",
        batch_id=number,
        batch_row=12,
        collector="Sue",
        detail={"method": "paper", "ip": "192.0.2.7"},
    )
    sent = await ask(pool, place.bakery, ANN, NOON - 10 * DAY, purpose="marketing", body="Bread is half price.")
    await pool.execute("UPDATE message SET state = 'sent', tried_at = $2 WHERE id = $1", sent.id, NOON - 10 * DAY)
    stopped = await stop(pool, place.bakery, ANN, NOON - 9 * DAY)
    await pool.execute(
        "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, body, received_at, verdict, score, rules) "
        "VALUES ('SM1', $1, $2, $3, 'stop', $4, 'stop', 1, '{}')",
        place.bakery,
        stopped.customer_id,
        BAKERY,
        NOON - 9 * DAY,
    )
    await ask(pool, place.bakery, ANN, NOON - 8 * DAY)
    await pool.execute(
        "INSERT INTO message (merchant_id, customer_id, purpose, state, rule, body, created_at, send_at, tried_at, "
        "sid) VALUES ($1, $2, 'marketing', 'sent', 'consent', '=HYPERLINK(1)', $3, $3, $3, 'SM77')",
        place.garage,
        stopped.customer_id,
        NOON - DAY,
    )
    filed = await complain(pool, answer_to="ann@example.com")
    found = await incident(pool)
    await adopt(pool, found)
    return filed.complaint


def plain(document):
    return msgspec.json.decode(msgspec.json.encode(document))


async def test_it_says_what_held_then_and_now_and_every_text_with_what_decided(pool, story):
    found = plain(view.document(await view.read(pool, story, NOON + 5 * MINUTE)))
    assert {name: found[name] for name in ("state", "seconds_left", "merchant", "source", "cancelled", "incident")} == {
        "state": "waiting",
        "seconds_left": 3300,
        "merchant": None,
        "source": "cli",
        "cancelled": 0,
        "incident": 1,
    }
    said = {(one["merchant"], one["purpose"]): (one["then"]["said"], one["now"]["said"]) for one in found["consents"]}
    assert said == {
        ("bakery", "marketing"): (
            "given 2026-04-14 19:00 UTC by import",
            "taken back 2026-05-04 19:00 UTC by complaint",
        ),
        ("bakery", "informational"): (
            "given 2026-04-14 19:00 UTC by import",
            "taken back 2026-05-04 19:00 UTC by complaint",
        ),
        ("garage", "marketing"): ("no consent is on record", "taken back 2026-05-04 19:00 UTC by complaint"),
        ("garage", "informational"): ("no consent is on record", "taken back 2026-05-04 19:00 UTC by complaint"),
    }
    row = found["consents"][0]["then"]["row"]
    assert (row["disclosure"], row["collector"], row["batch_row"]) == (FORM, "Sue", 12)
    assert row["detail"] == {"ip": "192.0.2.7", "method": "paper"}
    assert [(one["merchant"], one["state"], one["rule"]) for one in found["messages"]] == [
        ("garage", "sent", "consent"),
        ("bakery", "refused", "suppressed"),
        ("bakery", "sent", "consent"),
    ]
    assert found["sent_without_consent"] == [found["messages"][0]["id"]]
    assert [(one["body"], one["merchant"]) for one in found["earlier_stops"]] == [("stop", "bakery")]
    assert [(one["merchant"], one["reason"]) for one in found["suppressions"]] == [
        ("bakery", "opt_out"),
        ("every merchant", "complaint"),
    ]
    assert [one["label"] for one in found["lineage"]] == ["line 12 of people.csv, import 1 by ann"]


async def test_of_the_merchant_that_is_named_it_says_who_else_came_the_same_way(pool, story):
    named = await complain(pool, merchant="bakery", now=NOON + MINUTE)
    found = view.document(await view.read(pool, named.complaint, NOON + MINUTE))
    assert found["cohorts"] == [
        {
            "merchant": "bakery",
            "way": "import 1",
            "people": 3,
            "blocked": 1,
            "complained": 1,
            "texted": 1,
            "complaints": [named.complaint.id],
        }
    ]


async def test_an_answer_shows_whether_it_came_in_time(pool, story):
    answered = await service.answer(pool, story.id, how="phone", text="Sorry.", actor="sue", now=NOON + 61 * MINUTE)
    found = view.document(await view.read(pool, answered, NOON + 70 * MINUTE))
    assert found["state"] == "answered"
    assert found["seconds_left"] is None
    assert found["answered"]["in_time"] is False


# For an auditor


async def exported(pool, story, **more):
    return await export.export(pool, story, NOON + 5 * MINUTE, **more)


async def test_the_file_has_all_of_it_and_its_manifest_holds(pool, story):
    proved = await proof.prove(pool, SETTINGS, story, NOON + 5 * MINUTE)
    made = await exported(pool, story, proof=proved)
    assert export.check(made.data) == []
    assert hashlib.sha256(made.data).hexdigest() == made.sha256
    with zipfile.ZipFile(io.BytesIO(made.data)) as opened:
        assert sorted(opened.namelist()) == sorted([*made.files, "MANIFEST.sha256"])
        read = {name: opened.read(name).decode("utf-8-sig") for name in opened.namelist()}
    rows = json.loads(read["ledger.json"])
    assert [row["action"] for row in rows["rows"]] == ["grant", "revoke", "revoke"]
    assert all(row["holds"] for row in rows["rows"])
    assert rows["head"]["hash"] == rows["rows"][-1]["hash"]
    texts = list(csv.DictReader(io.StringIO(read["messages.csv"])))
    assert [one["sid"] for one in texts] == ["SM77", "", ""]
    assert texts[0]["body"] == "'=HYPERLINK(1)"
    assert "Not proved" in read["complaint.html"]
    assert "belongs to it" in json.loads(read["incident-log.json"])["log"][0]["text"]
    assert json.loads(read["proof.json"])["holds"] is False


async def test_a_table_without_rows_has_its_columns(pool):
    place = await town(pool)
    empty = (await complain(pool, BOB)).complaint
    await grant(pool, place.bakery, ANN)
    await ask(pool, place.bakery, ANN)
    full = (await complain(pool, ANN)).complaint
    await pool.execute(
        "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, received_at, verdict, score) "
        "VALUES ('SMin', $1, $2, '+14155550100', $3, 'stop', 1)",
        place.bakery,
        full.customer_id,
        NOON,
    )
    heads = []
    for one in (empty, full):
        with zipfile.ZipFile(io.BytesIO((await exported(pool, one)).data)) as opened:
            read = [opened.read(f"{name}.csv").decode("utf-8-sig") for name in ("messages", "received", "suppressions")]
            document = json.loads(opened.read("complaint.json"))
        heads.append([text.splitlines()[0].split(",") for text in read])
    assert heads[0] == heads[1]
    assert [list(document[name][0]) for name in ("messages", "texted", "suppressions")] == [
        sorted(head) for head in heads[1]
    ], "what the JSON has, the table has"


async def test_the_same_data_make_the_same_file(pool, story):
    first, second = await exported(pool, story), await exported(pool, story)
    assert first.data == second.data
    await service.answer(pool, story.id, how="phone", text="Sorry.", actor="sue", now=NOON + MINUTE)
    answered = await service.get(pool, story.id)
    assert (await exported(pool, answered)).sha256 != first.sha256


async def test_what_was_changed_in_a_file_is_named(pool, story):
    made = await exported(pool, story)
    with zipfile.ZipFile(io.BytesIO(made.data)) as opened:
        there = {name: opened.read(name) for name in opened.namelist()}
    there["messages.csv"] = there["messages.csv"].replace(b"refused", b"sent")
    there["new.txt"] = b"hello"
    del there["lineage.json"]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as changed:
        for name, content in there.items():
            changed.writestr(name, content)
    assert sorted(export.check(target.getvalue())) == [
        "lineage.json is missing",
        "messages.csv was changed",
        "new.txt is not in the manifest",
    ]
    for data in (b"nothing", b"PK\x05\x06" + bytes(18)):
        with pytest.raises(ComplaintError, match="no file of a complaint"):
            export.check(data)


async def test_a_row_of_the_ledger_that_was_rewritten_does_not_hold(pool, story):
    await pool.execute("ALTER TABLE consent DISABLE TRIGGER consent_append_only")
    try:
        await pool.execute(
            "UPDATE consent SET given_at = given_at - interval '1 day' WHERE customer_id = $1 AND action = 'grant'",
            story.customer_id,
        )
    finally:
        await pool.execute("ALTER TABLE consent ENABLE TRIGGER consent_append_only")
    made = await exported(pool, story)
    with zipfile.ZipFile(io.BytesIO(made.data)) as opened:
        rows = json.loads(opened.read("ledger.json"))["rows"]
    assert [row["holds"] for row in rows] == [False, True, True]

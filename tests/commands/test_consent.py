"""`holdfast consent`, `suppressions` and `contacts`"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.consent import import_parsing, import_store
from holdfast.consent.model import ConsentError
from tests.messaging.texts import ANN, BOB, town

FORM = "I agree to get texts. Reply STOP to end."


@pytest.fixture
async def merchants(pool):
    return await town(pool)


async def test_a_consent_is_recorded_shown_as_of_a_time_and_proved(done, run, merchants):
    options = ("--merchant", "bakery", "--purpose", "marketing", "--disclosure", FORM, "--when", "2026-01-05T10:00Z")
    row = json.loads(await done("consent", "grant", ANN, *options, "--method", "paper", "--as", "kim", "--json"))
    assert (row["consent_seq"], row["blocked"]) == (1, [])
    now = json.loads(await done("consent", "show", ANN, "--json"))
    assert [(one["merchant"], one["purpose"], one["may_text"]) for one in now["standings"]] == [
        ("bakery", "marketing", True),
        ("bakery", "informational", True),
    ]
    assert (now["rows"][0]["disclosure"], now["rows"][0]["detail"], now["rows"][0]["actor"]) == (
        FORM,
        {"method": "paper"},
        "kim",
    )
    for sense, expected in (("happened", "granted"), ("known", None)):
        then = json.loads(
            await done("consent", "show", ANN, "--as-of", "2026-02-01T00:00Z", "--sense", sense, "--json")
        )
        assert [one["consent"] for one in then["standings"][:1]] == ([expected] if expected else [])
    assert "granted" in await done("consent", "show", ANN)
    proof = json.loads(await done("consent", "verify", "--json"))
    assert (proof["ok"], proof["rows"]) == (True, 1)
    assert "The ledger holds: 1 rows" in await done("consent", "verify", "--expect", proof["head"])
    status, _, err = await run("consent", "verify", "--expect", "nonsense")
    assert status == 1
    assert "no head of the ledger" in err


async def test_as_of_a_time_only_what_had_come_by_then_is_named(done, merchants):
    for merchant, when in (("bakery", "2026-01-05T10:00Z"), ("garage", "2026-03-05T10:00Z")):
        options = ("--purpose", "informational", "--when", when, "--as", "kim")
        await done("consent", "grant", ANN, "--merchant", merchant, *options)
    for as_of, known in (("2026-01-01", []), ("2026-02-01", ["bakery"]), ("2026-04-01", ["bakery", "garage"])):
        shown = json.loads(await done("consent", "show", ANN, "--as-of", f"{as_of}T00:00Z", "--json"))
        assert [one["merchant"] for one in shown["origins"]] == known
        assert not any("merchant_id" in one for one in shown["origins"])
    assert "Came to" not in await done("consent", "show", ANN, "--as-of", "2026-01-01T00:00Z")


async def test_a_broken_ledger_is_exit_1_and_names_the_row(done, run, merchants, pool):
    await done("consent", "grant", ANN, "-m", "bakery", "--purpose", "informational")
    async with pool.acquire() as db, db.transaction():
        await db.execute("SET LOCAL session_replication_role = replica")
        await db.execute("UPDATE consent SET actor = 'nobody'")
    status, out, _ = await run("consent", "verify")
    assert status == 1
    assert "broken at row 1" in out


async def test_a_revocation_blocks_and_a_grant_does_not_lift_it(done, merchants):
    revoked = json.loads(await done("consent", "revoke", ANN, "-m", "bakery", "--json"))
    assert revoked["suppression_id"] == 1
    given = json.loads(await done("consent", "grant", ANN, "-m", "bakery", "--purpose", "informational", "--json"))
    assert given["blocked"] == ["opt_out"]


async def test_a_revocation_of_one_purpose_blocks_nothing_else(done, merchants):
    await done("consent", "grant", ANN, "-m", "bakery", "--purpose", "marketing", "--disclosure", FORM, "--when", "2d")
    await done("consent", "grant", ANN, "-m", "bakery", "--purpose", "informational", "--when", "2d")
    await done("consent", "revoke", ANN, "-m", "bakery", "--purpose", "marketing", "--when", "1d")
    found = json.loads(await done("consent", "show", ANN, "--json"))
    assert {one["purpose"]: one["may_text"] for one in found["standings"]} == {
        "marketing": False,
        "informational": True,
    }


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("consent", "show", ANN), 1, "nothing is known of this number"),
        (("consent", "show", "555"), 1, "is not a phone number"),
        (("consent", "show", ANN, "--sense", "x"), 2, "is not a sense"),
        (("consent", "grant", ANN, "-m", "gym", "--purpose", "marketing"), 1, "gym"),
        (("consent", "grant", ANN, "-m", "bakery", "--purpose", "fun"), 1, "no purpose"),
        (("consent", "grant", ANN, "-m", "bakery", "--purpose", "marketing", "--source", "x"), 1, "no source"),
        (("consent", "grant", ANN, "-m", "bakery", "--purpose", "marketing", "--when", "2999-01-01"), 1, "future"),
        (("consent", "revoke", ANN), 2, "--every-merchant"),
        (("consent", "erase", ANN, "--why", "x", "--yes"), 1, "set HOLDFAST_ERASURE_KEY"),
        (("suppressions", "add", ANN, "-m", "bakery", "--reason", "complaint"), 2, "cannot be given by hand"),
        (("suppressions", "lift", "9", "--why", "because"), 1, "no suppression 9"),
        (("suppressions", "show", "9"), 1, "no suppression 9"),
        (("suppressions", "list", "--reason", "x"), 2, "is not a reason"),
        (("contacts", "undo", "9", "--why", "x"), 1, "no import 9"),
        (("contacts", "rejects", "9"), 1, "no import 9"),
        (("contacts", "import", "/nowhere.csv", "-m", "bakery"), 1, "cannot read /nowhere.csv"),
        (("contacts", "import", "/nowhere.csv", "-m", "bakery", "--dates", "ymd"), 2, "no order of dates"),
        (("contacts", "import", "/nowhere.csv", "-m", "bakery", "--map", "phone"), 2, "FIELD=COLUMN"),
    ],
)
async def test_mistakes_are_said_in_a_line(run, merchants, arguments, status, said):
    code, out, err = await run(*arguments)
    assert code == status
    assert said in out + err


async def test_blocks_are_added_listed_shown_and_lifted(done, merchants):
    await done("suppressions", "add", ANN, "--merchant", "bakery", "--note", "wrong number", "--as", "kim")
    every = json.loads(await done("suppressions", "add", BOB, "--every-merchant", "--reason", "opt_out", "--json"))
    assert every["consent_seq"] == 1
    found = json.loads(await done("suppressions", "list", "--json"))["suppressions"]
    assert [(one["phone"], one["merchant"], one["reason"]) for one in found] == [
        (BOB, "every", "opt_out"),
        (ANN, "bakery", "operator"),
    ]
    page = json.loads(await done("suppressions", "list", "--limit", "1", "--before", "2", "--json"))["suppressions"]
    assert [one["id"] for one in page] == [1]
    assert "wrong number" in await done("suppressions", "show", "1")
    lifted = json.loads(await done("suppressions", "lift", "1", "--why", "right number", "--as", "ann", "--json"))
    assert (lifted["lifted_by"], lifted["lifted_why"]) == ("ann", "right number")
    for options, ids in (
        (("--live",), [2]),
        (("--lifted",), [1]),
        (("--merchant", "every"), [2]),
        (("--merchant", "garage"), []),
        (("--reason", "operator"), [1]),
        (("--since", "1h"), [2, 1]),
    ):
        listed = json.loads(await done("suppressions", "list", *options, "--json"))["suppressions"]
        assert [one["id"] for one in listed] == ids
    assert "None of these" in await done("suppressions", "list", "--merchant", "garage")


async def test_a_file_is_looked_at_imported_listed_and_taken_back(done, run, merchants, tmp_path):
    file, rejects = tmp_path / "people.csv", tmp_path / "rejects.csv"
    file.write_text(f"Mobile;Name;Signed up\n{ANN};Ann;13/04/2026\n(415) 555-0112;Bo;13/04/2026\nx;Cy;13/04/2026\n")
    command: tuple[str, ...] = (
        "contacts",
        "import",
        str(file),
        "-m",
        "bakery",
        "--region",
        "US",
        "--purpose",
        "informational",
    )
    command += ("--map", "given_at=Signed up", "--origin", "spring web form")
    status, out, err = await run(*command)
    assert status == 0, err
    assert "2 consents and 0 opt-outs would be recorded" in out
    assert "Nothing was changed" in out
    assert "Mobile → phone" in err
    found = json.loads(await done(*command, "--apply", "--rejects", str(rejects), "--json"))
    assert (found["batch"], found["grants"], found["rejects"]) == (1, 2, 1)
    assert rejects.read_text().splitlines() == ["line,reason,said", "4,is no phone number,x"]
    (batch,) = json.loads(await done("contacts", "batches", "--json"))["batches"]
    assert (batch["state"], batch["merchant"], batch["origin"]) == ("applied", "bakery", "spring web form")
    assert "people.csv" in await done("consent", "batches", "-m", "bakery")
    assert "is no phone number" in await done("contacts", "rejects", "1")
    assert "line 2 of people.csv, import 1" in await done("consent", "show", ANN)
    shown = json.loads(await done("contacts", "show", "+14155550112", "--json"))["contacts"]
    assert [(one["merchant"], one["name"], one["batch_row"]) for one in shown] == [("bakery", "Bo", 3)]
    status, _, err = await run(*command, "--apply")
    assert status == 1
    assert "was imported before" in err
    undone = json.loads(await done("contacts", "undo", "1", "--why", "wrong merchant", "--json"))
    assert (undone["grants"], undone["contacts_deleted"]) == (2, 2)
    assert "No merchant has this number" in await done("contacts", "show", ANN)


async def test_a_person_is_erased_and_what_is_not_reached_is_named(done, merchants, tmp_path):
    key = "k" * 40
    await done("consent", "grant", ANN, "-m", "bakery", "--purpose", "informational", "--method", "phone call")
    said = await done("consent", "erase", ANN, "--why", "letter of 4 May", "--yes", "--as", "kim", erasure_key=key)
    assert "is erased" in said
    assert "logs of incidents" in said
    found = json.loads(await done("consent", "show", ANN, "--json", erasure_key=key))
    assert (found["customer"]["phone"], found["rows"][0]["detail"]) == (None, {})
    assert [one["reason"] for one in found["suppressions"]] == ["erasure"]
    again = json.loads(await done("consent", "erase", ANN, "--why", "again", "--json", "--yes", erasure_key=key))
    assert again["erasure"]["id"] is None
    assert json.loads(await done("consent", "verify", "--json"))["ok"]


async def test_marketing_without_a_disclosure_is_told_and_a_text_may_come_from_a_file(run, merchants, tmp_path):
    options = ("consent", "grant", ANN, "-m", "bakery", "--purpose", "marketing")
    _, _, err = await run(*options)
    assert "cannot be used for marketing" in err
    Path(tmp_path / "form.txt").write_text(FORM + "\n")
    status, _, err = await run(*options, "--disclosure", f"@{tmp_path}/form.txt")
    assert (status, err) == (0, "")


async def test_the_file_of_rejects_is_never_the_source_and_no_other_without_force(run, done, merchants, tmp_path):
    source = tmp_path / "own.csv"
    text = "phone,status\nx,maybe\n"
    source.write_text(text)
    (tmp_path / "hard.csv").hardlink_to(source)
    (tmp_path / "soft.csv").symlink_to(source)
    command = ("contacts", "import", str(source), "-m", "bakery", "--rejects")
    for name in ("own.csv", "hard.csv", "soft.csv"):
        status, _, err = await run(*command, str(tmp_path / name), "--force")
        assert (status, source.read_text()) == (1, text)
        assert "is the file that is imported" in err
    rejects = tmp_path / "rejects.csv"
    await done(*command, str(rejects))
    before = rejects.read_text()
    source.write_text("phone,status\n")
    status, _, err = await run(*command, str(rejects))
    assert (status, rejects.read_text()) == (1, before)
    assert "--force" in err
    await done(*command, str(rejects), "--force")
    assert rejects.read_text() == "line,reason,said\n"
    assert rejects.stat().st_mode & 0o777 == 0o600
    status, _, err = await run(*command, str(tmp_path), "--force")
    assert "no ordinary file" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hard.csv", "own.csv", "rejects.csv", "soft.csv"]


async def test_the_rejects_of_an_import_that_was_broken_off_are_all_there(run, done, merchants, tmp_path, monkeypatch):
    source, rejects = tmp_path / "people.csv", tmp_path / "rejects.csv"
    source.write_text("phone,status\n" + "".join(f"=x{n},opt-out\n" for n in range(20)))
    monkeypatch.setattr(import_parsing, "CHUNK", 6)
    advance, left = import_store.advance, [2]

    async def broken(*values: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConsentError("killed")
        await advance(*values)

    monkeypatch.setattr(import_store, "advance", broken)
    command = ("contacts", "import", str(source), "-m", "bakery", "--apply", "--rejects", str(rejects))
    status, _, err = await run(*command)
    assert (status, "killed" in err, rejects.exists()) == (1, True, False)
    monkeypatch.setattr(import_store, "advance", advance)
    await done(*command)
    rows = list(csv.DictReader(rejects.read_text().splitlines()))
    assert [row["line"] for row in rows] == [str(n) for n in range(2, 22)]
    assert rows[0]["said"] == "'=x0"  # no formula


async def test_a_text_that_is_no_utf8_is_a_mistake_and_no_traceback(run, merchants):
    for option in ("--method", "--collector", "--as"):
        status, _, err = await run("consent", "revoke", ANN, "-m", "bakery", option, "a\udcff")
        assert (status, "not UTF-8" in err) == (1, True), err
    status, _, err = await run("suppressions", "add", ANN, "-m", "bakery", "--note", "a\udcff")
    assert (status, "not UTF-8" in err) == (1, True), err


async def test_rejected_rows_that_may_be_opt_outs_are_shown_first(run, merchants, tmp_path):
    source = tmp_path / "people.csv"
    source.write_text(f"phone,status,date\n{ANN},paused,\nx,opt-out,\nx,opt-in,\n{BOB},dnc,\n+1,opt-in,\n+2,opt-in,\n")
    status, out, err = await run("contacts", "import", str(source), "-m", "bakery", "--purpose", "informational")
    assert (status, "2 of the rejected may be opt-outs" in err) == (0, True), out + err
    assert out.index("MAY BE OPT-OUTS") < out.index("none that is known") < out.index("REJECTED")

"""Importing people: what a file would do is what it does, it goes on after a crash, and it can be taken back."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from holdfast.consent import (
    customers,
    import_files,
    import_parsing,
    import_rows,
    import_store,
    importing,
    lineage,
    undoing,
    verifying,
)
from holdfast.consent.import_dates import AMBIGUOUS
from holdfast.consent.import_rows import Reading
from holdfast.consent.importing import Job
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import ConsentError, RefusedError, UnknownError
from holdfast.messaging import blocking, erasing
from tests.messaging.texts import ANN, BAKERY, BOB, KEY, NOON, ask, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")
HEAD = "phone,name,status,given_at,disclosure\n"
DAY = timedelta(days=1)


def row(phone: str, status: str = "opt-in", at: str = "2026-03-01", name: str = "", shown: str = "I agree.") -> str:
    return f"{phone},{name},{status},{at},{shown}\n"


def job(place: Path, merchant: int, *rows: str, name: str = "people.csv", **fields: Any) -> Job:
    path = place / name
    path.write_text(HEAD + "".join(rows))
    source = import_files.examine(path)
    reading = Reading(import_rows.guess(source.columns, {}), NOON, purpose="marketing", region="US")
    return Job(source, reading, merchant, "raffle", "kim", KEY, **fields)


async def apply(pool: Any, given: Job, at: datetime = NOON - DAY) -> Any:
    return await importing.apply(pool, given, blocking.ImportStops(pool), lambda: at)


async def customer(pool: Any, phone: str) -> int:
    found: int = await pool.fetchval("SELECT id FROM customer WHERE phone = $1", phone)
    return found


async def test_people_and_their_consents_come_in_and_can_be_texted(pool, tmp_path):
    merchant = (await town(pool)).bakery
    number, outcome = await apply(pool, job(tmp_path, merchant, row(ANN, name="Ann"), row(BOB, shown="")))
    assert (outcome.rows, outcome.people, outcome.grants, outcome.contacts_new) == (2, 2, 2, 1)
    assert outcome.warnings == {import_rows.NO_DISCLOSURE: 1}
    assert (await ask(pool, merchant, ANN, purpose="marketing")).rule == "consent"
    assert (await ask(pool, merchant, BOB, purpose="marketing")).rule == "not_written"
    (origin,) = await lineage.sources(pool, await customer(pool, ANN))
    assert (origin.batch_id, origin.batch_row, origin.origin) == (number, 2, "raffle")
    assert (await lineage.cohort_size(pool, origin)).people == 2
    assert (await verifying.verify(pool)).is_ok


async def test_a_dry_run_says_what_applying_does_and_changes_nothing(pool, tmp_path):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    await stop(pool, merchant, ANN, NOON - 20 * DAY)
    given = job(
        tmp_path,
        merchant,
        row(ANN, name="Ann"),
        row(ANN, name="Ann"),
        row(BAKERY),
        row(BOB, at="03/04/2026"),
        row("+14155550123", "opt-out"),
        row("+14155550124", name="Cy"),
        row("+14155550124", at="2026-03-02", name="Cy"),
    )
    before = await pool.fetchval("SELECT count(*) FROM customer")
    dry = await importing.check(pool, given)
    assert await pool.fetchval("SELECT count(*) FROM customer") == before
    assert await pool.fetchval("SELECT count(*) FROM import_batch") == 0
    number, done = await apply(pool, given)
    counted = dry.document()
    assert counted | {"people": done.people} == done.document() | {"contacts_new": counted["contacts_new"]}
    assert dry.rejected == {
        "the same was in the file before": 1,
        importing.OWN_NUMBER: 1,
        AMBIGUOUS: 1,
    }
    assert set(dry.conflicts) == {
        "the person is blocked (opt_out), and stays so",
        "the consent is older than a revocation: kept as history, without effect",
    }
    kept = [(one.line, one.reason) for one in await import_store.rejects(pool, number, after=0, limit=10)]
    assert kept == [(3, "the same was in the file before"), (4, importing.OWN_NUMBER), (5, AMBIGUOUS)]


async def test_an_import_never_undoes_a_stop(pool, tmp_path):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await stop(pool, found.bakery, ANN, NOON - 2 * DAY)
    await stop(pool, 0, BOB, NOON - 2 * DAY, reason="complaint")
    late = "2026-05-03T10:00:00"
    await apply(pool, job(tmp_path, found.bakery, row(ANN, at=late), row(BOB, at=late)))
    assert (await ask(pool, found.bakery, ANN)).reason == "opt_out"
    assert (await ask(pool, found.bakery, BOB)).reason == "complaint"


async def test_an_opt_out_of_a_file_stops_the_person_and_cancels_what_waits(pool, tmp_path):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    waiting = await ask(pool, merchant, ANN)
    number, outcome = await apply(pool, job(tmp_path, merchant, row(ANN, "opt-out", "")), NOON)
    assert outcome.opt_outs == 1
    assert await pool.fetchval("SELECT state FROM message WHERE id = $1", waiting.id) == "cancelled"
    said = await ask(pool, merchant, ANN)
    assert (said.rule, said.reason) == ("suppressed", "import")
    block = await pool.fetchrow("SELECT batch_id, consent_seq FROM suppression")
    assert (block[0], block[1] is not None) == (number, True)


async def test_the_same_file_twice_is_refused_and_what_comes_again_is_on_record(pool, tmp_path):
    merchant = (await town(pool)).bakery
    given = job(tmp_path, merchant, row(ANN, name="Ann"), row(BOB, "opt-out"))
    number, _ = await apply(pool, given)
    with pytest.raises(RefusedError, match=f"import {number}, begun .* --again"):
        await apply(pool, given)
    _, outcome = await apply(pool, replace(given, again=True))
    assert (outcome.grants, outcome.opt_outs, outcome.known, outcome.people) == (1, 0, 1, 0)
    assert await pool.fetchval("SELECT count(*) FROM consent") == 3


async def test_what_two_imports_said_stays_when_one_of_them_is_undone(pool, tmp_path):
    merchant = (await town(pool)).bakery
    first, _ = await apply(pool, job(tmp_path, merchant, row(ANN, name="Ann"), name="a.csv"))
    second, outcome = await apply(pool, job(tmp_path, merchant, row(ANN, name="Ann"), row(BOB)))
    assert (outcome.grants, outcome.known, outcome.contacts_changed) == (2, 0, 0)
    assert any("another import said the same" in what for what in outcome.conflicts)
    await undo(pool, first)
    assert await contact(pool, ANN) == ("Ann", second)
    assert (await ask(pool, merchant, ANN, purpose="marketing")).rule == "consent"
    await undo(pool, second)
    assert await contact(pool, ANN) is None
    assert (await ask(pool, merchant, ANN, NOON + DAY)).rule == "no_consent"


async def test_a_consent_that_is_put_right_with_its_disclosure_is_written(pool, tmp_path):
    merchant = (await town(pool)).bakery
    at = datetime(2026, 3, 1, tzinfo=NOON.tzinfo)
    said = blocking.Said(ANN, merchant, "grant", "marketing", "offline", at)
    await blocking.record(pool, [said], KEY, actor="kim", now=NOON - 2 * DAY)
    assert (await ask(pool, merchant, ANN, purpose="marketing")).rule == "not_written"
    _, outcome = await apply(pool, job(tmp_path, merchant, row(ANN), name="right.csv"))
    assert (outcome.grants, outcome.known) == (1, 0)
    assert (await ask(pool, merchant, ANN, NOON + DAY, purpose="marketing")).rule == "consent"
    await blocking.record(pool, [replace(said, phone=BOB, disclosure="Yes.")], KEY, actor="kim", now=NOON - 2 * DAY)
    _, outcome = await apply(pool, job(tmp_path, merchant, row(BOB), name="other.csv"))
    assert outcome.conflicts["is on record already, with another disclosure"] == 1


async def test_the_same_file_twice_at_once_is_imported_once(pool, tmp_path):
    merchant = (await town(pool)).bakery
    given = job(tmp_path, merchant, *(row(f"+1415555{n:04}") for n in range(2000, 2040)))
    done = await asyncio.gather(*(apply(pool, given) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(one, tuple) for one in done) == 1, done
    assert sum(isinstance(one, RefusedError) for one in done) == 2
    assert await pool.fetchval("SELECT count(*) FROM import_batch") == 1
    with pytest.raises(RefusedError, match="imported before"):  # and the file is not held any more
        await apply(pool, given)


async def test_imports_of_the_same_people_in_other_orders_and_an_undo_do_not_stop_each_other(pool, tmp_path):
    merchant = (await town(pool)).bakery
    phones = [f"+1415555{n:04}" for n in range(2000, 2600)]
    jobs = [
        job(tmp_path, merchant, *(row(one, name=f"N{n}", at=f"2026-03-0{n + 1}") for one in order), name=f"{n}.csv")
        for n, order in enumerate((phones, phones[::-1], phones[300:] + phones[:300], phones[::-2]))
    ]
    first, _ = await apply(pool, jobs[0])
    done = await asyncio.gather(*(apply(pool, one) for one in jobs[1:]), undo(pool, first))
    assert len(done) == 4
    assert await pool.fetchval("SELECT count(*) FROM contact WHERE batch_id = $1", first) == 0
    assert (await verifying.verify(pool)).is_ok


async def test_a_chunk_that_waits_in_a_circle_is_done_again_and_counted_once(pool, tmp_path, monkeypatch):
    merchant = (await town(pool)).bakery
    advance, left = import_store.advance, [2]

    async def broken(*values: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        await advance(*values)

    monkeypatch.setattr(import_store, "advance", broken)
    _, outcome = await apply(pool, job(tmp_path, merchant, row(ANN, name="Ann"), row("x")))
    assert (outcome.rows, outcome.grants, outcome.people, outcome.contacts_new, outcome.rejects) == (2, 1, 1, 1, 1)
    assert await pool.fetchval("SELECT count(*) FROM import_reject") == 1


async def test_an_import_that_was_broken_off_goes_on_where_it_was(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(import_parsing, "CHUNK", 10)
    merchant = (await town(pool)).bakery
    rows = [row(f"+1415555{n:04}", name=f"N{n}") for n in range(2000, 2095)]
    rows[40:40] = [row("x"), rows[3]]
    given = job(tmp_path, merchant, *rows)

    class Broken(blocking.ImportStops):
        left = 4

        async def settled(self, customer_ids: Any) -> None:
            self.left -= 1
            if not self.left:
                raise ConnectionError("killed")

    with pytest.raises(ConnectionError):
        await importing.apply(pool, given, Broken(pool), lambda: NOON)
    (half,) = await import_store.batches(pool, merchant_id=merchant, before=None, limit=5)
    assert (half.state, half.next_row, half.counts["grants"]) == ("applying", 42, 40)
    with pytest.raises(RefusedError, match="other options"):
        await apply(pool, replace(given, origin="another"))
    monkeypatch.setattr(import_parsing, "CHUNK", 7)
    number, outcome = await apply(pool, given)
    assert number == half.id
    assert (outcome.rows, outcome.grants, outcome.rejects, outcome.people) == (97, 95, 2, 95)
    assert await pool.fetchval("SELECT count(*) FROM consent") == 95
    assert await pool.fetchval("SELECT count(*) FROM contact") == 95
    assert await pool.fetchval("SELECT count(*) FROM import_reject") == 2


async def test_two_who_apply_the_same_import_at_once_do_it_once(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(import_parsing, "CHUNK", 5)
    merchant = (await town(pool)).bakery
    given = job(tmp_path, merchant, *(row(f"+1415555{n:04}") for n in range(2000, 2040)))
    await importing._begin(pool, given, NOON)
    done = await asyncio.gather(apply(pool, given), apply(pool, given), return_exceptions=True)
    assert all(isinstance(one, RefusedError | tuple) for one in done), done
    if not any(isinstance(one, tuple) for one in done):  # both met in the middle: whoever comes next ends it
        await apply(pool, given)
    assert await pool.fetchval("SELECT count(*) FROM consent") == 40
    assert (await verifying.verify(pool)).is_ok


async def test_large_files_are_parsed_by_other_processes_with_the_same_outcome(pool, tmp_path, monkeypatch):
    merchant = (await town(pool)).bakery
    given = job(tmp_path, merchant, *(row(f"+1415555{n:04}") for n in range(2000, 2300)), row(BAKERY), row("x"))
    one = await importing.check(pool, given)
    monkeypatch.setattr(import_parsing, "INLINE", 50)
    monkeypatch.setattr(import_parsing, "CHUNK", 20)
    assert (await importing.check(pool, given)).document() == one.document()


async def test_who_was_erased_is_refused(pool, tmp_path):
    merchant = (await town(pool)).bakery
    secret = PhoneKey(b"a key of at least thirty-two characters")
    await grant(pool, merchant, ANN)
    await erasing.erase(pool, ANN, secret, actor="kim", why="letter", now=NOON - DAY)
    given = replace(job(tmp_path, merchant, row(ANN, name="Ann"), row(BOB)), key=secret)
    assert (await importing.check(pool, given)).rejected == {importing.ERASED: 1}
    number, outcome = await apply(pool, given)
    assert (outcome.grants, outcome.rejected) == (1, {importing.ERASED: 1})
    assert [one.said for one in await import_store.rejects(pool, number, after=0, limit=9)] == [""]
    assert await pool.fetchval("SELECT count(*) FROM contact") == 0


async def contact(pool: Any, phone: str) -> tuple[str | None, int | None] | None:
    found = await pool.fetchrow(
        "SELECT name, batch_id FROM contact JOIN customer ON id = customer_id WHERE phone = $1", phone
    )
    return tuple(found) if found is not None else None


async def undo(pool: Any, number: int) -> undoing.Undone:
    return await undoing.undo(pool, number, actor="kim", why="wrong merchant", clock=lambda: NOON)


async def test_an_import_is_undone_as_if_it_had_never_been(pool, tmp_path):
    merchant = (await town(pool)).bakery
    first, _ = await apply(pool, job(tmp_path, merchant, row(ANN, name="Ann"), name="a.csv"))
    await grant(pool, merchant, BOB, NOON - 100 * DAY)
    rows = (row(ANN, at="2026-03-05", name="Anna"), row(BOB, name="Bob"), row("+14155550130", "opt-out"))
    second, _ = await apply(pool, job(tmp_path, merchant, *rows))
    assert await contact(pool, ANN) == ("Anna", second)
    done = await undo(pool, second)
    assert (done.grants, done.contacts_deleted, done.contacts_restored, done.kept_blocks) == (2, 1, 1, 1)
    assert (await contact(pool, ANN), await contact(pool, BOB)) == (("Ann", first), None)
    assert (await ask(pool, merchant, ANN, purpose="marketing")).rule == "consent"  # by the first file
    assert (await ask(pool, merchant, BOB, purpose="marketing")).rule == "consent"  # by their own consent before
    assert (await ask(pool, merchant, "+14155550130")).reason == "import"
    await undo(pool, first)
    assert (await ask(pool, merchant, ANN)).rule == "no_consent"
    assert await contact(pool, ANN) is None
    assert (await verifying.verify(pool)).is_ok
    with pytest.raises(RefusedError, match="undone already, by kim: wrong merchant"):
        await undo(pool, first)


async def test_a_file_that_was_undone_can_be_imported_anew_and_counts(pool, tmp_path):
    merchant = (await town(pool)).bakery
    given = job(tmp_path, merchant, row(ANN))
    number, _ = await apply(pool, given)
    await undo(pool, number)
    again, outcome = await apply(pool, given)
    assert (outcome.grants, outcome.known, again != number) == (1, 0, True)
    assert (await ask(pool, merchant, ANN)).rule == "consent"


async def test_contacts_that_were_changed_since_stay_and_undone_in_any_order_none_is_left(pool, tmp_path):
    merchant = (await town(pool)).bakery
    first, _ = await apply(pool, job(tmp_path, merchant, row(ANN, name="Ann"), name="a.csv"))
    second, _ = await apply(pool, job(tmp_path, merchant, row(ANN, at="2026-03-05", name="Anna")))
    done = await undo(pool, first)
    assert (done.contacts_deleted, done.contacts_restored) == (0, 0)
    assert await contact(pool, ANN) == ("Anna", second)
    await undo(pool, second)
    assert await contact(pool, ANN) is None


async def test_an_undo_that_was_broken_off_goes_on(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(undoing, "PAGE", 3)
    merchant = (await town(pool)).bakery
    number, _ = await apply(pool, job(tmp_path, merchant, *(row(f"+1415555{n:04}") for n in range(2000, 2010))))

    def broken(_count: int) -> None:
        raise ConnectionError("killed")

    with pytest.raises(ConnectionError):
        await undoing.undo(pool, number, actor="kim", why="wrong", clock=lambda: NOON, hear=broken)
    assert (await undo(pool, number)).grants == 7
    assert await pool.fetchval("SELECT count(*) FROM consent WHERE source = 'import-undone'") == 10
    assert await pool.fetchval("SELECT state FROM import_batch") == "undone"


async def test_what_was_broken_off_can_be_undone_and_its_applier_stops(pool, tmp_path):
    merchant = (await town(pool)).bakery
    given = job(tmp_path, merchant, row(ANN))
    batch = await importing._begin(pool, given, NOON)
    await undo(pool, batch.id)
    applying = importing._Applying(pool, given, blocking.ImportStops(pool), batch)
    (chunk,) = [one async for one in import_parsing.parsed(given.source, given.reading)]
    with pytest.raises(RefusedError, match="being undone"):
        await applying.chunk(chunk, chunk.rows, NOON)
    assert await customers.find(pool, [ANN], KEY) == {}


async def test_an_undo_needs_an_import_and_a_reason(pool):
    with pytest.raises(UnknownError):
        await undo(pool, 9)
    with pytest.raises(ConsentError, match="why"):
        await undoing.undo(pool, 9, actor="kim", why=" ", clock=lambda: NOON)

"""The ledger cannot be changed without its being found, and by ordinary means not at all."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from holdfast.consent import verifying
from holdfast.consent.model import ConsentError
from tests.messaging.texts import ANN, BOB, NOON, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")
COLUMNS = {
    "customer_id": "1",
    "merchant_id": "99",
    "action": "'revoke'",
    "purpose": "'informational'",
    "channel": "'call'",
    "source": "'offline'",
    "given_at": "given_at - interval '1 microsecond'",
    "recorded_at": "recorded_at + interval '1 microsecond'",
    "disclosure_id": "NULL",
    "origin": "NULL",
    "collector": "'somebody else'",
    "batch_id": "8",
    "batch_row": "18",
    "actor": "'nobody'",
    "who": "sha256('')",
    "detail": "NULL",
    "previous": "sha256('')",
    "hash": "sha256('')",
}


async def written(pool: Any) -> int:
    """Five rows, of which the third has everything that a row can have; the merchant."""
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, BOB)
    await grant(pool, merchant, ANN, NOON - timedelta(days=90), disclosure="Other words.", detail={"method": "paper"})
    third: dict[str, Any] = {"origin": "raffle", "collector": "Kim", "batch_id": 7, "batch_row": 17}
    await grant(pool, merchant, ANN, detail={"ip": "203.0.113.7", "age": 41, "share": 0.5}, **third)
    await stop(pool, merchant, BOB)
    await grant(pool, merchant, ANN, NOON)
    return merchant


async def tamper(pool: Any, *statements: str) -> None:
    async with pool.acquire() as db, db.transaction():
        await db.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await db.execute(statement)


async def test_a_ledger_as_it_was_written_holds(pool):
    await written(pool)
    seen: list[tuple[int, int]] = []
    found = await verifying.verify(pool, progress=lambda done, of: seen.append((done, of)))
    assert (found.is_ok, found.rows, seen) == (True, 5, [(5, 5)])
    assert found.head.hash == await pool.fetchval("SELECT hash FROM consent WHERE seq = 5")


async def test_an_empty_ledger_holds(pool):
    found = await verifying.verify(pool)
    assert (found.is_ok, found.rows) == (True, 0)


async def test_every_column_is_in_the_table_below(pool):
    columns = await pool.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'consent'"
    )
    assert {row[0] for row in columns} == {"seq", *COLUMNS}


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_change_of_any_column_is_found_at_its_row(pool, column):
    await written(pool)
    await tamper(pool, f"UPDATE consent SET {column} = {COLUMNS[column]} WHERE seq = 3")
    broken = (await verifying.verify(pool)).broken
    assert broken is not None
    assert broken.seq == 3


@pytest.mark.parametrize(
    ("statements", "seq", "what"),
    [
        (["DELETE FROM consent WHERE seq = 3"], 3, "it is missing: row 4 follows on row 2"),
        (["DELETE FROM consent WHERE seq = 5"], 5, "it is missing"),
        (["DELETE FROM consent WHERE seq = 1"], 1, "it is missing"),
        (["DELETE FROM consent WHERE seq > 3"], 4, "it is missing"),
        (["UPDATE consent SET seq = 9 WHERE seq = 4"], 4, "it is missing"),
        (
            [
                "UPDATE consent SET seq = 0 WHERE seq = 2",
                "UPDATE consent SET seq = 2 WHERE seq = 3",
                "UPDATE consent SET seq = 3 WHERE seq = 0",
            ],
            2,
            "link to the row before",
        ),
        (["UPDATE consent_head SET seq = 4"], 5, "head says that row 4 is the last"),
        (["UPDATE consent_head SET hash = sha256('')"], 5, "with another hash"),
        ([f"UPDATE customer SET phone = '+14155550999' WHERE phone = '{ANN}'"], 2, "the number was changed"),
        ([f"DELETE FROM customer WHERE phone = '{ANN}'"], 2, "is gone"),
        (["UPDATE disclosure SET text = text || '!' WHERE text = 'Other words.'"], 2, "was changed"),
        (
            ["UPDATE disclosure SET text = 'x', digest = sha256('x') WHERE text = 'Other words.'"],
            2,
            "the digest of its disclosure",
        ),
        (["DELETE FROM disclosure WHERE text = 'Other words.'"], 2, "is gone"),
        (["UPDATE consent_detail SET said = said || '{\"age\": 42}' WHERE seq = 3"], 3, "details were changed"),
        (["UPDATE consent_detail SET salt = sha256('') WHERE seq = 3"], 3, "details were changed"),
        (["UPDATE consent_detail SET customer_id = 1 WHERE seq = 3"], 3, "details were changed"),
        (["DELETE FROM consent_detail WHERE seq = 3"], 3, "no row says that the person was erased"),
        (["INSERT INTO consent_detail VALUES (1, 1, '', '{}')"], 1, "details were changed"),
        (["INSERT INTO consent_detail VALUES (6, 1, '', '{}')"], 6, "no row"),
        (
            [f"UPDATE customer SET phone = NULL, salt = NULL, phone_key = '', erased_at = now() WHERE phone = '{ANN}'"],
            2,
            "no row says that they were erased",
        ),
    ],
)
async def test_whatever_else_is_changed_is_found_at_the_first_row_that_it_is_of(pool, statements, seq, what):
    await written(pool)
    await tamper(pool, *statements)
    broken = (await verifying.verify(pool)).broken
    assert broken is not None
    assert broken.seq == seq
    assert what in broken.what


async def test_a_ledger_written_anew_from_the_start_is_found_by_a_head_noted_before(pool):
    merchant = await written(pool)
    head = (await verifying.verify(pool)).head
    await grant(pool, merchant, BOB)
    assert (await verifying.verify(pool, expect=verifying.read_head(str(head)))).is_ok
    await tamper(
        pool,
        "TRUNCATE consent, consent_detail",
        "UPDATE consent_head SET seq = 0, hash = decode(repeat('00', 32), 'hex')",
    )
    for _ in range(6):
        await grant(pool, merchant, BOB)
    assert (await verifying.verify(pool)).is_ok
    broken = (await verifying.verify(pool, expect=head)).broken
    assert broken is not None
    assert (broken.seq, "written anew" in broken.what) == (5, True)


async def test_a_ledger_cut_short_with_its_head_is_found_by_a_head_noted_before(pool):
    await written(pool)
    head = (await verifying.verify(pool)).head
    await tamper(
        pool,
        "DELETE FROM consent WHERE seq > 3",
        "UPDATE consent_head SET (seq, hash) = (SELECT seq, hash FROM consent WHERE seq = 3)",
    )
    assert (await verifying.verify(pool)).is_ok
    broken = (await verifying.verify(pool, expect=head)).broken
    assert broken is not None
    assert broken.seq == 4


@pytest.mark.parametrize("text", ["", "5", "x:00", "5:00", f"-1:{'00' * 32}"])
async def test_what_is_no_head_is_said(text):
    with pytest.raises(ConsentError, match="no head of the ledger"):
        verifying.read_head(text)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consent SET actor = 'nobody'",
        "DELETE FROM consent WHERE seq = 5",
        "TRUNCATE consent",
        "UPDATE consent_detail SET said = '{}'",
        "DELETE FROM consent_detail",
        "TRUNCATE consent_detail",
        "DELETE FROM suppression",
        "TRUNCATE suppression",
    ],
)
async def test_the_database_refuses_to_change_what_is_kept(pool, statement):
    await written(pool)
    with pytest.raises(asyncpg.RaiseError):
        await pool.execute(statement)
    assert (await verifying.verify(pool)).is_ok

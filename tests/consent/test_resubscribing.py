"""Who comes back by their own deed is texted again; who stopped after that is not, whatever is stored first."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfast.consent import customers, ledger, suppressing
from holdfast.consent.model import Entry
from tests.messaging.texts import ANN, KEY, NOON, ask, grant, stop, town

SECOND = timedelta(seconds=1)


async def start(pool: Any, merchant: int, given_at: datetime | None, now: datetime) -> None:
    async with pool.acquire() as db, db.transaction():
        person = (await customers.find(db, [ANN], KEY))[ANN]
        await suppressing.resubscribe(
            db,
            person.id,
            merchant,
            "opt-in-message",
            now,
            actor="person",
            why="texted 'START'",
            purposes=[("informational", None)],
            given_at=given_at,
        )


@pytest.fixture
async def merchant(pool: Any) -> int:
    found = (await town(pool)).bakery
    await grant(pool, found, ANN)
    return found


async def test_a_stop_that_came_after_the_start_holds_though_it_is_stored_a_moment_later(pool, merchant):
    await stop(pool, merchant, ANN, NOON - 60 * SECOND)
    await start(pool, merchant, NOON, NOON + 2 * SECOND)
    assert (await ask(pool, merchant, ANN, NOON + 2 * SECOND)).rule == "consent"
    await stop(pool, merchant, ANN, NOON + SECOND)
    await pool.execute("UPDATE suppression SET lifted_at = now()")
    assert (await ask(pool, merchant, ANN, NOON + 9 * SECOND)).rule == "revoked"


async def test_a_start_that_came_before_the_stop_and_is_stored_after_it_changes_nothing(pool, merchant):
    await stop(pool, merchant, ANN, NOON)
    await start(pool, merchant, NOON - SECOND, NOON + SECOND)
    assert (await ask(pool, merchant, ANN, NOON + 9 * SECOND)).reason == "opt_out"
    await pool.execute("UPDATE suppression SET lifted_at = now()")
    assert (await ask(pool, merchant, ANN, NOON + 9 * SECOND)).rule == "revoked"


async def test_a_start_of_the_same_instant_answers_the_stop_before_it(pool, merchant):
    await stop(pool, merchant, ANN, NOON)
    await start(pool, merchant, None, NOON)
    assert (await ask(pool, merchant, ANN, NOON + SECOND)).rule == "consent"


async def test_nothing_in_the_ledger_is_of_a_time_to_come_and_what_was_said_is_kept(pool, merchant):
    async with pool.acquire() as db, db.transaction():
        person = (await customers.find(db, [ANN], KEY))[ANN]
        ahead = Entry(person.id, merchant, "grant", "informational", "api", NOON + SECOND, "form")
        await ledger.append(db, [ahead], NOON)
    row = (await ledger.history(pool, person.id))[-1]
    assert (row.given_at, row.recorded_at) == (NOON, NOON)
    assert row.detail == {"said_at": (NOON + SECOND).isoformat()}

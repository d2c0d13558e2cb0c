"""What holds, now and as of a time; by which texts are decided, and by which people are told, is the same."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.consent import customers, history, ledger, store, suppressing
from holdfast.consent.model import Block, Entry
from holdfast.db.pool import create_pool
from tests.messaging.texts import ANN, KEY, NOON, come_back, grant, stop, town

DAY = timedelta(days=1)
PHONES = (f"+1415{n:07}" for n in count(5590000))

ENTRIES = st.one_of(
    st.fixed_dictionaries(
        {
            "action": st.just("grant"),
            "merchant_id": st.sampled_from((1, 2)),
            "purpose": st.sampled_from(history.PURPOSES),
            "channel": st.sampled_from(("text", "call")),
            "batch_id": st.sampled_from((None, 1, 2)),
        }
    ),
    st.fixed_dictionaries(
        {
            "action": st.just("revoke"),
            "source": st.just("import-undone"),
            "merchant_id": st.sampled_from((1, 2)),
            "purpose": st.sampled_from(history.PURPOSES),
            "batch_id": st.sampled_from((1, 2)),
        }
    ),
    st.fixed_dictionaries(
        {
            "action": st.just("revoke"),
            "merchant_id": st.sampled_from((0, 1, 2)),
            "purpose": st.sampled_from((*history.PURPOSES, "all")),
            "channel": st.sampled_from(("text", "call", "all")),
        }
    ),
)
Said = list[tuple[dict[str, Any], int]]
HISTORIES = st.lists(st.tuples(ENTRIES, st.integers(0, 5)), max_size=8)


async def by_sql(pool: Any, customer_id: int, merchant: int, purpose: str, at: datetime) -> int | None:
    found: int | None = await pool.fetchval(
        f"""
        SELECT seq FROM consent
        WHERE customer_id = $1 AND {store.APPLYING.format(merchant="$2::bigint", purpose="$3::text")} AND given_at <= $4
        ORDER BY {store.LATEST} LIMIT 1
        """,
        customer_id,
        merchant,
        purpose,
        at,
    )
    return found


async def append(pool: Any, entries: Said) -> int:
    phone = next(PHONES)
    async with pool.acquire() as db, db.transaction():
        person = (await customers.ensure(db, [phone], KEY, NOON))[phone]
        rows = [
            Entry(person.id, given_at=NOON + n * DAY, actor="x", batch_row=n, **{"source": "website", **e})
            for e, n in entries
        ]
        await ledger.append(db, rows, NOON)
    return person.id


@pytest.mark.usefixtures("any_server")
def test_python_and_sql_decide_the_same_and_the_order_of_writing_does_not_matter(database_url):
    with asyncio.Runner() as runner:  # hypothesis calls from without a loop
        pool = runner.run(create_pool(database_url, size=1, name="tests"))

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.data())
        def check(data: st.DataObject) -> None:
            entries = data.draw(HISTORIES)
            again = data.draw(st.permutations(entries))
            runner.run(compare(pool, entries, list(again), NOON + data.draw(st.integers(-1, 6)) * DAY))

        check()
        pool.terminate()


async def compare(pool: Any, entries: Said, again: Said, at: datetime) -> None:
    one, other = await append(pool, entries), await append(pool, again)
    rows, others = await ledger.history(pool, one), await ledger.history(pool, other)
    for merchant in (1, 2):
        for purpose in history.PURPOSES:
            row = ledger.holding(rows, merchant, purpose, at=at)
            assert (row.seq if row else None) == await by_sql(pool, one, merchant, purpose, at)
            same = ledger.holding(others, merchant, purpose, at=at)
            assert (row and (row.action, row.given_at)) == (same and (same.action, same.given_at))


@pytest.mark.usefixtures("any_server")
async def test_what_had_happened_and_what_was_known_are_two_questions(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN, NOON - 10 * DAY)
    async with pool.acquire() as db, db.transaction():  # a stop on paper that was written down four days later
        person = (await customers.find(db, [ANN], KEY))[ANN]
        entry = Entry(person.id, merchant, "revoke", "all", "offline", NOON - 5 * DAY, "kim", channel="all")
        await ledger.append(db, [entry], NOON - DAY)

    async def said(at: datetime, sense: history.Sense) -> str:
        found = await history.standings(pool, person.id, as_of=at, sense=sense)
        return found[2][0].consent if found[2] else "none"

    assert [await said(NOON - n * DAY, "happened") for n in (11, 6, 5, 0)] == ["none", "granted", "revoked", "revoked"]
    assert [await said(NOON - n * DAY, "known") for n in (11, 6, 2, 1)] == ["none", "granted", "granted", "revoked"]


@pytest.mark.usefixtures("any_server")
async def test_blocks_are_told_as_of_a_time_too(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    await grant(pool, found.garage, ANN)
    stopped = await stop(pool, 0, ANN, NOON, reason="complaint")
    async with pool.acquire() as db, db.transaction():
        await suppressing.resubscribe(
            db, stopped.customer_id, found.bakery, "opt-in-message", NOON + 2 * DAY, actor="person", why="START",
            purposes=[("informational", None)],
        )  # fmt: skip

    async def blocked(days: int) -> list[bool]:
        at = NOON + days * DAY
        standings = (await history.standings(pool, stopped.customer_id, as_of=at))[2]
        return [bool(one.blocks) for one in standings if one.purpose == "informational"]

    assert [await blocked(n) for n in (-1, 1, 3)] == [[False, False], [True, True], [False, True]]
    now = (await history.standings(pool, stopped.customer_id))[2]
    assert [(one.merchant_id, one.purpose) for one in now if one.may_text] == [(found.bakery, "informational")]


@pytest.mark.usefixtures("any_server")
async def test_nobody_is_blocked_at_a_merchant_by_anothers_block(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    async with pool.acquire() as db, db.transaction():
        person = (await customers.find(db, [ANN], KEY))[ANN]
        await suppressing.suppress(db, [Block(person.id, found.garage, "operator", "cli", "kim")], datetime.now(UTC))
    _, _, standings = await history.standings(pool, person.id, merchant_id=found.bakery)
    assert all(not one.blocks for one in standings)


@pytest.mark.usefixtures("any_server")
async def test_who_came_back_and_stopped_again_is_told_as_it_was_at_each_time(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN, NOON - 10 * DAY)
    first = await stop(pool, 0, ANN, NOON - 8 * DAY, reason="complaint")
    await grant(pool, merchant, ANN, NOON - 7 * DAY, source="import")  # opens nothing
    await come_back(pool, merchant, ANN, NOON - 6 * DAY)
    second = await stop(pool, 0, ANN, NOON - 4 * DAY, reason="complaint")
    third = await stop(pool, 0, ANN, NOON - 3 * DAY, reason="complaint")
    assert (first.is_new, second.is_new, third.is_new) == (True, True, False)
    assert first.suppression_id != second.suppression_id == third.suppression_id

    async def may(at: datetime, sense: history.Sense) -> bool:
        _, _, found = await history.standings(pool, first.customer_id, merchant_id=merchant, as_of=at, sense=sense)
        (one,) = [one for one in found if one.purpose == "informational"]
        return one.may_text

    for sense in history.SENSES:
        assert [await may(NOON - n * DAY, sense) for n in (9, 7, 5, 1)] == [True, False, True, False]
    old, new = await store.suppressions_of(pool, first.customer_id)
    assert (old.excepted, old.lifted_why, old.lifted_by) == ((merchant,), "said stop again", "person")
    assert (new.excepted, new.lifted_at) == ((), None)


@pytest.mark.usefixtures("any_server")
async def test_of_many_who_stop_at_once_only_those_who_had_come_back_are_blocked_anew(pool):
    place = await town(pool)
    phones = [next(PHONES) for _ in range(6)]
    ids = [(await stop(pool, 0, phone, NOON - DAY, reason="opt_out")).customer_id for phone in phones]
    for phone in phones[:3]:
        await come_back(pool, place.bakery, phone, NOON - DAY)
    blocks = [Block(one, 0, "opt_out", "text", "person") for one in ids for _ in range(2)]
    async with pool.acquire() as db, db.transaction():
        made = await suppressing.suppress(db, blocks, NOON)
    assert {one.customer_id: one.is_new for one in made} == {one: n < 3 for n, one in enumerate(ids)}
    assert await pool.fetchval("SELECT count(*) FROM suppression WHERE lifted_at IS NULL") == 6

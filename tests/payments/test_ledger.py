"""The ledger: any arrival order of the same events ends in the same rows."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe_objects import Json, ObjectMaker
from holdfast.drills.stripe_stories import Narrator, StoryClock
from holdfast.drills.stripe_webhooks import render
from holdfast.payments import store
from holdfast.payments.model import Entry, Fact, State, entry, folded, merged
from holdfast.payments.reading import concerns_payments, read_event
from holdfast.payments.store import Filter

pytestmark = pytest.mark.usefixtures("any_server")

ACCOUNT = "acct_1A"
START = 1_800_000_000


def over_days(elapsed: int) -> int:
    return START + elapsed


def in_a_second(_elapsed: int) -> int:
    return START


def told(seed: int, clock: StoryClock) -> list[Json]:
    """Everything that happened to some payments, in the order in which it happened."""
    narrator = Narrator(ObjectMaker(random.Random(seed)), clock, ACCOUNT)
    return [
        *stories.payment(narrator, "refunded"),
        *stories.payment(narrator, "disputed"),
        *stories.failed_payment(narrator, recovers=True),
        *stories.checkout(narrator),
        *stories.invoice(narrator, fails_first=True),
        *stories.payout(narrator, fails=True),
        *stories.transfer(narrator, ACCOUNT, is_reversed=True),
    ]


def entry_of(event: Json) -> Entry | None:
    if not concerns_payments(event["type"]):
        return None
    fact = read_event(render(event), event["id"], datetime.fromtimestamp(event["created"], UTC))
    return entry(fact, account=event["account"], merchant_id=3, livemode=event["livemode"]) if fact else None


def owned_by_many(item: Entry, chance: random.Random) -> Entry:
    """As if events of one object disagreed on whose it is, or did not say."""
    account, merchant_id = chance.choice([None, ACCOUNT, "acct_1B"]), chance.choice([0, 3, 4])
    fact = Fact(item.id, item.kind, item.created_at, item.state, item.last_rank, item.last_event_at, item.last_event)
    return entry(fact, account=account, merchant_id=merchant_id, livemode=item.livemode)


def entries(events: list[Json]) -> list[Entry]:
    return [found for found in map(entry_of, events) if found is not None]


async def ledger(pool, arrived: list[Entry], sizes: list[int]) -> dict[str, Entry]:
    """The table after these have arrived in batches of these sizes."""
    await pool.execute("TRUNCATE payment")
    place = 0
    while place < len(arrived):
        size = sizes[place % len(sizes)]
        await store.apply(pool, folded(arrived[place : place + size]))
        place += size
    return await store.find(pool, [item.id for item in arrived])


@pytest.mark.parametrize("clock", [over_days, in_a_second])
async def test_in_order_the_ledger_shows_how_each_payment_ended(pool, clock):
    events = told(5, clock)
    found = await ledger(pool, entries(events), [1])
    last = {event["data"]["object"]["id"]: event["data"]["object"] for event in events}
    by_kind: dict[str, list[Entry]] = {}
    for item in found.values():
        by_kind.setdefault(item.kind, []).append(item)
        about = last[item.id]
        if item.kind != "transfer":
            assert item.state.status == about["status"]
        assert item.created_at == datetime.fromtimestamp(about["created"], UTC)
    assert sorted(by_kind) == sorted(
        ["payment_intent", "charge", "refund", "dispute", "checkout.session", "invoice", "payout", "transfer"]
    )
    [refund] = by_kind["refund"]
    assert refund.state.belongs_to is not None
    charge = found[refund.state.belongs_to]
    assert charge.state.belongs_to is not None
    assert charge.state.reversed == refund.state.amount == refund.state.settled
    assert found[charge.state.belongs_to].kind == "payment_intent"
    assert by_kind["transfer"][0].state.status in ("reversed", "partially_reversed")
    assert by_kind["payout"][0].state.settled == 0
    assert by_kind["invoice"][0].state.settled == by_kind["invoice"][0].state.amount


@given(
    seed=st.integers(0, 5),
    in_one_second=st.booleans(),
    order=st.randoms(use_true_random=False),
    copies=st.lists(st.integers(0, 3), min_size=60, max_size=60),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_with_duplicates_and_gaps_ends_in_the_same_ledger(
    pool, seed, in_one_second, order, copies, sizes
):
    events = told(seed, in_a_second if in_one_second else over_days)
    kept = [(event, count) for event, count in zip(events, copies, strict=False) if count]  # count 0: never arrives
    chance = random.Random(seed)
    known = [(owned_by_many(item, chance), count) for event, count in kept for item in entries([event])]
    in_order = [item for item, _ in known]
    arriving = [item for item, count in known for _ in range(count)]
    order.shuffle(arriving)
    expected = {item.id: item for item in folded(in_order)}
    assert await ledger(pool, arriving, sizes) == expected
    assert await ledger(pool, in_order, [1]) == expected


moments = st.integers(0, 2).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
owners = st.one_of(st.just((None, None, None)), st.tuples(moments, st.integers(0, 2), st.sampled_from("abcd")))
any_entry = st.builds(
    Entry,
    id=st.just("pi_1"),
    kind=st.just("payment_intent"),
    account=st.sampled_from([None, ACCOUNT, "acct_1B"]),
    merchant_id=st.sampled_from([0, 3, 4]),
    livemode=st.just(True),
    state=st.just(State("open", "usd", 1, 0, None, None)),
    created_at=moments,
    first_event=st.sampled_from("abcd"),
    first_event_at=moments,
    last_event=st.sampled_from("abcd"),
    last_event_at=moments,
    last_rank=st.integers(0, 2),
).map(lambda item: replace(item, state=replace(item.state, status=f"{item.last_event}{item.last_rank}")))
any_entry = st.builds(
    lambda item, owner: replace(item, owner_at=owner[0], owner_rank=owner[1], owner_event=owner[2]), any_entry, owners
)


@given(any_entry, any_entry, any_entry)
def test_merging_does_not_depend_on_order_grouping_or_repetition(one, two, three):
    assert merged(one, two) == merged(two, one)
    assert merged(merged(one, two), three) == merged(one, merged(two, three))
    assert merged(one, one) == one


@given(arrived=st.lists(any_entry, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_statement_merges_as_the_model_does(pool, arrived):
    found = await ledger(pool, arrived, [1])
    assert found == {"pi_1": folded(arrived)[0]}


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_the_newest_event_that_names_a_merchant_says_whose_it_is_whatever_comes_first(pool, order):
    base = entries(told(1, over_days))[0]
    made = [
        entry(
            Fact(base.id, base.kind, base.created_at, base.state, 0, base.created_at + timedelta(seconds=second), name),
            account=account,
            merchant_id=merchant_id,
            livemode=True,
        )
        for second, name, account, merchant_id in (
            (1, "evt_1", ACCOUNT, 3),
            (2, "evt_2", "acct_1B", 4),
            (3, "evt_3", None, 0),
        )
    ]
    found = (await ledger(pool, [made[place] for place in order], [1]))[base.id]
    assert (found.merchant_id, found.account, found.last_event) == (4, "acct_1B", "evt_3")


async def test_who_owns_a_row_from_before_this_was_kept_counts_as_oldest(pool):
    new = entries(told(1, over_days))[0]
    old = replace(new, merchant_id=9, owner_at=None, owner_rank=None, owner_event=None)
    for order in ([old, new], [new, old]):
        assert (await ledger(pool, order, [1]))[new.id].merchant_id == 3


async def test_an_older_event_never_overwrites_a_newer_state(pool):
    events = told(1, over_days)
    last = entries([event for event in events if event["type"] == "payment_intent.succeeded"])[0]
    first = replace(entries([events[0]])[0], id=last.id)
    for order in ([first, last], [last, first]):
        found = (await ledger(pool, order, [1]))[last.id]
        assert (found.state.status, found.last_event, found.first_event) == (
            "succeeded",
            last.last_event,
            first.first_event,
        )


async def test_payments_are_listed_newest_first_and_chosen_by_what_is_known(pool):
    arrived = entries(told(2, over_days))
    found = await ledger(pool, arrived, [100])
    newest = sorted(found.values(), key=lambda item: (item.created_at, item.id), reverse=True)
    assert await store.listing(pool, Filter(), limit=100, before=None) == newest
    assert await store.listing(pool, Filter(), limit=3, before=(newest[1].created_at, newest[1].id)) == newest[2:5]
    charges = await store.listing(pool, Filter(kind="charge", status="failed"), limit=100, before=None)
    assert {item.kind for item in charges} == {"charge"}
    assert {item.state.status for item in charges} == {"failed"}
    assert await store.listing(pool, Filter(merchant_id=99), limit=100, before=None) == []
    intent = next(item for item in newest if item.kind == "payment_intent")
    assert {part.state.belongs_to for part in await store.parts(pool, intent.id)} == {intent.id}


async def test_totals_add_up_by_kind_status_and_currency(pool):
    found = await ledger(pool, entries(told(3, over_days)), [7])
    rows = await store.totals(pool, Filter())
    assert sum(row["count"] for row in rows) == len(found)
    charged = sum(row["amount"] for row in rows if (row["kind"], row["status"]) == ("charge", "succeeded"))
    expected = [
        item.state.amount for item in found.values() if (item.kind, item.state.status) == ("charge", "succeeded")
    ]
    assert charged == sum(amount or 0 for amount in expected)

"""`stripe_webhook_router`: claimed events into ledger and deliveries, on a real server."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.delivery.backoff import Backoff
from holdfast.delivery.signing import new_secret
from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe import DEFAULT_API_KEY
from holdfast.drills.stripe_faults import StripeFaults
from holdfast.drills.stripe_objects import ObjectMaker
from holdfast.drills.stripe_stories import Narrator, from_start
from holdfast.inbox import replay
from holdfast.inbox import store as inbox
from holdfast.inbox.store import Filter
from holdfast.levers.model import Snapshot
from holdfast.levers.service import Levers
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import COMPANY, NewDestination, NewMerchant
from holdfast.payments import store
from holdfast.payments.router import StripeWebhookRouter
from holdfast.payments.stripe import StripeReader
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, Stage
from holdfast.queue.service import Claimer
from tests.inbox.events import event, new

SOON = Backoff(base=0.0, cap=0.0, tries=3)


def router(pool, *, policy: ClaimPolicy | None = None, **options) -> StripeWebhookRouter:
    claimer = Claimer(pool, Stage.ROUTE, policy or ClaimPolicy())
    return StripeWebhookRouter(pool, claimer, Catalogue(), backoff=SOON, **options)


async def receive(pool, *events) -> list[int]:
    """Store events as the gateway would; returns their seqs."""
    made = [new(one) for one in events]
    await inbox.append(pool, made, [Lane.CRITICAL] * len(made), [0] * len(made))
    held = await inbox.held(pool, "stripe", [one.event_id for one in made])
    return [held[one.event_id] for one in made]


async def route_all(pool, using: StripeWebhookRouter | None = None, now: datetime | None = None) -> None:
    using = using or router(pool)
    while await using.tick(now):
        await using.fetched()


async def outcome(pool, seq) -> tuple[str, str | None]:
    row = (await queue.outcomes(pool, Stage.ROUTE, [seq]))[seq]
    return row["outcome"], row["note"]


async def merchant(pool, key="bakery", account="acct_1A") -> int:
    return (await merchants.insert(pool, NewMerchant(key, key, None, account))).id


async def destination(pool, merchant_id, *events, kind="webhook") -> int:
    address = f"https://{kind}.example/{'-'.join(events)}"
    new_one = NewDestination(merchant_id, kind, address, (new_secret(),), events)
    return (await merchants.insert_destination(pool, new_one)).id


async def planned(pool) -> list[tuple[int, int]]:
    """(event seq, destination id) of all deliveries."""
    return [tuple(row) for row in await pool.fetch("SELECT event_seq, destination_id FROM delivery ORDER BY 1, 2")]


async def test_a_merchants_event_is_applied_and_its_subscribers_are_notified(pool):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "payment_intent.*")
    await destination(pool, bakery, "payout.*")
    company = await destination(pool, COMPANY, "*", kind="application")
    made = event()
    [seq] = await receive(pool, made)
    await route_all(pool)
    assert await outcome(pool, seq) == ("applied", None)
    [payment] = (await store.find(pool, [made["data"]["object"]["id"]])).values()
    assert (payment.merchant_id, payment.account, payment.last_event) == (bakery, "acct_1A", made["id"])
    assert await planned(pool) == sorted([(seq, wants), (seq, company)])
    rows = await pool.fetch("SELECT stage, merchant_id, destination_id, lane FROM work ORDER BY destination_id")
    assert [tuple(row) for row in rows] == [(2, bakery, wants, 0), (2, bakery, company, 0)]


async def test_an_event_of_an_unknown_account_is_applied_kept_and_visible(pool):
    made = event(account="acct_1Stranger")
    [seq] = await receive(pool, made)
    await route_all(pool)
    assert await outcome(pool, seq) == ("unmatched", "no merchant has the account acct_1Stranger")
    assert len(await store.find(pool, [made["data"]["object"]["id"]])) == 1
    assert await inbox.count(pool, Filter(state="unmatched")) == 1


async def test_routers_beyond_a_lanes_limit_leave_it_to_the_first_ones(pool):
    [seq] = await receive(pool, event())
    levers = Levers(routers=2, deliveries=0)
    levers.take(Snapshot({("router.concurrency", "lane:critical"): 1}))
    first, second = (router(pool, number=number, levers=levers) for number in range(2))
    assert await second.tick() == 0
    assert await first.tick() == 1
    assert (await outcome(pool, seq))[0] == "unmatched"
    levers.take(Snapshot({("router.concurrency", "lane:critical"): 0}))
    await receive(pool, event())
    assert await first.tick() == 0
    levers.take(Snapshot())
    assert await second.tick() == 1


async def test_once_its_merchant_is_known_a_replay_gives_it_the_event(pool):
    made = event(account="acct_1Late")
    [seq] = await receive(pool, made)
    await route_all(pool)
    late = await merchant(pool, "late", "acct_1Late")
    wants = await destination(pool, late, "*")
    async for _ in replay.replay(pool, Filter(state="unmatched")):
        pass
    await route_all(pool)
    assert (await outcome(pool, seq))[0] == "applied"
    assert (await store.find(pool, [made["data"]["object"]["id"]])).popitem()[1].merchant_id == late
    assert await planned(pool) == [(seq, wants)]


async def test_an_event_about_no_payment_is_stored_and_delivered(pool):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "customer.*")
    [seq] = await receive(pool, event("customer.updated"))
    await route_all(pool)
    assert await outcome(pool, seq) == ("stored", None)
    assert await planned(pool) == [(seq, wants)]


async def test_a_type_nobody_has_heard_of_is_stored(pool):
    await merchant(pool)
    [seq] = await receive(pool, event("entirely.new.thing"))
    await route_all(pool)
    assert (await outcome(pool, seq))[0] == "stored"


async def test_a_payment_in_an_unknown_form_is_visible_and_still_delivered(pool):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "*")
    made = event("charge.succeeded")
    made["data"]["object"]["amount"] = "ten"
    [seq] = await receive(pool, made)
    await route_all(pool)
    what, why = await outcome(pool, seq)
    assert what == "unreadable"
    assert "amount" in (why or "")
    assert await planned(pool) == [(seq, wants)]


async def test_the_platforms_own_event_belongs_to_the_merchant_it_names(pool):
    bakery = await merchant(pool)
    maker = ObjectMaker(random.Random(2))
    transfer = next(stories.transfer(Narrator(maker, from_start(1_800_000_000)), "acct_1A"))
    own = event(account=None)
    seqs = await receive(pool, transfer, own)
    await route_all(pool)
    assert [await outcome(pool, seq) for seq in seqs] == [("applied", None)] * 2
    ids = [made["data"]["object"]["id"] for made in (transfer, own)]
    found = await store.find(pool, ids)
    assert [found[key].merchant_id for key in ids] == [bakery, COMPANY]


def destination_charge(maker, ending="disputed", account="acct_1A", *, start=1_800_000_000):
    """The platform's events of a payment, or of a checkout, whose money is for a connected account."""
    narrator = Narrator(maker, from_start(start), None)
    told = list(stories.checkout(narrator) if ending == "checkout" else stories.payment(narrator, ending))
    for made in told:
        if made["data"]["object"]["object"] in ("payment_intent", "charge"):
            made["data"]["object"]["transfer_data"] = {"destination": account, "amount": None}
    return [made for made in told if made["type"] != "radar.early_fraud_warning.created"]  # not of the ledger


def parts_of(told):
    """Those that do not name the account themselves, and the others."""
    kinds = ("refund", "dispute", "checkout.session")
    children = [made for made in told if made["data"]["object"]["object"] in kinds]
    return children, [made for made in told if made not in children]


async def owners_of(pool, events) -> set[tuple[int, str | None]]:
    found = await store.find(pool, [made["data"]["object"]["id"] for made in events])
    return {(item.merchant_id, item.account) for item in found.values()}


@pytest.mark.parametrize("ending", ["disputed", "refunded", "checkout"])
@pytest.mark.parametrize("batch", [1, 400])
async def test_what_belongs_to_a_destination_charge_is_its_merchants(pool, ending, batch):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "*")
    told = destination_charge(ObjectMaker(random.Random(3)), ending)
    children, _ = parts_of(told)
    assert children
    seqs = await receive(pool, *told)
    await route_all(pool, router(pool, batch=batch))
    assert await owners_of(pool, told) == {(bakery, "acct_1A")}
    assert await planned(pool) == sorted((seq, wants) for seq in seqs)
    assert {await outcome(pool, seq) for seq in seqs} == {("applied", None)}


@pytest.mark.parametrize("ending", ["disputed", "refunded", "checkout"])
async def test_what_comes_before_its_destination_charge_is_handed_over_when_that_comes(pool, ending):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "*")
    company = await destination(pool, COMPANY, "*", kind="application")
    children, parents = parts_of(destination_charge(ObjectMaker(random.Random(3)), ending))
    early = await receive(pool, *children)
    await route_all(pool)
    assert await owners_of(pool, children) == {(COMPANY, None)}
    assert await planned(pool) == sorted((seq, company) for seq in early), "whoever runs the platform is told at once"
    what, why = await outcome(pool, early[0])
    assert (what, "has not come yet" in (why or "")) == ("applied", True)
    late = await receive(pool, *parents)
    await route_all(pool)
    assert await owners_of(pool, children) == {(bakery, "acct_1A")}
    assert await planned(pool) == sorted((seq, who) for seq in early + late for who in (wants, company))
    assert {await outcome(pool, seq) for seq in early} == {("applied", None)}


async def test_what_came_before_anything_named_its_owner_is_handed_over_though_later_events_of_it_are_not(pool):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "*")
    children, parents = parts_of(destination_charge(ObjectMaker(random.Random(3)), "disputed"))
    [intent, *_] = [made for made in parents if made["type"].startswith("payment_intent")]
    seqs = []
    for made in (children[0], intent, children[1]):
        seqs += await receive(pool, made)
        await route_all(pool)
    assert await planned(pool) == [(seq, wants) for seq in seqs]


async def test_the_platforms_own_refund_stays_the_companys(pool):
    await merchant(pool)
    told = list(stories.payment(Narrator(ObjectMaker(random.Random(3)), from_start(1_800_000_000), None), "refunded"))
    seqs = await receive(pool, *told)
    await route_all(pool)
    assert await owners_of(pool, told) == {(COMPANY, None)}
    assert {await outcome(pool, seq) for seq in seqs} == {("applied", None)}


async def test_a_destination_charge_for_an_account_that_nobody_has_waits_for_its_merchant(pool):
    told = destination_charge(ObjectMaker(random.Random(3)), "refunded", "acct_1Late")
    random.Random(1).shuffle(told)
    seqs = await receive(pool, *told)
    await route_all(pool, router(pool, batch=1))
    assert {await outcome(pool, seq) for seq in seqs} == {("unmatched", "no merchant has the account acct_1Late")}
    waiting = Filter(account="acct_1Late", state="unmatched")
    assert await inbox.count(pool, waiting) == len(told)
    assert await inbox.count(pool, Filter(account="acct_1L", state="unmatched")) == 0
    late = await merchant(pool, "late", "acct_1Late")
    wants = await destination(pool, late, "*")
    async for _ in replay.replay(pool, waiting):
        pass
    await route_all(pool)
    assert await owners_of(pool, told) == {(late, "acct_1Late")}
    assert await planned(pool) == sorted((seq, wants) for seq in seqs)
    assert await inbox.count(pool, waiting) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_routers_at_once_hand_over_what_comes_before_its_charge_while_that_is_routed(pool, seed):
    bakery = await merchant(pool)
    await destination(pool, bakery, "*")
    maker, chance = ObjectMaker(random.Random(4)), random.Random(seed)
    told = [
        made
        for number in range(30)
        for made in destination_charge(maker, chance.choice(["disputed", "refunded", "checkout"]), start=number)
    ]
    chance.shuffle(told)
    await receive(pool, *told)
    await asyncio.gather(*(route_all(pool, router(pool, batch=3)) for _ in range(4)))
    await route_all(pool)
    assert await owners_of(pool, told) == {(bakery, "acct_1A")}
    assert await pool.fetchval("SELECT count(*) FROM delivery") == len(told)


async def test_a_replay_notifies_nobody_twice_but_new_subscribers(pool):
    bakery = await merchant(pool)
    first = await destination(pool, bakery, "*")
    [seq] = await receive(pool, event())
    await route_all(pool)
    second = await destination(pool, bakery, "*", kind="email")
    async for _ in replay.replay(pool, Filter()):
        pass
    await route_all(pool)
    assert await planned(pool) == [(seq, first), (seq, second)]
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 2") == 2


async def test_a_disabled_destination_gets_nothing_new(pool):
    bakery = await merchant(pool)
    quiet = await destination(pool, bakery, "*")
    await merchants.set_enabled(pool, quiet, False)
    await receive(pool, event())
    await route_all(pool)
    assert await planned(pool) == []


async def test_who_lost_the_lease_applies_nothing(pool):
    bakery = await merchant(pool)
    await destination(pool, bakery, "*")
    made = event()
    await receive(pool, made)
    slow = router(pool)
    works = await slow._claimer.claim(10)
    await pool.execute("UPDATE work SET lease = 1")  # somebody else has it by now
    await slow._take(works, None)
    assert await store.find(pool, [made["data"]["object"]["id"]]) == {}
    assert await planned(pool) == []
    assert await pool.fetchval("SELECT count(*) FROM done") == 0


async def test_an_event_that_cannot_be_routed_is_tried_again_then_dead_and_harms_nobody(pool, monkeypatch):
    good, bad = event(), event()
    seqs = await receive(pool, good, bad)
    real = store.apply

    async def failing(db, entries):
        if any(item.last_event == bad["id"] for item in entries):
            raise ValueError("cannot be applied")
        await real(db, entries)

    monkeypatch.setattr(store, "apply", failing)
    using = router(pool)
    await using.tick()
    assert (await outcome(pool, seqs[0]))[0] == "unmatched"
    assert await queue.live(pool, Stage.ROUTE, seqs) == {seqs[1]}
    await route_all(pool, using)
    assert await outcome(pool, seqs[1]) == ("dead", "ValueError: cannot be applied")
    monkeypatch.undo()
    async for _ in replay.replay(pool, Filter(state="dead")):
        pass
    await route_all(pool, using)
    assert (await outcome(pool, seqs[1]))[0] == "unmatched"


async def test_the_note_on_a_dead_event_quotes_no_row(pool, monkeypatch):
    [seq] = await receive(pool, event())

    async def failing(db, entries):
        await db.execute("INSERT INTO merchant (key, name) VALUES ('k', 'Jane Doe'), ('k', 'Jane Doe')")

    monkeypatch.setattr(store, "apply", failing)
    await route_all(pool, router(pool))
    state, note = await outcome(pool, seq)
    assert (state, note) == (
        "dead",
        'UniqueViolationError: duplicate key value violates unique constraint "merchant_key_key"',
    )


async def test_two_routers_at_once_apply_every_event_once(pool):
    for number in range(5):
        owner = await merchant(pool, f"m{number}", f"acct_1M{number}")
        await destination(pool, owner, "*")
    maker = ObjectMaker(random.Random(4))
    events = []
    for number in range(60):
        narrator = Narrator(maker, from_start(1_800_000_000 + number), f"acct_1M{number % 5}")
        events += list(stories.payment(narrator))
    random.Random(1).shuffle(events)
    await receive(pool, *events)
    await asyncio.gather(*(route_all(pool, router(pool, batch=7)) for _ in range(4)))
    assert await pool.fetchval("SELECT count(*) FROM done") == len(events)
    assert await pool.fetchval("SELECT count(DISTINCT ref) FROM done") == len(events)
    assert await pool.fetchval("SELECT count(*) FROM delivery") == len(events)


@pytest.mark.parametrize("seed", range(3))
async def test_routers_at_once_that_have_events_of_the_same_payment_end_in_the_ledger_of_one(pool, seed):
    await merchant(pool)
    narrator = Narrator(ObjectMaker(random.Random(seed)), lambda _: 1_800_000_000, "acct_1A")  # all in one second
    told = [*stories.payment(narrator, "refunded"), *stories.checkout(narrator), *stories.invoice(narrator)]
    ids = sorted({made["data"]["object"]["id"] for made in told})
    await receive(pool, *told)
    await route_all(pool)
    expected = await store.find(pool, ids)
    assert sorted(expected) == ids
    await pool.execute("TRUNCATE payment, event, done, work")
    random.Random(seed).shuffle(told)
    await receive(pool, *told)
    await asyncio.gather(*(route_all(pool, router(pool, batch=2)) for _ in range(4)))
    assert await store.find(pool, ids) == expected


async def test_the_kind_of_a_payment_is_that_of_its_newest_event(pool):
    was, became = event(created=1_800_000_000), event(created=1_800_000_001)
    became["data"]["object"] |= {"id": was["data"]["object"]["id"], "object": "charge"}
    for order in ((was, became), (became, was)):
        await pool.execute("TRUNCATE payment, event, done, work")
        for made in order:
            await receive(pool, made)
            await route_all(pool)
        [payment] = (await store.find(pool, [was["data"]["object"]["id"]])).values()
        assert payment.kind == "charge"


async def thin_event(emulated):
    """A thin event whose object Stripe holds in a later state than any snapshot we got."""
    narrator = Narrator(emulated.maker, from_start(int(time.time()) - 100), "acct_1A")
    told = list(stories.payment(narrator, "kept"))
    await emulated.emit(told)
    return emulated.maker.thin_twin(told[-1]), told[-1]["data"]["object"]


async def test_a_thin_events_object_is_fetched_and_applied(pool, emulated, reader):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "v1.payment_intent.*")
    thin, about = await thin_event(emulated)
    [seq] = await receive(pool, thin)
    await route_all(pool, router(pool, stripe=reader))
    assert await outcome(pool, seq) == ("applied", None)
    [payment] = (await store.find(pool, [about["id"]])).values()
    assert (payment.state.status, payment.state.settled) == ("succeeded", about["amount_received"])
    assert await planned(pool) == [(seq, wants)]


async def test_while_stripe_is_down_thin_events_wait_and_the_others_do_not(pool, emulated, reader):
    await merchant(pool)
    emulated.faults = StripeFaults(api_error_rate=1.0)
    thin, about = await thin_event(emulated)
    thin_seq, plain_seq = await receive(pool, thin, event())
    using = router(pool, stripe=reader)
    await using.tick()
    assert (await outcome(pool, plain_seq))[0] == "applied"
    await using.fetched()
    assert await queue.live(pool, Stage.ROUTE, [thin_seq]) == {thin_seq}
    emulated.faults = StripeFaults()
    await route_all(pool, using)
    assert (await outcome(pool, thin_seq))[0] == "applied"
    assert about["id"] in await store.find(pool, [about["id"]])


async def test_a_thin_event_whose_object_cannot_be_had_is_visible(pool, emulated, reader):
    await merchant(pool)
    thin, _ = await thin_event(emulated)
    thin["related_object"]["url"] = "/v1/payment_intents/pi_gone"
    [seq] = await receive(pool, thin)
    await route_all(pool, router(pool, stripe=reader))
    what, why = await outcome(pool, seq)
    assert what == "unfetched"
    assert "404" in (why or "")


async def test_without_an_api_key_a_thin_event_is_kept_as_unfetched(pool, emulated):
    await merchant(pool)
    thin, _ = await thin_event(emulated)
    [seq] = await receive(pool, thin)
    await route_all(pool)
    assert await outcome(pool, seq) == ("unfetched", "HOLDFAST_STRIPE_API_KEY is not set")


async def test_a_thin_event_may_not_point_anywhere_but_at_stripes_api(pool, emulated, reader):
    await merchant(pool)
    thin, _ = await thin_event(emulated)
    thin["related_object"]["url"] = "https://evil.example/v1/charges"
    [seq] = await receive(pool, thin)
    await route_all(pool, router(pool, stripe=reader))
    assert (await outcome(pool, seq))[0] == "unreadable"


class SlowReader(StripeReader):
    """Some answers do not come before `answers` is set, some never do, and some break what reads them."""

    def __init__(self, url: str) -> None:
        super().__init__(DEFAULT_API_KEY, url, per_second=1000)
        self.answers = asyncio.Event()
        self.answers.set()
        self.never: set[str] = set()
        self.breaks: set[str] = set()
        self.asked: list[str] = []

    async def fetch(self, path, account):
        self.asked.append(path)
        if path in self.never:
            await asyncio.Event().wait()
        if path in self.breaks:
            raise ValueError("nobody thought of this")
        await self.answers.wait()
        return await super().fetch(path, account)


@pytest.fixture
async def slow(emulated) -> AsyncIterator[SlowReader]:
    async with SlowReader(emulated.url) as opened:
        yield opened


async def thin_events(pool, emulated, count) -> tuple[list[int], list[str]]:
    """So many, received: their seqs, and where their objects are."""
    made = [(await thin_event(emulated))[0] for _ in range(count)]
    return await receive(pool, *made), [one["related_object"]["url"] for one in made]


async def in_hand(pool) -> set[int]:
    return {row[0] for row in await pool.fetch("SELECT ref FROM work WHERE stage = 1 AND lease IS NOT NULL")}


async def test_each_thin_event_is_settled_as_soon_as_its_own_object_is_there(pool, emulated, slow):
    await merchant(pool)
    (stuck, quick), (path, _) = await thin_events(pool, emulated, 2)
    slow.never.add(path)
    using = router(pool, stripe=slow)
    await using.tick()
    await asyncio.wait(using._fetching, return_when=asyncio.FIRST_COMPLETED)
    assert (await outcome(pool, quick))[0] == "applied"
    assert await in_hand(pool) == {stuck}
    await using.finish()


async def test_an_object_that_never_comes_costs_a_try_each_time_and_ends_as_unfetched(pool, emulated, slow):
    bakery = await merchant(pool)
    wants = await destination(pool, bakery, "*")
    [seq], paths = await thin_events(pool, emulated, 1)
    slow.never.update(paths)
    using = router(pool, stripe=slow, policy=ClaimPolicy(lease=timedelta(seconds=0.9)))
    await using.tick()
    await using.fetched()
    assert await pool.fetchval("SELECT attempts FROM work") == 1
    await route_all(pool, using)
    assert await outcome(pool, seq) == ("unfetched", "Stripe did not answer within 0.3 s")
    assert slow.asked == paths * 3
    assert await planned(pool) == [(seq, wants)]


async def test_what_goes_wrong_with_one_thin_event_harms_no_other(pool, emulated, slow):
    await merchant(pool)
    (good, bad, fine), (_, path, _) = await thin_events(pool, emulated, 3)
    slow.breaks.add(path)
    using = router(pool, stripe=slow)
    await route_all(pool, using)
    assert [(await outcome(pool, seq))[0] for seq in (good, fine)] == ["applied", "applied"]
    assert await outcome(pool, bad) == ("unfetched", "ValueError: nobody thought of this")


async def test_thin_events_that_find_no_room_go_back_untried_and_come_again(pool, emulated, slow, monkeypatch):
    monkeypatch.setattr("holdfast.payments.router.IN_HAND", 2)
    monkeypatch.setattr("holdfast.payments.fetching._FIRST_GUESS", 80.0)  # eight at once: one every ten seconds
    await merchant(pool)
    seqs, _ = await thin_events(pool, emulated, 5)
    [plain] = await receive(pool, event())
    slow.answers.clear()
    using = router(pool, stripe=slow)
    assert await using.tick() == 6
    assert (await outcome(pool, plain))[0] == "applied"
    assert len(await in_hand(pool)) == 2
    back = await pool.fetch("SELECT attempts, due_at > now() AS later FROM work WHERE lease IS NULL")
    assert [tuple(row) for row in back] == [(0, True)] * 3
    assert await using.tick() == 0, "what went back is not claimed at once"
    slow.answers.set()
    await using.fetched()
    for minute in (1, 2):
        await route_all(pool, using, datetime.now(UTC) + timedelta(minutes=minute))
    assert [(await outcome(pool, seq))[0] for seq in seqs] == ["applied"] * 5


async def test_who_stands_in_line_too_long_goes_back_untried(pool, emulated, slow, monkeypatch):
    monkeypatch.setattr("holdfast.payments.fetching.AT_ONCE", 1)
    await merchant(pool)
    _, paths = await thin_events(pool, emulated, 2)
    slow.never.update(paths)
    using = router(pool, stripe=slow, policy=ClaimPolicy(lease=timedelta(seconds=0.9)))
    await using.tick()
    await using.fetched()
    assert sorted(await pool.fetch("SELECT attempts FROM work")) == [(0,), (1,)]


async def test_a_router_that_waits_for_the_store_does_not_fetch_again_at_every_tick(pool, emulated, slow, monkeypatch):
    await merchant(pool)
    [thin], paths = await thin_events(pool, emulated, 1)
    [plain] = await receive(pool, event())
    slow.answers.clear()

    async def away(*_):
        raise ConnectionResetError

    using = router(pool, stripe=slow)
    monkeypatch.setattr(store, "apply", away)
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            await using.tick()
        await asyncio.sleep(0)
    monkeypatch.undo()
    slow.answers.set()
    await route_all(pool, using)
    assert slow.asked == paths
    assert [(await outcome(pool, seq))[0] for seq in (thin, plain)] == ["applied"] * 2


async def test_a_router_that_ends_gives_back_what_it_fetches_and_another_one_goes_on_at_once(pool, emulated, slow):
    await merchant(pool)
    seqs, paths = await thin_events(pool, emulated, 12)
    slow.never.update(paths)
    using = router(pool, stripe=slow)
    await using.tick()
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await using.finish()
    rows = await pool.fetch("SELECT attempts, lease, due_at <= now() FROM work")
    assert [tuple(row) for row in rows] == [(0, None, True)] * 12
    slow.never.clear()
    await route_all(pool, router(pool, stripe=slow))
    assert [(await outcome(pool, seq))[0] for seq in seqs] == ["applied"] * 12

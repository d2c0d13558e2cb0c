"""Verification: every event received is accounted for, and what needs a person is named."""

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.delivery import store as deliveries
from holdfast.delivery.store import NewDelivery
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.drills.stripe_faults import StripeFaults
from holdfast.inbox import store as inbox
from holdfast.inbox.lanes import LaneTable
from holdfast.inbox.service import Inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import NewDestination, NewMerchant
from holdfast.payments.reconcile import Reconciler
from holdfast.payments.router import StripeWebhookRouter
from holdfast.payments.stripe import StripeReader
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Postponed, Settled, Stage
from holdfast.queue.service import Claimer
from holdfast.service import background
from holdfast.verify import replay
from holdfast.verify.model import VerifyError
from holdfast.verify.service import compare, verify
from tests.inbox.events import event, maker, new
from tests.processes import command_here

pytestmark = pytest.mark.usefixtures("any_server")
HOUR = timedelta(hours=1)


@pytest.fixture
async def bakery(pool) -> int:
    return (await merchants.insert(pool, NewMerchant("bakery", "Bakery", None, "acct_1A"))).id


async def webhook(pool, merchant_id, *patterns, address="https://a.example") -> int:
    added = await merchants.insert_destination(
        pool, NewDestination(merchant_id, "webhook", address, (), patterns or ("*",))
    )
    return added.id


async def receive(pool, *events, at: float | None = None) -> None:
    """As the gateway would, in the lanes that their types ask for."""
    lanes = LaneTable(await inbox.lane_rules(pool))
    made = [new(one, at) for one in events]
    await inbox.append(pool, made, [lanes.lane(one.type) for one in made], [0] * len(made))


async def route(pool) -> None:
    router = StripeWebhookRouter(pool, Claimer(pool, Stage.ROUTE, ClaimPolicy()), Catalogue())
    while await router.tick():
        pass


async def settle(pool, stage, outcome, note=None, count=1000, at=None) -> int:
    """End up to `count` works so."""
    works = await Claimer(pool, stage, ClaimPolicy()).claim(count)
    await queue.settle(pool, stage, works, [Settled(work.ref, outcome, note) for work in works], now=at)
    return len(works)


async def deliver(pool, outcome="delivered", note=None, **options) -> int:
    return await settle(pool, Stage.DELIVER, outcome, note, **options)


async def verified(pool, *, since=HOUR, until=None, now=None, **options):
    now = now or datetime.now(UTC)
    return await verify(pool, now - since, until or now + timedelta(seconds=1), now=now, **options)


async def test_all_that_was_applied_and_notified_adds_up(pool, bakery):
    await webhook(pool, bakery, "payment_intent.*")
    await receive(pool, *(event() for _ in range(5)), event("customer.updated"), event("person.updated"))
    await receive(pool, event(id="evt_twice"))
    await receive(pool, event(id="evt_twice"))
    await route(pool)
    await deliver(pool)
    found = await verified(pool)
    assert (found.events.received, found.events.applied, found.repeated) == (8, 6, 1)
    assert (found.notifications.planned, found.notifications.delivered) == (6, 6)
    assert (found.notified.all_delivered, found.notified.none) == (6, 2)
    assert [lane.events.received for lane in found.lanes] == [6, 1, 1]
    assert [(one.merchant, one.events.received, one.notifications.planned) for one in found.merchants] == [
        ("bakery", 8, 6)
    ]
    assert (found.adds_up, found.ok, found.settled, found.needs) == (True, True, True, ())
    assert "nobody asked" in found.stripe.why


async def test_an_empty_window_is_well(pool):
    found = await verified(pool)
    assert (found.events.received, found.ok, found.settled) == (0, True, True)


async def test_the_window_is_of_the_time_received_with_its_end_left_out(pool, bakery):
    start = int(time.time()) - 600
    for offset in (-1, 0, 5, 10):
        await receive(pool, event(), at=start + offset)
    await route(pool)
    since, until = (datetime.fromtimestamp(start + offset, UTC) for offset in (0, 10))
    found = await verify(pool, since, until, now=datetime.now(UTC))
    assert (found.events.received, found.events.applied) == (2, 2)


async def test_what_is_on_its_way_needs_nobody_but_is_not_settled(pool, bakery):
    await webhook(pool, bakery)
    await receive(pool, event(), event())
    await route(pool)
    await receive(pool, event())
    found = await verified(pool)
    assert (found.events.waiting, found.notifications.waiting) == (1, 2)
    assert (found.notified.on_their_way, found.notified.none) == (2, 1)
    assert (found.ok, found.settled) == (True, False)


async def test_what_waits_longer_than_any_promise_needs_a_person(pool, bakery):
    destination = await webhook(pool, bakery)
    await receive(pool, event())
    await route(pool)
    await receive(pool, event(), event("customer.updated"))
    found = await verified(pool, now=datetime.now(UTC) + timedelta(minutes=5))
    assert (found.events.late, found.notifications.late) == (1, 1), "bulk may take longer"
    assert [(need.what, need.count) for need in found.needs] == [
        ("critical events, waiting too long", 1),
        ("critical notifications, waiting too long", 1),
    ]
    assert f"destination {destination} (https://a.example) of bakery" in found.needs[1].why
    assert not found.ok
    assert found.adds_up


async def test_a_notification_that_is_being_retried_needs_a_person_only_after_an_hour(pool, bakery):
    await webhook(pool, bakery)
    await receive(pool, event())
    await route(pool)
    works = await Claimer(pool, Stage.DELIVER, ClaimPolicy()).claim(1)
    await queue.postpone(pool, Stage.DELIVER, works, [Postponed(works[0].ref, 7200.0)], now=None)
    soon = await verified(pool, now=datetime.now(UTC) + timedelta(minutes=50))
    assert (soon.notifications.waiting, soon.ok) == (1, True)
    later = await verified(pool, since=2 * HOUR, now=datetime.now(UTC) + timedelta(minutes=70))
    assert [need.what for need in later.needs] == ["critical notifications, waiting too long"]


async def test_each_kind_of_trouble_is_named_with_what_to_do(pool, bakery):
    await receive(pool, event(account="acct_1Stranger"), event(account="acct_1Stranger"))
    await route(pool)
    for outcome in ("dead", "unreadable", "unfetched"):
        await receive(pool, event())
        await settle(pool, Stage.ROUTE, outcome, f"because of {outcome}: HOLDFAST_STRIPE_API_KEY is not set")
    found = await verified(pool)
    events = found.events
    assert (events.unmatched, events.dead, events.unreadable, events.unfetched) == (2, 1, 1, 1)
    by_what = {need.what: need for need in found.needs}
    stranger = by_what["critical events, unmatched"]
    assert (stranger.count, len(stranger.examples)) == (2, 2)
    assert "acct_1Stranger" in stranger.do
    assert "because of dead" in by_what["critical events, dead"].why
    assert "HOLDFAST_STRIPE_API_KEY" in by_what["critical events, unfetched"].do
    assert (found.adds_up, found.ok) == (True, False)


async def test_critical_needs_come_first(pool, bakery):
    await receive(pool, *(event("customer.updated") for _ in range(3)))
    await settle(pool, Stage.ROUTE, "dead", "x")
    await receive(pool, event())
    await settle(pool, Stage.ROUTE, "dead", "x")
    assert [need.lane for need in (await verified(pool)).needs] == ["critical", "bulk"]


async def test_an_event_that_is_neither_queued_nor_done_is_lost_and_the_sum_fails(pool, bakery):
    await receive(pool, event(), event(id="evt_lost"))
    await pool.execute("DELETE FROM work WHERE ref = (SELECT seq FROM event WHERE event_id = 'evt_lost')")
    await route(pool)
    found = await verified(pool)
    assert (found.events.received, found.events.applied, found.events.lost) == (2, 1, 1)
    [broken] = [one for one in found.sums if not one.holds]
    assert (broken.whole, broken.parts) == (2, 1)
    [need] = found.needs
    assert (need.what, need.examples) == ("critical events, lost", ("evt_lost",))
    assert not found.ok


async def test_a_lost_notification_fails_its_sum(pool, bakery):
    await webhook(pool, bakery)
    await receive(pool, event())
    await route(pool)
    await pool.execute("DELETE FROM work WHERE stage = 2")
    found = await verified(pool)
    assert (found.notifications.planned, found.notifications.lost, found.adds_up) == (1, 1, False)
    assert [need.what for need in found.needs] == ["critical notifications, lost"]


async def test_an_outcome_that_nobody_knows_does_not_pass_as_well(pool, bakery):
    await receive(pool, event())
    await settle(pool, Stage.ROUTE, "vanished")
    found = await verified(pool)
    assert not found.adds_up


async def test_a_critical_event_without_its_ledger_entry_is_found(pool, bakery):
    gone, kept = event(), event()
    await receive(pool, gone, kept)
    await route(pool)
    assert (await verified(pool)).lanes[0].in_ledger == 2
    await pool.execute("DELETE FROM payment WHERE id = $1", gone["data"]["object"]["id"])
    found = await verified(pool)
    assert (found.lanes[0].missing, found.lanes[0].in_ledger, found.adds_up) == (1, 1, False)
    [need] = found.needs
    assert need.examples == (gone["id"],)


async def test_a_ledger_entry_that_never_took_the_event_in_is_found(pool, bakery):
    """As after the server forgot the newest of its commits, but not the queue's."""
    one = event()
    about, later = one["data"]["object"], int(time.time()) + 5
    two = maker.event("payment_intent.succeeded", about, later, "acct_1A")
    await receive(pool, one)
    await route(pool)
    await receive(pool, two)
    await settle(pool, Stage.ROUTE, "applied")
    found = await verified(pool)
    assert (found.lanes[0].behind, found.adds_up) == (1, False)
    assert found.needs[0].examples == (two["id"],)


async def test_an_older_event_that_came_late_is_in_the_ledger_as_well(pool, bakery):
    one = event()
    older = maker.event("payment_intent.created", one["data"]["object"], int(time.time()) - 50, "acct_1A")
    await receive(pool, one)
    await route(pool)
    await receive(pool, older)
    await route(pool)
    assert (await verified(pool)).ok


async def test_given_up_notifications_are_listed_by_destination(pool, bakery):
    destination = await webhook(pool, bakery)
    await receive(pool, event(), event())
    await route(pool)
    await deliver(pool, "dead", "given up after 16 tries; the last: 500")
    found = await verified(pool)
    [need] = found.needs
    assert (need.count, need.what, need.examples) == (2, "critical notifications, given up", ("1", "2"))
    assert "16 tries" in need.why
    assert need.do == f"holdfast deliveries replay --state dead --destination {destination}"
    assert found.notified.given_up == 2
    await merchants.set_enabled(pool, destination, False)
    disabled = (await verified(pool)).needs[0]
    assert disabled.do.startswith(f"holdfast destinations enable {destination}; then: ")


async def test_what_a_destination_missed_while_it_was_disabled_is_counted(pool, bakery):
    destination = await webhook(pool, bakery, "payment_intent.*")
    await receive(pool, event())
    await route(pool)
    await deliver(pool)
    await merchants.set_enabled(pool, destination, False)
    await receive(pool, event(), event(), event("customer.updated"), event(account="acct_1Other"))
    await route(pool)
    [need] = [need for need in (await verified(pool)).needs if need.what == "notifications, never planned"]
    assert need.count == 2
    assert "events replay --merchant bakery --since" in need.do


async def test_a_destination_that_was_disabled_all_the_time_is_only_a_note(pool, bakery):
    await merchants.set_enabled(pool, await webhook(pool, bakery), False)
    await receive(pool, event())
    await route(pool)
    found = await verified(pool)
    assert found.ok
    [note] = found.notes
    assert "1 events that it subscribes to" in note


async def test_random_outcomes_are_counted_as_they_are(pool, bakery):
    rng = random.Random(4)
    destination = await webhook(pool, bakery)
    await receive(pool, *(event(rng.choice(("charge.failed", "x.y", "price.updated"))) for _ in range(200)))
    rows = await pool.fetch("SELECT seq, lane FROM event")
    works = await Claimer(pool, Stage.ROUTE, ClaimPolicy()).claim(200)
    words = ("stored", "unmatched", "unreadable", "unfetched", "dead")
    chosen = {row["seq"]: rng.choice((*words, "live")) for row in rows}
    ended = [Settled(seq, word) for seq, word in chosen.items() if word != "live"]
    await queue.settle(pool, Stage.ROUTE, works, ended, now=None)
    some = [row for row in rows if rng.random() < 0.6]
    await deliveries.plan(pool, [NewDelivery(row["seq"], destination, bakery, row["lane"]) for row in some])
    await deliver(pool, count=40)
    await deliver(pool, "dead", count=30)
    found = await verified(pool)
    states = Counter(chosen.values())
    assert found.events.received == 200
    assert found.events.waiting == states["live"]
    assert [getattr(found.events, word) for word in words] == [states[word] for word in words]
    assert (found.notifications.planned, found.notifications.delivered, found.notifications.dead) == (len(some), 40, 30)
    assert sum(lane.events.received for lane in found.lanes) == 200
    assert sum(one.notifications.planned for one in found.merchants) == len(some)
    notified = found.notified
    assert notified.none + notified.all_delivered + notified.on_their_way + notified.given_up == 200
    assert found.adds_up


async def test_what_changes_meanwhile_never_breaks_a_sum(pool, bakery):
    await webhook(pool, bakery)
    stop = False

    async def work() -> None:
        while not stop:
            await receive(pool, *(event() for _ in range(20)))
            await route(pool)
            await deliver(pool, random.choice(("delivered", "dead")))

    working = asyncio.create_task(work())
    for _ in range(15):
        assert (await verified(pool)).adds_up
    stop = True
    await working


@pytest.mark.parametrize(("since", "named"), [(timedelta(days=100), "90 days"), (timedelta(seconds=-2), "empty")])
async def test_a_window_that_cannot_be_verified_is_refused(pool, since, named):
    with pytest.raises(VerifyError, match=named):
        await verified(pool, since=since, kept=timedelta(days=90))


# Stripe's list


@asynccontextmanager
async def at_stripe():
    async with (
        EmulatedStripe(accounts=["acct_1A"]) as emulated,
        StripeReader(DEFAULT_API_KEY, emulated.url, per_second=1000) as reader,
    ):
        yield emulated, reader


async def happened(emulated, count=4, ago=600):
    made = int(time.time()) - ago
    events = [
        maker.event("payout.paid", maker.payment_intent(made, 1, "usd", None), made, "acct_1A") for _ in range(count)
    ]
    await emulated.emit(events)
    return events


async def listed(pool, reader, accounts=((None, None), ("acct_1A", "bakery")), **options):
    now = datetime.now(UTC)
    return await compare(pool, reader, accounts, now - options.get("since", HOUR), now, now=now)


async def test_an_event_that_stripe_lists_and_we_do_not_hold_needs_a_person(pool, bakery):
    async with at_stripe() as (emulated, reader):
        events = await happened(emulated)
        await receive(pool, *events[1:])
        await route(pool)
        stripe = await listed(pool, reader)
    assert (stripe.compared, stripe.listed, stripe.missing) == (True, 4, 1)
    assert await pool.fetchval("SELECT count(*) FROM event") == 3, "it only looks"
    found = await verified(pool, stripe=stripe)
    [need] = found.needs
    assert need.do.startswith("holdfast reconcile --merchant bakery --since ")
    assert (found.adds_up, found.ok) == (True, False)


async def test_what_stripe_made_this_minute_may_still_be_on_its_way(pool, bakery):
    async with at_stripe() as (emulated, reader):
        await happened(emulated, ago=10)
        assert (await listed(pool, reader)).listed == 0
        young = await listed(pool, reader, since=timedelta(seconds=30))
    assert not young.compared
    assert "last 5 minutes" in young.why


async def test_what_was_reconciled_just_now_is_not_missed_by_verifying(pool, bakery):
    async with at_stripe() as (emulated, reader):
        for ago in (100, 190, 290, 310):
            await happened(emulated, count=1, ago=ago)
        box = Inbox(pool, merchant_of=lambda _: 0)
        await box.refresh_lanes(pool)
        now = datetime.now(UTC)
        async with background(box.run()):
            await Reconciler(pool, box, reader).compare(now - HOUR, now, [("acct_1A", "bakery")], now=now)
        later = now + timedelta(minutes=1)
        stripe = await compare(pool, reader, [("acct_1A", "bakery")], later - HOUR, later, now=later)
    assert (stripe.listed, stripe.missing) == (2, 0)


async def test_of_a_window_longer_than_stripe_lists_the_last_30_days_are_compared(pool, bakery):
    async with at_stripe() as (emulated, reader):
        await receive(pool, *await happened(emulated))
        stripe = await listed(pool, reader, since=timedelta(days=60))
    assert (stripe.compared, stripe.listed, stripe.missing) == (True, 4, 0)
    assert stripe.since is not None
    assert datetime.now(UTC) - stripe.since < timedelta(days=30)


async def test_a_list_that_cannot_be_read_needs_a_person(pool, bakery):
    async with at_stripe() as (emulated, reader):
        await happened(emulated)
        emulated.faults = StripeFaults(api_down=True)
        stripe = await listed(pool, reader, accounts=[("acct_1A", "bakery")])
    assert not stripe.compared
    assert [need.what for need in (await verified(pool, stripe=stripe)).needs] == ["Stripe's list, not read"]


async def test_an_account_that_revoked_its_access_needs_nobody_and_is_said(pool, bakery):
    async with at_stripe() as (emulated, reader):
        await happened(emulated)
        emulated.remove_account("acct_1A")
        stripe = await listed(pool, reader)
    assert stripe.compared
    assert [note for note in stripe.notes if "holdfast merchants set bakery --no-stripe-account" in note]
    assert (await verified(pool, stripe=stripe)).ok


async def test_missing_events_are_counted_by_lane(pool, bakery):
    made = int(time.time()) - 600
    types = ("payout.paid", "customer.updated", "price.updated")
    events = [maker.event(one, maker.payment_intent(made, 1, "usd", None), made, "acct_1A") for one in types]
    async with at_stripe() as (emulated, reader):
        await emulated.emit(events)
        stripe = await listed(pool, reader)
    needs = (await verified(pool, stripe=stripe)).needs
    assert [(need.what, need.count, need.lane) for need in needs] == [
        ("critical events, never received", 1, "critical"),
        ("bulk events, never received", 2, "bulk"),
    ]


async def test_what_was_deleted_here_does_not_look_missing(pool, bakery):
    async with at_stripe() as (emulated, reader):
        await happened(emulated, ago=5 * 86_400)
        now = datetime.now(UTC)
        kept = timedelta(days=4)
        stripe = await compare(pool, reader, [("acct_1A", "bakery")], now - 6 * 24 * HOUR, now, now=now, kept=kept)
    assert (stripe.compared, stripe.missing) == (True, 0)


# Replay


async def test_what_was_dead_lettered_gets_another_try(pool, bakery):
    await webhook(pool, bakery)
    gone = await webhook(pool, bakery, address="https://gone.example")
    await receive(pool, event(), event())
    await route(pool)
    await deliver(pool, "dead")
    await receive(pool, event())
    await settle(pool, Stage.ROUTE, "dead")
    await merchants.set_enabled(pool, gone, False)
    letters = (await verified(pool)).dead_letters
    assert (len(letters.events), len(letters.deliveries), letters.held_back) == (1, 2, 2)
    seen = [step async for step in replay.replay(pool, letters)]
    assert seen == [(1, 1, 0), (2, 0, 2)]
    found = await verified(pool)
    assert (found.events.dead, found.events.waiting) == (0, 1)
    assert (found.notifications.dead, found.notifications.waiting) == (2, 2)
    await route(pool)
    await deliver(pool)
    assert [need.count for need in (await verified(pool)).needs if "given up" in need.what] == [2]
    again = [step async for step in replay.replay(pool, letters)]
    assert again == [(1, 0, 0), (2, 0, 0)], "nothing is replayed twice"


async def test_what_was_received_before_the_window_and_given_up_in_it_is_not_forgotten(pool, bakery):
    await webhook(pool, bakery)
    await receive(pool, event(), at=time.time() - 7200)
    await route(pool)
    await deliver(pool, "dead")
    found = await verified(pool)
    assert (found.events.received, found.notifications.planned) == (0, 0)
    assert (found.dead_letters.earlier_deliveries, len(found.dead_letters.deliveries)) == (1, 1)
    [need] = found.needs
    assert need.what == "earlier notifications, given up in the window"
    await pool.execute("UPDATE done SET done_at = now() - interval '90 minutes'")
    assert (await verified(pool)).ok


# The command


@pytest.fixture
def run(database_url, pool):
    async def runner(*arguments: str, **settings: str):
        return await command_here("verify", *arguments, **{"database_url": database_url, **settings})

    return runner


async def test_the_command_says_what_is_proven_and_what_was_not_compared(run, pool, bakery):
    await receive(pool, event())
    await route(pool)
    status, out, _ = await run("--since", "1h")
    assert status == 0
    assert "1 events received" in out
    assert "The counts add up:" in out
    assert "NOT compared with Stripe's list of events: HOLDFAST_STRIPE_API_KEY is not set." in out
    assert "Nothing was lost, and nothing needs a person." in out


async def test_the_command_fails_loudly_when_something_is_lost(run, pool, bakery):
    await receive(pool, event())
    await pool.execute("DELETE FROM work")
    status, out, _ = await run()
    assert (status, "THE COUNTS DO NOT ADD UP:" in out, "1 ≠ 0" in out) == (1, True, True)


async def test_the_command_replays_what_it_found_and_asks_before(run, pool, bakery):
    await webhook(pool, bakery)
    await receive(pool, event())
    await route(pool)
    await deliver(pool, "dead", "500")
    status, out, err = await run("--replay")
    assert (status, "add --yes to replay 0 events and 1 notifications" in err) == (2, True)
    status, out, err = await run("--replay", "--json")
    assert (status, out, "add --yes to replay 0 events and 1 notifications" in err) == (2, "", True)
    assert await pool.fetchval("SELECT count(*) FROM work") == 0, "nobody said yes"
    status, out, _ = await run("--replay", "--yes")
    assert (status, "0 events and 1 notifications queued again." in out) == (1, True)
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 2") == 1
    status, out, _ = await run()
    assert (status, "1 are still on their way" in out) == (0, True)


async def test_the_command_compares_with_stripe_and_prints_one_document(run, pool, bakery):
    async with at_stripe() as (emulated, _):
        events = await happened(emulated)
        await receive(pool, *events[1:])
        await route(pool)
        settings = {"stripe_api_key": DEFAULT_API_KEY, "stripe_api_url": emulated.url}
        status, out, _ = await run("--json", "--replay", **settings)
        document = json.loads(out)
        assert (status, document["ok"], document["adds_up"], document["settled"]) == (1, False, True, True)
        assert (document["stripe"]["listed"], document["stripe"]["missing"]) == (4, 1)
        assert document["replayed"] == {"events": 0, "deliveries": 0, "held_back": 0}
        assert [lane["in_ledger"] for lane in document["lanes"]] == [3, 0, 0]
        status, out, _ = await run("--no-stripe", **settings)
        assert (status, "NOT compared with Stripe's list of events: --no-stripe" in out) == (0, True)


async def test_the_command_refuses_windows_that_are_no_windows(run):
    status, _, err = await run("--since", "1h", "--until", "2h")
    assert (status, "the window is empty" in err) == (1, True)
    status, _, err = await run("--since", "100d")
    assert (status, "events are kept for 90 days" in err) == (1, True)

"""Reconciliation against the emulated Stripe: what never arrived is found, taken in, and checked."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.delivery import store as deliveries
from holdfast.delivery.store import NewDelivery
from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.drills.stripe_faults import StripeFaults
from holdfast.drills.stripe_objects import Json
from holdfast.drills.stripe_stories import Narrator, from_start
from holdfast.inbox import replay
from holdfast.inbox import store as inbox
from holdfast.inbox.model import parse_stripe
from holdfast.inbox.service import Inbox, InboxAway
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import NewDestination, NewMerchant
from holdfast.payments.reconcile import LISTED_FOR, ReconcileError, Reconciler, fetchable, window
from holdfast.payments.report import AccountReport
from holdfast.payments.router import StripeWebhookRouter
from holdfast.payments.stripe import StripeReader
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Settled, Stage
from holdfast.queue.service import Claimer
from holdfast.service import background
from tests.processes import command_here

ACCOUNTS = [(None, None), ("acct_1A", "bakery"), ("acct_1B", "cafe")]


@pytest.fixture
async def emulated(pool) -> AsyncIterator[EmulatedStripe]:
    await merchants.upsert(pool, [NewMerchant(key, key, None, account) for account, key in ACCOUNTS if key and account])
    async with EmulatedStripe(accounts=["acct_1A", "acct_1B"]) as stripe:
        yield stripe


async def happened(emulated, hours_ago=5) -> list[Json]:
    """Events of both accounts and the platform that Stripe lists."""
    start = int(time.time()) - hours_ago * 3600
    events = []
    for account in ("acct_1A", "acct_1B"):
        narrator = Narrator(emulated.maker, lambda _: start, account)
        for story in (stories.checkout, stories.payout, stories.noise, stories.failed_payment, stories.invoice):
            events += list(story(narrator))
    events += list(stories.transfer(Narrator(emulated.maker, from_start(start)), "acct_1A", is_reversed=False))
    random.Random(1).shuffle(events)
    await emulated.emit(events)
    return events


async def keep(pool, events) -> None:
    """As if these had arrived by webhook."""
    made = [parse_stripe(json.dumps(event).encode(), "{}", time.time()) for event in events]
    box = Inbox(pool, merchant_of=lambda _: 0)
    await box.refresh_lanes(pool)
    async with background(box.run()):
        await asyncio.gather(*(box.append(one) for one in made))


async def route_all(pool) -> None:
    router = StripeWebhookRouter(pool, Claimer(pool, Stage.ROUTE, ClaimPolicy()), Catalogue())
    while await router.tick():
        pass


async def deliver_all(pool, outcome="delivered") -> None:
    works = await Claimer(pool, Stage.DELIVER, ClaimPolicy()).claim(1000)
    await queue.settle(pool, Stage.DELIVER, works, [Settled(work.ref, outcome, "why") for work in works], now=None)


async def reconciled(pool, emulated, *, accounts=ACCOUNTS, since=timedelta(days=1), at_work=True, **options):
    now = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(StripeReader(DEFAULT_API_KEY, emulated.url, per_second=1000))
        box = Inbox(pool, merchant_of=lambda _: 0)
        await box.refresh_lanes(pool)
        await stack.enter_async_context(background(box.run()))
        if at_work:
            await stack.enter_async_context(background(_work(pool)))
        wait, looked = options.pop("wait", 10), options.pop("looked", lambda _: None)
        reconciler = Reconciler(pool, box, reader, **options)
        return await reconciler.run(now - since, now, accounts, now=now, wait=wait, looked=looked)


async def _work(pool) -> None:
    while True:
        await route_all(pool)
        await deliver_all(pool)
        await asyncio.sleep(0.05)


def critical(events) -> set[str]:
    money = ("payment_intent.succeeded", "payment_intent.payment_failed", "charge.succeeded", "charge.failed")
    more = ("checkout.session.completed", "invoice.paid", "invoice.payment_succeeded", "invoice.payment_failed")
    last = ("payout.paid", "payout.failed", "transfer.reversed", "payment_intent.requires_action")
    return {event["id"] for event in events if event["type"] in money + more + last}


async def test_when_all_arrived_there_is_nothing_to_do(pool, emulated):
    events = await happened(emulated)
    await keep(pool, events)
    report = await reconciled(pool, emulated)
    assert (report.listed, report.missing, report.taken_in) == (len(events), 0, 0)
    assert report.critical == report.critical_applied == len(critical(events))
    assert report.ok


async def test_what_never_arrived_is_taken_in_applied_and_notified(pool, emulated):
    bakery = await merchants.find(pool, "bakery")
    assert bakery is not None
    await merchants.insert_destination(pool, NewDestination(bakery.id, "webhook", "https://a.example", (), ("*",)))
    events = await happened(emulated)
    lost = events[::3]
    await keep(pool, [event for event in events if event not in lost])
    report = await reconciled(pool, emulated)
    assert (report.missing, report.taken_in) == (len(lost), len(lost))
    assert report.critical_applied == len(critical(events))
    of_bakery = [event for event in events if event.get("account") == "acct_1A" and event["id"] in critical(events)]
    assert report.notifications == report.notifications_delivered == len(of_bakery)
    assert report.ok
    held = await inbox.held(pool, "stripe", [event["id"] for event in events])
    assert len(held) == len(events)
    again = await reconciled(pool, emulated)
    assert (again.missing, again.ok) == (0, True)
    assert await pool.fetchval("SELECT count(*) FROM event") == len(events)


async def test_an_event_that_is_taken_in_is_verbatim_and_knows_its_account(pool, emulated):
    events = await happened(emulated)
    await reconciled(pool, emulated, at_work=False, wait=0)
    for event in events[:5]:
        found = await inbox.show(pool, event["id"])
        assert found is not None
        assert json.loads(found.body)["data"] == event["data"]
        assert found.account == event.get("account")
        assert json.loads(found.headers) == {"holdfast-source": "reconcile"}


async def test_a_dry_run_only_looks(pool, emulated):
    events = await happened(emulated)
    report = await reconciled(pool, emulated, take_in=False)
    assert (report.missing, report.taken_in) == (len(events), 0)
    assert report.critical_trouble == len(critical(events))
    assert {finding.why for finding in report.findings} == {"it is not in the inbox"}
    assert await pool.fetchval("SELECT count(*) FROM event") == 0


async def test_what_nobody_routed_yet_is_on_its_way_and_not_ok(pool, emulated):
    events = await happened(emulated)
    report = await reconciled(pool, emulated, at_work=False, wait=0.1)
    assert report.critical_waiting == len(critical(events))
    assert report.findings == []
    assert not report.ok


async def test_given_up_notifications_and_strangers_need_a_person(pool, emulated):
    events = await happened(emulated)
    await keep(pool, events)
    await route_all(pool)
    seqs = await inbox.held(pool, "stripe", list(critical(events)))
    await deliveries.plan(pool, [NewDelivery(seq, 1, 0, 0) for seq in list(seqs.values())[:2]])
    await deliver_all(pool, "dead")
    await pool.execute("DELETE FROM merchant WHERE key = 'cafe'")
    stranger = next(event for event in events if event.get("account") == "acct_1B" and event["id"] in critical(events))
    async for _ in replay.replay(pool, inbox.Filter(ids=[stranger["id"]])):
        pass
    await route_all(pool)
    report = await reconciled(pool, emulated, at_work=False, wait=0)
    assert report.notifications_dead == 2
    assert report.critical_trouble == 1
    kinds = sorted(finding.do.split(";")[0].rsplit(" ", 1)[0] for finding in report.findings)
    assert kinds == [
        "holdfast deliveries show",
        "holdfast deliveries show",
        "holdfast merchants add … --stripe-account",
    ]
    assert not report.ok


async def test_an_account_that_revoked_its_access_is_a_note_and_the_others_are_compared(pool, emulated):
    events = await happened(emulated)
    await keep(pool, events)
    emulated.remove_account("acct_1B")
    report = await reconciled(pool, emulated)
    assert report.listed == sum(event.get("account") != "acct_1B" for event in events)
    assert [note for note in report.notes if "holdfast merchants set cafe --no-stripe-account" in note]
    assert (report.findings, report.ok) == ([], True)
    assert {key: bool(at) for key, at in await disconnected(pool)} == {"bakery": False, "cafe": True}


async def test_an_account_that_can_be_read_again_is_connected_again(pool, emulated):
    emulated.remove_account("acct_1B")
    await reconciled(pool, emulated)
    [_, (_, first)] = await disconnected(pool)
    version = await merchants.version(pool)
    await reconciled(pool, emulated)
    assert await merchants.version(pool) == version, "nobody reads the merchants again for what was known"
    assert (await disconnected(pool))[1] == ("cafe", first)
    emulated.add_account("acct_1B")
    await reconciled(pool, emulated)
    assert await disconnected(pool) == [("bakery", None), ("cafe", None)]


async def test_a_key_that_has_none_of_the_accounts_is_no_matter_of_the_accounts(pool, emulated):
    for account in ("acct_1A", "acct_1B"):
        emulated.remove_account(account)
    report = await reconciled(pool, emulated)
    assert [finding.what for finding in report.findings] == ["acct_1A", "acct_1B"]
    assert "is it the platform's" in report.findings[0].why
    assert await disconnected(pool) == [("bakery", None), ("cafe", None)]


async def disconnected(pool) -> list[tuple[str, datetime | None]]:
    return [(one.key, one.stripe_disconnected_at) for one in await merchants.merchants(pool)]


async def test_events_whose_webhooks_may_be_on_their_way_are_left_alone(pool, emulated):
    await happened(emulated, hours_ago=0)
    report = await reconciled(pool, emulated, at_work=False, wait=0)
    assert report.listed == 0
    assert "the last 3 min are left out" in report.notes[0]


async def test_what_was_deleted_here_is_not_taken_in_again(pool, emulated):
    await happened(emulated, hours_ago=5 * 24)
    with pytest.raises(ReconcileError, match="kept for 4 days here"):
        await reconciled(pool, emulated, since=timedelta(days=6), kept=timedelta(days=4))
    report = await reconciled(pool, emulated, since=timedelta(days=4), kept=timedelta(days=4))
    assert (report.listed, report.since > datetime.now(UTC) - timedelta(days=4)) == (0, True)


async def test_all_30_days_that_stripe_lists_can_be_asked_for(pool, emulated):
    assert (await reconciled(pool, emulated, since=timedelta(days=30))).ok


async def test_an_event_that_is_neither_queued_nor_done_needs_a_person(pool, emulated):
    events = await happened(emulated)
    await keep(pool, events)
    lost = min(critical(events))
    await pool.execute("DELETE FROM work WHERE ref = (SELECT seq FROM event WHERE event_id = $1)", lost)
    report = await reconciled(pool, emulated)
    [finding] = report.findings
    assert (finding.what, finding.why) == (lost, "it is neither queued nor done")
    assert (report.critical_trouble, report.ok) == (1, False)


async def test_an_event_without_its_ledger_entry_needs_a_person(pool, emulated):
    events = await happened(emulated)
    await reconciled(pool, emulated)
    session = next(event for event in events if event["type"] == "checkout.session.completed")
    await pool.execute("DELETE FROM payment WHERE id = $1", session["data"]["object"]["id"])
    report = await reconciled(pool, emulated)
    assert [(finding.what, finding.why) for finding in report.findings] == [
        (session["id"], "it counts as applied, but has no ledger entry")
    ]


async def test_a_run_that_is_interrupted_can_be_made_again(pool, emulated):
    events = await happened(emulated)
    compared = asyncio.Event()
    running = asyncio.create_task(reconciled(pool, emulated, looked=lambda _: compared.set()))
    await compared.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    report = await reconciled(pool, emulated)
    assert (report.listed, report.ok) == (len(events), True)
    assert await pool.fetchval("SELECT count(*) FROM event") == len(events)


async def test_a_store_that_is_away_ends_the_run_for_all_accounts(pool, emulated):
    await happened(emulated)
    async with StripeReader(DEFAULT_API_KEY, emulated.url) as reader:
        box = Inbox(pool, merchant_of=lambda _: 0, waiting=0)
        await box.refresh_lanes(pool)
        now = datetime.now(UTC)
        looked: list[AccountReport] = []
        with pytest.raises(InboxAway):
            await Reconciler(pool, box, reader).compare(
                now - timedelta(days=1), now, ACCOUNTS, now=now, looked=looked.append
            )
        left = [task for task in asyncio.all_tasks() if "Reconciler" in repr(task.get_coro())]
    assert (looked, left) == ([], [])


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("HOLDFAST_STRIPE_API_KEY is not set", "set HOLDFAST_STRIPE_API_KEY"),
        ("Stripe's API cannot be reached", "until Stripe's API answers again"),
        ("Stripe answered 404 for /v1/charges/ch_1: No such charge", "whether the object still exists"),
    ],
)
def test_what_to_do_about_an_unfetched_event_depends_on_why(note, said):
    assert said in fetchable(note)


async def test_rate_limits_are_waited_out(pool, emulated):
    await happened(emulated)
    emulated.faults = StripeFaults(api_rate_limited=True)
    waiting = asyncio.create_task(reconciled(pool, emulated, accounts=ACCOUNTS[1:2]))
    await asyncio.sleep(0.7)
    emulated.faults = StripeFaults()
    assert (await waiting).findings == []


async def test_pages_are_followed_to_the_end(pool, emulated):
    narrator = Narrator(emulated.maker, lambda _: int(time.time()) - 600, "acct_1A")
    events = [event for _ in range(230) for event in stories.noise(narrator)]
    await emulated.emit(events)
    report = await reconciled(pool, emulated, accounts=ACCOUNTS[1:2], at_work=False, wait=0)
    assert report.listed == report.taken_in == len(events) > 200


def test_a_window_of_which_nothing_can_be_compared_any_more_is_refused():
    now = datetime.now(UTC)
    with pytest.raises(ReconcileError, match="30 days only: begin at"):
        window(now - LISTED_FOR, now - LISTED_FOR + timedelta(seconds=30), now=now)


@pytest.mark.parametrize(("since", "named"), [(timedelta(days=31), "30 days"), (timedelta(0), "empty")])
async def test_a_window_that_cannot_be_compared_is_refused(pool, emulated, since, named):
    with pytest.raises(ReconcileError, match=named):
        await reconciled(pool, emulated, since=since)


async def test_the_command_prints_the_report_and_exits_by_it(pool, emulated, database_url):
    events = await happened(emulated)
    await keep(pool, events[1:])
    settings = {"database_url": database_url, "stripe_api_key": DEFAULT_API_KEY, "stripe_api_url": emulated.url}
    async with background(_work(pool)):
        status, out, _ = await command_here("reconcile", "--since", "1d", **settings)
        assert (status, "1 were missing here; taken in: 1." in out, "Nothing needs a person." in out) == (0, True, True)
        status, out, _ = await command_here("reconcile", "--merchant", "bakery", "--json", **settings)
        document = json.loads(out)
        assert (status, document["ok"], len(document["accounts"])) == (0, True, 1)
    status, out, _ = await command_here("reconcile", **{**settings, "stripe_api_key": "sk_wrong"})
    assert (status, "does not accept HOLDFAST_STRIPE_API_KEY" in out) == (1, True)
    status, _, err = await command_here("reconcile", "--since", "60d", **settings)
    assert (status, "30 days" in err) == (1, True)
    status, _, err = await command_here("reconcile", database_url=database_url)
    assert (status, "set HOLDFAST_STRIPE_API_KEY" in err) == (1, True)

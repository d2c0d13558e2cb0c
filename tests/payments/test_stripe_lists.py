"""What Stripe sends to us, by its endpoints, decides what can be missing; and its lists are read as they want to be."""

import random
import time
from datetime import UTC, datetime, timedelta

from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.drills.stripe_objects import Json
from holdfast.drills.stripe_stories import Narrator, from_start
from holdfast.drills.stripe_webhooks import WebhookEndpoint
from holdfast.inbox import store as inbox
from holdfast.inbox.service import Inbox
from holdfast.payments.endpoints import subscription
from holdfast.payments.reconcile import Reconciler
from holdfast.payments.report import Report
from holdfast.payments.stripe import StripeReader, wait_after
from holdfast.service import background

ACCOUNTS = [(None, None), ("acct_1A", "bakery")]
HERE = "http://127.0.0.1:9/hooks/stripe"


async def happened(emulated) -> list[Json]:
    """An hour ago: of the platform, and of a connected account."""
    at = int(time.time()) - 3600
    events = list(stories.transfer(Narrator(emulated.maker, lambda _: at), "acct_1A", is_reversed=False))
    narrator = Narrator(emulated.maker, lambda _: at, "acct_1A")
    for story in (stories.checkout, stories.noise, lambda narrator: stories.payout(narrator, fails=False)):
        events += list(story(narrator))
    await emulated.emit(events)
    return events


async def reconciled(pool, reader, **options) -> Report:
    box = Inbox(pool, merchant_of=lambda _: 0)
    await box.refresh_lanes(pool)
    now = datetime.now(UTC)
    async with background(box.run()):
        return await Reconciler(pool, box, reader, **options).compare(now - timedelta(days=1), now, ACCOUNTS, now=now)


def subscribe(emulated, *, own=None, connected=None, enabled=True) -> None:
    """Endpoints of ours that ask for these types."""
    for name, events, connect in (("we_own", own, False), ("we_connected", connected, True)):
        if events:
            emulated.set_endpoint(
                WebhookEndpoint(name, HERE, ("whsec_x",), connect, frozenset({"snapshot"}), tuple(events), enabled)
            )


async def test_only_types_that_our_endpoints_ask_for_can_be_missing(pool, emulated, reader):
    wanted = {"transfer.created", "charge.succeeded", "payout.paid"}
    subscribe(emulated, own=["transfer.created"], connected=["charge.succeeded", "payout.paid"])
    await happened(emulated)
    report = await reconciled(pool, reader)
    assert {row[0] for row in await pool.fetch("SELECT type FROM event")} == wanted
    assert [note for note in report.notes if "left out" not in note] == []


async def test_more_types_than_stripe_can_be_asked_for_are_chosen_here(pool, emulated, reader):
    subscribe(emulated, own=["*"], connected=[*(f"made.up_{number}" for number in range(30)), "payout.paid"])
    await happened(emulated)
    report = await reconciled(pool, reader)
    assert report.accounts[1].missing == 1
    assert report.accounts[1].missing_by_lane == {"critical": 1}


async def test_what_no_endpoint_sends_here_is_not_compared_and_that_is_said(pool, emulated, reader):
    subscribe(emulated, connected=["*"])
    emulated.add_endpoint("http://127.0.0.1:9/elsewhere", ["whsec_x"])
    events = await happened(emulated)
    report = await reconciled(pool, reader)
    assert report.missing == sum("account" in event for event in events)
    assert [note for note in report.notes if note.startswith("the platform's own snapshot events are not compared")]


async def test_an_endpoint_that_stripe_disabled_still_says_what_is_missing(pool, emulated, reader):
    subscribe(emulated, own=["*"], connected=["payout.paid"], enabled=False)
    await happened(emulated)
    report = await reconciled(pool, reader)
    assert report.accounts[1].missing == 1
    assert [note for note in report.notes if note.startswith(f"endpoint we_connected ({HERE}) is disabled")]


async def test_the_public_url_tells_our_endpoint_from_that_of_another_installation(emulated, reader):
    emulated.add_endpoint("https://staging.example/hooks/stripe", ["x"], enabled_events=["payout.paid"])
    emulated.add_endpoint("https://live.example/hooks/stripe", ["x"], enabled_events=["transfer.created"])
    assert (await subscription(reader, ["https://live.example"])).own == ("transfer.created",)
    assert (await subscription(reader, ())).own == ("payout.paid", "transfer.created")
    nobody = await subscription(reader, ["https://other.example"])
    assert (nobody.own, nobody.connected) == (("*",), ("*",))
    assert "none of its webhook endpoints leads to https://other.example/hooks/stripe" in nobody.notes[0]


async def test_when_the_endpoints_cannot_be_read_every_type_counts_and_that_is_said(emulated):
    async with StripeReader("sk_test_wrong", emulated.url) as reader:
        asked = await subscription(reader, ())
    assert (asked.own, asked.connected, asked.own_thin) == (("*",), ("*",), ())
    assert ["could not be read" in note for note in asked.notes] == [True, True]


async def test_thin_events_that_a_destination_of_ours_asks_for_are_compared(pool, emulated, reader):
    emulated.add_endpoint(HERE, ["x"], connect=True)
    at = int(time.time()) - 3600
    snapshots = list(stories.checkout(Narrator(emulated.maker, lambda _: at, "acct_1A")))
    thin = [emulated.maker.thin_twin(event) for event in snapshots * 40]
    await emulated.emit(thin)
    report = await reconciled(pool, reader)
    assert report.taken_in == len(thin) > 100
    found = await inbox.show(pool, thin[0]["id"])
    assert found is not None
    assert (found.account, found.type) == ("acct_1A", thin[0]["type"])
    again = await reconciled(pool, reader)
    assert (again.listed, again.missing) == (report.listed, 0)


async def test_a_page_whose_cursor_is_too_old_by_now_is_asked_for_by_time():
    now, late = time.time(), 0.0
    async with EmulatedStripe(accounts=["acct_1A"], clock=lambda: now + late) as emulated:
        edge = int(now) - 30 * 86_400
        for number in range(150):
            await emulated.emit(stories.noise(Narrator(emulated.maker, from_start(edge + 50 + number), "acct_1A")))
        async with StripeReader(DEFAULT_API_KEY, emulated.url, per_second=1000) as reader:
            since, until = (datetime.fromtimestamp(at, UTC) for at in (edge, now))
            pages = []
            async for page in reader.events("acct_1A", since, until):
                pages.append(len(page))
                late = 120.0
    assert pages == [100, 0]


async def test_the_report_says_which_mode_the_key_has(pool, emulated, reader):
    assert (await reconciled(pool, reader)).mode == "test"
    modes = [StripeReader(key, emulated.url).mode for key in ("rk_live_1", "sk_test_1", "nonsense")]
    assert modes == ["live", "test", "unknown"]


def test_a_limited_request_waits_as_long_as_stripe_asks_and_is_spread():
    rng = random.Random(1)
    waits = [wait_after({"Retry-After": "7"}, 1, rng) for _ in range(50)]
    assert len(set(waits)) == 50
    assert all(7.25 <= wait <= 7.5 for wait in waits)
    assert wait_after({"retry-after": "9999"}, 1, rng) < 31
    assert 4.0 <= wait_after({"retry-after": "soon"}, 5, rng) <= 8.0

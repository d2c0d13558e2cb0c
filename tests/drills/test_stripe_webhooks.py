"""Webhooks of the emulated Stripe: signed as the SDK expects, retried as Stripe retries, truthfully accounted for."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st
from stripe.params import EventListParams

from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe import EmulatedStripe
from holdfast.drills.stripe_faults import StripeEmulatorError, StripeFaults
from holdfast.drills.stripe_stories import Narrator
from holdfast.drills.stripe_traffic import Mix
from holdfast.drills.stripe_webhooks import USER_AGENT, WebhookEndpoint, retry_waits, sign
from tests.drills.stripe_sdk import async_sdk

SECRET, NEXT_SECRET = "whsec_first", "whsec_second"
MERCHANT = "acct_1MerchantAAAAAAA"
HOUR = 3_600.0
A_DAY_IN_A_SECOND = 86_400.0


@pytest.fixture
async def emulated() -> AsyncIterator[EmulatedStripe]:
    async with EmulatedStripe(accounts=(MERCHANT,), speed=A_DAY_IN_A_SECOND * 10, webhook_timeout=0.3) as opened:
        yield opened


@pytest.fixture
async def platform() -> AsyncIterator[EmulatedStripe]:
    """A Stripe without connected accounts: all traffic is the platform's own."""
    async with EmulatedStripe(speed=A_DAY_IN_A_SECOND * 10) as opened:
        yield opened


def narrator(emulated: EmulatedStripe, account: str | None = None) -> Narrator:
    return Narrator(emulated.maker, lambda _elapsed: int(time.time()), account)


async def listed(emulated: EmulatedStripe, parameters: EventListParams) -> list[str]:
    async with async_sdk(emulated) as client:
        page = await client.v1.events.list_async(parameters)
        return [event.id async for event in page.auto_paging_iter()]


@given(payload=st.text().map(str.encode), secret=st.text(st.characters(codec="ascii"), min_size=1))
def test_the_sdk_computes_the_same_signature(payload, secret):
    ours = sign(payload, secret, 1_700_000_000)
    assert ours == stripe.WebhookSignature.generate_signature_header(payload.decode(), secret, 1_700_000_000)


async def test_the_sdk_accepts_every_webhook(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET])
    emulated.add_endpoint(receiver.url, [SECRET], connect=True)
    ids = await emulated.play(emulated.traffic().__next__() for _ in range(60))
    events = [stripe.Webhook.construct_event(got.body, got.signature, SECRET) for got in receiver.received]
    assert sorted(event.id for event in events) == sorted(ids)
    assert {got.headers["User-Agent"] for got in receiver.received} == {USER_AGENT}
    assert {got.headers["Content-Type"] for got in receiver.received} == {"application/json; charset=utf-8"}
    assert receiver.received[0].body.startswith(b'{\n  "id": "evt_')


async def test_the_sdk_accepts_thin_webhooks(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET], connect=True)
    snapshots = list(stories.payment(narrator(emulated, MERCHANT), "kept"))
    await emulated.play(snapshots)
    thin = emulated.maker.thin_twin(snapshots[-1])
    await emulated.play([thin, *stories.meter_errors(narrator(emulated, MERCHANT))])
    got = next(got for got in receiver.received if got.event["id"] == thin["id"])
    async with async_sdk(emulated) as client:
        notification = client.parse_event_notification(got.body, got.signature, SECRET)
        assert notification.type == "v1.payment_intent.succeeded"
        intent = await notification.fetch_related_object_async()
        assert (intent.object, intent.status) == ("payment_intent", "succeeded")
    meter = next(got.event for got in receiver.received if got.event["type"].startswith("v1.billing"))
    assert "data" not in meter
    assert meter["context"] == MERCHANT


async def test_both_secrets_sign_while_one_is_rolled(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET, NEXT_SECRET])
    await emulated.play(stories.noise(narrator(emulated)))
    (got,) = receiver.received
    assert got.signature.count("v1=") == 2
    for secret in (SECRET, NEXT_SECRET):
        assert stripe.Webhook.construct_event(got.body, got.signature, secret)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(got.body, got.signature, "whsec_other")


async def test_endpoints_get_the_events_they_subscribe_to(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET], connect=True)
    own = await emulated.play(stories.noise(narrator(emulated)))
    connected = await emulated.play(stories.noise(narrator(emulated, MERCHANT)))
    assert receiver.ids == connected
    assert emulated.deliveries(own[0]) == {}


async def test_an_endpoint_gets_the_types_it_enables_and_nothing_while_it_is_disabled(emulated, receiver):
    endpoint = emulated.add_endpoint(receiver.url, [SECRET], enabled_events=["payout.paid"])
    events = list(stories.payout(narrator(emulated), fails=False))
    await emulated.play(events)
    wanted = [event["id"] for event in events if event["type"] == "payout.paid"]
    assert receiver.ids == wanted
    emulated.set_endpoint(replace(endpoint, enabled=False))
    await emulated.play(stories.payout(narrator(emulated)))
    assert receiver.ids == wanted


async def test_an_endpoint_for_snapshots_gets_no_thin_events(emulated, receiver):
    emulated.set_endpoint(WebhookEndpoint("we_1", receiver.url, (SECRET,), payloads=frozenset({"snapshot"})))
    snapshots = await emulated.play(stories.payout(narrator(emulated)))
    await emulated.play(stories.meter_errors(narrator(emulated)))
    assert sorted(receiver.ids) == sorted(snapshots)


def test_live_retries_back_off_over_three_days_and_sandbox_retries_stop_after_three():
    live = list(retry_waits(livemode=True))
    assert live[:5] == [300.0, 1_800.0, 2 * HOUR, 5 * HOUR, 10 * HOUR]
    assert set(live[5:]) == {12 * HOUR}
    assert 60 * HOUR < sum(live) <= 72 * HOUR
    assert list(retry_waits(livemode=False)) == [300.0, 1_800.0, 2 * HOUR]


async def test_a_failed_webhook_is_retried_with_a_fresh_signature(receiver):
    ticks = iter(range(1_800_000_000, 1_900_000_000, 60))
    async with EmulatedStripe(speed=A_DAY_IN_A_SECOND * 10, clock=lambda: next(ticks)) as emulated:
        endpoint = emulated.add_endpoint(receiver.url, [SECRET])
        receiver.answers = [500, 302]
        (event_id,) = await emulated.play(stories.noise(narrator(emulated)))
        assert receiver.ids == [event_id] * 3
        assert len({got.signature for got in receiver.received}) == 3
        delivery = emulated.deliveries(event_id)[endpoint.id]
        assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 3, 200)


async def test_retries_wait_for_the_compressed_clock(receiver):
    async with EmulatedStripe(speed=300 / 0.2) as emulated:  # the first retry, five minutes later, after 0.2 s
        emulated.add_endpoint(receiver.url, [SECRET])
        receiver.answers = [503]
        began = time.monotonic()
        await emulated.play(stories.noise(narrator(emulated)))
        assert 0.2 <= time.monotonic() - began < 1.5


async def test_stripe_gives_up_and_the_api_says_so(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET])
    (good,) = await emulated.play(stories.noise(narrator(emulated)))
    receiver.answers = [500] * 4
    (bad,) = await emulated.play(stories.noise(narrator(emulated)))
    (delivery,) = emulated.deliveries(bad).values()
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("undelivered", 4, 500)
    assert await listed(emulated, {"delivery_success": False}) == [bad]
    assert await listed(emulated, {"delivery_success": True}) == [good]


async def test_pending_webhooks_counts_what_is_not_acknowledged(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET])
    emulated.add_endpoint("http://127.0.0.1:9/nobody", [SECRET])
    (event_id,) = await emulated.emit(stories.noise(narrator(emulated)))
    assert emulated.event(event_id)["pending_webhooks"] == 2
    await emulated.settled()
    assert emulated.event(event_id)["pending_webhooks"] == 1
    assert receiver.received[0].event["pending_webhooks"] == 2


async def test_an_answer_that_comes_too_late_is_a_failure(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET])
    receiver.delay = 0.5
    (event_id,) = await emulated.play(stories.noise(narrator(emulated)))
    (delivery,) = emulated.deliveries(event_id).values()
    assert (delivery.state, delivery.last_status) == ("undelivered", None)
    assert delivery.last_error


async def test_requests_in_flight_are_bounded(receiver):
    async with EmulatedStripe(webhook_concurrency=5) as emulated:
        emulated.add_endpoint(receiver.url, [SECRET])
        receiver.delay = 0.02
        await emulated.burst(40)
        await emulated.settled()
    assert len(receiver.received) == 40
    assert receiver.most_busy == 5


async def test_a_resent_event_becomes_delivered(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET])
    receiver.answers = [500] * 4
    (event_id,) = await emulated.play(stories.noise(narrator(emulated)))
    emulated.resend(event_id)
    await emulated.settled()
    assert emulated.event(event_id)["pending_webhooks"] == 0
    with pytest.raises(StripeEmulatorError, match="emitted before"):
        await emulated.emit([emulated.event(event_id)])


async def test_duplicates_are_sent_twice(platform, receiver):
    platform.add_endpoint(receiver.url, [SECRET])
    platform.faults = StripeFaults(duplicate=1.0, reorder_window=0.1)
    ids = await platform.burst(10)
    await platform.settled()
    assert receiver.times == dict.fromkeys(ids, 2)


async def test_a_reorder_window_lets_events_overtake_each_other(platform, receiver):
    platform.add_endpoint(receiver.url, [SECRET])
    platform.faults = StripeFaults(reorder_window=0.3)
    ids = await platform.burst(30)
    await platform.settled()
    assert sorted(receiver.ids) == sorted(ids)
    assert receiver.ids != ids


async def test_a_gap_is_listed_as_undelivered_but_never_sent(platform, receiver):
    platform.add_endpoint(receiver.url, [SECRET])
    platform.faults = StripeFaults(gap=0.5)
    ids = await platform.burst(40)
    await platform.settled()
    missed = set(ids) - set(receiver.ids)
    assert 5 < len(missed) < 35
    assert set(await listed(platform, {})) == set(ids)
    assert set(await listed(platform, {"delivery_success": False})) == missed


async def test_impossible_faults_are_refused():
    with pytest.raises(StripeEmulatorError, match="probability"):
        StripeFaults(gap=2)
    with pytest.raises(StripeEmulatorError, match="seconds"):
        StripeFaults(api_latency=-1)


async def test_run_keeps_its_rate_whatever_the_receiver_does(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET], connect=True)
    receiver.delay = 0.2
    emitted = await emulated.run(200, until=asyncio.sleep(1), mix=Mix(transfer=0))
    assert emitted > 50, "one after another would be 5"
    await emulated.settled()
    assert len({got.event["id"] for got in receiver.received}) == emitted
    assert {got.event["account"] for got in receiver.received} == {MERCHANT}


async def test_run_can_be_cancelled_and_closing_leaves_no_task_behind(receiver):
    before = asyncio.all_tasks()
    async with EmulatedStripe() as emulated:
        emulated.add_endpoint("http://127.0.0.1:9/nobody", [SECRET])
        running = asyncio.create_task(emulated.run(500, until=asyncio.Event().wait()))
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert asyncio.all_tasks() <= before


async def test_a_storm_redelivers_only_acknowledged_events(platform, receiver):
    platform.add_endpoint(receiver.url, [SECRET])
    acknowledged = await platform.burst(20)
    await platform.settled()
    receiver.answers = [500] * 4
    (refused,) = await platform.play(stories.noise(narrator(platform)))
    first = len(receiver.received)
    resent = await platform.storm(10, until=asyncio.sleep(0.5), base_rate=20)
    await platform.settled()
    again = receiver.ids[first:]
    assert len(again) == resent
    assert 50 < resent < 160
    assert set(again) <= set(acknowledged)
    assert refused not in again


async def test_a_storm_multiplies_the_running_rate(emulated, receiver):
    emulated.add_endpoint(receiver.url, [SECRET])
    emulated.add_endpoint(receiver.url, [SECRET], connect=True)
    await emulated.play(stories.noise(narrator(emulated)))
    stop = asyncio.Event()
    running = asyncio.create_task(emulated.run(50, until=stop.wait()))
    await asyncio.sleep(0.1)
    resent = await emulated.storm(10, until=asyncio.sleep(0.5))
    stop.set()
    await running
    assert 150 < resent < 350


async def test_a_storm_without_anything_to_send_is_refused(emulated):
    with pytest.raises(StripeEmulatorError, match="acknowledged"):
        await emulated.storm(3, until=asyncio.sleep(1), base_rate=10)
    with pytest.raises(StripeEmulatorError, match="rate"):
        await emulated.run(0, until=asyncio.sleep(1))

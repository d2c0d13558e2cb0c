"""The official Stripe SDK, pointed at the emulated Stripe, reads what Stripe would show it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
import stripe

from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.drills.stripe_faults import StripeEmulatorError, StripeFaults
from holdfast.drills.stripe_objects import Json
from holdfast.drills.stripe_stories import Narrator, from_start
from tests.drills.stripe_sdk import async_sdk, blocking_sdk

NOW = 1_800_000_000
MERCHANT = "acct_1MerchantAAAAAAA"
OTHER = "acct_1MerchantBBBBBBB"


@pytest.fixture
async def emulated() -> AsyncIterator[EmulatedStripe]:
    async with EmulatedStripe(accounts=(MERCHANT, OTHER), clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
async def client(emulated: EmulatedStripe) -> AsyncIterator[stripe.StripeClient]:
    async with async_sdk(emulated) as opened:
        yield opened


async def noise(emulated: EmulatedStripe, number: int, account: str | None = None, at: int = NOW - 1_000) -> list[str]:
    """Emit `number` events, one a second, and give their ids, newest first."""
    events: list[Json] = []
    for second in range(number):
        events += stories.noise(Narrator(emulated.maker, from_start(at + second), account))
    return list(reversed(await emulated.emit(events)))


async def test_events_are_listed_newest_first_ten_at_a_time(emulated, client):
    ids = await noise(emulated, 12)
    page = await client.v1.events.list_async()
    assert [event.id for event in page.data] == ids[:10]
    assert page.has_more
    assert page.url == "/v1/events"


async def test_auto_paging_reads_every_event_once(emulated, client):
    ids = await noise(emulated, 25)
    page = await client.v1.events.list_async({"limit": 7})
    assert [event.id async for event in page.auto_paging_iter()] == ids


async def test_the_synchronous_client_pages_too(emulated):
    ids = await noise(emulated, 25)

    def read() -> list[str]:
        with blocking_sdk(emulated) as client:
            page = client.v1.events.list({"limit": 10})
            return [event.id for event in page.auto_paging_iter()]

    assert await asyncio.to_thread(read) == ids


async def test_paging_goes_backwards_from_a_cursor(emulated, client):
    ids = await noise(emulated, 9)
    page = await client.v1.events.list_async({"limit": 3, "ending_before": ids[5]})
    assert [event.id for event in page.data] == ids[2:5]
    assert page.has_more
    backwards = [event.id async for event in page.auto_paging_iter()]
    assert backwards == list(reversed(ids[:5]))


async def test_events_out_of_order_are_listed_by_their_time(emulated, client):
    old = await noise(emulated, 1, at=NOW - 500)
    older = await noise(emulated, 1, at=NOW - 900)
    new = await noise(emulated, 1, at=NOW - 100)
    page = await client.v1.events.list_async()
    assert [event.id for event in page.data] == new + old + older


async def test_created_bounds_include_or_exclude_their_second(emulated, client):
    ids = await noise(emulated, 10, at=NOW - 100)  # ids[0] at NOW-91 … ids[9] at NOW-100

    async def listed(created: object) -> list[str]:
        page = await client.v1.events.list_async({"created": created, "limit": 100})
        return [event.id for event in page.data]

    assert await listed({"gte": NOW - 93}) == ids[:3]
    assert await listed({"gt": NOW - 93}) == ids[:2]
    assert await listed({"lte": NOW - 99}) == ids[8:]
    assert await listed({"lt": NOW - 99}) == ids[9:]
    assert await listed({"gte": NOW - 95, "lt": NOW - 93}) == ids[3:5]
    assert await listed(NOW - 95) == [ids[4]]


async def test_events_are_filtered_by_type_and_by_types(emulated, client):
    await emulated.emit(stories.payment(Narrator(emulated.maker, from_start(NOW - 10 * 86_400)), "refunded"))

    async def types(**parameters: object) -> set[str]:
        page = await client.v1.events.list_async(parameters)
        return {event.type for event in page.data}

    assert await types(type="charge.refunded") == {"charge.refunded"}
    assert await types(type="charge.*") == {"charge.succeeded", "charge.refunded"}
    wanted = {"refund.created", "payment_intent.succeeded"}
    assert await types(types=sorted(wanted)) == wanted


async def test_arrays_may_be_written_without_an_index(emulated):
    await emulated.emit(stories.payment(Narrator(emulated.maker, from_start(NOW - 60)), "kept"))
    headers = {"Authorization": f"Bearer {DEFAULT_API_KEY}"}
    async with aiohttp.ClientSession(emulated.url, headers=headers) as session:
        parameters = [("types[]", "charge.succeeded"), ("types[]", "payment_intent.created")]
        async with session.get("/v1/events", params=parameters) as answer:
            listed = await answer.json()
    assert [event["type"] for event in listed["data"]] == ["charge.succeeded", "payment_intent.created"]
    assert listed["object"] == "list"


async def test_each_connected_account_has_its_own_events(emulated, client):
    own = await noise(emulated, 2)
    merchants = await noise(emulated, 3, MERCHANT)

    async def listed(account: str | None) -> list[str]:
        options: stripe.RequestOptions = {"stripe_account": account} if account else {}
        page = await client.v1.events.list_async(options=options)
        return [event.id for event in page.data]

    assert await listed(None) == own
    assert await listed(MERCHANT) == merchants
    assert await listed(OTHER) == []
    event = await client.v1.events.retrieve_async(merchants[0], options={"stripe_account": MERCHANT})
    assert event.account == MERCHANT
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.events.retrieve_async(merchants[0])


async def test_events_older_than_thirty_days_are_gone(emulated, client):
    expired = await noise(emulated, 1, at=NOW - 31 * 86_400)
    listed = await noise(emulated, 1, at=NOW - 29 * 86_400)
    page = await client.v1.events.list_async()
    assert [event.id for event in page.data] == listed
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        await client.v1.events.retrieve_async(expired[0])


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"limit": 101}, "limit"),
        ({"limit": 0}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"created": {"gte": "yesterday"}}, "created[gte]"),
        ({"starting_after": "evt_unknown"}, "starting_after"),
        ({"starting_after": "evt_a", "ending_before": "evt_b"}, "ending_before"),
        ({"type": "charge.failed", "types": ["charge.failed"]}, "types"),
        ({"types": ["charge.failed"] * 21}, "types"),
        ({"delivery_success": "maybe"}, "delivery_success"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_parameter_is_refused_by_its_name(client, parameters, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.events.list_async(parameters)
    assert refused.value.http_status == 400
    assert refused.value.param == param


async def test_objects_are_read_in_their_latest_state(emulated, client):
    events = list(stories.payment(Narrator(emulated.maker, from_start(NOW - 10 * 86_400), MERCHANT), "refunded"))
    await emulated.emit(reversed(events))  # Stripe promises no order; the latest state is the latest event's
    merchant: stripe.RequestOptions = {"stripe_account": MERCHANT}
    charge_id = next(event["data"]["object"]["id"] for event in events if event["type"] == "charge.refunded")
    charge = await client.v1.charges.retrieve_async(charge_id, options=merchant)
    assert charge.amount_refunded > 0
    assert isinstance(charge.payment_intent, str)
    intent = await client.v1.payment_intents.retrieve_async(charge.payment_intent, options=merchant)
    assert (intent.status, intent.latest_charge, intent.amount) == ("succeeded", charge_id, charge.amount)
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await client.v1.charges.retrieve_async(charge_id)
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


async def test_every_kind_of_object_can_be_read(emulated, client):
    narrator = Narrator(emulated.maker, from_start(NOW - 40 * 86_400))
    for story in (
        stories.payment(narrator, "disputed"),
        stories.payment(narrator, "refunded"),
        stories.checkout(narrator),
        stories.invoice(narrator),
        stories.payout(narrator),
        stories.transfer(narrator, MERCHANT),
    ):
        await emulated.emit(story_events := list(story))
        latest = {event["data"]["object"]["id"]: event["data"]["object"] for event in story_events}
        for object_id, last in latest.items():
            if last["object"] == "radar.early_fraud_warning":
                continue
            service = getattr(client.v1, "checkout" if last["object"] == "checkout.session" else f"{last['object']}s")
            service = service.sessions if last["object"] == "checkout.session" else service
            found = await service.retrieve_async(object_id)
            assert found.to_dict() == last


async def test_the_platform_and_its_connected_accounts_can_be_read(emulated, client):
    own = await client.v1.accounts.retrieve_current_async()
    assert own.id == "acct_1EmulatedPlatform"
    merchant = await client.v1.accounts.retrieve_current_async(options={"stripe_account": MERCHANT})
    assert merchant.id == MERCHANT
    page = await client.v1.accounts.list_async({"limit": 1})
    assert [account.id async for account in page.auto_paging_iter()] == [OTHER, MERCHANT]
    assert (await client.v1.accounts.retrieve_async(OTHER)).charges_enabled


async def test_a_thin_event_leads_to_its_full_event_and_its_object(emulated, client):
    narrator = Narrator(emulated.maker, from_start(NOW - 5), MERCHANT)
    merchant: stripe.RequestOptions = {"stripe_context": MERCHANT}
    thin = next(stories.meter_errors(narrator))
    await emulated.emit([thin])
    event = await client.v2.core.events.retrieve_async(thin["id"], options=merchant)
    assert event.type == "v1.billing.meter.error_report_triggered"
    assert event.data.reason.error_count == 1
    meter = await client.v1.billing.meters.retrieve_async(event.related_object.id, options=merchant)
    assert (meter.id, meter.object) == (thin["related_object"]["id"], "billing.meter")
    assert (await client.v1.events.list_async(options={"stripe_account": MERCHANT})).data == []


async def test_a_request_without_a_valid_key_is_refused(emulated):
    async with async_sdk(emulated, "sk_test_stranger") as stranger:
        with pytest.raises(stripe.AuthenticationError) as refused:
            await stranger.v1.events.list_async()
    assert refused.value.http_status == 401
    assert refused.value.request_id is not None
    basic = aiohttp.encode_basic_auth(DEFAULT_API_KEY, "")
    async with aiohttp.ClientSession(emulated.url) as session:
        async with session.get("/v1/events") as answer:
            assert answer.status == 401
            assert (await answer.json())["error"]["type"] == "invalid_request_error"
        async with session.get("/v1/events", headers={"Authorization": basic}) as answer:
            assert answer.status == 200
            assert answer.headers["Request-Id"].startswith("req_")


async def test_an_account_that_is_not_connected_is_forbidden(client):
    with pytest.raises(stripe.PermissionError, match="does not have access"):
        await client.v1.events.list_async(options={"stripe_account": "acct_1Stranger"})


async def test_an_address_that_is_not_emulated_says_so(emulated, client):
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        await client.v1.subscriptions.list_async()


async def test_requests_over_the_limit_are_refused_until_time_passes():
    async with EmulatedStripe(rate_limit=5) as emulated, async_sdk(emulated) as client:
        answers = [client.v1.events.list_async() for _ in range(12)]
        results = await asyncio.gather(*answers, return_exceptions=True)
        refused = [result for result in results if isinstance(result, stripe.RateLimitError)]
        assert 6 <= len(refused) <= 7
        assert '"code": "rate_limit"' in str(refused[0].http_body)
        await asyncio.sleep(0.25)
        await client.v1.events.list_async()


async def test_api_faults_appear_as_the_errors_of_the_sdk(emulated, client):
    emulated.faults = StripeFaults(api_error_rate=1.0)
    with pytest.raises(stripe.APIError):
        await client.v1.events.list_async()
    emulated.faults = StripeFaults(api_rate_limited=True, api_retry_after=7)
    with pytest.raises(stripe.RateLimitError) as limited:
        await client.v1.events.list_async()
    assert (limited.value.headers or {})["Retry-After"] == "7"
    emulated.faults = StripeFaults(api_down=True)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.events.list_async()
    emulated.faults = StripeFaults(api_latency=0.15)
    began = time.monotonic()
    await client.v1.events.list_async()
    assert time.monotonic() - began >= 0.15


async def test_the_status_page_stays_up_and_says_what_it_is_told(emulated):
    emulated.faults = StripeFaults(api_down=True)
    emulated.set_status("major", {"API": "major_outage"})
    async with aiohttp.ClientSession() as session, session.get(emulated.status_url) as answer:
        document = await answer.json()
    assert document["status"] == {"indicator": "major", "description": "Partial System Outage"}
    statuses = {component["name"]: component["status"] for component in document["components"]}
    assert statuses["API"] == "major_outage"
    assert statuses["Dashboard"] == "operational"


async def test_memory_is_bounded_by_forgetting_the_oldest_events():
    async with EmulatedStripe(max_events=100, clock=lambda: NOW) as emulated, async_sdk(emulated) as client:
        ids = await noise(emulated, 250)
        page = await client.v1.events.list_async({"limit": 100})
    assert [event.id for event in page.data] == ids[:100]


async def test_webhook_endpoints_are_listed_with_the_types_they_enable(emulated, client):
    own = emulated.add_endpoint("https://here.example/hooks", ["whsec_1"], enabled_events=["charge.failed"])
    connect = emulated.add_endpoint("https://here.example/hooks", ["whsec_2"], connect=True)
    emulated.set_endpoint(replace(own, enabled=False))
    page = await client.v1.webhook_endpoints.list_async({"limit": 1})
    listed = [endpoint async for endpoint in page.auto_paging_iter()]
    assert [(one.id, one.status, one.enabled_events) for one in listed] == [
        (connect.id, "enabled", ["*"]),
        (own.id, "disabled", ["charge.failed"]),
    ]
    assert [bool(one.application) for one in listed] == [True, False]


async def test_event_destinations_show_their_address_to_who_asks_for_it(emulated, client):
    emulated.add_endpoint("https://here.example/hooks", ["whsec_1"], connect=True)
    [redacted] = (await client.v2.core.event_destinations.list_async()).data
    [shown] = (await client.v2.core.event_destinations.list_async({"include": ["webhook_endpoint.url"]})).data
    assert (redacted.webhook_endpoint.url, shown.webhook_endpoint.url) == (None, "https://here.example/hooks")
    assert (shown.event_payload, shown.events_from, shown.status) == ("thin", ["@accounts"], "enabled")


async def test_thin_events_have_a_list_of_their_own_that_is_paged_by_address(emulated, client):
    snapshots = list(stories.payment(Narrator(emulated.maker, from_start(NOW - 60), MERCHANT), "kept"))
    thin = [emulated.maker.thin_twin(event) for event in snapshots]
    await emulated.emit([*snapshots, *thin])
    since, until = ("2027-01-15T07:59:00Z", "2027-01-15T08:00:00Z")
    page = await client.v2.core.events.list_async(
        {"limit": 2, "created": {"gte": since, "lt": until}}, {"stripe_context": MERCHANT}
    )
    assert [event.id for event in page.data] == [event["id"] for event in reversed(thin)][:2]
    assert page.next_page_url is not None
    found = await client.v2.core.events.list_async({"types": [thin[0]["type"]]}, {"stripe_context": MERCHANT})
    assert [event.id for event in found.data] == [thin[0]["id"]]
    assert (await client.v2.core.events.list_async()).data == [], "the platform's own"


async def test_a_cursor_that_is_too_old_is_no_event(emulated, client):
    [old] = await noise(emulated, 1, at=NOW - 31 * 86_400)
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        await client.v1.events.list_async({"starting_after": old})


async def test_a_removed_account_refuses(emulated, client):
    emulated.remove_account(OTHER)
    with pytest.raises(stripe.PermissionError) as refused:
        await client.v1.events.list_async({}, {"stripe_account": OTHER})
    assert refused.value.error is not None
    assert refused.value.error.code == "account_invalid"


def test_an_address_is_refused_before_it_is_open():
    with pytest.raises(StripeEmulatorError, match="async with"):
        _ = EmulatedStripe().url

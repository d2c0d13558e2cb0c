"""What is found of Twilio, on the emulated one and a real database."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import structlog
from structlog.testing import LogCapture

from holdfast.config import Settings
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.health.service import COMPONENTS
from holdfast.health.twilio_probe import TwilioProbe
from holdfast.voice import debugger_store, polling
from holdfast.voice.signals import ALERTS
from tests.voice.calls import OTHER, PHONE, alert, call, legs

SECONDS = [timedelta(seconds=second) for second in (0, 30, 60)]
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
async def twilio():
    async with EmulatedTwilio() as emulated:
        yield emulated


@asynccontextmanager
async def probing(twilio, pool, **more):
    given = {
        "twilio_account_sid": twilio.account_sid,
        "twilio_auth_token": twilio.auth_token,
        "twilio_api_url": twilio.url,
        "twilio_status_url": twilio.status_url,
    }
    async with aiohttp.ClientSession() as session:
        yield TwilioProbe(session, Settings(**(given | more)), pool)


async def number(pool, phone=PHONE, region="US"):
    await pool.execute("INSERT INTO number (phone, merchant_id, region) VALUES ($1, 1, $2)", phone, region)


async def test_a_healthy_twilio_passes_with_its_time(twilio, pool):
    async with probing(twilio, pool) as probe:
        (found,) = await probe.api()
    assert (found.key, found.status, found.unit) == ("twilio:api", "pass", "s")


async def test_a_twilio_that_fails_is_told_with_the_reason(twilio, pool):
    twilio.faults = TwilioFaults.of(Rule("api_error", status=503))
    async with probing(twilio, pool) as probe:
        (found,) = await probe.api()
    assert (found.status, "503" in found.output) == ("fail", True)


async def test_a_token_that_is_wrong_is_our_trouble_and_is_not_told(twilio, pool):
    async with probing(twilio, pool, twilio_auth_token="wrong-token") as probe:
        (found,) = await probe.api()
    assert (found.status, "our credentials" in found.output) == ("warn", True)
    assert "wrong-token" not in found.output


async def test_without_credentials_nothing_is_asked_and_all_is_unknown(twilio, pool):
    async with probing(twilio, pool, twilio_auth_token=None) as probe:
        found = [*await probe.api(), *await probe.status_page()]
        assert await probe.debugger(NOW) == 0
    assert {(one.key, one.status) for one in found} == {
        ("twilio:api", "unknown"),
        ("twilio:statusPage", "unknown"),
        ("twilio:components", "unknown"),
    }
    assert "HOLDFAST_TWILIO_AUTH_TOKEN" in found[0].output
    assert "twilio" in COMPONENTS


async def test_an_outage_where_we_have_no_numbers_is_told_and_does_not_fail(twilio, pool):
    await number(pool)
    twilio.set_status("major", {"Voice, Germany": "major_outage"})
    async with probing(twilio, pool) as probe:
        overall, components = await probe.status_page()
    assert (overall.status, overall.observed) == ("warn", "major")
    assert (components.status, components.observed) == ("pass", "operational")


async def test_an_outage_of_what_our_numbers_depend_on_fails(twilio, pool):
    await number(pool)
    twilio.set_status("major", {"Voice, United States": "major_outage", "Voice, Germany": "major_outage"})
    async with probing(twilio, pool) as probe:
        overall, components = await probe.status_page()
    assert (overall.status, components.status, components.observed) == ("fail", "fail", "major_outage")
    assert "Voice, United States: major_outage" in components.output
    assert "Germany" not in components.output


async def test_a_status_page_that_cannot_be_read_is_unknown(twilio, pool):
    async with probing(twilio, pool, twilio_status_url="http://127.0.0.1:9/summary.json") as probe:
        assert {one.status for one in await probe.status_page()} == {"unknown"}


async def test_what_we_see_of_calls_is_a_check(pool, twilio):
    async with probing(twilio, pool) as probe:
        assert [one.status for one in await probe.calls(NOW)] == ["unknown"]
        await legs(pool, "+14155550111", "A" * 20)
        assert [one.status for one in await probe.calls(NOW)] == ["pass"]
        await legs(pool, "+14155550112", "FFFFF")
        (ailing,) = await probe.calls(NOW)
        assert (ailing.status, "Some targets fail" in ailing.output) == ("warn", True)
        for target in ("+4930100", "+4930101"):
            for phone in (PHONE, OTHER):
                await legs(pool, target, "FFFF", region="DE", phone=phone)
        assert [one.status for one in await probe.calls(NOW)] == ["fail"]


async def test_alerts_are_fetched_stored_and_counted_once_and_told_with_their_call(twilio, pool):
    sid = await call(pool, "failed")
    await pool.execute(
        "INSERT INTO leg (call_sid, target, place, phone, region, outcome, at) "
        "VALUES ($1, '+14155550111', 1, $2, 'US-CA', 'failed', $3)",
        sid,
        PHONE,
        NOW,
    )
    twilio.raise_alert(11200, sid)
    twilio.raise_alert(32011, sid)
    now = datetime.now(UTC) + timedelta(seconds=2)
    before = ALERTS.values.get(("ours", "voice", "11200"), 0)
    async with probing(twilio, pool) as probe, probing(twilio, pool) as another:
        assert await probe.debugger(now) == 2
        assert await another.debugger(now) == 0
        assert await probe.debugger(now + timedelta(seconds=30)) == 0
    kept = await debugger_store.alerts(pool, now - timedelta(hours=1), now)
    assert {(one.code, one.phone, one.region, one.target) for one in kept} == {
        (11200, PHONE, "US", None),
        (32011, PHONE, "US-CA", "+14155550111"),
    }
    assert ALERTS.values["ours", "voice", "11200"] == before + 1
    (first, _) = await debugger_store.by_code(pool, now - timedelta(hours=1), now)
    assert (first.code, first.count, first.phones) == (11200, 1, 1)


async def test_a_subaccounts_debugger_is_asked_with_its_own_token(twilio, pool):
    sid = "AC" + "5" * 32
    twilio.add_subaccount(sid, "sub-token")
    twilio.raise_alert(12100, account=sid)
    await pool.execute("INSERT INTO twilio_account VALUES ($1, 'sub', 1, 'sub-token')", sid)
    async with probing(twilio, pool) as probe:
        assert await probe.debugger(datetime.now(UTC) + timedelta(seconds=2)) == 1


async def test_alerts_about_other_programs_addresses_are_kept_apart_whether_polled_or_pushed(twilio, pool):
    ours, former, moved = "https://ours.example", "https://former.example", "https://moved.example"
    await pool.execute("INSERT INTO repoint (base, actor, began_at) VALUES ($1, 'ann', $2)", moved, NOW)
    urls = (
        f"{ours}/hooks/twilio/voice",
        f"{former}/hooks/twilio/voice/status?place=1",
        f"{moved}/hooks/twilio/voice",
        "",
        "https://sms.example/hooks/twilio/voice",
        "https://webhooks.twilio.com/v1/Accounts/AC1/Flows/FW1",
        "https://ours.example/shop/sms",
    )
    for url in urls:
        twilio.raise_alert(11200).request_url = url
    before = ALERTS.values.get(("other", "voice", "11200"), 0)
    now = datetime.now(UTC) + timedelta(seconds=2)
    async with probing(twilio, pool, public_url=ours, former_public_urls=(former,)) as probe:
        assert await probe.debugger(now) == len(urls)
    kept = await debugger_store.alerts(pool, now - timedelta(hours=1), now)
    assert {one.url for one in kept if one.is_foreign} == set(urls[4:])
    assert ALERTS.values["other", "voice", "11200"] == before + 3
    counted = await debugger_store.by_code(pool, now - timedelta(hours=1), now)
    assert [(one.code, one.is_foreign, one.count) for one in counted] == [(11200, False, 4), (11200, True, 3)]


async def test_a_subaccount_that_refuses_us_blinds_none_of_the_others_and_is_told(twilio, pool, monkeypatch):
    logs = LogCapture()
    every_level = structlog.make_filtering_bound_logger(0)
    monkeypatch.setattr(polling, "log", structlog.wrap_logger(None, processors=[logs], wrapper_class=every_level))
    broken, well = "AC" + "5" * 32, "AC" + "6" * 32
    for sid in (broken, well):
        twilio.add_subaccount(sid, "sub-token")
        twilio.raise_alert(12100, account=sid)
        await pool.execute("INSERT INTO twilio_account VALUES ($1, 'sub', 1, 'sub-token')", sid)
    await pool.execute("UPDATE twilio_account SET auth_token = 'not-theirs-any-more' WHERE sid = $1", broken)
    now = datetime.now(UTC) + timedelta(seconds=2)
    async with probing(twilio, pool) as probe:
        assert [one.status for one in probe.debuggers()] == ["unknown"], "not asked yet"
        assert [await probe.debugger(now + second) for second in SECONDS] == [1, 0, 0]
        (found,) = probe.debuggers()
        assert (found.key, found.status, found.observed) == ("twilio:debugger", "warn", 1)
        assert f"1 of 3 accounts cannot be asked, such as that of {broken}" in found.output
        assert [(one["event"], one["account"]) for one in logs.entries] == [("debugger.cannot_be_asked", broken)], (
            "said once"
        )
        await pool.execute("UPDATE twilio_account SET auth_token = 'sub-token'")
        assert await probe.debugger(now + timedelta(hours=2)) == 1, "from where it was left"
        assert [one["event"] for one in logs.entries[1:]] == ["debugger.answers_again"]
        assert [one.status for one in probe.debuggers()] == ["pass"]


async def test_a_subaccount_that_is_gone_is_told_no_more(twilio, pool):
    sid = "AC" + "5" * 32
    await pool.execute("INSERT INTO twilio_account VALUES ($1, 'sub', 1, 'sub-token')", sid)
    async with probing(twilio, pool) as probe:
        await probe.debugger(NOW)
        assert [one.status for one in probe.debuggers()] == ["warn"]
        await pool.execute("DELETE FROM twilio_account")
        await probe.debugger(NOW)
        assert [one.status for one in probe.debuggers()] == ["pass"]


async def test_a_debugger_that_is_away_is_no_error(twilio, pool):
    twilio.faults = TwilioFaults.of(Rule("api_error", status=500))
    await alert(pool, 11200)
    async with probing(twilio, pool, twilio_api_url="http://127.0.0.1:9") as probe:
        assert await probe.debugger(NOW) == 0
        (found,) = probe.debuggers()
    assert (found.status, "of the main account" in found.output) == ("warn", True)

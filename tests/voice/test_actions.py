"""What the runbook of an outage does about calls: sees, leads round, takes messages, tries, and watches."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.config import Settings
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.health.model import Finding
from holdfast.health.restoration import watch_restoration
from holdfast.incidents import store as incidents
from holdfast.levers import store as levers
from holdfast.levers.actions import bring_back, levers_off
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Run, Waiting
from holdfast.runbooks.model import Step
from holdfast.voice import store
from holdfast.voice.actions import affected, caller_id_pool, debugger, isolated, redistribute, voicemail_only
from holdfast.voice.model import Dial, LineHealth, Plan, PlanTarget
from holdfast.voice.redistributing import proposal, read
from holdfast.voice.routing import decide
from holdfast.voice.trial_actions import residual, try_calls
from tests.voice import calls as kept
from tests.voice.lines import line, snapshot

MINUTE = timedelta(minutes=1)
ONE, TWO, THREE = "+14155550100", "+14155550101", "+442079460100"
DESK, MOBILE, LONDON = "+14155550111", "+14155550112", "+442079460111"
SETTINGS = Settings(_env_file=None)


@pytest.fixture
def now():
    """Actions turn levers in the store's time."""
    return datetime.now(UTC)


@pytest.fixture
async def run(pool, now) -> Run:
    await incidents.keep_text(pool, "twilio-1", "twilio-outage", "# text", now)
    made = await incidents.insert(
        pool,
        runbook="twilio-outage",
        version="twilio-1",
        scope="",
        title="Calls fail",
        severity="critical",
        cause="",
        since=now - 10 * MINUTE,
        opened_by="holdfast",
        commander=None,
        affected={},
        now=now - 10 * MINUTE,
    )
    assert made is not None
    step = Step("voice.watch_restoration", "check", "recovery", "1", "Watch", 1, "voice.watch_restoration")
    await steps.add(pool, made.id, [step])
    return Run(pool, SETTINGS, made, "step", 1, now)


async def bakery(pool, **targets: str) -> int:
    """A bakery with a number for each, whose plan rings these, in order: `one="desk mobile"`."""
    named = {"one": ONE, "two": TWO, "three": THREE}
    places = {"desk": DESK, "mobile": MOBILE, "london": LONDON}
    owner = await merchants.insert(pool, NewMerchant("bakery", "Bakery", "o@bakery.example", None))
    regions = {ONE: "US", TWO: "US", THREE: "GB"}
    await number_store.put(pool, [NewNumber(named[one], owner.id, regions[named[one]]) for one in targets])
    plans = {
        named[one]: Plan(tuple(PlanTarget(places[name]) for name in rung.split())) for one, rung in targets.items()
    }
    await store.put_plans(pool, plans, changed_by="ann")
    return owner.id


async def fails(pool, now, target, count=12, *, region="US", phone=ONE):
    await kept.legs(pool, target, "F" * count, region=region, phone=phone, at=now - 5 * MINUTE)


async def works(pool, now, target, count=12, *, region="US", phone=ONE):
    await kept.legs(pool, target, "A" * count, region=region, phone=phone, at=now - 5 * MINUTE)


async def turned(pool) -> dict[str, object]:
    return {f"{one.name} {one.target}".strip(): one.value for one in await levers.current(pool)}


async def offered(action, run, **parameters):
    assert action.offers is not None
    return await action.offers(run, **parameters)


async def said(function, run, **parameters):
    assert function is not None
    return await function(run, **parameters)


# Seeing


async def test_the_debuggers_errors_are_told_with_their_meaning_and_whose_they_are(pool, run, now):
    assert (await debugger.run(run)).said.startswith("Twilio's Debugger has no alert")
    for _ in range(3):
        await kept.alert(pool, 32011, at=now - MINUTE, phone=ONE, region="US")
    await kept.alert(pool, 11200, at=now - MINUTE)
    outcome = await debugger.run(run)
    assert outcome.said.startswith("4 alerts: 3 x 32011 (")
    assert "carrier 3, ours 1" in outcome.said
    first = outcome.evidence["codes"][0]
    assert (first["code"], first["regions"], first["numbers"]) == (32011, ["US"], [ONE])


async def test_how_far_it_reaches_is_told_with_what_is_ill(pool, run, now):
    await works(pool, now, MOBILE)
    await fails(pool, now, DESK)
    outcome = await isolated.run(run)
    assert outcome.evidence["extent"] == "targets"
    assert [one["target"] for one in outcome.evidence["ill"]] == [DESK]


async def test_affected_merchants_are_named_with_figures(pool, run, now):
    assert (await affected.run(run)).evidence == {"merchants": []}
    owner = await bakery(pool, one="desk")
    for outcome in ("missed", "failed", "person"):
        await kept.call(pool, outcome, merchant_id=owner, at=now - 5 * MINUTE)
    found = await affected.run(run)
    assert found.said.startswith("1 merchant (bakery): 1 calls failed, 1 missed")
    assert found.evidence["merchants"][0]["calls"] == 3


# Round what fails


def ill(kind, key, failed=12) -> LineHealth:
    return LineHealth(kind, key, failed, 0, failed, 0.7, 1.0, "ill", {}, None)


def test_calls_go_round_a_target_where_another_is_left():
    found = proposal(snapshot([line(ONE, DESK, MOBILE), line(TWO, DESK, merchant_id=2)]), [ill("target", DESK)])
    (one,) = found.chosen
    assert (str(one.target), one.lines, one.left) == (f"target:{DESK}", 2, 1)


def test_never_is_everything_gone_round():
    only = snapshot([line(ONE, DESK), line(TWO, DESK, merchant_id=2)])
    assert proposal(only, [ill("target", DESK)]).chosen == ()
    both = snapshot([line(ONE, DESK, MOBILE)])
    found = proposal(both, [ill("target", DESK), ill("target", MOBILE)])
    assert found.chosen == ()
    assert all(why.endswith("taking messages is the way") for why in found.refused.values())


def test_another_line_of_the_merchants_is_somebody():
    own = snapshot([line(ONE, DESK), line(TWO, MOBILE)])
    assert [str(one.target) for one in proposal(own, [ill("target", DESK)]).chosen] == [f"target:{DESK}"]


def test_a_region_explains_its_targets():
    lines = snapshot([line(ONE, DESK, LONDON)])
    found = proposal(lines, [ill("target", DESK), ill("region", "US")])
    assert [str(one.target) for one in found.chosen] == ["region:US"]


def test_a_number_is_not_shown_where_another_stands_in():
    alone = snapshot([line(ONE, DESK)])
    assert proposal(alone, [ill("number", ONE)]).refused[f"number:{ONE}"].startswith("no other number stands in")
    helped = snapshot([line(ONE, DESK), line(TWO, DESK, stands_in=True)])
    assert [str(one.target) for one in proposal(helped, [ill("number", ONE)]).chosen] == [f"number:{ONE}"]


def test_what_is_gone_round_already_is_left_so():
    lines = snapshot([line(ONE, DESK, MOBILE)], {f"voice.avoid target:{DESK}": 100})
    found = proposal(lines, [ill("target", DESK)])
    assert (found.chosen, [str(one.target) for one in found.standing]) == ((), [f"target:{DESK}"])


async def test_failing_targets_are_gone_round_once_with_figures_and_whom_it_touches(pool, run, now):
    await bakery(pool, one="desk mobile")
    await fails(pool, now, DESK)
    await works(pool, now, MOBILE)
    outcome = await redistribute.run(run)
    assert isinstance(outcome, Done)
    assert outcome.said.startswith(f"calls go round target:{DESK}: 12 of 12 could not be put through")
    (shown,) = outcome.evidence["turned"]
    assert (shown["avoid"], shown["tried"], shown["touches"].startswith("1 number of Bakery")) == (
        f"target:{DESK}",
        12,
        True,
    )
    assert await turned(pool) == {f"voice.avoid target:{DESK}": 100}
    assert len(await levers_off(pool, run.incident.id)) == 1
    assert await said(redistribute.verifies, run) is True
    again = await redistribute.run(replace(run, now=now + timedelta(seconds=5)))
    assert isinstance(again, NotApplicable), "nothing new has failed since"


async def test_what_falls_ill_later_is_gone_round_too(pool, run, now):
    await bakery(pool, one="desk mobile london")
    await fails(pool, now, DESK)
    await redistribute.run(run)
    await fails(pool, now, MOBILE)
    await redistribute.run(replace(run, now=now + timedelta(seconds=5)))
    assert set(await turned(pool)) == {f"voice.avoid target:{DESK}", f"voice.avoid target:{MOBILE}"}


async def test_old_failures_do_not_undo_what_is_being_brought_back(pool, run, now):
    await bakery(pool, one="desk mobile")
    await fails(pool, now, DESK)
    await redistribute.run(run)
    await said(redistribute.undoes, run)
    assert await turned(pool) == {}
    later = replace(run, now=datetime.now(UTC) + timedelta(seconds=30))
    assert isinstance(await redistribute.run(later), NotApplicable)
    await kept.legs(pool, DESK, "F" * 12, phone=ONE, at=later.now - timedelta(seconds=20))
    assert isinstance(await redistribute.run(later), Done)


async def test_what_its_region_explains_is_not_gone_round_once_more(pool, run, now):
    await bakery(pool, one="desk mobile london")
    for target in (DESK, MOBILE, "+14155550113"):
        for phone in (ONE, TWO, "+14155550102"):
            await fails(pool, now, target, 8, phone=phone)
    await works(pool, now, LONDON, 40, region="GB")
    await redistribute.run(run)
    assert await turned(pool) == {"voice.avoid region:US": 100}
    later = replace(run, now=datetime.now(UTC) + timedelta(seconds=20))
    assert isinstance(await redistribute.run(later), NotApplicable)
    assert isinstance(await offered(voicemail_only, later), Waiting), "it is watched whether that is enough"
    watched = replace(run, now=datetime.now(UTC) + 2 * MINUTE)
    assert isinstance(await offered(voicemail_only, watched), Waiting), "nothing has failed since"
    await kept.legs(pool, LONDON, "F" * 40, region="GB", at=watched.now - timedelta(seconds=50))
    for target in ("+442079460112", "+442079460113"):
        for phone in (ONE, TWO, "+14155550102"):
            await kept.legs(pool, target, "F" * 9, region="GB", phone=phone, at=watched.now - timedelta(seconds=50))
    assert await offered(voicemail_only, watched) is None


async def test_where_nobody_is_left_messages_are_said_to_be_the_way(pool, run, now):
    await bakery(pool, one="desk")
    await fails(pool, now, DESK)
    outcome = await redistribute.run(run)
    assert isinstance(outcome, NotApplicable)
    assert outcome.said.endswith("taking messages is the way")
    assert await turned(pool) == {}


async def test_who_has_nobody_else_rings_on_where_a_region_is_gone_round_for_others(pool, run, now):
    owner = await bakery(pool, one="desk london", three="london")
    alone = [f"+14155550{n}" for n in range(200, 240)]
    florist = await merchants.insert(pool, NewMerchant("florist", "Florist", None, None))
    await number_store.put(pool, [NewNumber(phone, florist.id, "US") for phone in alone])
    await store.put_plans(pool, {phone: Plan((PlanTarget(MOBILE),)) for phone in alone}, changed_by="ann")
    assert owner != florist.id
    for target in (DESK, MOBILE, "+14155550113"):
        for phone in (ONE, TWO, alone[0]):
            await fails(pool, now, target, 8, phone=phone)
            await works(pool, now, target, 4, phone=phone)
    await works(pool, now, LONDON, 60, region="GB")
    outcome = await redistribute.run(run)
    assert isinstance(outcome, Done)
    assert outcome.said.endswith("; 40 numbers that ring them have nobody else, and ring them all the same")
    told = decide(await read(pool, now), alone[1], call_sid="CA1", tried=(), now=now)
    assert isinstance(told, Dial)
    assert told.target.address == MOBILE


async def test_a_fault_of_our_own_is_not_led_round(pool, run, now):
    await bakery(pool, one="desk mobile")
    for _ in range(5):
        await kept.alert(pool, 11200, at=now - MINUTE)
    outcome = await redistribute.run(run)
    assert isinstance(outcome, NotApplicable)
    assert "would not help" in outcome.said
    assert isinstance(await offered(voicemail_only, run), NotApplicable)


# Messages instead


async def everything_fails(pool, now):
    await bakery(pool, one="desk mobile", three="london")
    for target in (DESK, MOBILE, "+14155550113"):
        for phone in (ONE, TWO, "+14155550102"):
            await fails(pool, now, target, 8, phone=phone)
    for target in (LONDON, "+442079460112", "+442079460113"):
        for phone in (THREE, "+442079460101", "+442079460102"):
            await fails(pool, now, target, 8, region="GB", phone=phone)


async def test_nobody_is_asked_for_voicemail_while_calls_are_answered(pool, run, now):
    await bakery(pool, one="desk")
    await works(pool, now, DESK)
    assert isinstance(await offered(voicemail_only, run), Waiting), "it may still come to that"
    over = replace(run, incident=replace(run.incident, calm_at=now))
    assert isinstance(await offered(voicemail_only, over), NotApplicable)


async def test_where_everything_fails_all_go_to_voicemail_and_whom_it_touches_is_shown_before(pool, run, now):
    await everything_fails(pool, now)
    assert await offered(voicemail_only, run) is None
    draft = await said(voicemail_only.drafts, run)
    assert "- all numbers: 2 numbers of Bakery" in draft
    assert await turned(pool) == {}
    outcome = await voicemail_only.run(run)
    assert isinstance(outcome, Done)
    assert await turned(pool) == {"voice.voicemail_only": 100}
    assert await said(voicemail_only.verifies, run) is True
    assert isinstance(await voicemail_only.run(run), NotApplicable)
    assert await said(voicemail_only.undoes, run) == "targets are rung again"
    assert await turned(pool) == {}


async def test_where_a_region_fails_only_its_numbers_do(pool, run, now):
    await everything_fails(pool, now)
    await works(pool, now, LONDON, 300, region="GB", phone=THREE)
    await voicemail_only.run(run)
    assert await turned(pool) == {"voice.voicemail_only region:US": 100}


async def test_a_scope_may_be_named(pool, run, now):
    owner = await bakery(pool, one="desk")
    assert await offered(voicemail_only, run, scope="merchant:bakery") is None
    assert "- merchant bakery: 1 number" in await said(voicemail_only.drafts, run, scope="merchant:bakery")
    await voicemail_only.run(run, scope="merchant:bakery")
    await voicemail_only.run(run, scope=f"number:{ONE}")
    assert set(await turned(pool)) == {
        f"voice.voicemail_only merchant:{owner}",
        f"voice.voicemail_only number:{ONE}",
    }
    for wrong in ("merchant:none", "region:", "somewhere"):
        assert isinstance(await voicemail_only.run(run, scope=wrong), Failed)


async def test_a_merchants_lever_comes_back_in_batches_too(pool, run, now):
    await bakery(pool, one="desk")
    await voicemail_only.run(run, scope="merchant:bakery")
    outcome = await bring_back.run(run, only="voice.voicemail_only")
    assert (type(outcome), "brings voice.voicemail_only merchant:" in outcome.said) == (Waiting, True)


async def test_another_number_is_shown_only_where_ours_are_refused_and_one_stands_in(pool, run, now):
    owner = await bakery(pool, one="desk mobile", two="london")
    assert isinstance(await offered(caller_id_pool, run), NotApplicable)
    await number_store.put(pool, [NewNumber(TWO, owner, "US", stands_in=True)])
    assert isinstance(await offered(caller_id_pool, run), Waiting)
    await fails(pool, now, DESK, 8)
    await fails(pool, now, MOBILE, 8)
    await fails(pool, now, LONDON, 8, region="GB")
    for target in (DESK, MOBILE):
        await works(pool, now, target, 60, phone=TWO)
    assert await offered(caller_id_pool, run) is None
    await caller_id_pool.run(run)
    assert await turned(pool) == {"voice.caller_id_pool region:US": 100}


# Back


async def test_restoration_wants_api_and_calls_to_be_well_for_a_while(pool, run, now):
    watching = replace(run, step="voice.watch_restoration")
    await everything_fails(pool, now + 4 * MINUTE)
    outcome = await watch_restoration.run(watching)
    assert (type(outcome), outcome.said.startswith("not yet well: calls:")) == (Waiting, True)
    for minute, done in ((10, False), (11, False), (12, False), (13, False), (14, False), (15, True)):
        outcome = await watch_restoration.run(replace(watching, now=now + minute * MINUTE))
        assert isinstance(outcome, Done if done else Waiting), outcome.said
        await steps.put(
            pool, run.incident.id, watching.step, "waiting", said="", now=now, actor=None, evidence=outcome.evidence
        )


async def test_the_status_page_makes_the_while_longer_and_never_endless(pool, run, now, monkeypatch):
    async def says(_probe):
        return [Finding("twilio", "components", "warn", None, "", "", "Voice, United States: partial_outage")]

    monkeypatch.setattr("holdfast.health.twilio_probe.TwilioProbe.status_page", says)
    watching = replace(run, step="voice.watch_restoration")
    for minute in range(0, 17):
        outcome = await watch_restoration.run(replace(watching, now=now + minute * MINUTE))
        assert isinstance(outcome, Done if minute >= 15 else Waiting), outcome.said
        assert "partial_outage" in outcome.said
        await steps.put(
            pool, run.incident.id, watching.step, "waiting", said="", now=now, actor=None, evidence=outcome.evidence
        )


async def test_a_look_that_was_missed_begins_the_while_anew(pool, run, now):
    watching = replace(run, step="voice.watch_restoration")
    for minute in (0, 10):
        outcome = await watch_restoration.run(replace(watching, now=now + minute * MINUTE))
        assert isinstance(outcome, Waiting)
        await steps.put(
            pool, run.incident.id, watching.step, "waiting", said="", now=now, actor=None, evidence=outcome.evidence
        )


async def test_call_flows_cannot_be_tested_without_numbers_or_token(pool, run, now):
    assert isinstance(await try_calls.run(run), NotApplicable)
    await bakery(pool, one="desk")
    outcome = await try_calls.run(run)
    assert (type(outcome), "HOLDFAST_TWILIO_ACCOUNT_SID" in outcome.said) == (Failed, True)


def at_door(url, listen="127.0.0.1:9") -> Settings:
    account = "AC" + "1" * 32
    return Settings(
        _env_file=None, public_url=url, listen=listen, twilio_account_sid=account, twilio_auth_token="token"
    )


async def test_a_flow_that_goes_wrong_is_named_with_its_step(pool, run, now):
    await bakery(pool, one="desk", two="mobile")
    await kept.call(pool, "missed", phone=TWO, at=now - 5 * MINUTE)
    async with EmulatedTwilio() as something:
        outcome = await try_calls.run(replace(run, settings=at_door(something.url)), count=1)
    assert isinstance(outcome, Failed)
    assert outcome.said.startswith(f"a call to {TWO} goes wrong at step 1, /hooks/twilio/voice: it answered 401")


async def test_what_cannot_be_reached_from_here_is_no_failure_where_calls_are_seen_to_be_answered(pool, run, now):
    await bakery(pool, one="desk")
    away = replace(run, settings=at_door("http://127.0.0.1:9"))
    outcome = await try_calls.run(away)
    assert (type(outcome), "real calls do not show that it answers" in outcome.said) == (Failed, True)
    for became in ("person", "voicemail", "failed"):
        await kept.call(pool, became, at=now - 5 * MINUTE)
    outcome = await try_calls.run(away)
    assert isinstance(outcome, NotApplicable)
    assert outcome.said.startswith("call flows cannot be tested from here (http://127.0.0.1:9 cannot be reached")
    assert "of 3 calls that ended in the last 15 min, 1 failed" in outcome.said
    for _ in range(3):
        await kept.call(pool, "failed", at=now - 5 * MINUTE)
    assert isinstance(await try_calls.run(away), Failed)


async def test_where_our_own_public_url_drops_packets_the_door_itself_is_tried(pool, run, now, monkeypatch):
    """As where a router does not send packets back to where they come from."""
    monkeypatch.setattr("holdfast.voice.testing.CONNECTS", 0.2)
    await bakery(pool, one="desk", two="mobile")
    with dropping() as url:
        outcome = await try_calls.run(replace(run, settings=at_door(url)))
        assert (type(outcome), f"{url} cannot be reached" in outcome.said) == (Failed, True)
        async with EmulatedTwilio() as door:
            here = at_door(url, listen=door.url.removeprefix("http://"))
            outcome = await try_calls.run(replace(run, settings=here))
    assert "it answered 401" in outcome.said, "the door itself was asked"


@contextmanager
def dropping() -> Iterator[str]:
    """An address where nobody takes connections, and nobody refuses them."""
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


async def test_nothing_is_left_once_calls_go_as_usual_for_a_while(pool, run, now):
    owner = await bakery(pool, one="desk mobile")
    for days in range(1, 4):
        for became in ("person", "person", "person", "missed"):
            await kept.call(pool, became, merchant_id=owner, at=now - timedelta(days=days))
    await voicemail_only.run(run, scope="all")
    await said(voicemail_only.undoes, run)
    later = datetime.now(UTC)
    for _ in range(20):
        await kept.call(pool, "missed", merchant_id=owner, at=later + MINUTE)
    outcome = await residual.run(replace(run, now=later + 2 * MINUTE))
    assert (type(outcome), "more than the usual 25.0%" in outcome.said) == (Waiting, True)
    for _ in range(60):
        await kept.call(pool, "person", merchant_id=owner, at=later + 3 * MINUTE)
    outcome = await residual.run(replace(run, now=later + 4 * MINUTE))
    assert (type(outcome), outcome.said.startswith("well for")) == (Waiting, True)
    assert isinstance(await residual.run(replace(run, now=later + 11 * MINUTE)), Done)


async def usual(pool, run):
    outcome = await residual.run(run)
    await steps.put(
        pool, run.incident.id, run.step, "waiting", said="", now=run.now, actor=None, evidence=outcome.evidence
    )
    return outcome.evidence["usual_share"]


async def test_what_is_usual_is_that_of_a_day_without_an_outage_of_its_own_and_is_read_once(pool, run, now):
    watching = replace(run, step="voice.watch_restoration")
    owner = await bakery(pool, one="desk")
    for days in range(1, 6):
        for became in ("person", "person", "person", "missed", "voicemail"):
            await kept.call(pool, became, merchant_id=owner, at=now - timedelta(days=days, hours=-6))
    for _ in range(200):
        await kept.call(pool, "failed", merchant_id=owner, at=now - timedelta(days=6, hours=-6))
    assert await usual(pool, watching) == 0.2
    await pool.execute("DELETE FROM call")
    assert await usual(pool, watching) == 0.2, "kept with the step"


async def test_what_is_still_ill_is_an_issue(pool, run, now):
    await bakery(pool, one="desk mobile")
    await works(pool, now, MOBILE)
    await fails(pool, now, DESK)
    outcome = await residual.run(run)
    assert (type(outcome), "Some targets fail" in outcome.said) == (Waiting, True)

"""A Twilio outage from fault to review: a region fails, calls go round it, and come back when it is well again."""

import asyncio
import time

import pytest

from holdfast.drills import call_town
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from tests.e2e.incidents import CALL_SPEED, Story, story


@pytest.mark.timeout(900)
async def test_a_region_that_fails_is_seen_gone_round_told_of_tested_and_brought_back(place):
    async with story(place, "twilio-outage", rate=2.0, calls=8.0) as told:
        told.twilio.faults = TwilioFaults.of(Rule("leg_fails", region=call_town.EAST))
        told.twilio.set_status("major", {"Voice, United States": "partial_outage"})
        failed = time.time()
        try:
            await told.until_incident()
            await told.until_step("voice.redistribute", "done", "waiting")
            told.kill_watch()
            await asyncio.sleep(2.0)
            gone_round = time.time()
            await told.until_step("comms.notify_merchants", "done")
            await asyncio.sleep(4.0)
            until = time.time()
            await calls_are_over()
            assert person(told, gone_round, until) > person(told, failed, gone_round - 2.0) + 0.2
        finally:
            told.twilio.faults = TwilioFaults()
            told.twilio.set_status("none", {"Voice, United States": "operational"})
        await told.until_step("voice.test_calls", "done")
        told.kill_watch()
        await told.until_state("resolved")
        await told.until_step("runbook-verdict", "done")
        incident = await told.check()
        steps = {row.key: row for row in await told.steps()}
        assert call_town.EAST in steps["voice.isolation"].said
        assert steps["voice.redistribute"].state in ("done", "undone")
        await told.check_the_review(incident)


async def calls_are_over() -> None:
    await asyncio.sleep(200 / CALL_SPEED)


def person(told: Story, since: float, until: float) -> float:
    """The share of calls that were answered by a person."""
    found = told.twilio.shares(since, until)
    assert found.calls > 10
    assert found.error == 0
    return found.person

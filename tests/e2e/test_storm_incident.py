"""A Stripe retry storm from fault to review: Stripe sends everything again and again, and the runbook runs."""

import asyncio

import pytest

from tests.e2e.incidents import story


@pytest.mark.timeout(900)
async def test_a_storm_is_seen_contained_told_of_verified_and_reviewed(place):
    async with story(place, "stripe-retry-storm") as told:
        told.stripe.set_status("major", {"Webhooks": "partial_outage"})
        over = asyncio.get_running_loop().create_future()
        storm = asyncio.create_task(told.stripe.storm(10, over))
        try:
            await told.until_incident()
            await told.until_step("levers.critical_first", "done")
            await told.until_step("levers.slow_retries", "done")
            told.kill_watch()
            await told.until_step("health.stripe", "done")
        finally:
            over.set_result(None)
            await storm
            told.stripe.set_status("none")
        await told.until_step("levers.bring_back", "done", "waiting")
        told.kill_watch()
        await told.until_state("resolved")
        await told.until_step("runbook-verdict", "done")
        await told.until_step("comms.prepare_customer_notice", "done", "not applicable")
        incident = await told.check()
        steps = {row.key: row for row in await told.steps()}
        assert "Stripe has trouble" in steps["health.stripe"].said
        assert incident.cause == "stripe"
        await told.check_the_review(incident)

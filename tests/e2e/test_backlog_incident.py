"""A webhook backlog from fault to review: a worker hangs, the runbook runs, merchants hear of it, nothing is lost."""

import pytest

from tests.e2e.incidents import story


@pytest.mark.timeout(900)
async def test_a_hanging_worker_is_seen_worked_around_told_of_verified_and_reviewed(place):
    async with story(place, "webhook-backlog") as told:
        hung = told.worker()
        hung.suspend()
        try:
            await told.until_incident()
            await told.until_step("health.add_workers", "done")
            await told.until_step("comms.notify_merchants", "done")
            told.kill_watch()
            await told.until_step("health.drained", "done")
        finally:
            hung.resume()
        await told.until_step("levers.bring_back", "done", "waiting")
        told.kill_watch()
        await told.until_state("resolved")
        await told.until_step("runbook-verdict", "done")
        await told.until_step("comms.prepare_customer_notice", "done", "not applicable")
        incident = await told.check()
        assert {row.key: row.state for row in await told.steps()}["health.add_workers"] == "done"
        await told.check_the_public(incident)
        await told.check_the_review(incident)

"""A webhook backlog from fault to review: a worker hangs, the runbook runs, merchants hear of it, nothing is lost."""

from tests.e2e.incidents import story


async def test_a_hanging_worker_is_seen_worked_around_told_of_verified_and_reviewed(place):
    async with story(place, "webhook-backlog") as told:
        hung = told.worker()
        hung.suspend()
        try:
            await told.until_incident()
            await told.until_step("health.add_workers", "done")
            await told.killed_watch()
            await told.until_step("health.drained", "done")
        finally:
            hung.resume()
        await told.until_state("resolved")
        await told.check()
        print(await told.told())
        print("\n".join(told.chat.texts))
        print(await told.get("/api/v2/summary.json"))
        print(told.mail.received, told.mail.messages()[-1] if told.mail.messages() else None)

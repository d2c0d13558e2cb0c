"""Actions of a bakery's own, for its runbooks."""

from datetime import timedelta

from holdfast.runbooks.actions import Done, Failed, Outcome, Run, action


@action("bakery.orders")
async def orders(run: Run, *, at_least: int = 1, within: timedelta = timedelta(hours=1)) -> Outcome:
    """See whether payments still come in."""
    since = run.now - within
    found = await run.pool.fetchval("SELECT count(*) FROM event WHERE received_at >= $1", since)
    said = f"{found} events since {since:%H:%M}"
    return Done(said, {"events": found}) if found >= at_least else Failed(f"only {said}")

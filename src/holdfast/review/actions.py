"""What runbooks may do about the review."""

from datetime import timedelta

from holdfast.review import service
from holdfast.review.service import NotYetError
from holdfast.runbooks.actions import Done, Outcome, Run, Waiting, action


@action("review.draft")
async def draft(run: Run) -> Outcome:
    """Draft the review: times, impact, timeline, plots, and what the run says about the runbook."""
    try:
        made = await service.draft(run.pool, run.incident.id, run.now)
    except NotYetError as error:
        return Waiting(str(error), again=timedelta(seconds=30))
    impact = made.figures.impact
    evidence = {
        "events": impact.received,
        "late": impact.late,
        "merchants": impact.merchants_affected,
        "suggestions": len(made.figures.suggestions),
    }
    if impact.calls is not None:
        evidence |= {"calls": impact.calls.calls, "calls_failed": impact.calls.failed, "missed": impact.calls.missed}
        evidence["merchants"] = impact.calls.merchants_affected
    said = f"The review is drafted: `holdfast reviews show {run.incident.id}`"
    if impact.failed:
        said += f"; the impact is not in it yet: {impact.failed}"
    return Done(said, evidence)

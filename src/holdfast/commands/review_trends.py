"""`holdfast reviews trends`"""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, read_time
from holdfast.commands.session import with_store
from holdfast.review import trends as over_time
from holdfast.review.trends import StepTrend, Trend


def trends(
    since: Annotated[str, typer.Option(metavar="TIME", help="Incidents opened since: 90d (ago), 2026-01-01.")] = "180d",
    json: Json = False,
) -> None:
    """Over months, by runbook: how long incidents took, and which steps fail, are skipped or are slow."""
    now = datetime.now(UTC)
    start = read_time(since, now)
    found = with_store(lambda pool, _settings: over_time.trends(pool, start, now))
    if json:
        terminal.print_json({"since": start, "runbooks": found})
        return
    terminal.print_table(
        (
            "RUNBOOK",
            ">INCIDENTS",
            ">OPEN",
            ">DETECT",
            ">ACKNOWLEDGE",
            ">MITIGATE",
            ">RECOVER",
            ">RESOLVE",
            ">ITEMS OPEN",
            ">OVERDUE",
        ),
        (
            (
                one.runbook,
                one.count,
                one.open,
                *(terminal.duration(value) for value in _times(one)),
                one.items_open,
                one.items_overdue,
            )
            for one in found
        ),
        empty=f"No incident was opened since {terminal.moment(start)}.",
    )
    remarkable = [row for one in found for row in _remarkable(one)]
    if found:
        terminal.say("")
        terminal.print_table(
            ("RUNBOOK", "STEP", ">RUNS", ">MEDIAN", ">WORST", "WHICH"),
            remarkable,
            empty="No step failed, was skipped or was slow more than now and then.",
        )


def _times(one: Trend) -> tuple[float | None, ...]:
    return (one.detect, one.acknowledge, one.mitigate, one.recover, one.resolve)


def _remarkable(one: Trend) -> list[tuple[Any, ...]]:
    steps: list[StepTrend] = [step for step in one.steps if step.remarks]
    return [
        (
            one.runbook,
            step.key,
            step.count,
            terminal.duration(step.median),
            terminal.duration(step.worst),
            ", ".join(step.remarks),
        )
        for step in steps
    ]

"""`holdfast alerts …`"""

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit, Since, Until, read_duration, read_optional_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.watch import store
from holdfast.watch.model import Beat, Kept, Silence

app = typer.Typer()


@app.command("list")
def listing(
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """What health_watch sees now; with --all or --since, what it saw."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Kept], list[Silence], Beat | None]:
        if all_ or since or until:
            found = await store.alerts(pool, read_optional_time(since), read_optional_time(until), limit)
        else:
            found = await store.open_alerts(pool)
        return found, await store.silences(pool), await store.last_beat(pool)

    found, silences, beat = with_store(body)
    if json:
        terminal.print_json({"alerts": [_json(one) for one in found], "watch": beat})
        return
    terminal.print_table(
        (">#", "SEVERITY", "ALERT", "CAUSE", "SINCE", "STATE", "WHAT"),
        (
            (
                one.id,
                one.alert.severity,
                one.alert.key,
                one.alert.cause,
                one.alert.since,
                _state(one, silences),
                one.alert.title,
            )
            for one in found
        ),
        empty="Nothing is wrong, as far as health_watch sees." if not all_ else "There was no alert.",
    )
    _say_beat(beat)


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="The number that `holdfast alerts list` shows.")], json: Json = False
) -> None:
    """One alert: what, since when, how bad, compared to what, whom it affects, and who was told."""

    async def body(pool: Pool, _settings: Settings) -> tuple[Kept | None, list[asyncpg.Record]]:
        return await store.alert(pool, number), await store.told(pool, number)

    found, told = with_store(body)
    if found is None:
        raise CommandError(f"there is no alert {number}; see `holdfast alerts list --all`")
    if json:
        terminal.print_json(_json(found) | {"told": [dict(row) for row in told]})
        return
    alert = found.alert
    terminal.print_fields(
        (
            ("what", alert.title),
            ("severity", alert.severity),
            ("key", alert.key),
            ("runbook", alert.runbook),
            ("cause", f"{alert.cause}: {alert.why}"),
            ("since", alert.since),
            ("seen", alert.opened_at),
            ("over", alert.closed_at),
            *((f"evidence {number}", str(evidence)) for number, evidence in enumerate(alert.evidence, 1)),
        )
    )
    for what, rows in found.affected.items():
        terminal.say("")
        columns = list(rows[0]) if rows else [what]
        terminal.print_table(
            [name.upper() for name in columns], ([row[name] for name in columns] for row in rows), empty=f"no {what}"
        )
    terminal.say("")
    terminal.print_table(
        ("TOLD", "CHANNEL", "AT", "OUTCOME"),
        (
            (row["what"], row["channel"], row["ended_at"] or row["created_at"], row["outcome"] or "waits")
            for row in told
        ),
        empty="Nobody was told: no channel is set (HOLDFAST_TEAM_CHANNELS, HOLDFAST_ALERT_WEBHOOKS).",
    )


@app.command()
def silence(
    matches: Annotated[str, typer.Argument(metavar="KEY", help="An alert's key, or how keys begin: webhook-backlog.")],
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="30m, 2h, 1d.")] = "1h",
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why: for whoever wonders.")] = "",
    json: Json = False,
) -> None:
    """Tell nobody of these alerts for a while; they open and close all the same."""
    lasts = read_duration(for_)

    async def body(pool: Pool, _settings: Settings) -> Silence:
        return await store.silence(pool, matches, lasts, actor=getpass.getuser(), reason=reason)

    made = with_store(body)
    if json:
        terminal.print_json(made)
        return
    terminal.say(f"Alerts {matches}… are not told until {terminal.text(made.ends_at)} (silence {made.id}).")


@app.command()
def silences(json: Json = False) -> None:
    """What is kept quiet now."""

    async def body(pool: Pool, _settings: Settings) -> list[Silence]:
        return await store.silences(pool)

    found = with_store(body)
    if json:
        terminal.print_json({"silences": found})
        return
    terminal.print_table(
        (">#", "KEY", "UNTIL", "BY", "WHY"),
        ((one.id, f"{one.matches}…", one.ends_at, one.actor, one.reason) for one in found),
        empty="Nothing is silenced.",
    )


@app.command()
def unsilence(
    number: Annotated[int, typer.Argument(help="As `holdfast alerts silences` shows.")], json: Json = False
) -> None:
    """End a silence."""

    async def body(pool: Pool, _settings: Settings) -> bool:
        return await store.end_silence(pool, number)

    if not with_store(body):
        raise CommandError(f"there is no silence {number} in force; see `holdfast alerts silences`")
    if json:
        terminal.print_json({"id": number, "ended": True})
        return
    terminal.say(f"Silence {number} is over.")


def _json(kept: Kept) -> dict[str, Any]:
    return {"id": kept.id} | asdict(kept.alert) | {"affected": kept.affected, "updated_at": kept.updated_at}


def _state(kept: Kept, silences: list[Silence]) -> str:
    if kept.alert.closed_at is not None:
        return f"over {terminal.moment(kept.alert.closed_at)}"
    return "silenced" if any(kept.alert.key.startswith(one.matches) for one in silences) else "open"


def _say_beat(beat: Beat | None) -> None:
    if beat is None:
        terminal.note("health_watch never ran: start `holdfast watch` (`holdfast up` does).")
        return
    ago = (datetime.now(UTC) - beat.at).total_seconds()
    if ago > 30:
        terminal.note(f"health_watch last looked {terminal.duration(ago)} ago, on {beat.host}: it is not running.")

"""`holdfast up`, `web`, `worker`, `watch` and `db …`: the processes, and the schema."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

from holdfast import logs
from holdfast.commands import terminal
from holdfast.commands.options import Json
from holdfast.commands.session import FAILED, refuse, settings
from holdfast.config import Settings
from holdfast.db import migrate
from holdfast.db.pool import AWAY
from holdfast.service import ENDING, SUPERVISOR, Database, run

db_app = typer.Typer()


def up(
    workers: Annotated[int | None, typer.Option(min=0, max=64, help="Worker processes; HOLDFAST_WORKERS.")] = None,
) -> None:
    """Run everything: web, workers, watch, and the embedded PostgreSQL unless HOLDFAST_DATABASE_URL is set."""
    from holdfast.supervisor import Supervisor

    async def body(chosen: Settings, database: Database, stop: asyncio.Event) -> int:
        return await Supervisor(chosen, database, chosen.workers if workers is None else workers).run(stop)

    _run("up", body)


def web() -> None:
    """Run one web process: the providers' doors, health and metrics."""
    from holdfast.web import serve

    _run("web", serve)


def worker() -> None:
    """Run one worker process: routes events and sends deliveries."""
    from holdfast.worker import work

    _run("worker", work)


def watch() -> None:
    """Run health_watch: detectors, alerts. One leads; others take over when it is gone."""
    from holdfast.health_watch import watch as body

    _run("watch", body)


@db_app.command("migrate")
def db_migrate(json: Json = False) -> None:
    """Bring the schema up to date; every process also does so when it starts."""
    chosen = settings()
    before, now = _upgraded(chosen)
    if json:
        terminal.print_json({"before": before, "now": now})
    else:
        was = f"upgraded from {before or 'nothing'} to" if before != now else "at"
        terminal.say(f"The schema is {was} revision {now}.")


def _upgraded(chosen: Settings) -> tuple[str | None, str]:
    try:
        with Database(chosen) as database:
            return migrate.upgrade_now(database.url)
    except AWAY as error:
        raise migrate.MigrationError(f"PostgreSQL cannot be reached: {error or type(error).__name__}") from None


def _check(chosen: Settings, kind: str) -> None:
    """Exit 2 with one line for each setting that only its user can judge.

    Apprise takes half a second to import, so only who tells asks it.
    """
    from holdfast import detectors
    from holdfast.delivery.mail import MailSender
    from holdfast.delivery.model import DeliveryError
    from holdfast.watch.settings import WatchError

    own = "holdfast@localhost"
    smtp = chosen.smtp_url.get_secret_value() if chosen.smtp_url is not None else None
    checks: list[tuple[str, Callable[[], object]]] = [
        ("SMTP_URL", lambda: smtp is None or MailSender(smtp, own)),
        ("MAIL_FROM", lambda: MailSender("smtp://localhost", chosen.mail_from)),
        ("WATCH_FILE", lambda: detectors.watcher(chosen.watch_file)),
        ("TEAM_CHANNELS", lambda: kind == "worker" or _channels(chosen)),
    ]
    mistakes = []
    for name, check in checks:
        try:
            check()
        except (DeliveryError, WatchError, ValueError) as error:
            mistakes.append(f"HOLDFAST_{name}: {error}")
    if mistakes:
        refuse(mistakes)


def _channels(chosen: Settings) -> object:
    if not chosen.team_channels:
        return None
    from holdfast.watch.channels import TeamChannel

    return [TeamChannel(number, url.get_secret_value()) for number, url in enumerate(chosen.team_channels, 1)]


def _run(kind: str, body: Callable[[Settings, Database, asyncio.Event], Coroutine[Any, Any, int]]) -> None:
    from holdfast.supervisor import PATIENCE
    from holdfast.web import ListenError

    chosen = settings()
    is_child = kind != "up" and SUPERVISOR in os.environ
    if not is_child:
        _check(chosen, kind)
    logs.configure(chosen.log_format, chosen.log_level, process=kind)
    try:
        with Database(chosen, joins=is_child).tended() as database:
            code = run(lambda stop: body(chosen, database, stop), ending=PATIENCE + 0.5 if kind == "up" else ENDING)
    except ListenError as error:
        typer.echo(f"holdfast: {error}", err=True)
        raise typer.Exit(FAILED) from None
    raise typer.Exit(code)

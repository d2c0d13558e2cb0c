"""One command's use of the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeVar

import asyncpg
import typer

from holdfast import config, logs
from holdfast.comms.status import StatusError
from holdfast.complaints.model import ComplaintError
from holdfast.config import Settings, SettingsError
from holdfast.consent.model import ConsentError
from holdfast.db.address import mistake
from holdfast.db.embedded_account import EmbeddedError
from holdfast.db.migrate import MigrationError, upgrade
from holdfast.db.pool import AWAY, Pool, create_pool
from holdfast.delivery.model import DeliveryError
from holdfast.inbox.model import EventError
from holdfast.incidents.model import IncidentError
from holdfast.levers.model import LeverError
from holdfast.merchants.model import MerchantError
from holdfast.messaging.model import MessagingError
from holdfast.review.model import ReviewError
from holdfast.runbooks.actions import ActionError
from holdfast.runbooks.model import RunbookError
from holdfast.service import Database
from holdfast.signals.readings import ReadingError
from holdfast.twilio.model import TwilioApiError, TwilioError
from holdfast.verify.model import VerifyError
from holdfast.voice.model import VoiceError
from holdfast.watch.settings import WatchError

T = TypeVar("T")

FAILED, USAGE = 1, 2
PATIENCE = 120.0
"""Seconds that a statement of a command may take: people wait longer than services do."""


class CommandError(Exception):
    """The command cannot do what it was asked to; the message says why and what to do."""


def settings() -> Settings:
    """The settings, or exit 2 with one line a mistake."""
    try:
        chosen = config.load()
    except SettingsError as error:
        refuse(error.mistakes)
    if chosen.database_url is not None and (wrong := asyncio.run(mistake(chosen.database_url))) is not None:
        refuse([f"HOLDFAST_DATABASE_URL: {wrong}"])
    return chosen


def refuse(mistakes: Sequence[str]) -> NoReturn:
    """Say mistakes in the settings, and exit 2."""
    for one in mistakes:
        typer.echo(f"settings: {one}", err=True)
    raise typer.Exit(USAGE) from None


def with_store(body: Callable[[Pool, Settings], Awaitable[T]]) -> T:
    """Run a command's body with a pool on an up-to-date database; errors that people can mend are raised."""
    chosen = settings()
    logs.configure(chosen.log_format, "error", process="command")

    async def run(url: str) -> T:
        await upgrade(url)
        pool = await create_pool(url, size=4, name="holdfast command", patience=PATIENCE)
        try:
            return await body(pool, chosen)
        finally:
            pool.terminate()

    try:
        with Database(chosen) as database:
            return asyncio.run(run(database.url))
    except asyncpg.QueryCanceledError:
        raise CommandError(
            f"PostgreSQL ended a statement that took longer than {PATIENCE:.0f} s: narrow it with --since and --until,"
            " or ask again when the store is less busy"
        ) from None
    except AWAY as error:
        where = "the embedded PostgreSQL" if chosen.database_url is None else "PostgreSQL at HOLDFAST_DATABASE_URL"
        raise CommandError(f"{where} cannot be reached: {error or type(error).__name__}") from None


MENDABLE = (
    CommandError,
    ComplaintError,
    ConsentError,
    EmbeddedError,
    MigrationError,
    MerchantError,
    MessagingError,
    DeliveryError,
    EventError,
    IncidentError,
    LeverError,
    TwilioApiError,
    TwilioError,
    VerifyError,
    VoiceError,
    ReadingError,
    StatusError,
    ReviewError,
    WatchError,
    IncidentError,
    RunbookError,
    ActionError,
    TwilioError,
    TwilioApiError,
    VoiceError,
    asyncpg.InsufficientPrivilegeError,
)
"""Errors that people can do something about: one line and exit 1, never a traceback."""


def report(error: Exception) -> None:
    """Turn a mendable error into its line and exit 1; others are ours, and pass."""
    if isinstance(error, MENDABLE):
        typer.echo(f"holdfast: {error}", err=True)
        raise typer.Exit(FAILED) from None
    found = error if isinstance(error, UnicodeEncodeError) else error.__cause__  # as the database's client raises it
    if isinstance(found, UnicodeEncodeError) and found.encoding == "utf-8":
        typer.echo("holdfast: a text that was given is not UTF-8: write it in UTF-8 (`locale` says what is)", err=True)
        raise typer.Exit(FAILED) from None

"""Who acts, and the desk at which they do."""

import getpass
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.desk import open_desk
from holdfast.runbooks.working import Desk

T = TypeVar("T")

As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="Who you are: a key of `holdfast people list`. Else HOLDFAST_PERSON, or your user."
    ),
]
Number = Annotated[int, typer.Argument(metavar="ID", help="As `holdfast incidents list` shows.")]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="Its number in `holdfast incidents show`, or its key.")]
Because = Annotated[str, typer.Option("--because", "-b", help="Why: it goes into the log.")]


def with_desk(body: Callable[[Desk, datetime], Awaitable[T]]) -> T:
    """Run a command's body with a desk and the time; errors that people can mend are raised."""

    async def run(pool: Pool, settings: Settings) -> T:
        return await body(open_desk(pool, settings), datetime.now(UTC))

    return with_store(run)


def acting(settings: Settings, given: str | None) -> str:
    """Who acts: as they say, as the settings do, or the user of the operating system."""
    return given or settings.person or getpass.getuser()

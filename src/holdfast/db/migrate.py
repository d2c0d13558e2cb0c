"""Schema changes: Alembic revisions holding SQL text, applied at start under an advisory lock.

Alembic and SQLAlchemy take a second to import, so only an upgrade does: a command on an up-to-date database is quick.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from holdfast.db.locks import Lock

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLDEST_SERVER = 15


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says why and what to do."""


_MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """All revisions, oldest first: each is a file `versions/<revision>_<name>.py`, and they form one line."""
    return sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def head() -> str:
    """The revision this code needs."""
    return revisions()[-1]


async def current(url: str) -> str | None:
    """The revision the database is at; None for an empty one. Raises MigrationError below PostgreSQL 15."""
    connection = await asyncpg.connect(url, timeout=5, command_timeout=30)
    try:
        version = connection.get_server_version()
        if version.major < OLDEST_SERVER:
            raise MigrationError(f"this server is PostgreSQL {version.major}; Holdfast needs {OLDEST_SERVER} or newer")
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return revision
    finally:
        connection.terminate()


async def upgrade(url: str) -> tuple[str | None, str]:
    """Bring the database to `head()`; returns (revision before, revision now).

    Safe to call from any number of processes at once: the first takes the lock, the others wait and find it done.
    Raises MigrationError when the database is newer than this code.
    """
    before, wanted = await current(url), head()
    if before == wanted:
        return before, wanted
    if before is not None and before not in revisions():
        raise MigrationError(
            f"the database is at revision {before}, which this version does not know; install the newer Holdfast"
        )
    guard = await asyncpg.connect(url, timeout=5)
    try:
        await guard.execute("SELECT pg_advisory_lock($1)", int(Lock.MIGRATE))
        await _run(url)
    finally:
        guard.terminate()  # at once, also while a server hangs
    return before, wanted


async def _run(url: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    # asyncpg reads the address itself: SQLAlchemy's own parsing knows fewer forms of it.
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: asyncpg.connect(url, timeout=5)
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: "Connection") -> None:
    import alembic.command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")


def statements(sql: str) -> list[str]:
    """A revision's SQL text as single statements; they are separated by a line that holds only `;`."""
    return [part.strip() for part in sql.split("\n;\n") if part.strip()]


def execute(connection: "Connection", sql: str) -> None:
    from sqlalchemy import text

    for statement in statements(sql):
        connection.execute(text(statement.replace(":", r"\:")))


def upgrade_now(url: str) -> tuple[str | None, str]:
    return asyncio.run(upgrade(url))

"""Schema changes: Alembic revisions holding SQL text, applied at start under an advisory lock."""

import asyncio
from pathlib import Path

import alembic.command
import asyncpg
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from holdfast.db.locks import Lock

OLDEST_SERVER = 15


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says why and what to do."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head() -> str:
    """The revision this code needs."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


async def current(url: str) -> str | None:
    """The revision the database is at; None for an empty one. Raises MigrationError below PostgreSQL 15."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        version = connection.get_server_version()
        if version.major < OLDEST_SERVER:
            raise MigrationError(f"this server is PostgreSQL {version.major}; Holdfast needs {OLDEST_SERVER} or newer")
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return revision
    finally:
        await connection.close()


async def upgrade(url: str) -> tuple[str | None, str]:
    """Bring the database to `head()`; returns (revision before, revision now).

    Safe to call from any number of processes at once: the first takes the lock, the others wait and find it done.
    Raises MigrationError when the database is newer than this code.
    """
    before, wanted = await current(url), head()
    if before == wanted:
        return before, wanted
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if before is not None and before not in known:
        raise MigrationError(
            f"the database is at revision {before}, which this version does not know; install the newer Holdfast"
        )
    guard = await asyncpg.connect(url, timeout=5)
    try:
        await guard.execute("SELECT pg_advisory_lock($1)", int(Lock.MIGRATE))
        await _run(url)
    finally:
        await guard.close()
    return before, wanted


async def _run(url: str) -> None:
    # asyncpg reads the address itself: SQLAlchemy's own parsing knows fewer forms of it.
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: asyncpg.connect(url, timeout=5)
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")


def statements(sql: str) -> list[str]:
    """A revision's SQL text as single statements; they are separated by a line that holds only `;`."""
    return [part.strip() for part in sql.split("\n;\n") if part.strip()]


def execute(connection: Connection, sql: str) -> None:
    for statement in statements(sql):
        connection.execute(text(statement.replace(":", r"\:")))


def upgrade_now(url: str) -> tuple[str | None, str]:
    return asyncio.run(upgrade(url))

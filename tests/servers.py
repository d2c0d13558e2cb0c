"""PostgreSQL for tests: one embedded server a run, and the oldest supported one where Debian's package is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.migrate import OLDEST_SERVER, upgrade
from holdfast.db.pool import Pool

TEMPLATE = "holdfast_template"


class Server:
    """A server that gives out databases with the schema in them; `url` is of its `postgres` database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._has_template = False

    async def new_database(self) -> str:
        """The address of a fresh database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        admin = await asyncpg.connect(self.url)
        try:
            if not self._has_template:
                await admin.execute(f"CREATE DATABASE {TEMPLATE}")
                await upgrade(self.database_url(TEMPLATE))
                self._has_template = True
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        finally:
            await admin.close()
        return self.database_url(name)

    async def empty_database(self) -> str:
        """The address of a fresh database without the schema."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        admin = await asyncpg.connect(self.url)
        try:
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        finally:
            await admin.close()
        return self.database_url(name)

    async def database_in_words_order(self) -> str:
        """The address of a fresh database that sorts texts as people do, not by their bytes.

        Raises asyncpg.FeatureNotSupportedError where the server cannot.
        """
        name = f"test_{uuid.uuid4().hex[:12]}"
        admin = await asyncpg.connect(self.url)
        try:
            await admin.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"
            )
        finally:
            await admin.close()
        await upgrade(self.database_url(name))
        return self.database_url(name)

    async def drop(self, url: str) -> None:
        name = url.partition("///")[2].partition("?")[0]
        admin = await asyncpg.connect(self.url)
        try:
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await admin.close()

    def database_url(self, name: str) -> str:
        return self.url.replace("///postgres?", f"///{name}?")


@contextmanager
def embedded() -> Iterator[Server]:
    place = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/var/tmp"))
    place.chmod(0o711)
    server = EmbeddedPostgres(place / "var")
    try:
        server.start()
        yield Server(server.url("postgres"))
    finally:
        server.stop(immediate=True)
        shutil.rmtree(place, ignore_errors=True)


def oldest_programs() -> Path | None:
    """Debian's PostgreSQL of the oldest supported version; None where it is not installed."""
    programs = Path(f"/usr/lib/postgresql/{OLDEST_SERVER}/bin")
    return programs if (programs / "postgres").exists() else None


@contextmanager
def oldest(programs: Path) -> Iterator[Server]:
    """A cluster of its own in a private directory, without TCP."""
    place = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/var/tmp"))
    user = _ordinary_user()
    if user is not None:
        os.chown(place, user.pw_uid, user.pw_gid)
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            [str(part) for part in command], cwd="/", check=False, capture_output=True, text=True, **as_user
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout} {done.stderr}"

    data, options = place / "data", f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
    run(programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
    try:
        run(programs / "pg_ctl", "-D", data, "-w", "-l", place / "log", "-o", options, "start")
        yield Server(f"postgresql:///postgres?host={place}&port=5432&user=postgres")
    finally:
        run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(place, ignore_errors=True)


def _ordinary_user() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


async def clear(pool: Pool) -> None:
    """Empty every table that holds something (each costs files), and set the lane table back."""
    tables = await pool.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
        "AND tablename NOT IN ('alembic_version', 'catalogue_version', 'consent_head', 'lane_rule', 'voice_version')"
    )
    looks = " UNION ALL ".join(f"SELECT '{row[0]}' WHERE EXISTS (SELECT FROM {row[0]})" for row in tables)
    names = ", ".join(row[0] for row in await pool.fetch(looks))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")  # some tables refuse it by a trigger
        if names:
            await connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        await connection.execute("UPDATE consent_head SET seq = 0, hash = decode(repeat('00', 32), 'hex')")
        await connection.execute(
            "INSERT INTO messaging_policy (merchant_id, opens, closes, most_per_day, most_per_week, provider_answers) "
            "VALUES (0, '08:00', '21:00', 3, 10, true) ON CONFLICT DO NOTHING"
        )
    await pool.execute("UPDATE catalogue_version SET version = version + 1")
    await pool.execute("UPDATE voice_version SET version = version + 1")

"""Schema changes, on every supported server."""

import asyncio

import asyncpg
import pytest

from holdfast.db import migrate
from holdfast.db.migrate import MigrationError, head, upgrade
from tests.processes import command


@pytest.fixture
async def empty(any_server):
    url = await any_server.empty_database()
    yield url
    await any_server.drop(url)


async def fetch(url, statement):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_an_empty_database_gets_the_schema_once(empty):
    assert await upgrade(empty) == (None, head())
    assert await upgrade(empty) == (head(), head())
    assert await fetch(empty, "SELECT count(*) FROM lane_rule") > 20


async def test_processes_that_start_together_do_not_collide(empty):
    results = await asyncio.gather(*(command("db", "migrate", database_url=empty) for _ in range(4)))
    assert [(status, err) for status, _, err in results] == [(0, "")] * 4
    assert all(head() in out for _, out, _ in results)
    assert await fetch(empty, "SELECT count(*) FROM alembic_version") == 1


async def test_a_database_of_a_newer_version_is_left_alone(empty):
    await upgrade(empty)
    connection = await asyncpg.connect(empty)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    with pytest.raises(MigrationError, match="install the newer Holdfast"):
        await upgrade(empty)


async def test_a_server_that_is_too_old_is_refused(empty, monkeypatch):
    monkeypatch.setattr(migrate, "OLDEST_SERVER", 99)
    with pytest.raises(MigrationError, match="needs 99 or newer"):
        await upgrade(empty)


def test_revisions_form_one_line():
    assert migrate.revisions() == sorted(set(migrate.revisions()))

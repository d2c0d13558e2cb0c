"""Processes while PostgreSQL is away, cannot be started, or hangs: the doors stand open, and a stop is quick."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest

from holdfast.config import Settings
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.locks import Lock
from holdfast.service import Database
from tests.hanging import Hanging
from tests.inbox.events import body, event, signed
from tests.processes import Running, command, command_here, running
from tests.servers import Server
from tests.voice.twilio import ACCOUNT, BAKERY, DESK, TOKEN, Twilio, call

QUICK = 25.0
"""Seconds. Ten are promised, to a machine that is not busy; who waits for a server that hangs waits for 30."""
SLOW = 90.0
"""Seconds in which a process starts, however busy the machine."""
CALLS: Any = {"twilio_account_sid": ACCOUNT, "twilio_auth_token": TOKEN}


async def post_event(up: Running) -> tuple[int, bool]:
    """The answer's status, and whether it says when to come again."""
    payload = body(event())
    async with (
        aiohttp.ClientSession() as session,
        session.post(up.hook, data=payload, headers=signed(payload)) as answer,
    ):
        return answer.status, "Retry-After" in answer.headers


async def rings(up: Running) -> str:
    """What a call to the bakery is told."""
    async with aiohttp.ClientSession() as session:
        status, told, _ = await Twilio(session, up.url).post("voice", call())
        assert status == 200
        return told.decode()


async def ended(one: Running, patience: float = QUICK) -> int:
    async with asyncio.timeout(patience):
        return await one.process.wait()


@pytest.fixture
async def later(embedded_server) -> AsyncIterator[str]:
    """The address of a database that is not there yet."""
    url = embedded_server.database_url("test_not_there_yet")
    yield url
    await embedded_server.drop(url)


async def make(server: Server) -> None:
    admin = await asyncpg.connect(server.url)
    try:
        await admin.execute("CREATE DATABASE test_not_there_yet TEMPLATE template0")
    finally:
        await admin.close()


async def test_up_opens_its_doors_while_postgresql_is_away_and_works_once_it_is_there(embedded_server, later, place):
    async with running("up", database_url=later, data_dir=str(place)) as up:
        await up.answers("/health")
        assert await post_event(up) == (503, True)
        await make(embedded_server)
        await up.answers()
        assert (await post_event(up))[0] == 200
        await up.says("worker.started")
        up.terminate()
        assert await ended(up) == 0


@pytest.mark.parametrize("process", ["up", "web"])
async def test_calls_are_answered_from_disk_while_the_embedded_server_cannot_be_started(place, process):
    settings: Any = {"data_dir": str(place), **CALLS}
    async with running("up", **settings) as up:
        await up.answers()
        for arguments in (
            ("merchants", "add", "bakery"),
            ("numbers", "add", BAKERY, "--merchant", "bakery"),
            ("plans", "set", BAKERY, "--target", DESK),
        ):
            status, _, err = await command_here(*arguments, **settings)
            assert status == 0, err
        async with asyncio.timeout(SLOW):
            while DESK not in await rings(up):
                await asyncio.sleep(0.1)
        async with asyncio.timeout(SLOW):
            while DESK.encode() not in (place / "voice.snapshot").read_bytes():
                await asyncio.sleep(0.1)
        up.terminate()
        assert await ended(up) == 0
    local = place / "postgres" / "conf" / "local.conf"
    local.write_text("shared_buffers = nonsense\n")
    async with running(process, **settings) as up:
        said = await up.says("postgres.not_started")
        assert "shared_buffers" in said
        assert "Traceback" not in said
        await up.answers("/health")
        assert await post_event(up) == (503, True)
        assert DESK in await rings(up)
        local.unlink()
        await up.answers()
        assert (await post_event(up))[0] == 200
        assert sum("postgres.not_started" in line for line in up.log) == 1
        up.terminate()
        assert await ended(up) == 0
    assert not EmbeddedPostgres(place).is_running()


async def test_a_process_that_is_told_to_stop_gives_up_a_server_that_does_not_start(place):
    (place / "postgres" / "conf").mkdir(parents=True)
    (place / "postgres" / "conf" / "local.conf").write_text("shared_buffers = nonsense\n")
    for directory in (place, place / "postgres"):
        directory.chmod(0o711)
    async with running("worker", data_dir=str(place)) as worker:
        await worker.says("postgres.not_started")
        worker.terminate()
        assert await ended(worker) == 0


async def test_a_data_directory_that_can_never_be_used_is_said_at_once(place):
    (place / "postgres" / "data").mkdir(parents=True)
    for directory in (place, place / "postgres"):
        directory.chmod(0o711)
    status, _, err = await command("up", data_dir=str(place))
    assert (status, "choose another HOLDFAST_DATA_DIR" in err, "Traceback" in err) == (1, True, False)


async def test_a_schema_that_is_too_new_ends_up_with_the_reason(embedded_server, place):
    url = await embedded_server.new_database()
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    await connection.close()
    async with running("up", database_url=url, data_dir=str(place)) as up:
        assert await ended(up, SLOW) == 1
    assert up.log[-1].startswith("holdfast: the database is at revision 9999")
    await embedded_server.drop(url)


async def test_a_stop_does_not_wait_for_somebody_elses_migration(embedded_server, place):
    url = await embedded_server.empty_database()
    other = await asyncpg.connect(url)
    await other.execute("SELECT pg_advisory_lock($1)", int(Lock.MIGRATE))
    async with running("worker", database_url=url, data_dir=str(place)) as worker:
        async with asyncio.timeout(SLOW):
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                await asyncio.sleep(0.05)
        worker.terminate()
        assert await ended(worker) == 0
    await other.close()
    await embedded_server.drop(url)


@pytest.mark.parametrize("process", ["up", "worker"])
async def test_a_stop_does_not_wait_for_a_server_that_hangs(embedded_server, place, process):
    url = await embedded_server.new_database()
    async with Hanging(url, place) as way, running(process, database_url=way.url, data_dir=str(place)) as one:
        await one.says("watch.started" if process == "up" else "worker.started")
        await asyncio.sleep(1)
        way.open.clear()
        await asyncio.sleep(2)  # whatever looks every second waits by now
        one.terminate()
        assert await ended(one) == 0
    await embedded_server.drop(url)


async def test_a_closed_terminal_stops_all_of_it_in_order(place):
    async with running("up", data_dir=str(place)) as up:
        await up.answers()
        await up.says("worker.started")
        children = psutil.Process(up.process.pid).children()
        up.process.send_signal(signal.SIGHUP)
        assert await ended(up) == 0
        await up.says("worker.stopped")
        assert [child for child in children if child.is_running()] == []
    assert not EmbeddedPostgres(place).is_running()


async def test_under_nohup_a_closed_terminal_ends_no_process(place):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is started meanwhile inherits it, as from nohup
    try:
        async with running("up", data_dir=str(place)) as up:
            await up.answers()
            await up.says("worker.started")
            await up.says("watch.started")
            children = psutil.Process(up.process.pid).children()
            for process in (up.process, *children):
                process.send_signal(signal.SIGHUP)
            await asyncio.sleep(1)
            up.terminate()
            assert await ended(up) == 0
            assert [line for line in up.log if "process.ended" in line] == []
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_the_embedded_server_is_given_up_while_it_starts(place, monkeypatch):
    """As when a process is told to stop during a long recovery: it does not wait for its end."""
    monkeypatch.setattr(EmbeddedPostgres, "_is_ready", lambda *_: False)
    stop = asyncio.Event()
    with Database(Settings(data_dir=place)).tended() as database:
        bringing = asyncio.create_task(database.bring_up(stop))
        async with asyncio.timeout(SLOW):
            while not EmbeddedPostgres(place).is_running():
                await asyncio.sleep(0.05)
        stop.set()
        assert await bringing is False
        async with asyncio.timeout(QUICK):
            while EmbeddedPostgres(place).is_running():
                await asyncio.sleep(0.05)

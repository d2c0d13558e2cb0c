"""The page in memory and in files, with PostgreSQL there, away, and away from the start."""

import asyncio
import html
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from holdfast.comms import publishing, status_files
from holdfast.comms.status_board import RENDERED, STALE, StatusBoard
from holdfast.config import Settings
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.migrate import upgrade
from holdfast.db.pool import AWAY, create_pool
from holdfast.health.probes import read_status_page
from tests.comms_status.conftest import shown
from tests.comms_status.incidents import opened
from tests.processes import running

SECOND = timedelta(seconds=1)


def now():
    return datetime.now(UTC)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach."""
    outer = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/var/tmp"))
    outer.chmod(0o711)
    yield outer
    shutil.rmtree(outer)


@pytest.fixture
def postgres(place) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(place / "var")
    server.start()
    asyncio.run(upgrade(server.url()))
    yield server
    server.stop(immediate=True)


async def published(pool, body="We look into it."):
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, f"k{incident.id}", "investigating", body, now=now())
    return incident


async def test_a_page_is_rendered_when_it_changed_and_once_a_minute(pool, board):
    began = now()
    await board.tick(pool, prepared=True, now=began)
    first = shown(board)
    await board.tick(pool, prepared=True, now=began + SECOND)
    assert shown(board) is first
    await board.tick(pool, prepared=True, now=began + RENDERED)
    second = shown(board)
    assert second is not first
    await published(pool)
    await board.tick(pool, prepared=True, now=began + RENDERED + SECOND)
    assert b"We look into it." in shown(board).body


async def test_the_files_are_the_page_and_its_snapshot(pool, board, settings):
    await published(pool)
    await board.tick(pool, prepared=True)
    directory = settings.data_dir / "status"
    files = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert files == {
        "index.html",
        "feed.atom",
        "snapshot.json",
        "api/v2/summary.json",
        "api/v2/status.json",
        "api/v2/components.json",
        "api/v2/incidents.json",
        "api/v2/incidents/unresolved.json",
    }
    index = (directory / "index.html").read_text()
    assert "We look into it." in index
    assert "As of " in index
    assert "<form" not in index
    assert "default-src 'none'" in html.unescape(index)
    assert 'href="/' not in index, "it works wherever it is put"
    assert read_status_page((directory / "api/v2/summary.json").read_bytes())[1] == "minor"
    assert ElementTree.fromstring((directory / "feed.atom").read_bytes()).tag.endswith("feed")


async def test_a_board_begins_with_the_last_snapshot_and_says_how_old_it_is(pool, board, settings):
    await published(pool)
    began = now()
    await board.tick(pool, prepared=True, now=began)
    later = StatusBoard(settings)
    await later.recall(began + timedelta(hours=2))
    page = shown(later).body.decode()
    assert "We look into it." in page
    assert "This page may be out of date" in page
    summary = json.loads(shown(later, "/api/v2/summary.json").body)
    assert summary["page"]["stale_since"] == began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert summary["status"]["indicator"] == "minor"


@pytest.mark.parametrize(
    "text", ["", "{}", '{"version":2,"read_at":"2026-01-01T00:00:00Z","updates":[]}', "[1", "\xff"]
)
async def test_a_snapshot_that_cannot_be_read_is_left_alone(pool, board, settings, text):
    (settings.data_dir / "status").mkdir()
    (settings.data_dir / "status" / "snapshot.json").write_bytes(text.encode("latin-1"))
    await board.recall(now())
    assert not board.is_known
    await board.tick(pool, prepared=True)
    assert board.is_known
    assert status_files.read_snapshot(settings.data_dir / "status") is not None


async def test_a_disk_that_cannot_be_written_costs_the_files_alone(pool, tmp_path):
    (tmp_path / "file").write_text("")
    board = StatusBoard(Settings(data_dir=tmp_path / "file"))
    await board.tick(pool, prepared=True)
    assert shown(board) is not None


async def test_nothing_half_written_is_left_behind(tmp_path):
    with pytest.raises(OSError):
        status_files.write(tmp_path, {"a.json": b"1", "a.json/b": b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


async def test_until_the_schema_is_there_nothing_is_read(pool, board):
    await board.tick(pool, prepared=False)
    assert not board.is_known


@pytest.mark.timeout(120)
def test_with_postgresql_away_the_last_page_stays_and_says_since_when(postgres, place):
    async def story():
        pool = await create_pool(postgres.url(), size=2, name="tests")
        board = StatusBoard(Settings(data_dir=place / "web"))
        try:
            await published(pool)
            began = now()
            await board.tick(pool, prepared=True, now=began)
            await asyncio.to_thread(postgres.stop, immediate=True)
            with pytest.raises(AWAY):
                await board.tick(pool, prepared=True, now=began + SECOND)
            assert b"out of date" not in shown(board).body, "a moment is no news"
            with pytest.raises(AWAY):
                await board.tick(pool, prepared=True, now=began + STALE + SECOND)
            page = shown(board).body.decode()
            assert "This page may be out of date" in page
            assert f'datetime="{began.isoformat(timespec="seconds")}"' in page
            assert "We look into it." in page
            await asyncio.to_thread(postgres.start)
            await board.tick(pool, prepared=True, now=began + STALE + 2 * SECOND)
            assert b"out of date" not in shown(board).body
        finally:
            pool.terminate()

    asyncio.run(story())


@pytest.mark.timeout(180)
def test_a_web_process_serves_the_page_through_an_outage_and_a_restart_in_it(postgres, place):
    settings = {"database_url": postgres.url(), "data_dir": str(place / "web")}

    async def reads(url, text, patience=40.0):
        async with httpx.AsyncClient() as client, asyncio.timeout(patience):
            while True:
                try:
                    answer = await client.get(f"{url}/status")
                    if answer.status_code == 200 and text in answer.text:
                        return answer
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)

    async def counted(url):
        """Requests are counted by door, as all are."""
        async with httpx.AsyncClient() as client, asyncio.timeout(20):
            while 'route="status_page"' not in (await client.get(f"{url}/metrics")).text:
                await asyncio.sleep(0.3)

    async def story():
        async with running("web", **settings) as web:
            await web.answers()
            pool = await create_pool(postgres.url(), size=1, name="tests")
            await published(pool, "Read me through the outage.")
            pool.terminate()
            answer = await reads(web.url, "Read me through the outage.")
            assert "out of date" not in answer.text
            await counted(web.url)
            await asyncio.to_thread(postgres.stop, immediate=True)
            answer = await reads(web.url, "This page may be out of date")
            assert "Read me through the outage." in answer.text
        async with running("web", **settings) as web:
            answer = await reads(web.url, "Read me through the outage.")
            await reads(web.url, "This page may be out of date")
            began = time.perf_counter()
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{web.url}/api/v2/summary.json")).status_code == 200
                assert (await client.get(f"{web.url}/")).status_code == 404, "kept for the console"
            assert time.perf_counter() - began < 2

    asyncio.run(story())

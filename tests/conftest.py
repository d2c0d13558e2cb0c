import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from holdfast.db.migrate import OLDEST_SERVER
from holdfast.db.pool import Pool, create_pool
from tests import servers
from tests.servers import Server

LONGEST = ("e2e", "chaos")
"""Rooms of tests that take minutes and mostly wait: begun first, so that the others run beside them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


@pytest.fixture(scope="session", autouse=True)
def loggers_are_made_anew() -> Iterator[None]:
    """A command that a test runs sets up the process's log, and its loggers would be kept for every test after it."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", lambda **given: configure(**given | {"cache_logger_on_first_use": False}))
        yield


@pytest.fixture(autouse=True)
def log_is_as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[Server]:
    with servers.embedded() as server:
        yield server


@pytest.fixture(scope="session")
def oldest_server() -> Iterator[Server]:
    programs = servers.oldest_programs()
    if programs is None:
        pytest.skip(f"PostgreSQL {OLDEST_SERVER} is not installed (Debian's package postgresql-15)")
    with servers.oldest(programs) as server:
        yield server


@pytest.fixture(scope="module", params=["embedded", "oldest"])
def any_server(request) -> Server:
    """For the store and the queue, whose SQL must be the same everywhere."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture(scope="module")
def database_url(request) -> Iterator[str]:
    """A fresh database a module; on each supported server where the module asks for `any_server`."""
    name = "any_server" if "any_server" in request.fixturenames else "embedded_server"
    server: Server = request.getfixturevalue(name)
    url = asyncio.run(server.new_database())
    yield url
    asyncio.run(server.drop(url))


@pytest.fixture(scope="module")
async def module_pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await create_pool(database_url, size=8, name="tests", hot=True)
    yield pool
    pool.terminate()


@pytest.fixture
async def pool(module_pool: Pool) -> AsyncIterator[Pool]:
    """A pool on empty tables."""
    yield module_pool
    await servers.clear(module_pool)

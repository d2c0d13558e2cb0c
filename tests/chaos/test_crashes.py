"""SIGKILL of any process, and a stop of PostgreSQL, under load: nothing acknowledged is lost or done twice."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.crash import PROCESSES, Outcome, crashes

from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.migrate import upgrade


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    outer = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/var/tmp"))
    outer.chmod(0o711)
    server = EmbeddedPostgres(outer / "var")
    server.start()
    asyncio.run(upgrade(server.url()))
    yield server
    server.stop(immediate=True)
    shutil.rmtree(outer)


def assert_nothing_is_lost_or_twice(outcome: Outcome) -> None:
    assert outcome.emitted > 100
    assert outcome.reconciled
    assert (len(outcome.lost), outcome.missing, outcome.twice) == (0, 0, 0), outcome


@pytest.mark.timeout(300)
def test_killed_processes_lose_nothing_and_do_nothing_twice(postgres):
    outcome = asyncio.run(crashes(postgres, kills=12, stops=0, rate=150, seed=5, victims=list(PROCESSES)))
    assert_nothing_is_lost_or_twice(outcome)


@pytest.mark.timeout(300)
def test_a_killed_and_a_stopped_postgres_lose_nothing_and_let_nothing_be_done_twice(postgres):
    outcome = asyncio.run(crashes(postgres, kills=2, stops=1, rate=150, seed=6, victims=["postgres"]))
    assert_nothing_is_lost_or_twice(outcome)

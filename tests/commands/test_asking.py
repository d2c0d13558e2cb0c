"""What cannot be taken back, or goes out to many, is asked before; a program says --yes."""

import asyncio
import json
import os
import sys

import pytest

from tests.commands.test_commands import received, routed
from tests.inbox.events import event
from tests.processes import REPO, environment

ANN, BAKERY, ACCOUNT = "+14155550111", "+14155550100", "AC" + "1" * 32
QUESTIONS = [
    (("consent", "erase", ANN, "--why", "x"), f"add --yes to erase all that is personal of {ANN}, for ever"),
    (("numbers", "remove", BAKERY), f"add --yes to remove {BAKERY}: calls to it"),
    (("twilio", "accounts", "remove", ACCOUNT), f"add --yes to remove {ACCOUNT}: what it signs will be refused"),
    (("destinations", "remove", "1"), "add --yes to remove destination 1 for good"),
    (("events", "replay", "--since", "1d"), "add --yes to replay 2 events\n"),
    (("events", "replay", "--since", "1d", "--notify"), "replay 2 events and send 2 notifications of them again"),
    (("deliveries", "replay", "--since", "1d"), "add --yes to send 2 deliveries again"),
]


@pytest.fixture
async def shop(pool, done):
    """A number, an account, and two events with a delivery each."""
    await done("merchants", "add", "bakery", "--stripe-account", "acct_1A")
    where = ("--webhook", "http://127.0.0.1:9/h", "--events", "*")
    await done("destinations", "add", "bakery", *where, allowed_networks="127.0.0.0/8")
    await done("numbers", "add", BAKERY, "--merchant", "bakery")
    await done("consent", "grant", ANN, "-m", "bakery", "--purpose", "informational", "--method", "paper")
    await received(pool, *(event(account="acct_1A") for _ in range(2)))
    await routed(pool)
    await pool.execute("DELETE FROM work")


async def state(pool) -> list[int]:
    tables = ("work", "destination", "number", "erasure")
    return [await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


@pytest.mark.parametrize(("command", "what"), QUESTIONS)
async def test_where_nobody_can_be_asked_nothing_is_done_without_yes(shop, pool, run, command, what):
    before = await state(pool)
    for more in ((), ("--json",)):
        status, out, err = await run(*command, *more)
        assert (status, out) == (2, "")
        assert what in err
    assert await state(pool) == before


async def test_a_replay_says_how_many_it_would_be(shop, pool, done):
    before = await state(pool)
    out = await done("events", "replay", "--since", "1d", "--notify", "--dry-run")
    assert out == "2 events would be replayed, and 2 notifications of them sent again.\n"
    found = json.loads(await done("events", "replay", "--since", "1d", "--dry-run", "--json"))
    assert found == {"events": 2, "queued": 0, "deliveries": 0, "dry_run": True}
    assert await done("deliveries", "replay", "--since", "1d", "--dry-run") == "2 deliveries would be sent again.\n"
    found = json.loads(await done("deliveries", "replay", "--since", "1d", "--dry-run", "--json"))
    assert found == {"deliveries": 2, "queued": 0, "dry_run": True}
    assert await state(pool) == before
    found = json.loads(await done("deliveries", "replay", "--since", "1d", "--yes", "--json"))
    assert found == {"deliveries": 2, "queued": 2, "dry_run": False}


async def test_a_person_at_a_terminal_is_asked(shop, pool, database_url):
    for answer, status, left in ((b"n\n", 1, 1), (b"y\n", 0, 0)):
        ours, theirs = os.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast", "numbers", "remove", BAKERY),
            env=environment(database_url=database_url),
            stdin=theirs,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=REPO,
        )
        os.write(ours, answer)
        async with asyncio.timeout(60):
            _, err = await process.communicate()
        os.close(ours)
        os.close(theirs)
        assert process.returncode == status
        assert f"Remove {BAKERY}: calls to it will be told that it is not in service? [y/N]" in err.decode()
        assert await pool.fetchval("SELECT count(*) FROM number") == left

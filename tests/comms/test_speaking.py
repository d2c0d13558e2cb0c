"""The log of an incident says what went out: once, and not what could not."""

from datetime import UTC, datetime

import pytest

from holdfast.comms.speaking import Speaker
from holdfast.config import Settings
from holdfast.incidents import store
from holdfast.incidents.model import Person
from tests.comms.incidents import opened

ANN = Person(1, "ann", "Ann", "ann@example.com", "admin")


def now():
    return datetime.now(UTC)


async def messages(pool, incident):
    return [entry.text for entry in await store.entries(pool, incident.id) if entry.kind == "message"]


async def test_what_is_said_to_the_team_is_in_the_log_once(pool, settings):
    incident = await opened(pool)
    async with pool.acquire() as db:
        sent = [await Speaker(settings).post(db, "k", "Look", "…", incident=incident, now=now()) for _ in range(2)]
    assert sent == [1, 0]
    assert await messages(pool, incident) == ["to the team: Look"]


async def test_who_was_called_is_in_the_log_once(pool, settings):
    incident = await opened(pool)
    async with pool.acquire() as db:
        sent = [await Speaker(settings).page(db, "k", [ANN], "Now", incident=incident, now=now()) for _ in range(2)]
    assert sent == [1, 0]
    assert await messages(pool, incident) == ["called ann"]


@pytest.mark.parametrize("people", [[ANN], []])
async def test_who_could_not_be_called_is_in_the_log(pool, people):
    incident = await opened(pool)
    async with pool.acquire() as db:
        assert await Speaker(Settings(team_channels="")).page(db, "k", people, "Now", incident=incident, now=now()) == 0
    [said] = await messages(pool, incident)
    assert "could not be called: no team channel and no mail address" in said

"""Wherever an engine is killed, the next one goes on, and nothing is done or said twice."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest

from holdfast.incidents import service, store
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.turn import LEASE
from tests import servers
from tests.runbooks.worlds import Done, Failed, Waiting, World, book, step


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up but what PostgreSQL undoes."""


class Killer:
    """Kills at the n-th thing that an engine does."""

    def __init__(self, monkeypatch, at):
        self.left = at
        self.has_killed = False
        for module, names in (
            (steps_store, ("begin", "put")),
            (store, ("write", "holds", "renew", "release", "oblige", "meet", "set_state", "claim", "insert", "join")),
        ):
            for name in names:
                monkeypatch.setattr(module, name, self.deadly(getattr(module, name)))

    def deadly(self, function):
        async def call(*args, **kwargs):
            result = await function(*args, **kwargs)
            self.strike()
            return result

        return call

    def strike(self):
        self.left -= 1
        if self.left == 0:
            self.has_killed = True
            raise Killed


def story(pool):
    steps = (
        step("do", "announce"),
        step("check", "look"),
        step("do", "slow-down"),
        step("ask", "tell"),
        step("every", "update", phase="communication", every=timedelta(minutes=15)),
        step("do", "flaky", phase="communication"),
        step("check", "calm", phase="recovery"),
        step("do", "back", phase="recovery"),
    )
    world = World(pool, (book(*steps),))
    for key in ("announce", "look", "tell", "update", "back"):
        world.action(key)
    world.action("flaky", Failed("once"), Done("then"))
    world.action("calm", Waiting("not yet"), Done("calm"))
    world.change("slow-down")
    return world


async def play(world):
    await world.pass_time(timedelta(seconds=90), by=timedelta(seconds=30))
    found = await world.incident()
    if found.state == "detected":
        await service.acknowledge(world.pool, found.id, actor="ann", now=world.now)
    if (await world.states())["tell"] == "asking":
        await world.desk.approve(found.id, "tell", actor="ann", now=world.now)
    await world.pass_time(timedelta(seconds=60), by=timedelta(seconds=30))


async def outcome(world):
    """How each step ended, how often that is in the log, and what was said."""
    found = await world.incident()
    log = await store.entries(world.pool, found.id)
    keys = (one.evidence["key"].partition("/")[2] for one in log if one.kind == "message")
    said = sorted(key.rpartition("-")[0] or key for key in keys)  # without the time
    ends = Counter(
        one.step for one in log if one.kind == "step" and ": waits" not in one.text and ": failed" not in one.text
    )
    ends["tell"] -= sum("approved" in one.text for one in log)
    return found.state, await world.states(), ends, said


@pytest.mark.timeout(170)
async def test_killed_at_any_moment_the_story_ends_as_if_nothing_had_been(pool, monkeypatch):
    world = story(pool)
    await world.fire()
    await play(world)
    expected = await outcome(world)
    state, states, ends, said = expected
    assert (state, set(states.values())) == ("mitigating", {"done", "waiting"})
    assert (set(ends.values()), said) == ({1}, ["tell/1/asked"])
    at = 0
    while True:
        at += 1
        await servers.clear(pool)
        world = story(pool)
        await world.fire()
        with monkeypatch.context() as patched:
            killer = Killer(patched, at)
            with suppress(Killed):
                await play(world)
        if not killer.has_killed:
            break
        world.now += LEASE
        await play(world)
        assert await outcome(world) == expected, f"killed at {at}"
        assert world.calls.count("slow-down/1") == 1, f"killed at {at}"
    assert at > 60

"""`holdfast levers …`, and that a running worker heeds them."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from holdfast.inbox import store as inbox
from holdfast.levers import store
from holdfast.levers.model import EVERYTHING
from holdfast.queue.model import Lane
from tests.inbox.events import event, new
from tests.levers.incidents import opened
from tests.processes import command_here, running


@pytest.fixture
def run(database_url, pool):
    async def runner(*arguments: str) -> tuple[int, str, str]:
        return await command_here("levers", *arguments, database_url=database_url)

    return runner


async def test_a_lever_is_set_listed_cleared_and_remembered(run):
    status, out, _ = await run("list")
    assert (status, out.strip()) == (0, "Every lever is at its default.")
    status, out, err = await run("set", "router.concurrency", "1", "--for", "30m", "--reason", "storm")
    assert (status, "router.concurrency is 1 until" in out) == (0, True), err
    status, out, _ = await run("list", "--json")
    (turned,) = json.loads(out)["turned"]
    assert (turned["name"], turned["value"], turned["reason"]) == ("router.concurrency", 1, "storm")
    assert turned["expires_at"] > turned["set_at"]
    status, out, _ = await run("clear", "router.concurrency", "--reason", "calm")
    assert out.strip() == "router.concurrency is at its default again."
    status, out, _ = await run("clear", "router.concurrency")
    assert out.strip() == "router.concurrency was at its default already."
    status, out, _ = await run("history", "--json")
    assert [change["what"] for change in json.loads(out)["changes"]] == ["cleared", "set"]


async def test_of_an_incident_s_lever_it_is_said_whose_it_is_and_what_it_goes_back_to(run, pool):
    incident = await opened(pool, datetime.now(UTC))
    for value, number in ((3, None), (2, incident.id)):
        await store.turn(
            pool,
            "router.concurrency",
            EVERYTHING,
            value,
            actor="ana" if number is None else "holdfast",
            reason="storm",
            lasts=None,
            incident_id=number,
        )
    status, out, err = await run("clear", "router.concurrency", "--json")
    assert (status, json.loads(out)["restored"]["value"]) == (0, 3), err
    await store.turn(
        pool, "router.concurrency", EVERYTHING, 2, actor="holdfast", reason="", lasts=None, incident_id=incident.id
    )
    _, out, _ = await run("clear", "router.concurrency")
    assert out.strip() == "router.concurrency is 3 again, as ana had set it."
    await store.turn(
        pool, "router.concurrency", EVERYTHING, 2, actor="holdfast", reason="", lasts=None, incident_id=incident.id
    )
    _, out, _ = await run("set", "router.concurrency", "1")
    assert f"because of incident {incident.id}, and stays in its ledger" in out


async def test_all_levers_are_explained(run):
    _, out, _ = await run("list", "--all")
    for word in ("queue.paused", "0 to 16", "lane:…", "normal, slow, slower", "Claim nothing of it"):
        assert word in out


async def test_a_merchant_is_named_by_its_key(run, database_url):
    await command_here("merchants", "add", "bakery", "--name", "The Bakery", database_url=database_url)
    status, out, err = await run("set", "queue.paused", "on", "--target", "merchant:bakery")
    assert status == 0, err
    _, out, _ = await run("list")
    assert "merchant:bakery" in out
    _, out, _ = await run("history")
    assert "merchant:bakery" in out
    assert (await run("clear", "queue.paused", "-t", "merchant:bakery"))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("set", "warp.speed", "9"), 1, "there is no lever 'warp.speed'; there are router.concurrency"),
        (("set", "router.concurrency", "99"), 1, "a number from 0 to 16, not '99'"),
        (("set", "queue.paused", "on"), 1, "takes lane:…"),
        (("set", "queue.paused", "on", "-t", "lane:fast"), 1, "there are critical, standard, bulk"),
        (("set", "queue.paused", "on", "-t", "merchant:nobody"), 1, "see `holdfast merchants list`"),
        (("set", "queue.paused", "on", "-t", "destination:99"), 1, "see `holdfast destinations list`"),
        (("set", "router.concurrency", "1", "--for", "soon"), 2, "not a length of time"),
        (("history", "warp.speed"), 1, "there is no lever"),
    ],
)
async def test_mistakes_are_explained(run, arguments, status, said):
    found, _, err = await run(*arguments)
    assert found == status
    assert said in " ".join(err.replace("│", " ").split())


async def waiting(pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM work WHERE attempts = 0"))


async def received(pool) -> None:
    await inbox.append(pool, [new(event())], [Lane.CRITICAL], [0])


async def test_a_running_worker_heeds_a_lever_and_its_end(run, pool, database_url):
    async with running("worker", database_url=database_url) as worker:
        await worker.says("worker.started")
        await run("set", "queue.paused", "on", "--target", "stage:route", "--for", "1h")
        await worker.says("lever.in_force")
        await asyncio.sleep(1.0)  # a claim that began before may still take what comes in
        await received(pool)
        await asyncio.sleep(1.5)  # longer than it takes to look at the queue
        assert await waiting(pool) == 1
        await pool.execute("UPDATE lever SET expires_at = now()")
        await worker.says("lever.expired")
        async with asyncio.timeout(10):
            while await waiting(pool):
                await asyncio.sleep(0.05)
        await run("set", "router.concurrency", "0")
        await worker.says('"lever": "router.concurrency"')
        await asyncio.sleep(1.0)
        await received(pool)
        await asyncio.sleep(1.5)
        assert await waiting(pool) == 1
        await run("clear", "router.concurrency")
        async with asyncio.timeout(10):
            while await waiting(pool):
                await asyncio.sleep(0.05)


async def test_a_ramp_is_started_shown_and_stopped(run):
    await run("set", "delivery.concurrency", "0")
    status, out, err = await run("ramp", "delivery.concurrency", "--hold", "2m", "--reason", "calm")
    assert status == 0, err
    assert "Ramp 1 brings delivery.concurrency back" in out
    assert "guarded by" in out
    _, out, _ = await run("ramps", "--json")
    (ramp,) = json.loads(out)["ramps"]
    assert (ramp["name"], ramp["state"], ramp["steps"], ramp["hold"]) == (
        "delivery.concurrency",
        "running",
        [10, 25, 50, 100],
        120.0,
    )
    assert "delivery.concurrency" in (await run("ramps", str(ramp["id"])))[1]
    status, out, _ = await run("stop-ramp", str(ramp["id"]))
    assert (status, "stopped at 0 %" in out) == (0, True)
    assert (await run("ramps"))[1].strip() == "No ramp is running."


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("ramp", "delivery.concurrency"), 1, "is at its default"),
        (("ramp", "delivery.concurrency", "--to", "9", "--guard", "luck<1"), 1, "there is no reading 'luck'"),
        (("ramp", "delivery.concurrency", "--to", "9", "--steps", "a,b"), 2, "are no percents"),
        (("stop-ramp", "99"), 1, "there is no ramp 99"),
        (("set", "processes.workers", "64"), 1, "is the most that fits"),
    ],
)
async def test_a_ramp_or_size_that_cannot_be_is_refused_with_the_reason(run, arguments, status, said):
    found, _, err = await run(*arguments)
    assert found == status, err
    assert said in " ".join(err.replace("│", " ").split())


async def test_readings_are_listed_and_shown(run, database_url):
    status, out, err = await command_here("signals", "list", database_url=database_url)
    assert status == 0, err
    assert "queue.oldest_age.critical" in out
    status, out, _ = await command_here("signals", "show", "database.round_trip", "--json", database_url=database_url)
    assert (status, json.loads(out)["name"]) == (0, "database.round_trip")


async def test_up_runs_as_many_workers_as_the_lever_says(run, database_url):
    async with running("up", database_url=database_url, workers="1") as up:
        await up.says("worker.started")
        status, _, err = await run("set", "processes.workers", "2", "--reason", "backlog")
        assert status == 0, err
        await up.says("up.scaling")
        while sum("worker.started" in line for line in up.log) < 2:
            await asyncio.sleep(0.1)
        await run("clear", "processes.workers")
        await up.says("worker.stopped")

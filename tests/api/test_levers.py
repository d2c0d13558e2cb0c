"""Levers, ramps and readings over the API."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.levers import driver
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from tests.api.test_door import problem
from tests.signals.measured import level, measured


async def put(client, name, **body):
    return await client.put(f"/v1/levers/{name}", json=body)


async def test_a_lever_is_turned_listed_cleared_and_remembered(client):
    answer = await put(client, "router.concurrency", value=1, reason="storm", actor="ana", **{"for": "30m"})
    assert answer.status_code == 200, answer.text
    turned = answer.json()
    assert (turned["value"], turned["actor"], turned["reason"], turned["target"]) == (1, "ana", "storm", "")
    lasts = datetime.fromisoformat(turned["expires_at"]) - datetime.fromisoformat(turned["set_at"])
    assert lasts == timedelta(minutes=30)
    listed = (await client.get("/v1/levers")).json()
    assert listed["turned"] == [turned]
    assert {"name", "what", "targets", "values"} == listed["levers"][0].keys()
    answer = await client.delete("/v1/levers/router.concurrency", params={"reason": "calm"})
    assert answer.json() == {"name": "router.concurrency", "target": "", "cleared": True, "restored": None}
    assert (await client.delete("/v1/levers/router.concurrency")).json()["cleared"] is False
    cleared, was_set = (await client.get("/v1/levers/history")).json()["changes"]
    assert (cleared["what"], cleared["actor"], cleared["reason"], cleared["before"]) == ("cleared", "api", "calm", 1)
    assert (was_set["what"], was_set["actor"]) == ("set", "ana")


async def test_switches_and_words_and_times(client):
    assert (await put(client, "queue.paused", value=True, target="lane:bulk")).json()["value"] is True
    assert (await put(client, "queue.paused", value="off", target="lane:bulk")).json()["value"] is False
    assert (await put(client, "retry.backoff", value="slow")).json()["value"] == "slow"
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    expires = (await put(client, "retry.backoff", value="slow", expires=end)).json()["expires_at"]
    assert abs(datetime.fromisoformat(expires) - datetime.fromisoformat(end)) < timedelta(seconds=5)


async def test_concurrency_is_turned_for_a_lane_beside_that_for_all(client):
    assert (await put(client, "router.concurrency", value=1, target="lane:bulk")).json()["target"] == "lane:bulk"
    assert (await put(client, "router.concurrency", value=2)).status_code == 200
    turned = (await client.get("/v1/levers")).json()["turned"]
    assert {(one["target"], one["value"]) for one in turned} == {("lane:bulk", 1), ("", 2)}
    answer = await client.delete("/v1/levers/router.concurrency", params={"target": "lane:bulk"})
    assert answer.json()["cleared"] is True


async def test_a_merchant_is_named_by_its_key(client, pool):
    await merchants.insert(pool, NewMerchant("bakery", "The Bakery"))
    answer = await put(client, "queue.paused", value=True, target="merchant:bakery")
    assert answer.json()["target"] == "merchant:bakery"
    assert (await client.get("/v1/levers")).json()["turned"][0]["target"] == "merchant:bakery"
    assert (await client.get("/v1/levers/history")).json()["changes"][0]["target"] == "merchant:bakery"


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("warp.speed", {"value": 1}, 404, "there is no lever 'warp.speed'"),
        ("router.concurrency", {"value": 99}, 422, "a number from 0 to 16"),
        ("router.concurrency", {"value": True}, 422, "a number from 0 to 16"),
        ("queue.paused", {"value": True}, 422, "takes lane:"),
        ("queue.paused", {"value": True, "target": "lane:fast"}, 422, "there are critical"),
        ("queue.paused", {"value": True, "target": "merchant:nobody"}, 404, "there is no merchant"),
        ("queue.paused", {"value": True, "target": "merchant:\u0000"}, 422, "a target is written in"),
        ("queue.paused", {"value": True, "target": "destination:99"}, 404, "there is no destination"),
        ("router.concurrency", {"value": 1, "for": "soon"}, 422, "not a length of time"),
        ("router.concurrency", {"value": 1, "expires": "2020-01-01T00:00:00Z"}, 422, "is over already"),
        ("router.concurrency", {"value": 1, "reason": "\u0000"}, 422, "say who turns it"),
        ("processes.workers", {"value": 64}, 409, "is the most that fits"),
        ("database.pool", {"value": 2}, 422, "takes pool:"),
        ("database.pool", {"value": 2, "target": "pool:web/nothing"}, 422, "there are web/inbox, web/general"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(client, name, body, status, said):
    assert said in problem(await put(client, name, **body), status)


async def test_the_history_comes_in_pages(client):
    for value in range(1, 8):
        await put(client, "router.concurrency", value=value)
    found, cursor = [], None
    for _ in range(4):
        params = {"limit": 3, "name": "router.concurrency"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/levers/history", params=params)).json()
        found += [change["value"] for change in page["changes"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [7, 6, 5, 4, 3, 2, 1]
    assert "cursor" in problem(await client.get("/v1/levers/history", params={"cursor": "x"}), 422)
    assert "limit" in problem(await client.get("/v1/levers/history", params={"limit": 0}), 422)
    everything = await client.get("/v1/levers/history", params={"cursor": "9" * 20})
    assert len(everything.json()["changes"]) == 7


async def test_a_ramp_is_started_followed_and_stopped(client, pool, settings):
    await put(client, "delivery.concurrency", value=0)
    answer = await client.post("/v1/ramps", json={"name": "delivery.concurrency", "reason": "calm", "hold": "2m"})
    assert answer.status_code == 201, answer.text
    ramp = answer.json()
    assert answer.headers["location"] == f"/v1/ramps/{ramp['id']}"
    assert (ramp["origin"], ramp["goal"], ramp["steps"], ramp["hold"]) == (0, 200, [10, 25, 50, 100], 120.0)
    assert ramp["guards"] == ["database.round_trip<0.1", "event_loop.lag<0.5"]
    now = datetime.now(UTC)
    await measured(pool, now, "postgres_round_trip_seconds", level(0.01), ago=1)
    await measured(pool, now, "event_loop_lag_recent_seconds", level(0.01, "web"), ago=1)
    await driver.drive(pool, settings, now)
    story = (await client.get(answer.headers["location"])).json()
    assert (story["percent"], story["state"]) == (10, "running")
    assert [change["what"] for change in story["log"]] == ["ramp step", "set", "ramp started"]
    assert story["log"][0]["evidence"][0]["verdict"] == "well"
    stopped = (await client.delete(answer.headers["location"], params={"actor": "ana"})).json()
    assert (stopped["state"], stopped["note"]) == ("stopped", "stopped by ana")
    assert (await client.get("/v1/ramps", params={"state": "running"})).json() == {"ramps": [], "next": None}
    assert len((await client.get("/v1/ramps")).json()["ramps"]) == 1
    problem(await client.delete(answer.headers["location"]), 409)
    for method in ("GET", "DELETE"):
        assert "there is no ramp 99" in problem(await client.request(method, "/v1/ramps/99"), 404)


async def test_a_ramp_that_cannot_be_is_refused_with_the_reason(client):
    nothing = await client.post("/v1/ramps", json={"name": "delivery.concurrency"})
    assert "is at its default" in problem(nothing, 409)
    odd = await client.post("/v1/ramps", json={"name": "delivery.concurrency", "to": 9, "guards": ["luck<1"]})
    assert "there is no reading 'luck'" in problem(odd, 422)
    odd = await client.post("/v1/ramps", json={"name": "delivery.concurrency", "to": 9, "steps": ["x"]})
    assert "steps.0" in problem(odd, 422)


async def test_readings_are_told_now_and_over_time(client, pool):
    now = datetime.now(UTC)
    await measured(pool, now, "system_cpu_ratio", level(0.5, "one"))
    listed = {one["name"]: one for one in (await client.get("/v1/signals")).json()["signals"]}
    assert listed["system.cpu"]["value"] == 0.5
    assert listed["system.memory"]["value"] is None
    told = (await client.get("/v1/signals/system.cpu", params={"since": "10m"})).json()
    assert (told["value"], told["unit"], told["points"][-1]["value"]) == (0.5, "share", 0.5)
    assert len(told["points"]) == 11
    assert "there is no reading" in problem(await client.get("/v1/signals/system.luck"), 404)
    assert "not a length of time" in problem(await client.get("/v1/signals/system.cpu", params={"since": "x"}), 422)

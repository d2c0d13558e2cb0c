"""`/v1/capacity` and `/v1/verify`: the documents of the commands, for programs."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.api.door import ApiDoor
from holdfast.config import Settings
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.drills.stripe_faults import StripeFaults
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.queue import store as queue
from holdfast.queue.model import Lane, NewWork, Stage
from holdfast.verify import api as verify
from tests.api.conftest import TOKEN, client_of
from tests.api.test_door import problem
from tests.inbox.events import event, new
from tests.processes import command_here

NOW = datetime.now(UTC)


async def receive(pool, count=3):
    await inbox.append(pool, [new(event()) for _ in range(count)], [Lane.CRITICAL] * count, [0] * count)


async def test_capacity_is_the_document_of_the_command(client, pool, database_url):
    works = [NewWork(ref, Lane.CRITICAL, 0, 0, NOW) for ref in range(60)]
    await queue.enqueue(pool, Stage.ROUTE, works, now=NOW)
    answer = await client.get("/v1/capacity", params={"within": "1h"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert (told["within_seconds"], told["workers"], told["limits"][0]["kind"]) == (3600, 0, "no workers")
    assert told["stages"][0]["lanes"][0]["due"] == 60
    _, out, _ = await command_here("queue", "capacity", "--json", "--within", "1h", database_url=database_url)
    printed = json.loads(out)
    assert (printed.keys(), printed["stages"][0].keys()) == (told.keys(), told["stages"][0].keys())
    assert (await client.get("/v1/capacity")).json()["within_seconds"] == 900


@pytest.mark.parametrize(
    ("within", "said"), [("soon", "is not a length of time"), ("", "length of time"), ("8d", "7d at most")]
)
async def test_a_time_to_drain_in_that_is_none_is_refused(client, within, said):
    assert said in problem(await client.get("/v1/capacity", params={"within": within}), 422)


async def test_verify_is_the_document_of_the_command(client, pool, database_url):
    await receive(pool)
    answer = await client.get("/v1/verify", params={"since": "1h"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["events"]["received"], told["events"]["waiting"]) == (3, 3)
    assert (told["ok"], told["settled"], told["adds_up"], told["replayed"]) == (True, False, True, None)
    assert told["stripe"]["why"] == "stripe=true was not asked"
    _, out, _ = await command_here("verify", "--since", "1h", "--json", database_url=database_url)
    assert json.loads(out).keys() == told.keys()


async def test_a_window_is_given_by_times_as_well(client, pool):
    await receive(pool)
    now = datetime.now(UTC)
    window = {"since": (now - timedelta(hours=2)).isoformat(), "until": (now - timedelta(hours=1)).isoformat()}
    assert (await client.get("/v1/verify", params=window)).json()["events"]["received"] == 0
    window["until"] = (now + timedelta(seconds=5)).isoformat()
    assert (await client.get("/v1/verify", params=window)).json()["events"]["received"] == 3


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"since": "yesterday"}, "since: 'yesterday' is not a time"),
        ({"since": "2026-11-24T15:30:00"}, "is not a time: write"),
        ({"since": "1h", "until": "2h"}, "the window is empty"),
        ({"since": "8d"}, "longer than 7 days"),
        ({"since": "999999w", "until": "now"}, "longer than 7 days"),
        ({"since": "200d", "until": "199d"}, "events are kept for"),
        ({"stripe": "perhaps"}, "stripe: "),
        ({"since": "1" * 50}, "since: "),
    ],
)
async def test_a_window_that_cannot_be_verified_is_refused_with_the_reason(client, window, said):
    assert said in problem(await client.get("/v1/verify", params=window), 422)


async def test_without_the_token_neither_is_told(door):
    async with client_of(door, token=None) as stranger:
        for path in ("/v1/capacity", "/v1/verify"):
            problem(await stranger.get(path), 401)


async def test_those_who_ask_at_once_are_answered_in_turn(client, pool):
    await receive(pool)
    answers = await asyncio.gather(*(client.get("/v1/verify", params={"since": "1h"}) for _ in range(5)))
    assert [answer.json()["events"]["received"] for answer in answers] == [3] * 5


async def test_stripes_list_is_compared_when_asked_for_and_not_waited_for_too_long(pool, monkeypatch):
    await merchants.insert(pool, NewMerchant("bakery", "Bakery", None, "acct_1A"))
    async with EmulatedStripe(accounts=["acct_1A"]) as emulated:
        settings = Settings(api_token=TOKEN, stripe_api_key=DEFAULT_API_KEY, stripe_api_url=emulated.url)
        async with client_of(ApiDoor(settings, pool)) as client:
            params = {"since": "1h", "stripe": "true"}
            told = (await client.get("/v1/verify", params=params)).json()
            assert (told["stripe"]["compared"], told["stripe"]["listed"]) == (True, 0)
            monkeypatch.setattr(verify, "STRIPE_PATIENCE", 0.05)
            emulated.faults = StripeFaults(api_latency=5.0)
            told = (await client.get("/v1/verify", params=params)).json()
            assert "took longer than" in told["stripe"]["why"]
            assert (told["stripe"]["compared"], told["ok"]) == (False, True)


async def test_without_a_key_stripe_cannot_be_asked(client):
    told = (await client.get("/v1/verify", params={"since": "1h", "stripe": "true"})).json()
    assert told["stripe"]["why"] == "HOLDFAST_STRIPE_API_KEY is not set"

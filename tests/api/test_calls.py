"""`/v1/calls` and `/v1/voicemails`"""

import pytest

from tests.api.test_door import problem
from tests.voice.stored import two_calls
from tests.voice.twilio import BAKERY, CALLER, DESK


async def test_calls_come_in_pages_newest_first(client, pool):
    first, _, other = await two_calls(pool)
    page = (await client.get("/v1/calls", params={"limit": 1})).json()
    assert [one["sid"] for one in page["calls"]] == [other]
    page = (await client.get("/v1/calls", params={"limit": 1, "cursor": page["next"]})).json()
    assert ([one["sid"] for one in page["calls"]], page["next"]) == ([first], None)


@pytest.mark.parametrize(
    "chosen", [{"merchant": "bakery"}, {"number": BAKERY}, {"outcome": "voicemail"}, {"caller": CALLER[-4:]}]
)
async def test_calls_are_filtered(client, pool, chosen):
    first, _, _ = await two_calls(pool)
    (found,) = (await client.get("/v1/calls", params=chosen)).json()["calls"]
    assert (found["sid"], found["merchant"], found["number"], found["outcome"]) == (
        first,
        "bakery",
        BAKERY,
        "voicemail",
    )


async def test_a_call_has_its_legs_voicemails_alerts_and_callbacks(client, pool):
    first, left, _ = await two_calls(pool)
    found = (await client.get(f"/v1/calls/{first}")).json()
    assert [(leg["target"], leg["outcome"]) for leg in found["legs"]] == [(DESK, "no-answer")]
    assert [one["sid"] for one in found["voicemails"]] == [left]
    assert [one["code"] for one in found["alerts"]] == [13224]
    assert len(found["callbacks"]) == 6


async def test_voicemails_are_listed(client, pool):
    first, left, _ = await two_calls(pool)
    (found,) = (await client.get("/v1/voicemails", params={"merchant": "bakery"})).json()["voicemails"]
    assert (found["sid"], found["call"], found["transcription"]) == (left, first, "Two loaves, please.")


async def test_mistakes_are_problems(client, pool):
    assert "there is no call CA1" in problem(await client.get("/v1/calls/CA1"), 404)
    assert "there is no merchant" in problem(await client.get("/v1/calls", params={"merchant": "gym"}), 404)
    assert "outcome" in problem(await client.get("/v1/calls", params={"outcome": "great"}), 422)
    assert "since" in problem(await client.get("/v1/calls", params={"since": "yesterday"}), 422)

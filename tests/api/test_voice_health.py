"""`/v1/voice/health` and `/v1/voice/alerts`."""

from datetime import UTC, datetime, timedelta

from tests.api.test_door import problem
from tests.voice.calls import PHONE, alert, legs


def lately():
    return datetime.now(UTC) - timedelta(minutes=2)


async def test_health_tells_the_ill_first_and_how_far_trouble_reaches(client, pool):
    await legs(pool, "+14155550111", "FFFFF", at=lately())
    await legs(pool, "+14155550112", "A" * 30, at=lately())
    told = (await client.get("/v1/voice/health")).json()
    assert told["isolation"]["extent"] == "targets"
    assert told["isolation"]["ill"]["target"] == ["+14155550111"]
    assert (told["lines"][0]["key"], told["lines"][0]["verdict"]) == ("+14155550111", "ill")
    assert told["lines"][0]["since"] is not None
    regions = (await client.get("/v1/voice/health", params={"kind": "region"})).json()["lines"]
    assert [line["kind"] for line in regions] == ["region"]


async def test_alerts_are_told_by_code_and_one_by_one(client, pool):
    await alert(pool, 11200, at=lately(), phone=PHONE)
    await alert(pool, 11205, at=lately())
    told = (await client.get("/v1/voice/alerts", params={"phone": PHONE})).json()
    assert {one["code"]: one["whose"] for one in told["codes"]} == {11200: "ours", 11205: "ours"}
    assert [one["code"] for one in told["alerts"]] == [11200]


async def test_a_time_that_cannot_be_is_a_problem(client):
    assert "too long" in problem(await client.get("/v1/voice/health", params={"window": "2d"}), 422)
    assert "soon" in problem(await client.get("/v1/voice/alerts", params={"since": "soon"}), 422)

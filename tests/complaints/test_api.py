"""`/v1/complaints`: filed once, read whole, answered and closed; problems say what to do."""

from datetime import UTC, datetime

import pytest

from holdfast.api.door import ApiDoor
from holdfast.config import Settings
from tests.api.conftest import TOKEN, client_of
from tests.incidents.shop import Shop, desk_of
from tests.messaging.texts import ANN, ask, grant, town


@pytest.fixture
async def client(pool):
    settings = Settings(_env_file=None, api_token=TOKEN)
    async with client_of(ApiDoor(settings, pool, lambda pool, settings: desk_of(pool, Shop(), settings))) as made:
        yield made


async def test_a_complaint_is_filed_once_a_key_and_read_whole(pool, client):
    place = await town(pool)
    now = datetime.now(UTC)
    await grant(pool, place.bakery, ANN)
    await ask(pool, place.bakery, ANN, now=now)
    given = {"phone": ANN, "merchant": "bakery", "text": "Stop it.", "key": "ticket-7", "actor": "desk"}
    filed = await client.post("/v1/complaints", json=given)
    again = await client.post("/v1/complaints", json=given)
    assert (filed.status_code, again.status_code) == (201, 200)
    assert filed.headers["location"] == f"/v1/complaints/{filed.json()['id']}"
    assert (filed.json()["cancelled"], filed.json()["settled"], filed.json()["state"]) == (1, True, "waiting")
    shown = (await client.get(filed.headers["location"])).json()
    assert shown["person"]["phone"] == ANN
    assert [one["state"] for one in shown["messages"]] == ["cancelled"]
    listed = (await client.get("/v1/complaints", params={"state": "unanswered"})).json()
    assert [one["id"] for one in listed["complaints"]] == [shown["id"]]
    assert listed["next"] is None
    proof = (await client.get(f"/v1/complaints/{shown['id']}/proof")).json()
    assert (proof["holds"], proof["sent_since"], len(proof["not_asked"])) == (False, 0, 1)


async def test_it_is_answered_and_closed_in_this_order(pool, client):
    await town(pool)
    number = (await client.post("/v1/complaints", json={"phone": ANN, "actor": "desk"})).json()["id"]
    draft = (await client.get(f"/v1/complaints/{number}/reply")).json()["text"]
    assert "We are sorry" in draft
    closing = {"cause": "An old list.", "actor": "sue"}
    early = await client.post(f"/v1/complaints/{number}/close", json=closing)
    assert (early.status_code, "nobody has answered" in early.json()["detail"]) == (409, True)
    answering = {"how": "email", "text": draft, "send": True, "actor": "sue"}
    mailed = await client.post(f"/v1/complaints/{number}/answer", json=answering)
    assert (mailed.status_code, "no mailbox" in mailed.json()["detail"]) == (409, True)
    said = {"how": "phone", "text": "We apologised.", "actor": "sue"}
    answered = await client.post(f"/v1/complaints/{number}/answer", json=said)
    assert (answered.status_code, answered.json()["answered"]["in_time"]) == (200, True)
    assert (await client.post(f"/v1/complaints/{number}/answer", json=said)).status_code == 409
    closed = await client.post(f"/v1/complaints/{number}/close", json=closing)
    assert (closed.json()["state"], closed.json()["cause"]) == ("closed", "An old list.")
    assert (await client.get("/v1/complaints")).json()["complaints"] == []


async def test_pages_go_on_where_the_one_before_ended(pool, client):
    await town(pool)
    for number in range(3):
        await client.post("/v1/complaints", json={"phone": f"+1415555010{number}", "actor": "desk"})
    first = (await client.get("/v1/complaints", params={"limit": 2})).json()
    second = (await client.get("/v1/complaints", params={"limit": 2, "cursor": first["next"]})).json()
    assert [one["id"] for page in (first, second) for one in page["complaints"]] == [3, 2, 1]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"phone": "12", "actor": "x"}, 422, "+"),
        ({"phone": ANN, "actor": "x", "merchant": "none"}, 404, "no merchant 'none'"),
        ({"phone": ANN, "actor": "x", "fax": "1"}, 422, "no such field"),
        ({"phone": ANN}, 422, "must be given"),
        ({"phone": ANN, "actor": "x", "received_at": "2999-01-01T00:00:00Z"}, 422, "still to come"),
    ],
)
async def test_a_mistake_is_told_and_nothing_filed(pool, client, given, status, said):
    await town(pool)
    answer = await client.post("/v1/complaints", json=given)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert (await client.get("/v1/complaints")).json()["complaints"] == []
    assert (await client.get("/v1/complaints/9")).status_code == 404

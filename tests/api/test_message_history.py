"""`/v1/messages`, `/v1/messaging`: what became of texts, policies and templates."""

import pytest

from holdfast.messaging.callbacks import StatusCallbacks
from tests.api.test_door import problem
from tests.messaging.test_callbacks import SID, sent, told
from tests.messaging.texts import ANN, BAKERY, NOON, ask, grant, stop, town


async def test_texts_come_in_pages_newest_first_and_filtered(client, pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    first, second = await ask(pool, found.bakery, ANN), await ask(pool, found.garage, ANN)
    page = (await client.get("/v1/messages", params={"limit": 1})).json()
    assert [one["id"] for one in page["messages"]] == [second.id]
    page = (await client.get("/v1/messages", params={"limit": 1, "cursor": page["next"]})).json()
    assert ([one["id"] for one in page["messages"]], page["next"]) == ([first.id], None)
    for chosen in ({"merchant": "bakery"}, {"state": "queued"}, {"rule": "consent"}, {"to": ANN, "state": "queued"}):
        (one,) = (await client.get("/v1/messages", params=chosen)).json()["messages"]
        assert (one["id"], one["merchant"], one["from"], one["to"]) == (first.id, "bakery", BAKERY, ANN)
    assert (await client.get("/v1/messages", params={"until": NOON.isoformat()})).json()["messages"] == []


async def test_a_text_has_its_callbacks_and_what_they_mean(client, pool):
    text = await sent(pool)
    await StatusCallbacks(pool).take([told("queued"), told("undelivered", at=3.0, ErrorCode="30005")])
    found = (await client.get(f"/v1/messages/{text}")).json()
    assert (found["sid"], found["status"], found["error_code"]) == (SID, "undelivered", 30005)
    assert found["error"] == "the handset is unknown, or out of service"
    assert found["error_page"] == "https://www.twilio.com/docs/api/errors/30005"
    assert [one["status"] for one in found["callbacks"]] == ["queued", "undelivered"]
    assert found["consent"]["action"] == "grant"


async def test_a_refused_text_has_the_block_that_decided(client, pool):
    found = await town(pool)
    stopped = await stop(pool, found.bakery, ANN)
    text = (await ask(pool, found.bakery, ANN)).id
    shown = (await client.get(f"/v1/messages/{text}")).json()
    assert (shown["state"], shown["rule"], shown["why"]) == ("refused", "suppressed", "the person is blocked")
    assert (shown["suppression"]["id"], shown["suppression"]["merchant"]) == (stopped.suppression_id, "bakery")
    assert shown["consent"]["action"] == "revoke"


async def test_policies_are_shown_and_set(client, pool):
    await town(pool)
    answer = await client.put("/v1/messaging/policy/bakery", json={"opens": "09:00", "brand": "The Bakery"})
    assert (answer.status_code, answer.json()["own"]["opens"]) == (200, "09:00")
    found = (await client.get("/v1/messaging/policy/bakery")).json()
    assert (found["in_force"]["brand"], found["in_force"]["closes"], found["changed_by"]) == (
        "The Bakery",
        "21:00",
        "api",
    )
    await client.put("/v1/messaging/policy/bakery", json={"opens": None})
    assert (await client.get("/v1/messaging/policy/bakery")).json()["in_force"]["opens"] == "08:00"
    answer = await client.put("/v1/messaging/policy", json={"most_per_day": 5})
    assert answer.json()["in_force"]["most_per_day"] == 5
    assert (await client.get("/v1/messaging/policy")).json()["merchant"] is None


async def test_templates_are_listed_put_and_removed(client, pool):
    await town(pool)
    answer = await client.put("/v1/messaging/templates/ready", json={"body": "Hi {name}!"})
    assert (answer.status_code, answer.json()["variables"]) == (201, ["name"])
    answer = await client.put("/v1/messaging/templates/ready", json={"body": "Fresh!"}, params={"merchant": "bakery"})
    assert (answer.status_code, answer.json()["merchant"]) == (201, "bakery")
    assert (await client.put("/v1/messaging/templates/ready", json={"body": "Hello {name}!"})).status_code == 200
    assert len((await client.get("/v1/messaging/templates", params={"merchant": "bakery"})).json()["templates"]) == 2
    assert (await client.delete("/v1/messaging/templates/ready")).status_code == 204
    assert "no template" in problem(await client.delete("/v1/messaging/templates/ready"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/v1/messages/99", None, 404, "there is no text 99"),
        ("GET", "/v1/messages?merchant=gym", None, 404, "there is no merchant"),
        ("GET", "/v1/messages?state=great", None, 422, "state"),
        ("GET", "/v1/messages?cursor=x", None, 422, "cursor"),
        ("PUT", "/v1/messaging/policy/gym", {}, 404, "there is no merchant"),
        ("PUT", "/v1/messaging/policy/bakery", {}, 422, "give what is to be changed"),
        ("PUT", "/v1/messaging/policy/bakery", {"opens": "22:00"}, 422, "open before it closes"),
        ("PUT", "/v1/messaging/policy/bakery", {"colour": "red"}, 422, "no such field"),
        ("PUT", "/v1/messaging/templates/ready", {"body": "{"}, 422, "a placeholder is"),
    ],
)
async def test_mistakes_are_problems(client, pool, method, path, body, status, said):
    await town(pool)
    assert said in problem(await client.request(method, path, json=body), status)

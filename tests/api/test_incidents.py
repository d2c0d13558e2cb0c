"""`/v1/incidents`, `/v1/people`, `/v1/rota`."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.incidents import people
from holdfast.incidents.model import WEEK
from tests.api.test_door import problem
from tests.incidents.shop import desk_of, opened, run_on


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def desk(pool, shop, settings):
    return desk_of(pool, shop, settings)


@pytest.fixture
def post(client):
    """Do something with incident 1, or where the path says; returns the answer's document."""

    async def poster(path: str, *, status: int = 200, **body):
        answer = await client.post(f"/v1/incidents/{path}" if path else "/v1/incidents", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    return poster


async def test_an_incident_is_worked_by_a_program_from_its_opening_to_its_end(client, post, desk, shop):
    answer = await client.post("/v1/incidents", json={"runbook": "shop-slow", "title": "Pages take 9 s"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/incidents/1")
    await run_on(desk, now() - timedelta(minutes=10))
    story = (await client.get("/v1/incidents/1")).json()
    assert [need["what"] for need in story["needs"]][:3] == ["acknowledge", "failed", "decide"]
    assert [step["state"] for step in story["steps"]][:3] == ["done", "done", "asking"]
    assert (story["steps"][4]["every"], story["steps"][0]["evidence"]) == (1800.0, {"seconds": 9})
    assert [one["undo"] for one in story["ledger"]] == ["holdfast incidents undo 1 read-only"]
    assert [one["kind"] for one in story["obligations"]] == ["acknowledge", "update"]
    assert (await post("1/acknowledge", actor="ana"))["commander"] == "ana"
    assert (await post("1/take", actor="ben"))["commander"] == "ben"
    assert (await post("1/assign", actor="ben", commander="ana"))["commander"] == "ana"
    assert (await post("1/notes", status=201, text="it was the cache", actor="ana"))["entry"] > 0
    assert (await post("1/steps/tell/approve", text="Sorry.", actor="ana"))["answer"] == "Sorry."
    assert (await post("1/steps/close/skip", reason="no need", actor="ana"))["state"] == "skipped"
    shop.is_broken = False
    assert (await post("1/steps/warm/retry", actor="ana"))["state"] == "pending"
    assert (await post("1/steps/7/done", note="they look", actor="ana"))["key"] == "ask-supplier"
    assert (await post("1/calm", reason="pages take 1 s", actor="ana"))["calm_at"] is not None
    await run_on(desk, now())
    assert shop.told == ["Sorry."]
    refused = await client.post("/v1/incidents/1/resolve", json={"actor": "ana"})
    assert "still in force: Nobody can buy for a while" in problem(refused, 409)
    assert (await post("1/steps/read-only/undo", reason="over", actor="ana"))["state"] == "undone"
    assert (await post("1/resolve", actor="ana"))["state"] == "resolved"
    assert (await post("1/reopen", reason="slow again", actor="ana"))["resolved_at"] is None
    assert (await post("1/resolve", reason="it is enough", actor="ana"))["state"] == "resolved"


async def test_open_ones_are_listed_with_what_waits_and_all_in_pages(client, post, desk):
    await opened(desk, now=now() - timedelta(hours=2))
    (listed,) = (await client.get("/v1/incidents")).json()["incidents"]
    assert (listed["id"], listed["waiting"], listed["failed"], listed["overdue"]) == (1, 3, 1, 2)
    for number in (2, 3):
        await post("", status=201, runbook="shop-down", title="Down", severity="critical")
        await post(f"{number}/resolve", reason="a drill")
    assert [one["id"] for one in (await client.get("/v1/incidents")).json()["incidents"]] == [1]
    first = (await client.get("/v1/incidents", params={"state": "all", "limit": 2})).json()
    assert ([one["id"] for one in first["incidents"]], first["next"]) == ([3, 2], "2")
    rest = (await client.get("/v1/incidents", params={"state": "all", "limit": 2, "cursor": "2"})).json()
    assert ([one["id"] for one in rest["incidents"]], rest["next"]) == ([1], None)
    found = await client.get("/v1/incidents", params={"state": "all", "runbook": "shop-down"})
    assert [one["id"] for one in found.json()["incidents"]] == [3, 2]


async def test_the_log_is_read_on_from_where_one_was(client, post, desk):
    await opened(desk, now=now())
    first = (await client.get("/v1/incidents/1/log", params={"limit": 2})).json()
    assert first["log"][0]["kind"] == "opened"
    rest = (await client.get("/v1/incidents/1/log", params={"after": first["next"]})).json()
    assert rest["log"][0]["id"] > first["next"]
    await post("1/notes", status=201, text="hello")
    (last,) = (await client.get("/v1/incidents/1/log", params={"after": rest["next"]})).json()["log"]
    assert (last["kind"], last["text"], last["actor"]) == ("note", "hello", "api")
    assert (await client.get("/v1/incidents/1/log", params={"after": last["id"]})).json() == {
        "log": [],
        "next": last["id"],
    }


async def test_two_go_on_as_one(client, post, desk):
    await opened(desk, now=now())
    await post("", status=201, runbook="shop-down", title="Down")
    assert (await post("1/merge", into=2))["id"] == 2
    story = (await client.get("/v1/incidents/2")).json()
    assert (story["merged"], len(story["ledger"])) == ([1], 1)


async def test_what_is_sent_again_under_one_key_is_done_once(client, desk, pool):
    await opened(desk, now=now())
    for _ in range(3):
        headers = {"idempotency-key": "one"}
        answer = await client.post("/v1/incidents/1/notes", json={"text": "hello"}, headers=headers)
        assert answer.status_code == 201, answer.text
    assert await pool.fetchval("SELECT count(*) FROM incident_log WHERE kind = 'note'") == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("", {"runbook": "nothing", "title": "x"}, 422, "there is no runbook 'nothing'"),
        ("", {"runbook": "shop-slow", "title": "x"}, 409, "incident 1 of shop-slow is open"),
        ("", {"runbook": "shop-slow", "title": " "}, 422, "write a title"),
        ("", {"title": "x"}, 422, "this field must be given"),
        ("/99/acknowledge", {}, 404, "there is no incident 99"),
        ("/1/steps/nothing/retry", {}, 404, "has no step 'nothing'"),
        ("/1/steps/look/approve", {}, 409, "asks for no approval"),
        ("/1/steps/close/approve", {}, 409, "is for the commander"),
        ("/1/steps/tell/skip", {}, 422, "this field must be given"),
        ("/1/steps/tell/skip", {"reason": " "}, 422, "write a reason"),
        ("/1/notes", {"text": "a\0b"}, 422, "write a note"),
        ("/1/notes", {"text": "x", "speed": 1}, 422, "there is no such field"),
        ("/1/steps/7/done", {"note": "a\0b"}, 422, "write a note"),
        ("/1/notes", {"text": "x", "actor": "a\0b"}, 422, "say who acts"),
        ("/1/assign", {"commander": "a\0b"}, 422, "say who acts"),
        ("/1/merge", {"into": 1}, 409, "merged into itself"),
        ("/1/reopen", {"reason": "x"}, 409, "there is nothing to re-open"),
        ("/1/resolve", {}, 409, "cannot be resolved"),
        ("/1/take", {"actor": "mallory"}, 409, "'mallory' is not on the team (ana)"),
    ],
)
async def test_what_cannot_be_is_a_problem_that_says_why(client, desk, pool, path, body, status, said):
    await people.add(pool, "api")
    await people.add(pool, "ana")
    await opened(desk, now=now())
    if "mallory" in body.values():
        await people.remove(pool, "api")
    assert said in problem(await client.post(f"/v1/incidents{path}", json=body), status)


async def test_what_is_not_there_is_not_found(client):
    for path in ("/v1/incidents/99", "/v1/incidents/99/log"):
        assert "there is no incident 99" in problem(await client.get(path), 404)
    assert (await client.get("/v1/incidents")).json() == {"incidents": [], "next": None}
    problem(await client.get("/v1/incidents", params={"cursor": "x"}), 422)
    problem(await client.get("/v1/incidents", params={"runbook": "a\0b"}), 422)
    problem(await client.delete("/v1/people/a%00b"), 404)


async def test_people_and_the_rota(client):
    assert (await client.get("/v1/rota")).json() == {"on_call": None, "handover": None, "people": [], "weeks": []}
    answer = await client.put("/v1/people/ana", json={"name": "Ana Lima", "email": "ana@example.com"})
    assert (answer.status_code, answer.json()["role"]) == (200, "responder")
    changed = (await client.put("/v1/people/ana", json={"role": "admin"})).json()
    assert (changed["name"], changed["role"]) == ("Ana Lima", "admin")
    await client.put("/v1/people/ben", json={})
    begins = (now() - WEEK).isoformat()
    rota = (await client.put("/v1/rota", json={"people": ["ana", "ben"], "handover": begins})).json()
    assert (rota["on_call"], [week["person"] for week in rota["weeks"]]) == ("ben", ["ben", "ana", "ben"])
    assert (await client.get("/v1/rota", params={"weeks": 1})).json()["weeks"] == rota["weeks"][:1]
    assert [one["key"] for one in (await client.get("/v1/people")).json()["people"]] == ["ana", "ben"]
    assert "has weeks in the rota" in problem(await client.delete("/v1/people/ana"), 409)
    await client.put("/v1/rota", json={"people": ["ben"], "handover": begins})
    assert (await client.delete("/v1/people/ana")).status_code == 204
    assert "nobody called 'ana'" in problem(await client.delete("/v1/people/ana"), 404)
    assert "not a person's key" in problem(await client.put("/v1/people/Ana", json={}), 422)
    assert "not an e-mail" in problem(await client.put("/v1/people/ana", json={"email": "x"}), 422)
    unknown = {"people": ["zoe"], "handover": begins}
    assert "nobody called 'zoe'" in problem(await client.put("/v1/rota", json=unknown), 404)
    assert "timezone" in problem(
        await client.put("/v1/rota", json={"people": ["ben"], "handover": "2026-11-30T09:00:00"}), 422
    )

"""The door of `/v1`: who may come in, and that every refusal is a problem that says what to do."""

import asyncio

import pytest

from holdfast.api import door as doors
from holdfast.api import store
from holdfast.api.door import ApiDoor
from holdfast.config import Settings
from holdfast.db.pool import create_pool
from holdfast.desk import open_desk
from tests.api.conftest import TOKEN, client_of


def problem(answer, status):
    """The problem's detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail"} <= body.keys()
    assert body["status"] == status
    return body["detail"]


async def test_without_a_token_set_every_call_says_which_setting_to_set(pool):
    async with client_of(ApiDoor(Settings(), pool, open_desk)) as client:
        for method, path in (("GET", "/v1/levers"), ("POST", "/v1/ramps"), ("GET", "/v1/nothing")):
            answer = await client.request(method, path)
            assert "set HOLDFAST_API_TOKEN" in problem(answer, 401)


@pytest.mark.parametrize("given", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "tökén"])
async def test_only_the_token_opens_it(door, given):
    async with client_of(door, token=None) as client:
        headers = [(b"authorization", f"Bearer {given}".encode("latin-1"))] if given is not None else []
        answer = await client.get("/v1/levers", headers=headers)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_token_must_be_a_bearer_token(door):
    async with client_of(door, token=None) as client:
        problem(await client.get("/v1/levers", headers={"authorization": f"Basic {TOKEN}"}), 401)
        assert (await client.get("/v1/levers", headers={"authorization": f"bearer {TOKEN}"})).status_code == 200


async def test_the_description_is_public_and_tells_of_problems(door):
    async with client_of(door, token=None) as client:
        answer = await client.get("/v1/openapi.json")
    assert answer.status_code == 200
    described = answer.json()
    assert described["servers"] == [{"url": "/v1"}]
    assert {"/levers", "/levers/{name}", "/levers/history", "/ramps", "/ramps/{ramp_id}", "/signals"} <= set(
        described["paths"]
    )
    turn = described["paths"]["/levers/{name}"]["put"]
    assert "application/problem+json" in turn["responses"]["default"]["content"]
    assert "422" not in turn["responses"]
    assert "Problem" in described["components"]["schemas"]
    assert turn["security"]


async def test_what_is_not_there_is_a_problem(client):
    assert "see /v1/openapi.json" in problem(await client.get("/v1/nothing"), 404)
    assert "see /v1/openapi.json" in problem(await client.get("/v1/levers/"), 404)
    for path in ("/v1/docs", "/v1/redoc", "/v1/"):
        problem(await client.get(path), 404)


async def test_a_method_that_is_not_for_an_address_is_a_problem_that_names_those_that_are(client):
    answer = await client.post("/v1/levers", json={})
    assert problem(answer, 405) == "POST is not for this address"
    assert answer.headers["allow"] == "GET"


async def test_a_body_that_is_too_large_is_refused(client):
    large = b"x" * (doors.LARGEST_BODY + 1)
    assert "larger than 65536 bytes" in problem(await client.put("/v1/levers/x", content=large), 413)

    async def parts():
        for _ in range(70):
            yield b"x" * 1024

    assert "larger than 65536 bytes" in problem(await client.put("/v1/levers/x", content=parts()), 413)


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b"{", "body", "this is not JSON"),
        (b"[]", "body", "send a JSON object, with content-type"),
        (b"{}", "value", "this field must be given"),
        (b'{"value": 1.5}', "value", "valid"),
        (b'{"value": 1, "speed": 2}', "speed", "there is no such field"),
        (b'{"value": 1, "reason": 5}', "reason", "valid string"),
        (b'{"value": 1, "actor": ""}', "actor", "at least 1 character"),
        (b'{"value": 1, "expires": "2026-01-01T00:00:00"}', "expires", "timezone"),
        (b'{"value": 1, "for": "1h", "expires": "2099-01-01T00:00:00Z"}', "body", "not both"),
    ],
)
async def test_what_is_wrong_in_a_body_is_named(client, body, field, said):
    answer = await client.put(
        "/v1/levers/router.concurrency", content=body, headers={"content-type": "application/json"}
    )
    detail = problem(answer, 422)
    assert said in detail
    assert any(field in error["field"] for error in answer.json()["errors"]), answer.json()


async def test_with_the_store_away_it_asks_to_come_again(settings):
    gone = await create_pool("postgresql:///x?host=/nowhere", size=1, name="gone")
    async with client_of(ApiDoor(settings, gone, open_desk)) as client:
        answer = await client.get("/v1/levers")
        assert "the store cannot be reached" in problem(answer, 503)
        assert answer.headers["retry-after"] == "5"
        answer = await client.post("/v1/ramps", json={"name": "x"}, headers={"idempotency-key": "k"})
        problem(answer, 503)
    gone.terminate()


async def test_what_takes_too_long_ends_as_a_problem(door, client, monkeypatch):
    monkeypatch.setattr(doors, "PATIENCE", 0.05)

    async def slow(*_):
        await asyncio.sleep(5)

    monkeypatch.setattr(door, "_answer", slow)
    answer = await client.get("/v1/levers")
    assert "took longer" in problem(answer, 503)
    assert answer.headers["retry-after"] == "5"


async def test_too_many_at_once_are_asked_to_come_again(door, client, monkeypatch):
    monkeypatch.setattr(doors, "MOST_AT_ONCE", 2)
    opened = asyncio.Event()
    answers = door._answer

    async def waits(*arguments):
        await opened.wait()
        return await answers(*arguments)

    monkeypatch.setattr(door, "_answer", waits)
    asking = [asyncio.create_task(client.get("/v1/levers")) for _ in range(3)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    opened.set()
    assert sorted(answer.status_code for answer in await asyncio.gather(*asking)) == [200, 200, 503]


async def test_an_error_of_ours_is_a_problem_without_its_innards(door, client, monkeypatch):
    async def broken(*_):
        raise RuntimeError("secret innards")

    monkeypatch.setattr(door, "_answer", broken)
    assert problem(await client.get("/v1/levers"), 500) == "an error of ours; see the log"


RAMP = {"name": "delivery.concurrency", "to": 300, "guards": []}


async def test_a_request_with_a_key_is_done_once_and_answered_alike(client, pool):
    first = await client.post("/v1/ramps", json=RAMP, headers={"idempotency-key": '"one"'})
    assert first.status_code == 201
    again = await client.post("/v1/ramps", json=RAMP, headers={"idempotency-key": "one"})
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        first.json(),
        first.headers["location"],
    )
    assert again.headers["idempotent-replayed"] == "true"
    assert await pool.fetchval("SELECT count(*) FROM ramp") == 1
    assert "is bringing it back already" in problem(await client.post("/v1/ramps", json=RAMP), 409)


async def test_a_key_is_for_one_request(client):
    await client.post("/v1/ramps", json=RAMP, headers={"idempotency-key": "one"})
    other = await client.post("/v1/ramps", json=RAMP | {"to": 301}, headers={"idempotency-key": "one"})
    assert "was used for another request" in problem(other, 422)
    for key in ("", "x" * 256, "\x7f"):
        problem(await client.post("/v1/ramps", json=RAMP, headers={"idempotency-key": key}), 400)


async def test_of_requests_with_one_key_at_the_same_time_one_is_done(client, pool):
    headers = {"idempotency-key": "one"}
    answers = await asyncio.gather(*(client.post("/v1/ramps", json=RAMP, headers=headers) for _ in range(6)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert 201 in {answer.status_code for answer in answers}
    assert await pool.fetchval("SELECT count(*) FROM ramp") == 1


async def test_a_refusal_is_remembered_as_well_but_an_error_of_ours_is_not(client, pool, monkeypatch):
    headers = {"idempotency-key": "one"}
    problem(await client.post("/v1/ramps", json={"name": "warp"}, headers=headers), 404)
    again = await client.post("/v1/ramps", json={"name": "warp"}, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"

    async def broken(*_):
        raise RuntimeError

    monkeypatch.setattr(doors, "_call", broken)
    problem(await client.post("/v1/ramps", json=RAMP, headers={"idempotency-key": "two"}), 500)
    monkeypatch.undo()
    assert (await client.post("/v1/ramps", json=RAMP, headers={"idempotency-key": "two"})).status_code == 201


async def test_keys_are_free_again_after_a_day_and_only_so_many_are_kept(pool, monkeypatch):
    assert await store.begin(pool, "one", b"1") is None
    assert await store.begin(pool, "one", b"1") == store.Earlier(b"1", None, (), b"")
    await store.remember(pool, "one", 201, [("a", "b")], b"{}")
    assert await store.begin(pool, "one", b"1") == store.Earlier(b"1", 201, (("a", "b"),), b"{}")
    await pool.execute("UPDATE idempotency SET begun_at = now() - interval '25 h'")
    assert await store.begin(pool, "one", b"2") is None
    await pool.execute("UPDATE idempotency SET begun_at = now() - interval '40 s'")
    assert await store.begin(pool, "one", b"3") is not None, "another request's key is not taken over"
    assert await store.begin(pool, "one", b"2") is None, "its process died"
    monkeypatch.setattr(store, "MOST", 3)
    for number in range(10):
        assert await store.begin(pool, f"key {number}", b"1") is None
    assert await pool.fetchval("SELECT count(*) FROM idempotency") <= 4

"""`POST /v1/messages`: a text is decided and recorded before it is answered, and one however often it is asked for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from holdfast.api.messages import MessagesDoor
from holdfast.config import Settings
from holdfast.db.pool import create_pool
from holdfast.merchants import number_store, store
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.messaging import deciding
from tests.api.conftest import TOKEN
from tests.api.test_door import problem
from tests.messaging.texts import ANN, BAKERY, GARAGE, Town, grant, stop, town

TEXT = {"merchant": "bakery", "to": ANN, "purpose": "informational", "body": "Your bread is ready."}


@pytest.fixture
async def merchants(pool) -> Town:
    return await town(pool)


@pytest.fixture
async def texts(pool, merchants) -> AsyncIterator[httpx.AsyncClient]:
    async with client(pool) as made:
        yield made


class client:  # noqa: N801 - reads as what it gives
    """A client of a door on a pool, while the door's loops run."""

    def __init__(
        self, pool: Any, known: Any = None, token: str | None = TOKEN, *, general: Any = None, is_read: bool = True
    ) -> None:
        self._pool, self._known, self._token = pool, known or pool, token
        self._general, self._is_read = general or pool, is_read

    async def __aenter__(self) -> httpx.AsyncClient:
        catalogue = Catalogue()
        if self._is_read:
            await catalogue.refresh(self._known)
        door = MessagesDoor(Settings(api_token=TOKEN), self._pool, self._general, catalogue)
        self._tasks = [asyncio.ensure_future(loop) for loop in door.loops()]
        headers = {"authorization": f"Bearer {self._token}"} if self._token is not None else {}
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(door), base_url="http://holdfast", headers=headers
        )
        return self._client

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()


async def test_what_may_be_sent_is_taken_with_what_decided(texts, pool, merchants):
    row = await grant(pool, merchants.bakery, ANN)
    answer = await texts.post("/v1/messages", json=TEXT)
    assert answer.status_code == 202
    said = answer.json()
    assert (said["state"], said["rule"], said["consent"], said["held_by"]) == ("queued", "consent", row, None)
    assert await pool.fetchval("SELECT from_phone FROM message WHERE id = $1", said["id"]) == BAKERY


async def test_a_refusal_names_the_rule_and_the_rows_that_decided(texts, pool, merchants):
    await grant(pool, merchants.bakery, ANN)
    stopped = await stop(pool, merchants.bakery, ANN)
    answer = await texts.post("/v1/messages", json=TEXT)
    assert problem(answer, 422) == "not sent: the person is blocked: opt out"
    said = answer.json()
    assert (said["rule"], said["suppression"], said["consent"], said["reason"]) == (
        "suppressed",
        stopped.suppression_id,
        stopped.consent_seq,
        "opt_out",
    )
    assert await pool.fetchval("SELECT state FROM message WHERE id = $1", said["id"]) == "refused"


async def test_the_same_key_is_one_text_also_when_asked_at_once(texts, pool, merchants):
    await grant(pool, merchants.bakery, ANN)
    headers = {"idempotency-key": "ready-7"}
    answers = await asyncio.gather(*(texts.post("/v1/messages", json=TEXT, headers=headers) for _ in range(20)))
    assert {one.status_code for one in answers} == {202}
    assert len({one.json()["id"] for one in answers}) == 1
    assert sum("idempotent-replayed" in one.headers for one in answers) == 19
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 3") == 1
    other = await texts.post("/v1/messages", json=TEXT | {"body": "No bread today."}, headers=headers)
    assert "used for another text" in problem(other, 422)


async def test_a_refusal_asked_for_again_is_the_same_refusal_even_after_consent(texts, pool, merchants):
    headers = {"idempotency-key": "ready-7"}
    first = await texts.post("/v1/messages", json=TEXT, headers=headers)
    await grant(pool, merchants.bakery, ANN)
    again = await texts.post("/v1/messages", json=TEXT, headers=headers)
    assert (first.status_code, again.status_code) == (422, 422)
    assert again.json()["id"] == first.json()["id"]


async def test_a_template_is_filled_in(texts, pool, merchants):
    await grant(pool, merchants.bakery, ANN)
    await pool.execute(
        "INSERT INTO text_template (merchant_id, name, body, changed_by) VALUES (0, 'ready', '{what} is ready.', 'ann')"
    )
    asked = {**TEXT, "template": "ready", "variables": {"what": "Cake"}}
    del asked["body"]
    said = (await texts.post("/v1/messages", json=asked)).json()
    assert await pool.fetchrow("SELECT body, template FROM message WHERE id = $1", said["id"]) == (
        "Cake is ready.",
        "ready",
    )
    assert "no template" in problem(await texts.post("/v1/messages", json=asked | {"template": "x"}), 422)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"merchant": "butcher"}, "there is no merchant 'butcher'"),
        ({"to": "4155550111"}, "is not a phone number"),
        ({"to": "+1415"}, "too few or too many digits"),
        ({"body": " "}, "its body is empty"),
        ({"body": "x" * 1601}, "at most 1600 characters"),
        ({"body": "a\0b"}, "cannot be stored"),
        ({"merchant": "\0"}, "there is no merchant"),
        ({"body": None}, "either a body or a template"),
        ({"variables": {"a": "b"}}, "they are for templates"),
        ({"purpose": "fun"}, "purpose"),
        ({"priority": 1}, "priority"),
        ({"send_at": "2026-05-04T12:00:00"}, "with its zone"),
        ({"send_at": "2099-05-04T12:00:00Z"}, "at most 90 days"),
        ({"send_at": "tomorrow"}, "send_at"),
    ],
)
async def test_what_cannot_be_a_text_is_refused_with_the_field_and_not_recorded(texts, pool, change, said):
    assert said in problem(await texts.post("/v1/messages", json=TEXT | change), 422)
    assert await pool.fetchval("SELECT count(*) FROM message") == 0


async def test_what_is_no_json_and_what_is_too_large_is_refused(texts):
    problem(await texts.post("/v1/messages", content=b"{"), 422)
    problem(await texts.post("/v1/messages", content=b"\xff\xfe"), 422)
    problem(await texts.post("/v1/messages", content=b" " * 70_000), 413)
    problem(await texts.post("/v1/messages", json=TEXT, headers={"idempotency-key": "x" * 256}), 400)


async def test_only_the_token_opens_it(pool, merchants):
    for token in (None, "wrong"):
        async with client(pool, token=token) as texts:
            problem(await texts.post("/v1/messages", json=TEXT), 401)


async def test_another_merchants_number_cannot_be_used(texts, pool, merchants):
    await grant(pool, merchants.bakery, ANN)
    answer = await texts.post("/v1/messages", json=TEXT | {"from": GARAGE})
    assert answer.json()["rule"] == "no_sender"


async def test_with_the_store_away_the_answer_is_to_ask_again(pool, merchants):
    gone = await create_pool("postgresql://nobody@127.0.0.1:1/nothing", size=1, name="gone")
    async with client(gone, known=pool) as texts:
        answer = await texts.post("/v1/messages", json=TEXT)
        assert "ask again later" in problem(answer, 503)
        assert answer.headers["retry-after"] == "5"


async def test_before_the_merchants_were_read_nobody_is_told_that_there_is_no_such(pool, merchants):
    await grant(pool, merchants.bakery, ANN)
    async with client(pool, is_read=False) as texts:
        answer = await texts.post("/v1/messages", json=TEXT)
        assert "ask again later" in problem(answer, 503)
        assert answer.headers["retry-after"] == "5"


async def test_a_merchant_that_is_new_is_known_at_once(texts, pool, merchants):
    new = await store.insert(pool, NewMerchant("florist", "Florist"))
    await number_store.put(pool, [NewNumber("+14155550109", new.id, "US")])
    await grant(pool, new.id, ANN)
    assert (await texts.post("/v1/messages", json=TEXT | {"merchant": "florist"})).status_code == 202


async def test_a_template_or_a_new_merchant_that_cannot_be_read_is_asked_for_again(pool, merchants):
    gone = await create_pool("postgresql://nobody@127.0.0.1:1/nothing", size=1, name="gone")
    asked = {**TEXT, "template": "ready"}
    del asked["body"]
    async with client(pool, known=pool, general=gone) as texts:
        for one in (asked, TEXT | {"merchant": "florist"}):
            answer = await texts.post("/v1/messages", json=one)
            assert "ask again later" in problem(answer, 503)
            assert answer.headers["retry-after"] == "5"


async def test_of_what_may_be_decided_nobody_is_told_that_it_is_not(texts, pool, merchants, monkeypatch):
    monkeypatch.setattr(deciding, "PATIENCE", 0.3)
    monkeypatch.setattr(deciding, "LOOK", 0.3)
    await grant(pool, merchants.bakery, ANN)
    async with client(pool) as texts, pool.acquire() as db, db.transaction():
        await db.execute("LOCK TABLE message IN ACCESS EXCLUSIVE MODE")
        with_key, without = await asyncio.gather(
            texts.post("/v1/messages", json=TEXT, headers={"idempotency-key": "a"}),
            texts.post("/v1/messages", json=TEXT),
        )
    assert "under the same Idempotency-Key" in problem(with_key, 503)
    assert "before you ask again" in problem(without, 503)


async def test_a_thousand_at_once_are_decided_together(texts, pool, merchants):
    await grant(pool, merchants.bakery, ANN)
    answers = await asyncio.gather(
        *(texts.post("/v1/messages", json=TEXT | {"body": f"Bread {number}"}) for number in range(1000))
    )
    assert {one.status_code for one in answers} == {202}
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM message") < 500

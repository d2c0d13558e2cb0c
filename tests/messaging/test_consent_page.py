"""The page at which a person consents again: once, by a button, and without telling anybody else anything."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from holdfast.consent import customers, links
from holdfast.consent.model import ConsentError, RefusedError
from holdfast.db.pool import create_pool
from holdfast.messaging.consent_page import ConsentPage
from tests.messaging.texts import ANN, KEY, NOON, ask, grant, stop, town

WORDS = "I agree to get <b>texts</b> about my orders from The Bakery. Reply STOP to end."


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def visitor(pool: Any, clock: Clock) -> httpx.AsyncClient:
    app = Starlette(routes=ConsentPage(pool, clock=clock).routes)
    transport = httpx.ASGITransport(app, client=("203.0.113.9", 5))
    return httpx.AsyncClient(transport=transport, base_url="http://holdfast", headers={"user-agent": "Phone/1"})


@pytest.fixture
async def client(pool, clock) -> AsyncIterator[httpx.AsyncClient]:
    async with visitor(pool, clock) as opened:
        yield opened


async def link(pool: Any, merchant_id: int, **more: Any) -> str:
    """Its path."""
    async with pool.acquire() as db, db.transaction():
        person = (await customers.ensure(db, [ANN], KEY, NOON))[ANN]
        given: dict[str, Any] = {"disclosure": WORDS, "actor": "ann", "now": NOON, "purpose": "informational"} | more
        purpose = given.pop("purpose")
        made = await links.make(db, "https://texts.example.com", person, merchant_id, purpose, **given)
    path = made.url.removeprefix("https://texts.example.com")
    assert re.fullmatch("/consent/[A-Za-z0-9_-]{43}", path)
    return path


async def test_the_page_says_what_is_agreed_to_and_little_of_whom(pool, client):
    path = await link(pool, (await town(pool)).bakery)
    page = await client.get(path)
    assert page.status_code == 200
    assert "Get texts from The Bakery again?" in page.text
    assert "I agree to get &lt;b&gt;texts&lt;/b&gt;" in page.text
    assert f"ends in {ANN[-2:]}" in page.text
    assert ANN[-4:] not in page.text
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in page.text
    assert await pool.fetchval("SELECT used_at FROM reconsent_link") is None


async def test_the_button_consents_and_opens_what_the_person_had_blocked(pool, client):
    found = await town(pool)
    await stop(pool, 0, ANN, NOON - timedelta(days=1), reason="complaint")
    path = await link(pool, found.bakery)
    done = await client.post(path, headers={"x-forwarded-for": "198.51.100.7"})
    assert (done.status_code, "Thank you" in done.text) == (200, True)
    assert (await ask(pool, found.bakery, ANN)).rule == "consent"
    assert (await ask(pool, found.bakery, ANN, purpose="marketing")).rule == "revoked"
    assert (await ask(pool, found.garage, ANN)).reason == "complaint"
    row = await pool.fetchrow(
        "SELECT consent.*, disclosure.text, said FROM consent JOIN disclosure ON disclosure.id = disclosure_id "
        "JOIN consent_detail USING (seq) WHERE action = 'grant'"
    )
    assert (row["source"], row["text"], row["given_at"]) == ("link", WORDS, NOON)
    assert json.loads(row["said"]) == {
        "agent": "Phone/1",
        "forwarded": "198.51.100.7",
        "ip": "203.0.113.9",
        "method": "link",
    }
    assert await pool.fetchval("SELECT consent_seq FROM reconsent_link") == row["seq"]
    assert await pool.fetchval("SELECT type FROM event") == "consent.granted"


async def test_a_link_is_good_once_however_often_the_button_is_pressed_at_once(pool, client):
    path = await link(pool, (await town(pool)).bakery)
    answers = await asyncio.gather(*(client.post(path) for _ in range(5)))
    assert sorted(one.status_code for one in answers) == [200, 410, 410, 410, 410]
    assert (await client.get(path)).status_code == 410
    assert await pool.fetchval("SELECT count(*) FROM consent") == 1


async def test_a_link_ends_and_nobody_finds_one_by_trying(pool, client, clock):
    path = await link(pool, (await town(pool)).bakery, lasts=timedelta(days=2))
    clock.now = NOON + timedelta(days=2)
    assert [(await client.get(path)).status_code, (await client.post(path)).status_code] == [410, 410]
    for other in (path[:-1] + "_", "/consent/x", f"/consent/{'ä' * 3000}", "/consent/%00%ff"):
        assert [(await client.get(other)).status_code, (await client.post(other)).status_code] == [404, 404]
    assert await pool.fetchval("SELECT count(*) FROM consent") == 0
    digest = await pool.fetchval("SELECT digest FROM reconsent_link")
    assert path.removeprefix("/consent/").encode() not in digest


async def test_the_link_of_an_erased_person_is_not_good_any_more(pool, client):
    path = await link(pool, (await town(pool)).bakery)
    await pool.execute("UPDATE customer SET phone = NULL, salt = NULL, phone_key = '\\x01', erased_at = now()")
    assert [(await client.get(path)).status_code, (await client.post(path)).status_code] == [410, 410]


async def test_the_page_is_in_spanish_for_who_prefers_it(pool, client):
    path = await link(pool, (await town(pool)).bakery)
    page = await client.get(path, headers={"accept-language": "fr, es-MX;q=0.9, en;q=0.5"})
    assert "¿Recibir mensajes de The Bakery otra vez?" in page.text
    assert '<html lang="es">' in page.text
    assert '<html lang="en">' in (await client.get(path, headers={"accept-language": "en;q=x, fr"})).text


async def test_with_the_store_away_the_page_says_so_and_nothing_changes(clock):
    nowhere = await create_pool("postgresql:///x?host=/nowhere", size=1, name="tests")
    async with visitor(nowhere, clock) as client:
        page = await client.post("/consent/x")
    nowhere.terminate()
    assert (page.status_code, page.headers["retry-after"]) == (503, "60")


async def test_a_link_needs_words_to_agree_to_an_end_and_somebody_who_is_known(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    for wrong in ({"disclosure": "  "}, {"lasts": timedelta(days=400)}, {"lasts": timedelta()}):
        with pytest.raises(ConsentError):
            await link(pool, found.bakery, **wrong)
    with pytest.raises(ConsentError, match="one merchant"):
        await link(pool, 0)
    await pool.execute("UPDATE customer SET phone = NULL, salt = NULL, phone_key = '\\x01', erased_at = now()")
    async with pool.acquire() as db:
        row = await db.fetchrow("SELECT * FROM customer")
        with pytest.raises(RefusedError, match="START"):
            await links.make(
                db,
                "https://x",
                customers.customer(row),
                found.bakery,
                "informational",
                disclosure=WORDS,
                actor="ann",
                now=NOON,
            )

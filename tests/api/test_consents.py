"""`/v1/consents`, `/v1/suppressions`, `/v1/contacts/batches` and `/v1/customers/erase`"""

from datetime import timedelta
from typing import Any

import pytest

from holdfast.config import Settings
from tests.api.conftest import TOKEN
from tests.api.test_door import problem
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, town

OPT_IN = {
    "phone": ANN,
    "merchant": "bakery",
    "status": "opt-in",
    "purpose": "marketing",
    "source": "website",
    "date_of_consent": "2026-01-05T10:00:00Z",
    "disclosure": "I agree.",
    "ip": "203.0.113.7",
    "correlation_id": "c1",
}


@pytest.fixture
def settings() -> Settings:
    return Settings(api_token=TOKEN, erasure_key="k" * 40)


@pytest.fixture
async def merchants(pool):
    return await town(pool)


async def add(client: Any, *consents: dict[str, Any], status: int = 201) -> Any:
    answer = await client.post("/v1/consents", json={"consents": list(consents), "actor": "shop"})
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_consents_are_added_in_bulk_and_shown(client, merchants):
    out = OPT_IN | {"phone": BOB, "status": "opt-out", "purpose": None, "source": "opt-out-message"}
    done = (await add(client, OPT_IN, out))["consents"]
    assert [(one["correlation_id"], one["consent_seq"], one["suppression_id"]) for one in done] == [
        ("c1", 1, None),
        ("c1", 2, 1),
    ]
    found = (await client.get("/v1/consents", params={"phone": ANN})).json()
    assert [(one["purpose"], one["may_text"]) for one in found["standings"]] == [
        ("marketing", True),
        ("informational", True),
    ]
    assert found["rows"][0]["detail"] == {"ip": "203.0.113.7", "correlation_id": "c1"}
    then = (await client.get("/v1/consents", params={"phone": ANN, "as_of": "2025-12-01T00:00:00Z"})).json()
    assert then["rows"] == []


async def test_twilios_words_are_taken_and_an_opt_out_needs_no_date(client, pool, merchants):
    said = {"contact_id": ANN, "correlation_id": "c9", "sender_id": "MG1", "status": "opt-out", "merchant": "bakery"}
    (done,) = (await add(client, said))["consents"]
    assert (done["phone"], done["correlation_id"], done["suppression_id"]) == (ANN, "c9", 1)
    found = (await client.get("/v1/consents", params={"phone": ANN})).json()["rows"][0]
    assert found["detail"] == {"correlation_id": "c9", "sender_id": "MG1"}
    assert found["given_at"] == found["recorded_at"]


async def test_one_that_cannot_be_taken_stops_all_of_them(client, pool, merchants):
    await add(client, OPT_IN, OPT_IN | {"phone": "555"}, status=422)
    await add(client, OPT_IN, OPT_IN | {"date_of_consent": "2999-01-01T00:00:00Z"}, status=422)
    assert await pool.fetchval("SELECT count(*) FROM consent") == 0


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"purpose": None}, 422, "an opt-in is for marketing"),
        ({"date_of_consent": None}, 422, "say when the person opted in"),
        ({"contact_id": ANN}, 422, "no such field"),
        ({"merchant": "every"}, 422, "given to one merchant"),
        ({"merchant": "gym"}, 404, "no merchant"),
        ({"source": "import"}, 422, "source"),
        ({"date_of_consent": "2026-01-05T10:00:00"}, 422, "date_of_consent"),
        ({"colour": "red"}, 422, "no such field"),
    ],
)
async def test_mistakes_are_problems(client, merchants, change, status, said):
    answer = await client.post("/v1/consents", json={"consents": [OPT_IN | change]})
    assert said in problem(answer, status)


async def test_more_than_a_page_of_consents_is_refused(client, merchants):
    answer = await client.post("/v1/consents", json={"consents": [OPT_IN] * 501})
    assert "500" in problem(answer, 422)


async def test_a_block_is_made_listed_and_lifted(client, pool, merchants):
    await grant(pool, merchants.bakery, ANN)
    await ask(pool, merchants.bakery, ANN)
    answer = await client.post("/v1/suppressions", json={"phone": ANN, "merchant": "every", "note": "asked us"})
    made = answer.json()
    assert (answer.status_code, made["merchant"], made["is_new"], made["cancelled"]) == (201, "every", True, 1)
    await client.post("/v1/suppressions", json={"phone": BOB, "merchant": "bakery", "reason": "opt_out"})
    page = (await client.get("/v1/suppressions", params={"limit": 1})).json()
    assert [one["phone"] for one in page["suppressions"]] == [BOB]
    page = (await client.get("/v1/suppressions", params={"limit": 1, "cursor": page["next"]})).json()
    assert ([one["id"] for one in page["suppressions"]], page["next"]) == ([made["id"]], None)
    for chosen in ({"merchant": "every"}, {"reason": "operator"}, {"phone": ANN}, {"lifted": "false", "phone": ANN}):
        found = (await client.get("/v1/suppressions", params=chosen)).json()["suppressions"]
        assert [one["id"] for one in found] == [made["id"]]
    lifted = await client.post(f"/v1/suppressions/{made['id']}/lift", json={"why": "a mistake", "actor": "kim"})
    assert (lifted.status_code, lifted.json()["lifted_by"]) == (200, "kim")
    assert (await client.get(f"/v1/suppressions/{made['id']}")).json()["lifted_why"] == "a mistake"
    again = await client.post(f"/v1/suppressions/{made['id']}/lift", json={"why": "a mistake", "actor": "kim"})
    assert "no suppression" in problem(again, 404)


async def test_a_person_is_erased_and_stays_blocked(client, pool, merchants):
    await grant(pool, merchants.bakery, ANN, NOON - timedelta(days=1))
    given = {"phone": ANN, "why": "letter of 4 May", "actor": "kim"}
    done = (await client.post("/v1/customers/erase", json=given)).json()
    assert done["erasure_id"] == 1
    assert len(done["out_of_reach"]) == 4
    assert "erased" in problem(await client.post("/v1/consents", json={"consents": [OPT_IN]}), 409)
    lift = await client.post(
        f"/v1/suppressions/{done['suppression_id']}/lift", json={"why": "they called and want it", "actor": "kim"}
    )
    assert "stays for ever" in problem(lift, 409)
    other = await client.post("/v1/customers/erase", json=given | {"phone": BOB})
    assert "nothing is known" in problem(other, 404)


async def test_imports_are_listed_in_pages(client, pool, merchants):
    for name in ("a", "b"):
        await pool.execute(
            "INSERT INTO import_batch (merchant_id, file, sha256, state, actor, began_at) "
            "VALUES ($1, $2, '', 'applied', 'kim', $3)",
            merchants.bakery,
            name,
            NOON,
        )
    page = (await client.get("/v1/contacts/batches", params={"limit": 1, "merchant": "bakery"})).json()
    assert ([one["file"] for one in page["batches"]], page["next"]) == (["b"], "2")
    page = (await client.get("/v1/contacts/batches", params={"limit": 1, "cursor": page["next"]})).json()
    assert ([one["file"] for one in page["batches"]], page["next"]) == (["a"], None)

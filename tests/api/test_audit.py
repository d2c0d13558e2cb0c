"""Findings of the audit over the API: listed in pages, and settled once."""

from datetime import timedelta

from holdfast.messaging import auditing
from tests.messaging.sent import text
from tests.messaging.texts import ANN, NOON, grant, town


async def _found(pool, count):

    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    for _ in range(count):
        await text(pool, merchant, ANN, NOON)
    await pool.execute("UPDATE message SET consent_seq = NULL")
    await auditing.look(pool, NOON - timedelta(hours=1), NOON)


async def test_findings_come_in_pages_newest_first(client, pool):
    await _found(pool, 3)
    first = (await client.get("/v1/audit/findings", params={"limit": 2, "merchant": "bakery"})).json()
    rest = (await client.get("/v1/audit/findings", params={"cursor": first["next"]})).json()
    ids = [one["id"] for one in (*first["findings"], *rest["findings"])]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), rest["next"]) == (3, None)
    assert first["findings"][0]["merchant"] == "bakery"


async def test_a_finding_is_settled_once_with_a_reason(client, pool):
    await _found(pool, 1)
    (one,) = (await client.get("/v1/audit/findings")).json()["findings"]
    path = f"/v1/audit/findings/{one['id']}/settle"
    assert (await client.post(path, json={"actor": "ann"})).status_code == 422
    settled = await client.post(path, json={"actor": "ann", "why": "a test"})
    assert (settled.status_code, settled.json()["settled_by"]) == (200, "ann")
    again = await client.post(path, json={"actor": "bob", "why": "a test"})
    assert (again.status_code, again.json()["detail"]) == (409, f"finding {one['id']} was settled by ann: a test")
    assert (await client.post("/v1/audit/findings/99999/settle", json={"actor": "a", "why": "b"})).status_code == 404
    assert (await client.get("/v1/audit/findings")).json()["findings"] == []
    assert len((await client.get("/v1/audit/findings", params={"settled": "true"})).json()["findings"]) == 1


async def test_a_merchant_or_kind_that_is_not_there_is_said(client, pool):
    assert (await client.get("/v1/audit/findings", params={"merchant": "nobody"})).status_code == 404
    assert (await client.get("/v1/audit/findings", params={"kind": "odd"})).status_code == 422


async def test_many_are_settled_for_one_reason_and_which_has_to_be_said(client, pool):
    await _found(pool, 3)
    path, said = "/v1/audit/findings/settle", {"actor": "ann", "why": "known"}
    assert (await client.post(path, json=said)).status_code == 422
    assert (await client.post(path, json=said | {"merchant": "nobody"})).status_code == 404
    assert (await client.post(path, json=said | {"kind": "bypassed"})).json() == {"settled": 0, "ids": []}
    assert (await client.post(path, json=said | {"merchant": "bakery"})).json()["settled"] == 3
    assert (await client.post(path, json=said | {"all": True})).json()["settled"] == 0

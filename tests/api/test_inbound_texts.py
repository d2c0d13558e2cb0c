"""`/v1/texts/received` and `/v1/texts/reviews`"""

from datetime import timedelta

from tests.messaging.test_reviews import DOUBTFUL, receive
from tests.messaging.texts import ANN, BAKERY, BOB, NOON, town


async def test_texts_are_listed_newest_first_in_pages(client, pool):
    await town(pool)
    sids = [await receive(pool, "hello", at=NOON + timedelta(minutes=n), from_=(ANN, BOB)[n % 2]) for n in range(3)]
    first = (await client.get("/v1/texts/received?limit=2")).json()
    assert [one["sid"] for one in first["texts"]] == sids[:0:-1]
    rest = (await client.get(f"/v1/texts/received?limit=2&cursor={first['next']}")).json()
    assert ([one["sid"] for one in rest["texts"]], rest["next"]) == (sids[:1], None)
    found = (await client.get("/v1/texts/received", params={"phone": BOB, "merchant": "bakery"})).json()["texts"]
    assert [(one["sid"], one["from"], one["to"], one["body"]) for one in found] == [(sids[1], BOB, BAKERY, "hello")]
    assert (await client.get("/v1/texts/received?merchant=nobody")).status_code == 404
    assert (await client.get(f"/v1/texts/received/{sids[0]}")).json()["merchant"] == "bakery"


async def test_a_doubtful_text_is_judged_once(client, pool):
    await town(pool)
    number = await receive(pool, DOUBTFUL)
    assert [one["sid"] for one in (await client.get("/v1/texts/reviews")).json()["texts"]] == [number]
    judged = await client.post(f"/v1/texts/reviews/{number}", json={"decision": "ordinary", "actor": "ann"})
    assert (judged.status_code, judged.json()["decision"], judged.json()["reviewed_by"]) == (200, "ordinary", "ann")
    again = await client.post(f"/v1/texts/reviews/{number}", json={"decision": "revoked"})
    assert (again.status_code, again.json()["status"]) == (409, 409)
    assert (await client.post("/v1/texts/reviews/SM0", json={"decision": "revoked"})).status_code == 404
    assert (await client.post(f"/v1/texts/reviews/{number}", json={"decision": "x"})).status_code == 422
    assert (await client.get("/v1/texts/reviews")).json() == {"texts": [], "next": None}

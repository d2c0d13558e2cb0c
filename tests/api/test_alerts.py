"""`/v1/alerts`, `/v1/silences`, `/v1/reports`."""

from datetime import UTC, datetime, timedelta

from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.watch import store
from holdfast.watch.model import Alert, Evidence
from tests.api.test_door import problem

NOW = datetime.now(UTC)
ALERT = Alert(
    key="webhook-backlog/route",
    runbook="webhook-backlog",
    cause="spike",
    severity="critical",
    title="Events wait to be routed",
    why="More arrive than usual.",
    since=NOW - timedelta(minutes=3),
    opened_at=NOW - timedelta(minutes=2),
    evidence=(Evidence("oldest critical event waits", 75.0, 20.0, "s", "promise"),),
)


async def test_open_alerts_are_told_and_closed_ones_when_asked_for(client, pool):
    number, _ = await store.keep(pool, ALERT, {"merchants": [{"merchant": "bakery"}]}, NOW)
    await store.beat(pool, NOW, "host", 1, 0.01)
    told = (await client.get("/v1/alerts")).json()
    (alert,) = told["alerts"]
    assert (alert["id"], alert["key"], alert["cause"]) == (number, "webhook-backlog/route", "spike")
    assert alert["evidence"][0]["observed"] == 75.0
    assert datetime.fromisoformat(told["watched_at"]) == NOW
    await store.close(pool, ALERT.key, NOW)
    assert (await client.get("/v1/alerts")).json()["alerts"] == []
    assert len((await client.get("/v1/alerts", params={"state": "all"})).json()["alerts"]) == 1
    assert (await client.get(f"/v1/alerts/{number}")).json()["affected"] == {"merchants": [{"merchant": "bakery"}]}
    assert "there is no alert 99" in problem(await client.get("/v1/alerts/99"), 404)


async def test_alerts_are_silenced_and_spoken_of_again(client):
    made = await client.post("/v1/silences", json={"matches": "webhook-backlog", "for": "2h", "reason": "import"})
    assert made.status_code == 201, made.text
    (silence,) = (await client.get("/v1/silences")).json()["silences"]
    assert (silence["matches"], silence["reason"], silence["actor"]) == ("webhook-backlog", "import", "api")
    assert (await client.delete(f"/v1/silences/{silence['id']}")).status_code == 204
    assert (await client.get("/v1/silences")).json() == {"silences": []}
    assert "no silence" in problem(await client.delete(f"/v1/silences/{silence['id']}"), 404)
    assert "length of time" in problem(await client.post("/v1/silences", json={"matches": "x", "for": "soon"}), 422)


async def test_what_merchants_say_is_filed_once_however_often_it_is_sent(client, pool):
    await merchants.insert(pool, NewMerchant("bakery", "The Bakery", None, None))
    said = {"kind": "delayed", "text": "nothing since nine", "merchant": "bakery"}
    for _ in range(2):
        answer = await client.post("/v1/reports", json=said, headers={"idempotency-key": "one"})
        assert answer.status_code == 201, answer.text
    (report,) = (await client.get("/v1/reports")).json()["reports"]
    assert (report["kind"], report["merchant"], report["text"]) == ("delayed", "bakery", "nothing since nine")
    assert "kind" in problem(await client.post("/v1/reports", json=said | {"kind": "smoke"}), 422)
    assert "there is no merchant" in problem(await client.post("/v1/reports", json=said | {"merchant": "x"}), 404)

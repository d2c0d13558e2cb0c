"""What people and programs are told of an alert."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from holdfast.watch.channels import AlertWebhook, NotTold, TeamChannel, message, payload
from holdfast.watch.model import Alert, Evidence

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ALERT = Alert(
    key="webhook-backlog/route",
    runbook="webhook-backlog",
    cause="sustained",
    severity="critical",
    title="Events wait to be routed: oldest critical event waits 75 s (promise 20 s)",
    why="The router does less than arrives.",
    since=NOON,
    opened_at=NOON + timedelta(seconds=20),
    evidence=(Evidence("oldest critical event waits", 75.0, 20.0, "s", "promise"),),
)


class Receiver:
    """Somebody else's server, on loopback."""

    def __init__(self):
        self.bodies = []
        self.status = 200

    async def take(self, request):
        self.bodies.append(await request.json())
        return web.Response(status=self.status, text="ok")

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/{tail:.*}", self.take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()


def test_people_are_told_what_since_when_how_bad_compared_to_what_why_and_which_runbook():
    title, body = message([("opened", ALERT)], NOON + timedelta(minutes=2))
    assert title == "ALERT [critical] Events wait to be routed: oldest critical event waits 75 s (promise 20 s)"
    for said in (
        "Since 2026-05-04 12:00:00 UTC, for 2 min 0 s",
        "Severity: critical",
        "Probable cause: sustained. The router does less than arrives.",
        "oldest critical event waits 75 s (promise 20 s)",
        "Runbook: webhook-backlog",
    ):
        assert said in body


def test_programs_are_told_in_alertmanagers_words():
    document = payload([("opened", ALERT)], NOON, "https://holdfast.example")
    assert document["version"] == "4"
    assert document["status"] == "firing"
    (alert,) = document["alerts"]
    assert alert["labels"]["alertname"] == "webhook_backlog_route"
    assert alert["labels"] | {"severity": "critical", "runbook": "webhook-backlog"} == alert["labels"]
    assert (alert["startsAt"], alert["endsAt"]) == (NOON.isoformat(), "0001-01-01T00:00:00Z")


def test_the_end_is_told_under_the_same_fingerprint():
    opened = payload([("opened", ALERT)], NOON, "")["alerts"][0]
    document = payload([("closed", ALERT)], NOON + timedelta(hours=1), "")
    assert document["status"] == "resolved"
    (closed,) = document["alerts"]
    assert closed["fingerprint"] == opened["fingerprint"]
    assert closed["endsAt"] == (NOON + timedelta(hours=1)).isoformat()


async def test_an_alert_reaches_a_webhook():
    async with Receiver() as receiver, aiohttp.ClientSession() as session:
        channel = AlertWebhook(1, f"http://127.0.0.1:{receiver.port}/alerts", session, "")
        await channel.tell([("opened", ALERT)], NOON)
        assert [body["alerts"][0]["labels"]["cause"] for body in receiver.bodies] == ["sustained"]


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_a_webhook_that_does_not_take_it_says_so_without_its_address(status):
    async with Receiver() as receiver, aiohttp.ClientSession() as session:
        receiver.status = status
        channel = AlertWebhook(2, f"http://127.0.0.1:{receiver.port}/secret", session, "")
        with pytest.raises(NotTold, match=f"webhook:2 answered {status}") as refused:
            await channel.tell([("opened", ALERT)], NOON)
        assert "secret" not in str(refused.value)


async def test_a_webhook_that_is_not_there_says_so():
    async with aiohttp.ClientSession() as session:
        with pytest.raises(NotTold, match="webhook:1"):
            await AlertWebhook(1, "http://127.0.0.1:9/", session, "").tell([("opened", ALERT)], NOON)


async def test_an_alert_reaches_the_team_through_apprise():
    async with Receiver() as receiver:
        await TeamChannel(1, f"json://127.0.0.1:{receiver.port}/room").tell([("opened", ALERT)], NOON)
        (body,) = receiver.bodies
        assert body["title"].startswith("ALERT [critical] Events wait")
        assert body["type"] == "failure"


async def test_what_an_alert_says_from_outside_calls_nobody(monkeypatch):
    async with Receiver() as receiver:
        monkeypatch.setattr(
            "apprise.plugins.slack.NotifySlack.webhook_url", f"http://127.0.0.1:{receiver.port}/services"
        )
        channel = TeamChannel(1, "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7d/#ops")
        await channel.tell([("opened", replace(ALERT, title="<!channel> look", why="<!here> <@U024BE7LH>"))], NOON)
        (body,) = receiver.bodies
    assert "&lt;!channel&gt; look" in str(body)
    assert "<!" not in str(body)
    assert "<@" not in str(body)


async def test_a_team_channel_that_refuses_is_told_again_later():
    async with Receiver() as receiver:
        receiver.status = 500
        with pytest.raises(NotTold, match="team:1"):
            await TeamChannel(1, f"json://127.0.0.1:{receiver.port}/room").tell([("opened", ALERT)], NOON)


def test_an_address_that_apprise_does_not_know_is_a_mistake():
    with pytest.raises(ValueError, match="none that Apprise knows"):
        TeamChannel(3, "carrier-pigeon://coop")

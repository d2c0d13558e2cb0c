"""`holdfast alerts …`, `holdfast reports …`, and that a running `holdfast watch` sees what is wrong."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.drills import rehearsal
from holdfast.inbox import store as inbox
from holdfast.queue.model import Lane
from holdfast.watch import store
from holdfast.watch.model import Alert, Evidence
from tests.inbox.events import event, new
from tests.processes import command, running

ALERT = Alert(
    key="webhook-backlog/route",
    runbook="webhook-backlog",
    cause="spike",
    severity="critical",
    title="Events wait to be routed",
    why="More arrive than usual.",
    since=datetime.now(UTC) - timedelta(minutes=3),
    opened_at=datetime.now(UTC) - timedelta(minutes=2),
    evidence=(Evidence("oldest critical event waits", 75.0, 20.0, "s", "promise"),),
)


async def test_while_nothing_is_wrong_the_list_says_so_and_that_nobody_watches(run):
    status, out, err = await run("alerts", "list")
    assert (status, out.strip()) == (0, "Nothing is wrong, as far as health_watch sees.")
    assert "health_watch never ran: start `holdfast watch`" in err


async def test_an_alert_is_listed_and_shown_with_its_evidence_and_whom_it_affects(run, pool):
    affected = {"merchants": [{"merchant": "bakery", "waiting": 12}]}
    number, _ = await store.keep(pool, ALERT, affected, datetime.now(UTC))
    _, out, _ = await run("alerts", "list")
    assert "webhook-backlog/route" in out
    assert "open" in out
    _, out, _ = await run("alerts", "show", str(number))
    for said in ("oldest critical event waits 75 s (promise 20 s)", "bakery", "Nobody was told", "spike: More arrive"):
        assert said in out
    _, out, _ = await run("alerts", "show", str(number), "--json")
    shown = json.loads(out)
    assert (shown["cause"], shown["affected"], shown["told"]) == ("spike", affected, [])


async def test_an_alert_that_is_over_is_listed_when_asked_for(run, pool):
    await store.keep(pool, ALERT, {}, datetime.now(UTC))
    await store.close(pool, ALERT.key, datetime.now(UTC))
    assert "Nothing is wrong" in (await run("alerts", "list"))[1]
    assert "over 20" in (await run("alerts", "list", "--all"))[1]
    _, out, _ = await run("alerts", "list", "--since", "1h", "--json")
    assert len(json.loads(out)["alerts"]) == 1
    _, out, _ = await run("alerts", "list", "--until", "1h", "--json")
    assert json.loads(out)["alerts"] == []


async def test_alerts_are_silenced_for_a_while_and_spoken_of_again(run, pool):
    await store.keep(pool, ALERT, {}, datetime.now(UTC))
    status, out, _ = await run("alerts", "silence", "webhook-backlog", "--for", "2h", "--reason", "import")
    assert (status, "are not told until" in out) == (0, True)
    assert "silenced" in (await run("alerts", "list"))[1]
    _, out, _ = await run("alerts", "silences", "--json")
    (silence,) = json.loads(out)["silences"]
    assert (silence["matches"], silence["reason"]) == ("webhook-backlog", "import")
    assert (await run("alerts", "unsilence", str(silence["id"])))[0] == 0
    assert "Nothing is silenced." in (await run("alerts", "silences"))[1]
    status, _, err = await run("alerts", "unsilence", str(silence["id"]))
    assert (status, "there is no silence" in err) == (1, True)


async def test_what_a_merchant_reports_is_entered_and_listed(run):
    await run("merchants", "add", "bakery", "--name", "The Bakery")
    status, out, err = await run("reports", "add", "delayed", "nothing since nine", "--merchant", "bakery")
    assert status == 0, err
    assert "is taken: delayed, from a merchant" in out
    _, out, _ = await run("reports", "list", "--json")
    (report,) = json.loads(out)["reports"]
    assert (report["kind"], report["merchant"], report["text"]) == ("delayed", "bakery", "nothing since nine")
    assert "nothing since nine" in (await run("reports", "list"))[1]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("alerts", "show", "99"), 1, "there is no alert 99"),
        (("alerts", "silence", "x", "--for", "soon"), 2, "is not a length of time"),
        (("reports", "add", "smoke", "it burns"), 2, "is no kind of report; there are delayed"),
        (("reports", "add", "delayed", "late", "--from", "aunt"), 2, "there are merchant, customer, team"),
        (("reports", "add", "delayed", "late", "--merchant", "none"), 1, "there is no merchant 'none'"),
    ],
)
async def test_a_mistake_is_told(run, arguments, status, said):
    found, _, err = await run(*arguments)
    assert found == status
    assert said in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("address", ["carrier-pigeon://coop", "nothing"])
async def test_a_team_channel_that_apprise_does_not_know_is_a_mistake(database_url, address):
    status, _, err = await command("watch", database_url=database_url, team_channels=address)
    assert (status, "HOLDFAST_TEAM_CHANNELS: address 1 is none that Apprise knows" in err) == (2, True), err


async def test_a_running_watch_sees_events_that_nobody_routes(run, database_url, pool, tmp_path):
    """With a web process to measure the queue, and no worker at all."""
    own = tmp_path / "watch.toml"
    own.write_text(rehearsal.WATCH)  # the processors of the machine that runs the tests explain nothing
    made = [new(event(), received=(datetime.now(UTC) - timedelta(minutes=5)).timestamp()) for _ in range(40)]
    await inbox.append(pool, made, [Lane.CRITICAL] * len(made), [0] * len(made))
    async with (
        running("web", database_url=database_url),
        running("watch", database_url=database_url, watch_file=str(own)),
    ):
        for _ in range(300):
            found = await store.open_alerts(pool)
            if any(one.alert.key == "webhook-backlog/route" for one in found):
                break
            await asyncio.sleep(0.5)
    (kept,) = [one for one in found if one.alert.key == "webhook-backlog/route"]
    assert kept.alert.cause == "sustained"
    assert kept.affected["lanes"][0]["waiting"] == 40
    assert "oldest critical event waits" in kept.alert.title

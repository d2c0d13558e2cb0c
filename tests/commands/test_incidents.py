"""`holdfast incidents …`: an incident worked from a terminal."""

import json
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.commands import acting
from holdfast.incidents import people, service, store
from holdfast.runbooks import store as steps_store
from holdfast.watch import store as watch
from holdfast.watch.model import Alert
from tests.incidents.shop import Shop, desk_of, opened, run_on
from tests.processes import command_here, running


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def desk(pool, shop):
    for key, role in (("ana", "responder"), ("ben", "responder"), ("caro", "admin")):
        await people.add(pool, key, role=role)
    return desk_of(pool, shop)


@pytest.fixture
def run(database_url, pool, shop, monkeypatch):
    """Run a command as Ana, at a desk of the shop."""
    monkeypatch.setattr(acting, "open_desk", lambda pool, settings: desk_of(pool, shop, settings))

    async def runner(*arguments: str, person: str = "ana") -> tuple[int, str, str]:
        return await command_here("incidents", *arguments, database_url=database_url, person=person)

    return runner


@pytest.fixture
def done(run):
    async def runner(*arguments: str, person: str = "ana") -> str:
        status, out, err = await run(*arguments, person=person)
        assert status == 0, out + err
        return str(out)

    return runner


async def test_with_nothing_open_it_says_that_all_is_well_only_if_somebody_looks(done, pool):
    assert "nobody looks: start `holdfast watch`" in await done("list")
    await watch.beat(pool, now(), "host", 1, 0.01)
    assert (await done("list")).startswith("All is well: no incident is open. health_watch last looked")
    await watch.keep(pool, Alert("a/b", "a", "ours", "warning", "Slow", "It is.", now(), now()), {}, now())
    assert "No incident is open, but 1 alert is: holdfast alerts list" in await done("list")
    await watch.beat(pool, now() - timedelta(hours=3), "host", 1, 0.01)
    assert "health_watch last looked 3 h 0 min ago, on host: it is not running" in await done("list")
    assert (await done("list", "--all")).strip() == "There was no incident."
    assert json.loads(await done("list", "--json"))["incidents"] == []


async def test_an_incident_is_worked_from_a_terminal_from_its_opening_to_its_end(done, desk, shop):
    assert "Incident 1 is open. Acknowledge it: holdfast incidents ack 1" in await done(
        "open", "shop-slow", "--title", "Pages take 9 s"
    )
    await run_on(desk, now() - timedelta(minutes=10))
    assert "nobody has acknowledged it" in await done("list")
    assert "Incident 1 is acknowledged; ana commands it." in await done("ack", "1")
    shop.is_broken = False
    assert "Step 6 (Fill the cache) is tried again" in await done("retry", "1", "warm")
    assert "Step 3 (Close the shop altogether) is skipped: no need." in await done("skip", "1", "3", "-b", "no need")
    assert "Step 4 (Write to the customers) is approved" in await done("approve", "1", "4", "--text", "Sorry.")
    assert "is done" in await done("done", "1", "ask-supplier", "--note", "they look into it")
    assert "It is in the log of incident 1." in await done("note", "1", "it was the cache")
    assert "recovery begins" in await done("calm", "1", "--because", "pages take 1 s")
    await run_on(desk, now())
    assert shop.told == ["Sorry."]
    assert "by holdfast" in await done("ledger", "1")
    assert "Step 2 (Nobody can buy for a while) is undone" in await done("undo", "1", "2", "--because", "over")
    assert "Everything is as usual" in await done("ledger", "1")
    assert "Nothing is in the way of its end" in await done("show", "1")
    assert (await done("resolve", "1")).strip() == "Incident 1 is resolved."
    log = await done("log", "1")
    for said in ("Pages take 9 s", "it was the cache", "the trouble is over: pages take 1 s", "monitoring → resolved"):
        assert said in log
    assert "review the incident" in await done("obligations")
    assert "Incident 1 is open again" in await done("reopen", "1", "--because", "slow again")


async def test_the_page_is_readable_in_80_columns_and_says_first_what_is_needed(done, desk):
    await opened(desk, now=now() - timedelta(hours=2))
    out = await done("show", "1")
    lines = out.splitlines()
    assert max(len(line) for line in lines if "holdfast incidents" not in line) <= 80
    assert lines[0].startswith("Incident 1  WARNING  detected for 2 h 0 min")
    assert out.index("NEEDS YOU NOW") < out.index("IMMEDIATE ACTIONS") < out.index("COMMUNICATION")
    needed = out[out.index("NEEDS YOU NOW") : out.index("IMMEDIATE ACTIONS")]
    order = ["Acknowledge:", "Failed: Fill the cache", "Decide: Close the shop", "Decide: Write", "Overdue:", "Do: Ask"]
    assert sorted(order, key=needed.index) == order
    for said in (
        "      holdfast incidents ack 1",
        "      holdfast incidents retry 1 warm",
        "      holdfast incidents approve 1 tell --edit",
        "    │ The shop is slow.",
        "    the cache is away",
    ):
        assert said in needed.splitlines()
    for said in (
        "  ✓   1  See how slow it is",
        "         pages take 9 s",
        "  ?   3  Close the shop altogether",
        "         asks the commander (nobody yet)",
        "  ✗   6  Fill the cache",
        "         FAILED: the cache is away",
        "  ?   7  Ask the supplier",
        "         asks YOU",
        "  …   8  Wait until pages are fast",
        "  ·   9  No order was lost",
    ):
        assert said in lines
    assert "OVERDUE by 115 min" in out
    assert "NOT AS USUAL BECAUSE OF IT" in out


async def test_what_is_affected_is_named_by_import_form_and_merchant(done, desk, pool):
    incident = await opened(desk, now=now())
    batches = [{"batch": number, "merchant": "bakery", "stopped": 9} for number in (18, 19)]
    named = {"batches": batches, "forms": [{"form": "web", "merchant": "cafe"}], "merchants": [{"merchant": "cafe"}]}
    await pool.execute("UPDATE incident SET affected = $2 WHERE id = $1", incident.id, json.dumps(named))
    out = " ".join((await done("show", "1")).split())
    for said in ("batches import 18 of bakery, import 19 of bakery", "forms form web of cafe", "merchants cafe"):
        assert said in out


async def test_the_page_and_the_list_are_documents_too(done, desk):
    await opened(desk, now=now() - timedelta(hours=2))
    shown = json.loads(await done("show", "1", "--json"))
    assert (shown["incident"]["state"], shown["needs"][0]["what"]) == ("detected", "acknowledge")
    step = shown["steps"][4]
    assert (step["number"], step["key"], step["every"], step["state"]) == (5, "update", 1800.0, "waiting")
    assert [one["undo"] for one in shown["ledger"]] == ["holdfast incidents undo 1 read-only"]
    (listed,) = json.loads(await done("list", "--json"))["incidents"]
    assert (listed["id"], listed["waiting"], listed["failed"], listed["overdue"]) == (1, 3, 1, 2)
    assert len(json.loads(await done("obligations", "--overdue", "--json"))["obligations"]) == 2
    assert json.loads(await done("log", "1", "--json"))["log"][0]["kind"] == "opened"
    assert json.loads(await done("ack", "1", "--json"))["commander"] == "ana"
    assert json.loads(await done("skip", "1", "4", "--because", "x", "--json"))["state"] == "skipped"


async def test_the_list_says_what_waits_and_narrows_to_a_runbook(done, desk):
    await opened(desk, now=now() - timedelta(hours=2))
    await done("open", "shop-down", "--title", "The shop is down", "--severity", "critical")
    out = await done("list")
    assert "   1  WARNING  detected for 2 h 0 min, nobody in command" in out
    assert "nobody has acknowledged it, 2 OVERDUE, 1 failed, 3 wait for people" in out
    assert out.index("The shop is down (shop-down)") < out.index("Pages take 9 s (shop-slow)")
    assert "shop-slow" not in await done("list", "--runbook", "shop-down")
    await done("resolve", "2", "--because", "a drill")
    assert "shop-down" not in await done("list")
    assert "resolved" in await done("list", "--all")


async def test_who_acts_is_the_option_else_the_setting(done, run, desk):
    await opened(desk, now=now())
    assert "ben commands it" in await done("ack", "1", "--as", "ben")
    assert "caro commands incident 1" in await done("take", "1", person="caro")
    assert "ana commands incident 1" in await done("assign", "1", "ana", person="caro")
    status, _, err = await run("note", "1", "hello", person="mallory")
    assert (status, "'mallory' is not on the team (ana, ben, caro); say who acts: --as" in err) == (1, True)


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """An editor that does what a shell script says to the file $1."""

    def chosen(script: str) -> None:
        path = tmp_path / "editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", str(path))

    return chosen


async def test_a_draft_is_changed_in_the_editor_or_taken_from_a_file(done, desk, shop, editor, tmp_path):
    await opened(desk, now=now() - timedelta(minutes=1))
    editor('sed -i "s/slow/fast again/" "$1"')
    await done("approve", "1", "tell", "--edit")
    await run_on(desk, now())
    assert shop.told == ["The shop is fast again."]
    await desk.open("shop-down", "Down", actor="ana", now=now())
    await run_on(desk, now())
    file = tmp_path / "text"
    file.write_text("From a file.")
    await done("approve", "2", "tell", "--file", str(file))
    await run_on(desk, now())
    assert shop.told[1:] == ["From a file."]


async def test_what_was_edited_in_vain_is_not_lost_and_an_unsaved_text_sends_nothing(run, desk, shop, editor, pool):
    await opened(desk, now=now())
    editor("exit 0")
    status, _, err = await run("approve", "1", "tell", "--edit")
    assert (status, "nothing was saved, so step tell still waits" in err) == (1, True)
    editor("exit 3")
    assert "ended with status 3, so nothing was sent" in (await run("approve", "1", "tell", "--edit"))[2]
    editor('echo "Long and careful." > "$1"')
    await service.assign(pool, 1, "ben", actor="ben", now=now())
    await desk.skip(1, "tell", actor="ben", reason="nobody noticed", now=now())
    status, _, err = await run("approve", "1", "tell", "--edit")
    assert status == 1
    assert "Your text did not go out; here it is:\nLong and careful." in err
    assert "ben has answered step tell already: it is skipped (nobody noticed)" in err
    assert shop.told == []


async def test_two_incidents_go_on_as_one(done, desk):
    await opened(desk, now=now())
    await done("open", "shop-down", "--title", "The shop is down")
    assert "Incident 1 goes on as incident 2." in await done("merge", "1", "--into", "2")
    assert "merged into 2" in await done("show", "1")
    out = await done("show", "2")
    assert "with          incident 1" in out
    assert "holdfast incidents undo 1 read-only" in out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("show", "99"), 1, "there is no incident 99; see `holdfast incidents list --all`"),
        (("log", "99"), 1, "there is no incident 99"),
        (("ledger", "99"), 1, "there is no incident 99"),
        (("ack", "99"), 1, "there is no incident 99"),
        (("open", "nothing", "--title", "x"), 1, "there is no runbook 'nothing'; there are: shop-down, shop-slow"),
        (("open", "shop-slow", "--title", " "), 1, "write a title of 1 to 10000 characters"),
        (("open", "shop-slow", "--title", "x", "--severity", "bad"), 2, "there are warning, critical"),
        (("open", "shop-slow", "--title", "x"), 1, "incident 1 of shop-slow is open; work on that one"),
        (("done", "1", "99"), 1, "incident 1 has no step '99'; its steps are 1 to 9: look, read-only"),
        (("skip", "1", "tell", "--because", " "), 1, "write a reason of 1 to 10000 characters"),
        (("skip", "1", "tell"), 2, "Missing option '--because'"),
        (("approve", "1", "close"), 1, "step close is for the commander (nobody yet); take over with"),
        (("approve", "1", "look"), 1, "step look asks for no approval"),
        (("approve", "1", "tell", "--edit", "--text", "x"), 2, "give one of --text, --file and --edit"),
        (("approve", "1", "tell", "--file", "/nowhere"), 1, "/nowhere cannot be read"),
        (("resolve", "1"), 1, "cannot be resolved: still in force: Nobody can buy for a while"),
        (("merge", "1", "--into", "1"), 1, "cannot be merged into itself"),
        (("assign", "1", "nobody"), 1, "'nobody' is not on the team"),
        (("log", "1", "--follow", "--json"), 2, "leave one of them out"),
    ],
)
async def test_mistakes_are_explained(run, desk, arguments, status, said):
    await opened(desk, now=now())
    found, _, err = await run(*arguments)
    assert found == status, err
    assert said in " ".join(err.replace("│", " ").split())


async def test_a_log_is_followed_as_it_grows(desk, database_url, pool):
    await opened(desk, now=now())
    async with running("incidents", "log", "1", "--follow", database_url=database_url) as follower:
        await follower.says("Pages take 9 s")
        await service.note(pool, 1, "the cable was loose", actor="ben", now=now())
        await follower.says("the cable was loose")
        os.kill(follower.process.pid, 2)
        assert await follower.process.wait() == 0


async def test_nothing_is_written_by_looking(done, desk, pool):
    await opened(desk, now=now())
    before = await store.entries(pool, 1), await steps_store.steps(pool, 1)
    for arguments in (("list",), ("show", "1"), ("log", "1"), ("ledger", "1"), ("obligations",)):
        await done(*arguments)
    assert (await store.entries(pool, 1), await steps_store.steps(pool, 1)) == before

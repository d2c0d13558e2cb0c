"""The command line, run as its users run it."""

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from holdfast.cli import COMMANDS, GROUPS, build
from holdfast.commands import session
from holdfast.commands.options import read_time
from holdfast.comms.messages import to_team
from holdfast.config import Settings
from holdfast.delivery.signing import new_secret
from holdfast.drills.team_chat import TeamChat
from holdfast.inbox import store as inbox
from holdfast.inbox.model import NewEvent
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.payments.router import StripeWebhookRouter
from holdfast.queue.model import ClaimPolicy, Lane, Stage
from holdfast.queue.service import Claimer
from tests.inbox.events import event, new
from tests.processes import command, command_here


async def received(pool, *events) -> list[NewEvent]:
    made = [new(one) for one in events]
    await inbox.append(pool, made, [Lane.CRITICAL] * len(made), [0] * len(made))
    return made


async def routed(pool) -> None:
    router = StripeWebhookRouter(pool, Claimer(pool, Stage.ROUTE, ClaimPolicy()), Catalogue())
    while await router.tick():
        pass


async def test_every_command_has_its_help():
    for name in [*COMMANDS, *GROUPS]:
        status, out, _ = await command_here(name, "--help")
        assert status == 0
        assert f"Usage: holdfast {name}" in out
    status, out, _ = await command("--help")
    assert all(name in out for name in [*COMMANDS, *GROUPS])


def group(name):
    top: Any = typer.main.get_command(build(name))
    return top.commands[name]


def commands(of, path):
    """Every command of a group, by the words it is called with."""
    if getattr(of, "invoke_without_command", not hasattr(of, "commands")):
        yield path, of
    for name, one in getattr(of, "commands", {}).items():
        yield from commands(one, (*path, name))


def test_every_command_that_ends_by_itself_prints_json():
    without = {
        path
        for name in [*COMMANDS, *GROUPS]
        for path, one in commands(group(name), (name,))
        if "--json" not in {option for parameter in one.params for option in parameter.opts}
    }
    assert without == {("up",), ("web",), ("worker",), ("watch",), ("demo",)}


async def test_wrong_usage_and_wrong_settings_exit_2_with_one_line_a_mistake():
    status, _, err = await command("queue", "statz")
    assert (status, "No such command" in err) == (2, True)
    status, _, err = await command("queue", "stats", listen="here", database_url="mysql://x", retention_days="0")
    assert status == 2
    assert sorted(line.split()[1] for line in err.splitlines()) == [
        "HOLDFAST_DATABASE_URL:",
        "HOLDFAST_LISTEN:",
        "HOLDFAST_RETENTION_DAYS:",
    ]


async def test_a_database_that_cannot_be_reached_is_one_line_and_exit_1():
    status, out, err = await command("queue", "stats", database_url="postgresql:///x?host=/nowhere")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "PostgreSQL at HOLDFAST_DATABASE_URL cannot be reached" in err


async def test_unknown_settings_in_the_file_are_mistakes(tmp_path):
    (tmp_path / "holdfast.toml").write_text('HOLDFAST_LISTEN = "127.0.0.1:1"\nHOLDFAST_COLOUR = "red"\n')
    status, _, err = await command("queue", "stats", cwd=tmp_path)
    assert (status, "HOLDFAST_COLOUR is not a setting" in err) == (2, True)


async def test_empty_states_say_what_to_do(done):
    assert "No merchants yet" in await done("merchants", "list")
    assert "No destinations yet" in await done("destinations", "list")
    assert "No events" in await done("events", "list")
    assert "ledger is empty" in await done("payments", "list")
    assert "Nothing was to be delivered" in await done("deliveries", "list")
    assert "0 workers" in await done("queue", "stats")


async def test_merchants_are_added_changed_and_listed(run, done):
    out = await done("merchants", "add", "bakery", "--name", "The Bakery", "--stripe-account", "acct_1A")
    assert out == "Merchant bakery added.\n"
    await done("merchants", "set", "bakery", "--email", "owner@bakery.example", "--time-zone", "Europe/Berlin")
    await done("merchants", "set", "bakery", "--name", "The Bakery")
    [found] = json.loads(await done("merchants", "list", "--json"))["merchants"]
    assert (found["key"], found["name"], found["email"], found["stripe_account"]) == (
        "bakery",
        "The Bakery",
        "owner@bakery.example",
        "acct_1A",
    )
    assert found["time_zone"] == "Europe/Berlin"
    status, _, err = await run("merchants", "set", "bakery", "--time-zone", "Moon")
    assert (status, "'Moon' is not a time zone: write its IANA name" in err) == (1, True)
    assert "owner@bakery.example" in await done("merchants", "list", "--search", "bakery")
    status, _, err = await run("merchants", "add", "bakery")
    assert (status, "there is a merchant bakery already" in err) == (1, True)
    status, _, err = await run("merchants", "add", "cafe", "--stripe-account", "acct_1A")
    assert (status, "belongs to merchant bakery" in err) == (1, True)
    status, _, err = await run("merchants", "set", "gym", "--name", "x")
    assert (status, "there is no merchant 'gym'" in err) == (1, True)
    status, _, err = await run("merchants", "add", "Not A Key")
    assert (status, "is not a merchant key" in err) == (1, True)


async def test_a_stripe_account_that_revoked_our_access_is_shown_and_can_be_taken_off(run, done, pool):
    await done("merchants", "add", "bakery", "--stripe-account", "acct_1A")
    await merchants.note_connections(pool, ["acct_1A"], [], datetime.now(UTC))
    await done("merchants", "set", "bakery", "--name", "The Bakery")
    assert "acct_1A (revoked our access, seen " in await done("merchants", "list")
    status, _, err = await run("merchants", "set", "bakery", "--no-stripe-account", "--stripe-account", "acct_1B")
    assert (status, "either" in err) == (2, True)
    await done("merchants", "set", "bakery", "--no-stripe-account")
    [found] = json.loads(await done("merchants", "list", "--json"))["merchants"]
    assert (found["stripe_account"], found["stripe_disconnected_at"]) == (None, None)


async def test_a_merchant_whose_events_came_first_is_told_how_to_get_them(done, pool):
    await received(pool, event(account="acct_1Early"))
    await routed(pool)
    out = await done("merchants", "add", "early", "--stripe-account", "acct_1Early")
    assert "1 events of acct_1Early came before it was known" in out
    assert "events replay --account acct_1Early --state unmatched" in out
    out = await done("events", "replay", "--account", "acct_1Early", "--state", "unmatched", "--json")
    assert json.loads(out) == {"events": 1, "queued": 1, "deliveries": 0, "dry_run": False}


async def test_merchants_are_imported_all_or_none(run, done, tmp_path):
    good = tmp_path / "good.csv"
    good.write_text("key,name,stripe_account,webhook_url\nbakery,Bakery,acct_1A,https://a.example/h\ncafe,Café,,\n")
    assert "2 merchants, all of them as they should be" in await done("merchants", "import", str(good), "--dry-run")
    assert "No merchants yet" in await done("merchants", "list")
    assert "2 added, 0 changed, 0 as they were; 1 webhooks added" in await done("merchants", "import", str(good))
    assert json.loads(await done("merchants", "import", str(good), "--json"))["added"] == 0
    bad = tmp_path / "bad.csv"
    bad.write_text("key,name,webhook_url\ngym,Gym,http://10.0.0.1/\nspa,Spa,https://ok.example/\nX,Y,\n")
    status, out, err = await run("merchants", "import", str(bad))
    assert (status, out) == (1, "")
    assert "line 2: 10.0.0.1 is not a public address" in err
    assert "line 4:" in err
    assert "2 of 3 rows cannot be taken; nothing was changed" in err
    assert "gym" not in await done("merchants", "list")
    status, _, err = await run("merchants", "import", str(tmp_path / "none.csv"))
    assert (status, "cannot read" in err) == (1, True)


async def test_importing_names_anew_changes_neither_subscriptions_nor_secrets(run, done, tmp_path):
    secret, file = new_secret(), tmp_path / "merchants.csv"
    columns = "key,name,webhook_url,webhook_events,webhook_secret\n"
    file.write_text(
        f"{columns}bakery,Bakery,https://a.example/h,charge.failed,{secret}\ncafe,Café,https://b.example/h,,\n"
    )
    await done("merchants", "import", str(file))
    listed = json.loads(await done("destinations", "list", "--json"))["destinations"]
    assert [item["events"] for item in listed] == [["charge.failed"], ["*"]]
    file.write_text(f"{columns}bakery,The Bakery,https://a.example/h,,{secret}\n")
    assert "1 changed" in await done("merchants", "import", str(file))
    assert json.loads(await done("destinations", "list", "--json"))["destinations"] == listed
    file.write_text(f"{columns}bakery,Bakery,https://a.example/h,payout.*,{new_secret()}\n")
    for options in (("--dry-run",), ()):
        status, _, err = await run("merchants", "import", str(file), *options)
        assert status == 1
        assert "line 2: its webhook is destination 1 and signed with another secret" in err
    assert await done("destinations", "secret", "1") == f"{secret}\n"
    file.write_text(f"{columns}bakery,Bakery,https://a.example/h,payout.*,\n")
    await done("merchants", "import", str(file))
    [found] = json.loads(await done("destinations", "list", "bakery", "--json"))["destinations"]
    assert found["events"] == ["payout.*"]


async def test_destinations_of_messages_are_shown_apart_and_subscribe_to_nothing(run, done, pool):
    async with TeamChat() as chat:
        channels = chat.url
        await to_team(pool, Settings(team_channels=channels), "k", "page", "s", "t", datetime.now(UTC))
        assert "No destinations yet" in await done("destinations", "list")
        [found] = json.loads(await done("destinations", "list", "--messages", "--json"))["destinations"]
        assert (found["kind"], found["address"], found["events"]) == ("team", "team:1", [])
        number = str(found["id"])
        status, _, err = await run("destinations", "subscribe", number, "--events", "charge.*")
        assert (status, "cannot subscribe to events" in err) == (1, True)
        assert (await run("destinations", "test", number, team_channels=channels))[0] == 0
        assert "This is a test." in chat.texts[0]
        status, _, err = await run("destinations", "rotate", number)
        assert (status, "not signed" in err) == (1, True)


async def test_destinations_live_from_being_added_to_being_removed(run, done):
    await done("merchants", "add", "bakery")
    local = {"allowed_networks": "127.0.0.0/8"}
    out = await done(
        "destinations", "add", "bakery", "--webhook", "http://127.0.0.1:9/h", "--events", "charge.*", **local
    )
    assert "Destination 1 added: charge.* to http://127.0.0.1:9/h" in out
    secret = out.partition("Signing secret: ")[2].split()[0]
    assert secret.startswith("whsec_")
    listed = await done("destinations", "list")
    assert "bakery" in listed
    assert secret not in listed
    assert secret not in await done("destinations", "list", "--json")
    assert await done("destinations", "secret", "1") == f"{secret}\n"
    rotated = json.loads(await done("destinations", "rotate", "1", "--json"))["secrets"]
    assert rotated[1] == secret
    status, _, err = await run("destinations", "rotate", "1")
    assert status == 1
    assert "is being rotated since" in err
    assert "--cancel" in err
    assert json.loads(await done("destinations", "secret", "1", "--json"))["secrets"] == rotated, "both still sign"
    await done("destinations", "rotate", "1", "--finish")
    assert json.loads(await done("destinations", "secret", "1", "--json"))["secrets"] == rotated[:1]
    await done("destinations", "subscribe", "1", "--events", "payout.*", "--events", "charge.*", "--ceiling", "5")
    await done("destinations", "subscribe", "1", "--events", "*", "--ceiling", "0")
    assert json.loads(await done("destinations", "list", "bakery", "--json"))["destinations"][0]["ceiling"] is None
    await done("destinations", "subscribe", "1", "--events", "payout.*", "--events", "charge.*", "--ceiling", "5")
    [found] = json.loads(await done("destinations", "list", "bakery", "--json"))["destinations"]
    assert (found["events"], found["ceiling"], found["enabled"]) == (["payout.*", "charge.*"], 5, True)
    shown = json.loads(await done("destinations", "subscribe", "1", "--events", "payout.*", "--json"))
    assert (shown["merchant"], shown["events"], shown["ceiling"]) == ("bakery", ["payout.*"], 5)
    assert await done("destinations", "disable", "1") == "Destination 1 disabled.\n"
    assert json.loads(await done("destinations", "disable", "1", "--json"))["enabled"] is False
    assert await done("destinations", "disable", "1") == "Destination 1 was disabled.\n"
    assert await done("destinations", "enable", "1") == "Destination 1 enabled.\n"
    status, out, _ = await run("destinations", "test", "1", **local)
    assert (status, out) == (1, "Not delivered: connect refused.\n")
    await done("destinations", "remove", "1", "--yes")
    status, _, err = await run("destinations", "enable", "1")
    assert (status, "there is no destination 1" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["bakery", "--webhook", "http://10.1.2.3/h"], 1, "HOLDFAST_ALLOWED_NETWORKS"),
        (["bakery", "--webhook", "https://no-such-host.invalid/h"], 1, "cannot be found"),
        (["bakery", "--webhook", "ftp://example.com/h"], 1, "scheme"),
        (["bakery", "--email", "nobody"], 1, "not an e-mail address"),
        (["bakery", "--webhook", "https://example.com", "--events", "a b"], 1, "not an event type pattern"),
        (["bakery", "--webhook", "https://example.com", "--secret", "abc"], 1, "whsec_"),
        (["bakery"], 2, "name one of"),
        (["bakery", "--webhook", "https://a.example", "--email", "a@b.example"], 2, "name one of"),
        (["--webhook", "https://a.example"], 2, "name the merchant first"),
        (["bakery", "--application", "https://a.example"], 2, "leave the merchant out"),
        (["gym", "--email", "a@b.example"], 1, "no merchant 'gym'"),
    ],
)
async def test_a_destination_that_cannot_be_is_refused_with_the_reason(run, done, arguments, status, named):
    await done("merchants", "add", "bakery")
    got, _, err = await run("destinations", "add", *arguments)
    assert (got, named in " ".join(err.replace("│", " ").split())) == (status, True), err


async def test_events_are_listed_shown_and_replayed(run, done, pool):
    made = event("charge.failed", "acct_1A")
    [kept] = await received(pool, made)
    await routed(pool)
    [row] = json.loads(await done("events", "list", "--json", "--type", "charge.*"))["events"]
    assert (row["event_id"], row["lane"], row["state"]) == (made["id"], "critical", "unmatched")
    assert made["id"] in await done("events", "list", "--state", "unmatched", "--since", "1h")
    assert "No events" in await done("events", "list", "--lane", "bulk")
    shown = await done("events", "show", made["id"])
    assert "unmatched (no merchant has the account acct_1A)" in shown
    assert await done("events", "show", made["id"], "--body") == kept.body.decode()
    assert json.loads(await done("events", "show", made["id"], "--json"))["done"]["outcome"] == "unmatched"
    assert await done("events", "replay", made["id"]) == "1 events queued.\n"
    assert "in the queue already" in await done("events", "replay", made["id"])
    status, _, err = await run("events", "show", "evt_none")
    assert (status, "there is no event evt_none" in err) == (1, True)
    status, _, err = await run("events", "replay", "evt_none")
    assert (status, "not in the inbox: evt_none" in err) == (1, True)
    status, _, err = await run("events", "replay")
    assert (status, "name events, or choose them" in " ".join(err.split())) == (2, True)
    for wrong in (["--lane", "fast"], ["--state", "odd"], ["--since", "soon"]):
        assert (await run("events", "list", *wrong))[0] == 2


async def test_the_lane_table_is_edited(run, done):
    await done("lanes", "set", "customer.deleted", "critical")
    lanes = json.loads(await done("lanes", "list", "--json"))["lanes"]
    assert lanes["customer.deleted"] == "critical"
    again = json.loads(await done("lanes", "set", "customer.deleted", "bulk", "--json"))
    assert again == {"pattern": "customer.deleted", "lane": "bulk"}
    removed = json.loads(await done("lanes", "clear", "customer.deleted", "--json"))
    assert removed == {"pattern": "customer.deleted", "removed": True}
    assert (await run("lanes", "clear", "customer.deleted"))[0] == 2
    assert (await run("lanes", "set", "customer.deleted", "fast"))[0] == 2


async def test_payments_are_listed_shown_and_summed(run, done, pool):
    made = event("payment_intent.succeeded", "acct_1A")
    await received(pool, made)
    await routed(pool)
    key = made["data"]["object"]["id"]
    [found] = json.loads(await done("payments", "list", "--json"))["payments"]
    assert (found["id"], found["amount"], found["currency"]) == (key, 1099, "usd")
    assert "10.99 USD" in await done("payments", "list", "--kind", "payment_intent")
    shown = await done("payments", "show", key)
    assert key in shown
    assert made["id"] in shown
    assert json.loads(await done("payments", "show", key, "--json"))["events"][0]["event_id"] == made["id"]
    [total] = json.loads(await done("payments", "totals", "--json"))["totals"]
    assert (total["kind"], total["count"], total["amount"]) == ("payment_intent", 1, 1099)
    assert "10.99 USD" in await done("payments", "totals")
    assert (await run("payments", "show", "pi_none"))[0] == 1
    assert (await run("payments", "list", "--kind", "gift"))[0] == 2


async def test_money_of_live_and_of_test_mode_is_never_added_together(done, pool):
    live, test = event("payment_intent.succeeded", livemode=True), event("payment_intent.succeeded", livemode=False)
    await received(pool, live, test)
    await routed(pool)
    sums = json.loads(await done("payments", "totals", "--json"))["totals"]
    assert [(row["livemode"], row["count"], row["amount"]) for row in sums] == [(True, 1, 1099), (False, 1, 1099)]
    for mode, made in (("live", live), ("test", test)):
        [only] = json.loads(await done("payments", "totals", f"--{mode}", "--json"))["totals"]
        assert (only["livemode"], only["count"]) == (mode == "live", 1)
        [found] = json.loads(await done("payments", "list", f"--{mode}", "--json"))["payments"]
        assert found["id"] == made["data"]["object"]["id"]
        listed = (await done("payments", "list")).splitlines()
        assert [mode in line for line in listed if found["id"] in line] == [True]
        assert mode in await done("payments", "totals", f"--{mode}")


async def test_amounts_are_shown_in_their_currencys_own_decimals(done, pool):
    made = []
    for amount, currency in ((250_000, "jpy"), (1_234_567, "kwd"), (-1, "usd")):
        made.append(event())
        made[-1]["data"]["object"] |= {"amount": amount, "currency": currency}
    await received(pool, *made)
    await routed(pool)
    for shown in (await done("payments", "list"), await done("payments", "totals")):
        assert all(money in shown for money in ("250,000 JPY", "1,234.567 KWD", "-0.01 USD"))


async def test_what_nothing_routes_is_not_replayed_and_the_answer_says_why(run, pool):
    await inbox.append_own(
        pool, "msg_1", "team.told", 0, headers="{}", body=b"{}", now=datetime.now(UTC), lane=Lane.STANDARD
    )
    status, _, err = await run("events", "replay", "msg_1")
    assert (status, "not routed" in err, "reconcile" in err) == (1, True, False)


async def test_a_question_that_takes_too_long_is_told_from_a_store_that_is_away(run, pool, monkeypatch):
    monkeypatch.setattr(session, "PATIENCE", 0.5)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
        status, _, err = await run("events", "list")
    assert status == 1
    assert "--since" in err
    assert "reached" not in err


async def test_deliveries_are_listed_shown_and_replayed(run, done, pool):
    await done("merchants", "add", "bakery", "--stripe-account", "acct_1A")
    await done("destinations", "add", "bakery", "--email", "owner@bakery.example")
    await received(pool, event())
    await routed(pool)
    [row] = json.loads(await done("deliveries", "list", "--json", "--merchant", "bakery"))["deliveries"]
    assert (row["state"], row["merchant"], row["attempts"]) == ("live", "bakery", 0)
    assert "Not tried yet" in await done("deliveries", "show", "1")
    shown = json.loads(await done("deliveries", "show", "1", "--json"))
    assert (shown["attempts"], shown["delivery"]["merchant"]) == ([], "bakery")
    assert "0 deliveries queued; 1 are in the queue already" in await done("deliveries", "replay", "1")
    assert (await run("deliveries", "show", "99"))[0] == 1
    assert (await run("deliveries", "replay", "99"))[0] == 1
    assert (await run("deliveries", "replay"))[0] == 2


async def test_queue_stats_tell_what_waits_for_whom(done, pool):
    await done("merchants", "add", "bakery", "--stripe-account", "acct_1A")
    await done("destinations", "add", "bakery", "--email", "owner@bakery.example")
    await received(pool, event())
    await routed(pool)
    await received(pool, event())
    stats = json.loads(await done("queue", "stats", "--json"))
    depth = {(lane["stage"], lane["lane"]): lane["depth"] for lane in stats["lanes"]}
    assert (depth["route", "critical"], depth["deliver", "critical"], depth["route", "bulk"]) == (1, 1, 0)
    assert [item["address"] for item in stats["destinations"]] == ["owner@bakery.example"]
    assert stats["events_received"] == 2
    out = await done("queue", "stats")
    assert "Nothing is being worked on" in out
    assert "owner@bakery.example" in out


def test_times_are_ages_or_dates():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert read_time("90m", now) == now - timedelta(minutes=90)
    assert read_time("2d", now) == now - timedelta(days=2)
    assert read_time("now", now) == now
    assert read_time("2026-11-24T10:00:00+02:00", now) == datetime(2026, 11, 24, 8, tzinfo=UTC)
    for wrong in ("", "yesterday", "5", "-3h", "2026-13-01"):
        with pytest.raises(typer.BadParameter):
            read_time(wrong, now)


def test_every_command_can_be_built():
    for name in [*COMMANDS, *GROUPS]:
        assert build(name) is not None


async def test_commands_use_the_embedded_server_when_no_other_is_named():
    place = Path("/var/tmp") / f"holdfast-test-cli-{time.time_ns()}"
    place.mkdir(mode=0o711)
    try:
        status, out, err = await command("merchants", "add", "bakery", data_dir=str(place / "var"))
        assert (status, out, err) == (0, "Merchant bakery added.\n", "")
        status, out, _ = await command("merchants", "list", "--json", data_dir=str(place / "var"))
        assert [item["key"] for item in json.loads(out)["merchants"]] == ["bakery"]
        assert not (place / "var" / "postgres" / "data" / "postmaster.pid").exists(), "the last user stopped the server"
    finally:
        shutil.rmtree(place)

"""`holdfast up` as a whole: signed Stripe events in, merchants notified, everything ended within ten seconds."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.pool import create_pool
from holdfast.drills.demo import SHOP_NAMES, _introduce
from holdfast.drills.receivers import Mailboxes, WebhookReceivers
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, NewDestination, NewMerchant
from holdfast.service import Database
from tests.inbox.events import SECRET
from tests.processes import Running, command_here, free_port, running

ACCOUNTS = [f"acct_1Shop{number}" for number in range(3)]


@asynccontextmanager
async def world(place: Path) -> AsyncIterator[tuple[EmulatedStripe, WebhookReceivers, Mailboxes, Any]]:
    """Emulated Stripe, receivers and mail, and the settings that point at them."""
    emulated = EmulatedStripe(accounts=ACCOUNTS, speed=600, webhook_timeout=5)
    async with emulated as stripe, Mailboxes() as mail, WebhookReceivers() as receivers:
        settings = {
            "data_dir": str(place),
            "allowed_networks": "127.0.0.0/8",
            "smtp_url": f"{mail.url}?starttls=0",
            "stripe_api_key": DEFAULT_API_KEY,
            "stripe_api_url": stripe.url,
        }
        yield stripe, receivers, mail, settings


async def introduce(receivers: WebhookReceivers, settings: Any) -> None:
    """Three merchants with a webhook each, one with mail too, and the application."""

    async def add(*arguments: str) -> dict[str, list[str]]:
        status, out, err = await command_here("destinations", "add", *arguments, "--json", **settings)
        assert status == 0, err
        found: dict[str, list[str]] = json.loads(out)
        return found

    for number, account in enumerate(ACCOUNTS):
        key = f"shop{number}"
        status, _, err = await command_here("merchants", "add", key, "--stripe-account", account, **settings)
        assert status == 0, err
        receivers.secrets[key] = (await add(key, "--webhook", receivers.url(key)))["secrets"][0]
    await add("shop0", "--email", "owner@shop0.example", "--events", "payout.*")
    receivers.secrets["app"] = (await add("--application", receivers.url("app")))["secrets"][0]


def aim(stripe: EmulatedStripe, up: Running) -> None:
    for connect in (False, True):
        stripe.add_endpoint(up.hook, [SECRET], connect=connect)


async def settled(settings: Any, patience: float = 40.0) -> dict[str, dict[str, int]]:
    """Wait until nothing is in the queue; returns the last stats."""
    end = time.monotonic() + patience
    while True:
        status, out, err = await command_here("queue", "stats", "--json", **settings)
        assert status == 0, err
        stats = json.loads(out)
        if not any(lane["depth"] for lane in stats["lanes"]):
            return stats  # type: ignore[no-any-return]
        assert time.monotonic() < end, stats
        await asyncio.sleep(0.3)


async def metrics(url):
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        return {family.name: family for family in text_string_to_metric_families(await answer.text())}


async def test_events_flow_from_stripe_to_merchants_and_everything_adds_up(place):
    async with world(place) as (stripe, receivers, mail, settings), running("up", **settings) as up:
        await up.says("up.ready")
        await up.answers()
        await introduce(receivers, settings)
        await asyncio.sleep(1.2)  # the web process reads merchants once a second
        aim(stripe, up)
        ids = await stripe.burst(300)
        await stripe.settled()
        assert {d.state for event_id in ids for d in stripe.deliveries(event_id).values()} == {"delivered"}
        await settled(settings)

        own = [
            event for event_id in ids if (event := stripe.event(event_id)) is not None and event.get("account") is None
        ]
        assert len(receivers.taken["app"]) == 300
        assert sum(len(receivers.taken[f"shop{number}"]) for number in range(3)) >= 300 - len(own)
        assert all(counts["refused"] == counts["repeated"] == 0 for counts in receivers.counts.values())
        payouts = json.loads(
            (
                await command_here(
                    "events", "list", "--type", "payout.*", "--account", ACCOUNTS[0], "--json", **settings
                )
            )[1]
        )
        assert mail.received["owner@shop0.example"] == len(payouts["events"])

        status, out, _ = await command_here("reconcile", "--since", "1h", "--margin", "0", "--json", **settings)
        report = json.loads(out)
        assert (status, report["ok"]) == (0, True)
        assert sum(account["missing"] for account in report["accounts"]) == 0

        async with asyncio.timeout(30):
            while not (families := await metrics(up.url))["holdfast_watch_tick_seconds"].samples:
                await asyncio.sleep(0.5)  # every process writes down what it measured once in some seconds
        received = {s.labels["answer"]: s.value for s in families["holdfast_webhooks_received"].samples}
        assert received["new"] == 300
        kinds = {s.labels["kind"] for s in families["holdfast_process_memory_bytes"].samples}
        assert kinds == {"web", "worker", "watch"}, "one address tells of all processes"

        began = time.monotonic()
        up.terminate()
        assert await up.process.wait() == 0
        assert time.monotonic() - began < 10
        assert not EmbeddedPostgres(place).is_running(), "the embedded server stops with it"


async def test_a_killed_worker_and_a_killed_web_process_come_back(place):
    async with world(place) as (stripe, receivers, _, settings), running("up", **settings) as up:
        await up.says("up.ready")
        await up.answers()
        await introduce(receivers, settings)
        aim(stripe, up)
        children = {tuple(child.cmdline()[-1:]): child for child in psutil.Process(up.process.pid).children()}
        for name in ("worker", "web"):
            children[name,].kill()
        await up.says('"child": "web"')
        ids = await stripe.burst(50)
        await stripe.settled()
        assert {d.state for event_id in ids for d in stripe.deliveries(event_id).values()} == {"delivered"}
        await settled(settings)
        assert len(receivers.taken["app"]) == 50


async def test_when_the_supervisor_is_killed_its_children_end_and_the_next_one_takes_over(place):
    async with world(place) as (stripe, receivers, _, settings):
        async with running("up", **settings) as up:
            await up.says("up.ready")
            await up.answers()
            await introduce(receivers, settings)
            children = psutil.Process(up.process.pid).children()
            os.kill(up.process.pid, signal.SIGKILL)
            await up.process.wait()
            _, alive = await asyncio.to_thread(psutil.wait_procs, children, 10)
            assert [child for child in alive if child.name() != "postgres"] == []
        async with running("up", **settings) as again:
            await again.says("up.ready")
            await again.answers()
            aim(stripe, again)
            await stripe.burst(20)
            await stripe.settled()
            await settled(settings)
        assert len(receivers.taken["app"]) == 20


async def test_an_address_in_use_ends_it_with_the_reason(place):
    async with world(place) as (_, receivers, _, settings):
        port = int(receivers.url("x").rpartition(":")[2].partition("/")[0])
        async with running("up", on_port=port, **settings) as up:
            assert await up.process.wait() == 1
            assert any("another program listens there; set HOLDFAST_LISTEN" in line for line in up.log), up.log


async def test_the_demonstration_runs_tells_the_truth_and_stops(place):
    async with running("demo", "--seconds", "8", data_dir=str(place)) as demo:
        assert await demo.process.wait() == 0, demo.log
    text = "\n".join(demo.log)
    assert "It is up." in text
    assert "Stopping. The data stays" in text
    own = place / "demo"
    assert not EmbeddedPostgres(own).is_running()
    assert not (place / "postgres").exists(), "the data directory of the settings is not touched"
    _, out, _ = await command_here("events", "list", "--json", "--limit", "1000", data_dir=str(own))
    assert json.loads(out)["events"]
    async with running("up", data_dir=str(own)) as up:
        await up.says("up.demo_data")


async def test_the_demonstration_takes_no_directory_that_holds_other_data(place):
    status, _, err = await command_here("queue", "stats", data_dir=str(place / "demo"))
    assert status == 0, err
    status, _, err = await command_here("demo", "--seconds", "1", data_dir=str(place))
    assert (status, "holds data that is not the demonstration's" in err) == (1, True)


async def test_a_demonstration_that_was_interrupted_at_its_beginning_can_be_begun_again(place, monkeypatch):
    def interrupted(_: Database) -> None:
        (place / "demo" / "postgres" / "data").mkdir(parents=True, exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(Database, "__enter__", interrupted)
    for _ in range(2):
        _, out, err = await command_here("demo", data_dir=str(place), listen=f"127.0.0.1:{free_port()}")
        assert "Starting Holdfast" in out, err


async def test_the_demonstration_replaces_its_own_destinations_and_no_others(embedded_server):
    url = await embedded_server.new_database()
    pool = await create_pool(url, size=1, name="tests")
    await merchants.upsert(pool, [NewMerchant("real", "Real", None, None)])
    real = (await merchants.ids(pool, ["real"]))["real"]
    others = [
        NewDestination(real, "webhook", "http://127.0.0.1:1/real", ("whsec_x",), ("*",)),
        NewDestination(COMPANY, "application", "https://app.example/hooks", ("whsec_y",), ("*",)),
    ]
    await merchants.upsert_destinations(pool, others)
    for _ in range(2):
        async with WebhookReceivers() as receivers:
            await _introduce(url, receivers)
            town = {receivers.url(name) for name in (*SHOP_NAMES, "application")}
        there = {one.address for one in await merchants.destinations(pool) if one.kind != "email"}
        assert there == town | {other.address for other in others}
    pool.terminate()
    await embedded_server.drop(url)


async def test_when_the_demonstration_is_killed_nothing_of_it_stays(place, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    async with running("demo", data_dir=str(place)) as demo:
        await demo.says("It is up.")
        own = psutil.Process(demo.process.pid).children(recursive=True)
        demo.process.kill()
        await demo.process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, own, 30)
        assert alive == []
    assert not EmbeddedPostgres(place / "demo").is_running()

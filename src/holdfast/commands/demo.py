"""`holdfast demo`"""

import asyncio
import socket
from contextlib import suppress
from typing import Annotated

import typer
import uvloop

from holdfast import logs
from holdfast.commands import terminal
from holdfast.commands.session import CommandError, settings
from holdfast.config import Settings
from holdfast.db.embedded_account import account_of_server, make_root
from holdfast.db.pool import Pool, create_pool
from holdfast.delivery import store as deliveries
from holdfast.drills import call_town
from holdfast.drills.demo import CALLS, FLAKY, RATE, SHOP_NAMES, UNSTEADY, Demo, DemoError, Place, opened
from holdfast.drills.stage import AFTER, Theatre, bought_list, failing_region, hung_worker
from holdfast.inbox import store as inbox
from holdfast.payments import store as payments
from holdfast.queue import service as queue
from holdfast.queue.model import Stage
from holdfast.service import MARKER, Database, heed_signals

_EVERY = 5.0


def demo(
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself after so many seconds.")] = None,
) -> None:
    """Play emulated Stripe events and Twilio calls into a real Holdfast with emulated merchants behind it.

    It has a data directory of its own, demo in that of the settings. Ctrl-C stops all of it.
    """
    given = settings()
    chosen = given.model_copy(update={"database_url": None, "data_dir": given.data_dir / "demo"})
    logs.configure(chosen.log_format, "error", process="demo")
    _claim(chosen)
    try:
        with Database(chosen) as database:
            place = Place(chosen.data_dir.resolve(), database.url, chosen.listen)
            uvloop.run(_run(place, seconds))
    except DemoError as error:
        raise CommandError(str(error)) from None


def _claim(chosen: Settings) -> None:
    """Make the data directory the demonstration's own; never play made-up payments into somebody's real data."""
    marker = chosen.data_dir / MARKER
    if (chosen.data_dir / "postgres" / "data").exists() and not marker.exists():
        raise CommandError(
            f"{chosen.data_dir} holds data that is not the demonstration's: move it, or set HOLDFAST_DATA_DIR elsewhere"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((chosen.address.host, chosen.address.port))
        except OSError:
            raise CommandError(f"{chosen.listen} is in use: set HOLDFAST_LISTEN to another host:port") from None
    try:
        make_root(chosen.data_dir.resolve(), account_of_server())
        marker.touch()  # before anything is made there: an interrupted start may be done again
    except OSError as error:
        raise CommandError(f"cannot use {chosen.data_dir}: {error.strerror}") from None
    terminal.say(f"Starting Holdfast with its own PostgreSQL in {chosen.data_dir.resolve()} …")


async def _run(place: Place, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[object] = loop.create_future()

    def end() -> None:
        if not stop.done():
            stop.set_result(None)

    heed_signals(end)
    async with opened(place) as running:
        _welcome(running)
        if seconds is not None:
            loop.call_later(seconds, end)
        pool = await create_pool(place.database_url, size=4, name="holdfast demo")
        telling = asyncio.create_task(_tell(running, pool, stop))
        staging = asyncio.create_task(_stage(running, pool))
        try:
            await running.play(stop)
        finally:
            telling.cancel()
            staging.cancel()
            await asyncio.gather(telling, staging, return_exceptions=True)
            pool.terminate()
            with suppress(OSError):  # the terminal may be closed
                terminal.say("")
                terminal.say(f"Stopping. The data stays in {place.data_dir}.")


def _welcome(running: Demo) -> None:
    place = running.place
    holdfast = ".venv/bin/holdfast"
    terminal.say(
        f"It is up. About {RATE:.0f} Stripe events a second come in, some twice, some out of order;\n1 % never arrive. "
        "8 merchants are told of theirs by webhook and mail. One endpoint "
        f"({FLAKY}) fails now and then, one ({UNSTEADY}) is down\nfor 15 s of every 45. "
        f"About {CALLS:.0f} call a second comes in, and is put through to the merchants. They text people who agreed\n"
        "to it, and a few of these say stop.\nIn another terminal:\n"
        f"\n    . {place.env_file}\n"
        f"    {holdfast} queue stats            how much waits, and how fast it goes\n"
        f"    {holdfast} payments list          the ledger\n"
        f"    {holdfast} events list            what came in, and what became of it\n"
        f"    {holdfast} deliveries list        what merchants were sent\n"
        f"    {holdfast} reconcile --since 1h   finds the events that never arrived, and fetches them\n"
        f"    {holdfast} calls list             who called, and who answered\n"
        f"    {holdfast} voice health           how calls go, by region, number and target\n"
        f"    {holdfast} texts list             who was texted, who was not, and why not\n"
        f"    {holdfast} suppressions list      who said stop\n"
        f"    {holdfast} consent verify         the ledger of consents, and its proof\n"
        f"    {holdfast} incidents list         what is wrong now, and who is on it\n"
        f"\nIn {AFTER:.0f} seconds a worker process hangs: the backlog is noticed, its runbook runs, merchants\n"
        "and the status page are told, and a review is left. Then Twilio fails in one of two regions, and\n"
        "calls go round it. Then a shop texts a list that it was sold, and people complain. Somebody called\n"
        "dana approves what is asked; all waits are shorter than they would be.\n"
        f"\nStatus page: http://{place.listen}/status\n"
        f"Health: http://{place.listen}/health/report   Metrics: http://{place.listen}/metrics\n"
        f"Log: {place.data_dir / 'demo.log'}   Ctrl-C stops everything.\n"
    )


async def _stage(running: Demo, pool: Pool) -> None:
    """Three incidents, each worked by its runbook."""
    shop = call_town.town(SHOP_NAMES)[0]
    list_sold = bought_list(running.texting, shop, running.place.data_dir, running.env)
    scenes = (hung_worker(running.up), failing_region(running.twilio), list_sold)
    try:
        await Theatre(pool, running.settings, terminal.say).play(scenes, running.place.data_dir)
    except Exception as error:  # noqa: BLE001 - the traffic goes on, and whoever watches is told
        terminal.say(f"The staged incidents broke off: {type(error).__name__}: {error}")


async def _tell(running: Demo, pool: Pool, stop: "asyncio.Future[object]") -> None:
    while not stop.done():
        await asyncio.sleep(_EVERY)
        terminal.say(await _line(running, pool))


async def _line(running: Demo, pool: Pool) -> str:
    waiting = dict.fromkeys(Stage, 0)
    for lane in await queue.lane_stats(pool):
        waiting[lane.stage] += lane.depth
    payments_count = sum(row["count"] for row in await payments.totals(pool, payments.Filter()))
    return (
        f"{await inbox.count(pool, inbox.Filter()):>6} events, {waiting[Stage.ROUTE]} to route   "
        f"{payments_count:>6} payments   "
        f"{await deliveries.count(pool, deliveries.Filter()):>6} notifications, {waiting[Stage.DELIVER]} waiting   "
        f"{running.receivers.accepted:>6} accepted   {sum(running.mail.received.values()):>3} mails   "
        f"{len(running.twilio.results):>4} calls   {running.texting.taken:>4} texts"
    )

"""The demonstration: emulated Stripe and Twilio, merchants' endpoints and mailboxes around a real Holdfast."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.config import Settings
from holdfast.db.migrate import upgrade
from holdfast.db.pool import create_pool
from holdfast.delivery.signing import new_secret
from holdfast.drills import call_town, text_town
from holdfast.drills.receivers import Behaviour, Mailboxes, WebhookReceivers
from holdfast.drills.rehearsal import prepare
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.drills.stripe_faults import StripeFaults
from holdfast.drills.stripe_traffic import Mix
from holdfast.drills.team_chat import TeamChat
from holdfast.drills.text_town import Texting
from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, NewDestination, NewMerchant
from holdfast.service import MARKER, SUPERVISOR

SECRET = "whsec_demo_" + "0" * 24
RATE = 20.0
"""Events a second."""
CALLS = 1.0
"""Calls a second."""
TEXTS = 0.5
"""Texts a second that shops send."""
PEOPLE = 25
"""Who agreed to be texted, for each shop."""
TOKEN = "demo-token-" + "0" * 12
COMPLIANCE = "compliance@company.example"
CALL_SPEED = 20.0
"""How many times faster than life people talk on the phone."""
SHOP_NAMES = ("bakery", "bookshop", "cinema", "florist", "gym", "hotel", "pharmacy", "winery")
FLAKY, UNSTEADY = "gym", "hotel"
"""Endpoints that fail at times, so that retries and an open breaker can be seen."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demonstration keeps its data and listens."""

    data_dir: Path
    database_url: str
    listen: str

    @property
    def env_file(self) -> Path:
        return self.data_dir / MARKER


@dataclass(frozen=True, slots=True)
class Demo:
    """Everything around Holdfast, once it is open. `up` is the process id of `holdfast up`, `settings` are its."""

    place: Place
    settings: Settings
    up: int
    stripe: EmulatedStripe
    twilio: EmulatedTwilio
    receivers: WebhookReceivers
    mail: Mailboxes
    chat: TeamChat
    texting: Texting
    env: Mapping[str, str]
    """The settings as the environment of a command."""

    async def play(self, until: "asyncio.Future[object]") -> None:
        """Traffic as it is in life: duplicates, events out of order, some that never arrive, a flaky receiver."""
        self.stripe.faults = StripeFaults(duplicate=0.03, reorder_window=0.5, gap=0.01)
        self.receivers.behaviours[FLAKY] = Behaviour(failing=0.2)
        unsteady = asyncio.create_task(self._unsteady())
        calling = asyncio.create_task(self.twilio.run(CALLS, asyncio.shield(until), call_town.CALLERS))
        texting = asyncio.create_task(self.texting.run())
        try:
            await self.stripe.run(RATE, until, Mix(meter_errors=1))
        finally:
            unsteady.cancel()
            calling.cancel()
            texting.cancel()
            await asyncio.gather(unsteady, calling, texting, return_exceptions=True)

    async def _unsteady(self) -> None:
        while True:
            await asyncio.sleep(30)
            self.receivers.behaviours[UNSTEADY] = Behaviour(down=True)
            await asyncio.sleep(15)
            self.receivers.behaviours[UNSTEADY] = Behaviour()


@asynccontextmanager
async def opened(place: Place, call_speed: float = CALL_SPEED) -> AsyncIterator[Demo]:
    """The emulators, the merchants in the database, and `holdfast up` as a process of its own."""
    place.env_file.touch()  # from now on the data is the demonstration's
    async with AsyncExitStack() as stack:
        stripe = await stack.enter_async_context(
            EmulatedStripe(accounts=[_account(name) for name in SHOP_NAMES], speed=600.0, seed=os.getpid())
        )
        twilio = await stack.enter_async_context(
            EmulatedTwilio(regions=call_town.PREFIXES, speed=call_speed, seed=os.getpid())
        )
        receivers = await stack.enter_async_context(WebhookReceivers(seed=1))
        mail = await stack.enter_async_context(Mailboxes())
        chat = await stack.enter_async_context(TeamChat())
        await upgrade(place.database_url)
        await _introduce(place.database_url, receivers)
        for connect in (False, True):
            stripe.add_endpoint(f"http://{place.listen}/hooks/stripe", [SECRET], connect=connect)
        call_town.connect(twilio, call_town.town(SHOP_NAMES), f"http://{place.listen}")
        settings = _settings(place, stripe, twilio, mail, chat)
        lines = [f"export {name}='{value}'\n" for name, value in settings.items()]
        place.env_file.chmod(0o600)
        place.env_file.write_text("# The settings of the demonstration: . demo.env\n" + "".join(lines))
        up = await stack.enter_async_context(_holdfast_up(place, settings))
        given: Any = {name.removeprefix("HOLDFAST_").lower(): value for name, value in settings.items()}
        people = text_town.people(call_town.town(SHOP_NAMES), PEOPLE)
        texting = Texting(f"http://{place.listen}", TOKEN, twilio, people, rate=TEXTS, seed=os.getpid())
        yield Demo(place, Settings(**given), up, stripe, twilio, receivers, mail, chat, texting, settings)


def _account(name: str) -> str:
    return f"acct_1Demo{name.capitalize()}"


def _settings(
    place: Place, stripe: EmulatedStripe, twilio: EmulatedTwilio, mail: Mailboxes, chat: TeamChat
) -> dict[str, str]:
    runbooks, watch = prepare(place.data_dir / "rehearsal")
    return {
        "HOLDFAST_DATA_DIR": str(place.data_dir),
        "HOLDFAST_LISTEN": place.listen,
        "HOLDFAST_STRIPE_WEBHOOK_SECRETS": SECRET,
        "HOLDFAST_STRIPE_API_KEY": DEFAULT_API_KEY,
        "HOLDFAST_STRIPE_API_URL": stripe.url,
        "HOLDFAST_STRIPE_STATUS_URL": stripe.status_url,
        "HOLDFAST_TWILIO_ACCOUNT_SID": DEFAULT_ACCOUNT_SID,
        "HOLDFAST_TWILIO_AUTH_TOKEN": DEFAULT_AUTH_TOKEN,
        "HOLDFAST_TWILIO_API_URL": twilio.url,
        "HOLDFAST_TWILIO_STATUS_URL": twilio.status_url,
        "HOLDFAST_SMTP_URL": f"{mail.url}?starttls=0",
        "HOLDFAST_ALLOWED_NETWORKS": "127.0.0.0/8",
        "HOLDFAST_TEAM_CHANNELS": chat.url,
        "HOLDFAST_RUNBOOKS_DIR": str(runbooks),
        "HOLDFAST_WATCH_FILE": str(watch),
        "HOLDFAST_STATUS_NAME": "The demonstration",
        "HOLDFAST_API_TOKEN": TOKEN,
        "HOLDFAST_COMPLIANCE_MAIL": COMPLIANCE,
    }


async def _introduce(url: str, receivers: WebhookReceivers) -> None:
    """Merchants with a webhook or a mailbox each, and the company's application; the ports are new at every start."""
    pool = await create_pool(url, size=1, name="holdfast demo")
    try:
        new = [
            NewMerchant(name, f"The {name.capitalize()}", f"{name}@shops.example", _account(name))
            for name in SHOP_NAMES
        ]
        await merchants.upsert(pool, new)
        ids = await merchants.ids(pool, list(SHOP_NAMES))
        owners = {COMPANY: "application"} | dict.fromkeys(ids.values(), "webhook")
        for old in await merchants.destinations(pool):
            if owners.get(old.merchant_id) == old.kind and urlsplit(old.address).hostname == "127.0.0.1":
                await merchants.delete_destination(pool, old.id)
        for number, name in enumerate(SHOP_NAMES):
            secret = new_secret()
            receivers.secrets[name] = secret
            await merchants.upsert_destinations(
                pool, [NewDestination(ids[name], "webhook", receivers.url(name), (secret,), ("*",))]
            )
            if number % 4 == 0:
                interesting = ("payment_intent.payment_failed", "charge.dispute.*", "payout.*")
                mailbox = NewDestination(ids[name], "email", f"{name}@shops.example", (), interesting)
                await merchants.upsert_destinations(pool, [mailbox])
        town = call_town.town(SHOP_NAMES)
        await call_town.introduce(pool, town)
        await text_town.introduce(pool, text_town.people(town, PEOPLE), datetime.now(UTC))
        secret = new_secret()
        receivers.secrets["application"] = secret
        address = receivers.url("application")
        await merchants.upsert_destinations(pool, [NewDestination(COMPANY, "application", address, (secret,), ("*",))])
    finally:
        await pool.close()


@asynccontextmanager
async def _holdfast_up(place: Place, settings: dict[str, str]) -> AsyncIterator[int]:
    """Yields its process id."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    log = (place.data_dir / "demo.log").open("wb")
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "holdfast",
            "up",
            env={**clean, **settings, "HOLDFAST_LOG_FORMAT": "json", SUPERVISOR: str(os.getpid())},
            cwd=place.data_dir,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours to hear
        )
    finally:
        log.close()
    try:
        await _until_it_answers(place, process)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


class DemoError(Exception):
    """The demonstration cannot run; the message says why."""


async def _until_it_answers(place: Place, process: asyncio.subprocess.Process) -> None:
    host, _, port = place.listen.rpartition(":")
    for _ in range(2400):  # two minutes: also where much else goes on
        if process.returncode is not None:
            last = (place.data_dir / "demo.log").read_text().splitlines()[-3:]
            raise DemoError("holdfast up ended: " + " / ".join(last))
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        await asyncio.sleep(1.0)  # the lane table and the merchants are read in the first second
        return
    raise DemoError(f"holdfast up does not answer on {place.listen}; see {place.data_dir / 'demo.log'}")

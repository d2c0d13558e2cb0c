"""A whole company in small for incidents: Stripe, Twilio, merchants, mail, a team channel, `holdfast up`, somebody on
duty.

The runbooks are the shipped ones with their waits shortened, and `health_watch` is less patient than usual.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil  # type: ignore[import-untyped]

from holdfast import actions
from holdfast.config import Settings
from holdfast.db.embedded import EmbeddedPostgres
from holdfast.db.pool import Pool, create_pool
from holdfast.drills import call_town, text_town
from holdfast.drills.operator import Operator
from holdfast.drills.receivers import Mailboxes, WebhookReceivers
from holdfast.drills.rehearsal import prepare
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.drills.team_chat import TeamChat
from holdfast.drills.text_town import Texting
from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.incidents import store
from holdfast.incidents.model import Incident, StepRow
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.library import Library
from holdfast.runbooks.working import Desk
from tests.inbox.events import SECRET
from tests.processes import Running, command_here, running

ACCOUNTS = [f"acct_1Shop{number}" for number in range(3)]
SHOPS = [f"shop{number}" for number in range(3)]
CALL_SPEED = 60.0
TOKEN = "a-token-of-some-length"


@dataclass
class Story:
    stripe: EmulatedStripe
    twilio: EmulatedTwilio
    receivers: WebhookReceivers
    mail: Mailboxes
    chat: TeamChat
    up: Running
    pool: Pool
    desk: Desk
    settings: dict[str, str]
    runbook: str
    texting: Texting | None = None
    answered: list[str] = field(default_factory=list)

    def children(self, name: str) -> list[psutil.Process]:
        found = psutil.Process(self.up.process.pid).children()
        return [child for child in found if child.cmdline()[-1:] == [name]]

    def worker(self) -> psutil.Process:
        return self.children("worker")[0]

    def kill_watch(self) -> None:
        """As by the kernel: the supervisor starts another, which goes on."""
        for watch in self.children("watch"):
            watch.kill()

    async def steps(self) -> list[StepRow]:
        incident = await self.incident()
        return await steps_store.steps(self.pool, incident.id) if incident is not None else []

    async def until(self, what: str, found: Callable[[], Any], patience: float = 240.0) -> Any:
        end = time.monotonic() + patience
        while not (value := await found()):
            assert time.monotonic() < end, f"{what}\n{await self.told()}\n" + "\n".join(self.up.log[-30:])
            await asyncio.sleep(0.5)
        return value

    async def incident(self) -> Incident | None:
        found = [one for one in await store.listing(self.pool) if one.runbook == self.runbook]
        return found[0] if found else None

    async def until_incident(self) -> Incident:
        found: Incident = await self.until("no incident", self.incident)
        return found

    async def until_step(self, key: str, *states: str) -> None:
        async def reached() -> bool:
            incident = await self.incident()
            step = await steps_store.step(self.pool, incident.id, key) if incident is not None else None
            return step is not None and step.state in states

        await self.until(f"step {key} is not {states}", reached)

    async def until_state(self, state: str) -> None:
        async def reached() -> bool:
            incident = await self.incident()
            return incident is not None and incident.state == state

        await self.until(f"the incident is not {state}", reached)

    async def check(self) -> Incident:
        """Every step came to a good end, everybody was told, and the sums add up; returns the incident."""
        incident = await self.incident()
        assert incident is not None
        rows = await steps_store.steps(self.pool, incident.id)
        assert {row.state for row in rows} <= {"done", "not applicable"}, await self.told()
        assert await store.obligations(self.pool, incident_id=incident.id, kind="update") == []
        assert await self.desk.ledger(incident, datetime.now(UTC)) == []
        out = (await command_here("verify", "--since", "15m", "--json", **self.settings))[1]
        verified = json.loads(out)
        assert (verified["ok"], verified["adds_up"]) == (True, True), verified["needs"]
        text = "\n".join(self.chat.texts)
        for said in (incident.title, "update 1"):
            assert said.lower() in text.lower(), (said, text)
        return incident

    async def check_the_public(self, incident: Incident) -> None:
        """Merchants got a mail when it began and one when it was over; the status page tells the whole story."""
        for number in range(3):
            subjects = [mail["subject"] for mail in self.mail.messages(f"shop{number}@shops.example")]
            assert len([one for one in subjects if "delayed" in one]) == 1, subjects
            assert len([one for one in subjects if "in time again" in one]) == 1, subjects

        async def resolved() -> Any:
            (shown,) = json.loads(await self.get("/api/v2/incidents.json"))["incidents"]
            return shown if shown["status"] == "resolved" else None

        shown = await self.until("the status page does not say that it is over", resolved)
        assert shown["incident_updates"][0]["status"] == "resolved"
        assert json.loads(await self.get("/api/v2/summary.json"))["status"]["indicator"] == "none"
        assert "shop1" not in await self.get(f"/status/incidents/{incident.id}")

    async def check_the_review(self, incident: Incident) -> None:
        """It is drafted, and can be read."""
        status, out, err = await command_here("reviews", "show", str(incident.id), "--json", **self.settings)
        assert status == 0, err
        assert json.loads(out)["incident"] == incident.id
        for form, begins in (("md", b"# "), ("html", b"<!"), ("pdf", b"%PDF")):
            file = Path(self.settings["data_dir"]).parent / f"review.{form}"
            arguments = ("reviews", "export", str(incident.id), "--format", form, "--out", str(file))
            status, _, err = await command_here(*arguments, **self.settings)
            assert status == 0, err
            assert file.read_bytes().startswith(begins)

    async def get(self, path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(self.up.url + path) as answer:
            assert answer.status == 200
            text: str = await answer.text()
            return text

    async def told(self) -> str:
        """The story so far, for whoever reads why a test failed."""
        incident = await self.incident()
        if incident is None:
            return "no incident"
        rows = await steps_store.steps(self.pool, incident.id)
        log = await store.entries(self.pool, incident.id)
        steps = "\n".join(f"  {row.state:15} {row.key}: {row.said}" for row in rows)
        return f"{incident}\n{steps}\n" + "\n".join(f"  {one.at:%H:%M:%S} {one.actor}: {one.text}" for one in log)


@asynccontextmanager
async def story(
    place: Path, runbook: str, rate: float = 30.0, calls: float = 0.0, texts: float = 0.0
) -> AsyncIterator[Story]:
    """`rate` events, `calls` and `texts` a second."""
    runbooks, watch = prepare(place.parent)
    emulated = EmulatedStripe(accounts=ACCOUNTS, speed=600, webhook_timeout=5)
    exchange = EmulatedTwilio(regions=call_town.PREFIXES, speed=CALL_SPEED)
    async with (
        emulated as stripe,
        exchange as twilio,
        Mailboxes() as mail,
        WebhookReceivers() as receivers,
        TeamChat() as chat,
    ):
        settings: Any = {
            "data_dir": str(place),
            "allowed_networks": "127.0.0.0/8",
            "smtp_url": f"{mail.url}?starttls=0",
            "stripe_api_key": DEFAULT_API_KEY,
            "stripe_api_url": stripe.url,
            "stripe_status_url": stripe.status_url,
            "twilio_account_sid": DEFAULT_ACCOUNT_SID,
            "twilio_auth_token": DEFAULT_AUTH_TOKEN,
            "twilio_api_url": twilio.url,
            "twilio_status_url": twilio.status_url,
            "team_channels": chat.url,
            "watch_file": str(watch),
            "runbooks_dir": str(runbooks),
            "api_token": TOKEN,
            "compliance_mail": "compliance@company.example",
        }
        async with running("up", **settings) as up:
            await up.says("up.ready")
            await up.answers()
            for number, account in enumerate(ACCOUNTS):
                key = f"shop{number}"
                add = ("merchants", "add", key, "--stripe-account", account, "--email", f"{key}@shops.example")
                assert (await command_here(*add, **settings))[0] == 0
                out = (
                    await command_here(
                        "destinations", "add", key, "--webhook", receivers.url(key), "--json", **settings
                    )
                )[1]
                receivers.secrets[key] = json.loads(out)["secrets"][0]
            await asyncio.sleep(1.2)
            for connect in (False, True):
                stripe.add_endpoint(up.hook, [SECRET], connect=connect)
            town = call_town.town(SHOPS)
            call_town.connect(twilio, town, up.url)
            pool = await create_pool(EmbeddedPostgres(place).url(), size=4, name="test")
            await call_town.introduce(pool, town)
            registry = actions.registry()
            library = Library(Path(settings["runbooks_dir"]), registry)
            desk = Desk(pool, Settings(data_dir=place), registry, library)
            told = Story(stripe, twilio, receivers, mail, chat, up, pool, desk, settings, runbook)
            over = asyncio.get_running_loop().create_future()
            traffic: list[asyncio.Task[Any]] = [asyncio.create_task(stripe.run(rate, asyncio.shield(over)))]
            if calls:
                traffic.append(asyncio.create_task(twilio.run(calls, asyncio.shield(over), call_town.CALLERS)))
            if texts:
                people = text_town.people(town, 30)
                await text_town.introduce(pool, people, datetime.now(UTC))
                told.texting = Texting(up.url, TOKEN, twilio, people, rate=texts)
                traffic.append(asyncio.create_task(told.texting.run()))
            duty = asyncio.create_task(_on_duty(told))
            try:
                await asyncio.sleep(5)
                yield told
            finally:
                over.set_result(None)
                for task in (duty, *traffic[2 if calls else 1 :]):
                    task.cancel()
                await asyncio.gather(*traffic, duty, return_exceptions=True)
                pool.terminate()


async def _on_duty(told: Story) -> None:
    operator = Operator(told.desk, "ann", thinks=timedelta(seconds=1))
    told.answered = operator.answered
    while True:
        await asyncio.sleep(0.5)
        await operator.tick(datetime.now(UTC))

"""The doors of texts on a real socket in this process, and a Twilio that knocks at them."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from holdfast.config import Settings
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.gateway.twilio_requests import Requests
from holdfast.gateway.twilio_texts import Texts
from holdfast.merchants import number_store
from holdfast.merchants.model import COMPANY
from holdfast.twilio.model import Account
from holdfast.twilio.signature import Verifier
from tests.messaging.texts import BAKERY, GARAGE
from tests.processes import free_port

TWILIO = EmulatedTwilio()
MAIN = Account(TWILIO.account_sid, "main", COMPANY, TWILIO.auth_token)


@dataclasses.dataclass
class Door:
    """`url`: where it listens; `reports`: status callbacks that it passed on, where they are not kept."""

    url: str
    texts: Texts
    reports: list[Any]


@asynccontextmanager
async def text_door(
    pool: Any,
    place: Path,
    *,
    accounts: Sequence[Account] = (),
    reports_fail: bool = False,
    reports_are_kept: bool = False,
    **given: Any,
) -> AsyncIterator[Door]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = Settings(twilio_account_sid=MAIN.sid, data_dir=place, **given)
    taken: list[Any] = []

    async def take(batch: Sequence[Any]) -> None:
        if reports_fail:
            raise OSError("away")
        taken.extend(batch)

    requests = Requests(Verifier([url]), MAIN, lambda: {one.sid: one for one in accounts})
    texts = Texts(settings, pool, requests, None if reports_are_kept else take)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await texts.hooks[scope["path"]](scope, receive, send)

    config = uvicorn.Config(app, port=port, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield Door(url, texts, taken)
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def twilio_at(
    door: Door, pool: Any, *, advanced_opt_out: bool = False, numbers: Sequence[str] = (BAKERY, GARAGE)
) -> AsyncIterator[EmulatedTwilio]:
    """With these numbers, whose texts come to the door."""
    async with EmulatedTwilio(speed=1000) as twilio:
        for phone in numbers:
            twilio.add_number(phone, sms_url=f"{door.url}/hooks/twilio/message", advanced_opt_out=advanced_opt_out)
        yield twilio


async def we_answer(pool: Any) -> None:
    """Twilio does not answer STOP and HELP of anybody's numbers."""
    await pool.execute("UPDATE messaging_policy SET provider_answers = false")


async def own(pool: Any, phone: str) -> int:
    found = await number_store.find(pool, phone)
    assert found is not None
    return found.merchant_id

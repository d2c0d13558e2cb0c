"""A sender of texts at the emulated Twilio, for tests; and one that dies in the middle of things."""

import asyncio
import types
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from holdfast.db.pool import Pool
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_state import Message
from holdfast.levers.service import Levers
from holdfast.messaging.sender import TextSender
from holdfast.twilio.client import TwilioClient
from tests.messaging.texts import BAKERY, GARAGE, NOON

PUBLIC = "http://127.0.0.1:9"
"""Nobody is there: what Twilio would tell is told by the tests."""
SUB, SUB_TOKEN = "AC" + "2" * 32, "token-of-a-subaccount"


@dataclass
class Office:
    """What sends, and what Twilio has. `now` is the time of all of them."""

    pool: Pool
    twilio: EmulatedTwilio
    client: TwilioClient
    now: datetime = NOON
    levers: Levers = field(default_factory=lambda: Levers(routers=0, deliveries=0))

    def sender(self, **options: Any) -> TextSender:
        return TextSender(self.pool, self.client, PUBLIC, levers=self.levers, rng=Random(1), **options)

    async def work(self, sender: TextSender | None = None) -> None:
        """All that is due now."""
        sender = sender or self.sender()
        while await sender.tick(self.now):
            await self.finish(sender)

    async def finish(self, sender: TextSender) -> None:
        while sender.in_flight:
            await asyncio.sleep(0.001)
        while await sender.settle(self.now):
            pass

    async def later(self, **passes: float) -> None:
        self.now += timedelta(**passes)
        await self.work()

    async def get_through(self, rounds: int = 12) -> None:
        """Work, and let time pass, until nothing is left to do."""
        for _ in range(rounds):
            if not await self.pool.fetchval("SELECT count(*) FROM work"):
                return
            await self.later(seconds=62)
        raise AssertionError(await self.pool.fetch("SELECT * FROM work"))

    @property
    def outbound(self) -> list[Message]:
        return [one for one in self.twilio.messages if one.direction.startswith("outbound")]

    async def rows(self) -> list[Any]:
        return await self.pool.fetch("SELECT * FROM message ORDER BY id")


@asynccontextmanager
async def office(pool: Pool) -> AsyncIterator[Office]:
    clock: list[Office] = []
    twilio = EmulatedTwilio(speed=100_000, clock=lambda: clock[0].now.timestamp() if clock else NOON.timestamp())
    twilio.add_subaccount(SUB, SUB_TOKEN)
    twilio.add_number(BAKERY)
    twilio.add_number(GARAGE)
    async with twilio, TwilioClient(twilio.account_sid, twilio.auth_token, twilio.url, timeout=2.0, tries=1) as client:
        clock.append(Office(pool, twilio, client))
        yield clock[0]


@dataclass
class Mortal:
    """Ends all that a sender does at its n-th suspension, as a kill would: nothing of it goes on."""

    left: int

    @property
    def is_dead(self) -> bool:
        return self.left <= 0

    @types.coroutine
    def run(self, living: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        is_told = False
        try:
            waits = living.send(None)
            while True:
                self.left -= 1
                if self.is_dead and not is_told:
                    is_told = True
                    current = asyncio.current_task()
                    assert current is not None
                    current.cancel()
                try:
                    yield waits
                except BaseException as error:  # noqa: BLE001 - all of it is passed on
                    waits = living.throw(error)
                else:
                    waits = living.send(None)
        except StopIteration as done:
            return done.value

    @contextmanager
    def sender(self) -> Iterator[None]:
        """Tasks of senders that begin in the block are mortal."""
        loop = asyncio.get_running_loop()

        def make(loop: asyncio.AbstractEventLoop, doing: Any, **more: Any) -> "asyncio.Task[Any]":
            is_senders = getattr(doing, "__qualname__", "").startswith("TextSender.")
            return asyncio.Task(self.run(doing) if is_senders else doing, loop=loop, **more)

        loop.set_task_factory(make)
        try:
            yield
        finally:
            loop.set_task_factory(None)


async def live_and_die(office: Office, steps: int) -> bool:
    """A sender works until it is killed at this suspension; whether that came before it was through."""
    mortal, sender = Mortal(steps), office.sender()
    with mortal.sender():
        loop = asyncio.get_running_loop()
        try:
            await loop.create_task(sender.tick(office.now))
            while sender.in_flight and not mortal.is_dead:
                await asyncio.sleep(0)
            if not mortal.is_dead:
                await loop.create_task(sender.settle(office.now))
        except asyncio.CancelledError:
            assert mortal.is_dead
    left = list(sender._tasks)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return mortal.is_dead

"""Real test calls: Twilio calls one of our numbers from another one, and we see what became of it.

The call goes the whole way: Twilio's API, its network, the number's own addresses, our door, and whoever is rung. So
whoever is at the targets of the number's plan hears it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from holdfast.db.pool import Pool
from holdfast.merchants.numbers import Number
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioCall
from holdfast.voice import testing_store

TWIML: Final = '<Response><Say>This is a test call. Please hang up.</Say><Pause length="5"/><Hangup/></Response>'
"""What whoever answers hears."""
RINGS: Final = 45
LONGEST: Final = timedelta(seconds=90)
EVERY: Final = 1.0
SETTLES: Final = 5.0
"""Seconds that our own record of the call may take after its end."""
_OVER: Final = frozenset(("completed", "busy", "failed", "no-answer", "canceled"))


_WRONG: Final = {
    "failed": "by our own record it failed: see `holdfast voice alerts`, and what it was told",
    "missed": "by our own record it was missed: nobody answered, and no message was taken",
}
"""Outcomes that no caller should come to, whatever Twilio says of the call."""
SLACK: Final = timedelta(seconds=5)
"""By which the clocks of the web process and of whoever tests may differ."""
_Ours = Callable[[], Awaitable[tuple[str, str | None] | None]]
"""What our record says of the call now: what it was told, and its outcome."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RealCall:
    """What became of it: `status` is Twilio's; `answer` and `outcome` are of our own record, None: it never came here.

    `problem`: what is wrong, if anything.
    """

    sid: str
    phone: str
    caller: str
    status: str
    seconds: int | None
    answer: str | None
    outcome: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class RealCaller:
    """Places them. `told` hears of each state that Twilio reports; `every`: seconds between two looks."""

    pool: Pool
    twilio: TwilioClient
    told: Callable[[str], None] = lambda _: None
    longest: timedelta = LONGEST
    every: float = EVERY
    clock: Callable[[], datetime] = _now

    async def call(self, number: Number, caller: Number) -> RealCall:
        """Call `number` from `caller`, and wait until it is over. Raises TwilioApiError if it could not be placed."""
        since = self.clock() - SLACK
        before = await testing_store.known(self.pool, number.phone, caller.phone, since)
        ours = partial(testing_store.mark, self.pool, number.phone, caller.phone, since, before)
        placed = await self.twilio.place_call(
            number.phone, caller.phone, twiml=TWIML, timeout=RINGS, account=caller.account
        )
        self.told(placed.status)
        call = await self._over(placed, caller.account, ours)
        found = await self._settled(ours)
        answer, outcome = found if found is not None else (None, None)
        problem = _problem(call, answer, outcome)
        return RealCall(call.sid, number.phone, caller.phone, call.status, call.seconds, answer, outcome, problem)

    async def _over(self, call: TwilioCall, account: str | None, ours: _Ours) -> TwilioCall:
        """As it is at its end; it is ended when it takes too long.

        Our record is marked as soon as it is there: a leg that comes to it later counts nowhere either.
        """
        try:
            async with asyncio.timeout(self.longest.total_seconds()):
                while call.status not in _OVER:
                    await asyncio.sleep(self.every)
                    await ours()
                    before, call = call, await self.twilio.call(call.sid, account)
                    if call.status != before.status:
                        self.told(call.status)
        except TimeoutError:
            return await self.twilio.end_call(call.sid, account)
        return call

    async def _settled(self, ours: _Ours) -> tuple[str, str | None] | None:
        """What our record says of it at its end."""
        for _ in range(max(1, round(SETTLES / self.every))):
            found = await ours()
            if found is not None and found[1] is not None:
                return found
            await asyncio.sleep(self.every)
        return found


def _problem(call: TwilioCall, answer: str | None, outcome: str | None) -> str:
    if not answer:  # at most we were told of its end
        return f"it never reached our door ({call.status}): see the number's addresses, and Twilio's Debugger"
    if call.status == "failed":
        return "Twilio could not put it through"
    if answer.endswith("last resort"):
        return "only the last resort answered: something of ours fails; see its log"
    return _WRONG.get(outcome or "", "")

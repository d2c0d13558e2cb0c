"""Real test calls: Twilio calls one of our numbers from another one, and we see what became of it.

The call goes the whole way: Twilio's API, its network, the number's own addresses, our door, and whoever is rung. So
whoever is at the targets of the number's plan hears it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
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

    async def call(self, number: Number, caller: Number) -> RealCall:
        """Call `number` from `caller`, and wait until it is over. Raises TwilioApiError if it could not be placed."""
        before = await testing_store.known(self.pool, number.phone, caller.phone)
        placed = await self.twilio.place_call(
            number.phone, caller.phone, twiml=TWIML, timeout=RINGS, account=caller.account
        )
        self.told(placed.status)
        call = await self._over(placed, caller.account)
        ours = await self._ours(number.phone, caller.phone, before)
        answer, outcome = ours if ours is not None else (None, None)
        problem = _problem(call, answer)
        return RealCall(call.sid, number.phone, caller.phone, call.status, call.seconds, answer, outcome, problem)

    async def _over(self, call: TwilioCall, account: str | None) -> TwilioCall:
        """As it is at its end; it is ended when it takes too long."""
        try:
            async with asyncio.timeout(self.longest.total_seconds()):
                while call.status not in _OVER:
                    await asyncio.sleep(self.every)
                    before, call = call, await self.twilio.call(call.sid, account)
                    if call.status != before.status:
                        self.told(call.status)
        except TimeoutError:
            return await self.twilio.end_call(call.sid, account)
        return call

    async def _ours(self, phone: str, caller: str, before: Sequence[str]) -> tuple[str, str | None] | None:
        """What our record says of it, which is marked as a test."""
        for _ in range(max(1, round(SETTLES / self.every))):
            found = await testing_store.mark(self.pool, phone, caller, before)
            if found is not None and found[1] is not None:
                return found
            await asyncio.sleep(self.every)
        return found


def _problem(call: TwilioCall, answer: str | None) -> str:
    if not answer:  # at most we were told of its end
        return f"it never reached our door ({call.status}): see the number's addresses, and Twilio's Debugger"
    if call.status == "failed":
        return "Twilio could not put it through"
    if answer.endswith("last resort"):
        return "only the last resort answered: something of ours fails; see its log"
    return ""

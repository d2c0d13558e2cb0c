"""How many texts each Twilio account takes now: found out as with merchants' addresses, by what it answers."""

from random import Random
from typing import Final

from holdfast.delivery.gate import Gate as AccountGate
from holdfast.delivery.limiter import START

LONGEST_REST: Final = 8.0
"""Seconds that a text waits at once for an account that is down: by then it is tried again, by a probe at least."""
FULL: Final = 0.25
"""Seconds until a text is tried again that found all places of its account taken."""


class Accounts:
    """Of one process. None: the account of the settings. Times are monotonic seconds."""

    def __init__(self, rng: Random, most: int, timeout: float) -> None:
        """`most`: texts that one may have in hand; `timeout`: how long handing one over may take, in seconds."""
        self._rng = rng
        self._most = most
        self._timeout = timeout
        self._gates: dict[str | None, AccountGate] = {}

    def room(self, clock: float) -> int:
        """How many texts may begin now. 0 while all that are known are full or down: then nothing is to be claimed."""
        for account in [account for account, found in self._gates.items() if found.is_idle(clock)]:
            del self._gates[account]
        if not self._gates:
            return START
        return sum(found.slots(clock) for found in self._gates.values())

    def of(self, account: str | None, clock: float) -> AccountGate:
        found = self._gates.get(account)
        if found is None:
            found = self._gates[account] = AccountGate(self._rng, self._most, self._timeout, clock)
        return found

    def permit(self, account: AccountGate, clock: float) -> int | float:
        """A permit (int), which must be ended; or the seconds to wait (float) before one is asked for again."""
        if account.slots(clock) > 0:
            permit = account.begin(clock, retry=False)
            if isinstance(permit, int):
                return permit
        until = max(account.paused_until, min(account.breaker.retry_at, clock + LONGEST_REST))
        return max(FULL, until - clock) * self._rng.uniform(1.0, 1.5)

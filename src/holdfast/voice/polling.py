"""Twilio's Debugger, asked again and again: what is new is stored and counted once, whoever else asks too."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import structlog

from holdfast.db.pool import Pool
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import DebuggerAlert, TwilioApiError
from holdfast.voice import debugger_store as store
from holdfast.voice.debugger import known_code, meaning
from holdfast.voice.debugger_store import KeptAlert
from holdfast.voice.signals import ALERTS

log = structlog.get_logger()

OVERLAP: Final = timedelta(minutes=5)
"""Alerts turn up late, so each look begins before the end of the last one."""
FIRST: Final = timedelta(hours=1)
"""How far back the first look of a process goes."""
LONGEST: Final = timedelta(hours=24)
MOST: Final = 2000
"""Alerts of one look; the newest."""
ACCOUNTS_AT_ONCE: Final = 20
"""Subaccounts asked in one look: with more, each has its turn."""
_LEVELS: Final = ("error", "warning")


class DebuggerPoll:
    """Remembers how far each account was looked at. Processes that do the same twice store and count nothing twice.

    `refused`: accounts that could not be looked at the last time, and why; None is the main one.
    """

    def __init__(self, public: Sequence[str] = ()) -> None:
        """`public`: our public URLs, the present one and former ones."""
        self._public = tuple(public)
        self.refused: dict[str | None, str] = {}
        self._until: dict[str | None, datetime] = {}
        self._turn = 0

    async def tick(
        self, pool: Pool, client: TwilioClient, now: datetime, subaccounts: Sequence[str] = ()
    ) -> list[KeptAlert]:
        """Look at the main account and some subaccounts (sids); returns what was new.

        One that refuses us keeps the others from nothing, and is looked at from where it was left once it does not.
        Where nobody answers at all, the others are not waited for.
        """
        for gone in self.refused.keys() - {None, *subaccounts}:
            del self.refused[gone]
        found: list[KeptAlert] = []
        for account in (None, *self._next(subaccounts)):
            try:
                given = await self._given(client, account, now)
            except TwilioApiError as error:
                self._refused(account, error, now)
                if error.status is None:
                    break
                continue
            if self.refused.pop(account, None) is not None:
                log.info("debugger.answers_again", account=account or "main")
            new = await store.keep(pool, given, self._public) if given else []
            count(new)
            self._until[account] = now
            found += new
        return found

    async def _given(self, client: TwilioClient, account: str | None, now: datetime) -> list[DebuggerAlert]:
        """Raises TwilioApiError."""
        since = self._until[account] - OVERLAP if account in self._until else now - FIRST
        given: list[DebuggerAlert] = []
        async for alert in client.alerts(max(since, now - LONGEST), now, account=account):
            if alert.level in _LEVELS:
                given.append(alert)
            if len(given) >= MOST:
                break
        return given

    def _refused(self, account: str | None, error: TwilioApiError, now: datetime) -> None:
        """Said once, until it answers again."""
        if account not in self.refused:
            log.warning("debugger.cannot_be_asked", account=account or "main", error=str(error))
        self.refused[account] = str(error)
        self._until.setdefault(account, now - FIRST)

    def _next(self, subaccounts: Sequence[str]) -> list[str]:
        if len(subaccounts) <= ACCOUNTS_AT_ONCE:
            return list(subaccounts)
        begin = self._turn % len(subaccounts)
        self._turn += ACCOUNTS_AT_ONCE
        return list(islice((*subaccounts[begin:], *subaccounts), ACCOUNTS_AT_ONCE))


def count(alerts: Iterable[KeptAlert]) -> None:
    """Count new alerts in `twilio_alerts`: those stored for the first time, polled or pushed."""
    for alert in alerts:
        meant = meaning(alert.code, is_foreign=alert.is_foreign)
        ALERTS.inc(1, meant.whose, meant.product, known_code(alert.code))

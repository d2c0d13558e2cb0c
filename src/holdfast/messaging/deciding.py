"""The gate for many callers at once: their texts are decided together, and each is told what is known of its own."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import ConsentError
from holdfast.db.group_commit import GroupCommit, NotTakenError
from holdfast.db.pool import AWAY, Pool
from holdfast.messaging import gate
from holdfast.messaging.model import Ask, AwayError, Decision, MessagingError, UnsureError
from holdfast.messaging.signals import DECIDED, GATE_SECONDS

log = structlog.get_logger()

PATIENCE = 5.0
"""Seconds until whoever asks is told something, and then `LOOK` at most."""
IN_TIME = 0.8
"""Of that, what the store may take for one commit."""
LOOK = 1.5
"""Seconds for looking up what became of one whose commit nobody heard of."""
OWN_KEY = "auto:"
"""What the keys begin with that texts without one get, so that they can be looked up."""


class Gate:
    """`decide` returns once the decision is committed."""

    def __init__(
        self,
        pool: Pool,
        key: PhoneKey,
        *,
        queued: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime | None] = lambda: None,
        patience: float | None = None,
    ) -> None:
        """`queued` is called after every commit with something to send. `clock` gives None for the store's clock."""
        self._pool = pool
        self._key = key
        self._queued = queued
        self._clock = clock
        self._patience = patience if patience is not None else PATIENCE
        self._commits: GroupCommit[Ask, Decision] = GroupCommit(
            self._take, apart=lambda ask: (ask.merchant_id, ask.key), patience=self._patience
        )
        self._seconds = GATE_SECONDS.series()

    async def decide(self, ask: Ask) -> Decision:
        """Raises AwayError when it is not decided, and UnsureError when nobody can say."""
        began = time.perf_counter()
        keyed = ask if ask.key is not None else replace(ask, key=f"{OWN_KEY}{secrets.token_hex(12)}")
        try:
            decision = await self._commits.put(keyed)
        except (NotTakenError, ConnectionRefusedError) as error:
            raise AwayError("the store is away, or too busy") from error
        except AWAY as error:
            log.warning("gate.away", error=type(error).__name__)
            decision = await self._look_up(keyed, is_repeat=ask.key is not None)
        except (ConsentError, MessagingError) as error:
            log.error("gate.text_not_decided", merchant=ask.merchant_id, reason=str(error))
            raise AwayError(str(error)) from error
        except Exception as error:
            log.exception("gate.text_refused", merchant=ask.merchant_id)
            raise AwayError("the store refused this text; see the log") from error
        self._seconds.observe(time.perf_counter() - began)
        return decision

    async def _take(self, asks: Sequence[Ask]) -> Sequence[Decision]:
        async with asyncio.timeout(self._patience * IN_TIME):  # so that who waits can still look it up
            decisions = await gate.decide(self._pool, asks, self._key, now=self._clock())
        if any(one.state == "queued" and not one.is_repeat for one in decisions):
            self._queued()
        for ask, decision in zip(asks, decisions, strict=True):
            if not decision.is_repeat:
                DECIDED.inc(1, ask.purpose, decision.rule)
        return decisions

    async def _look_up(self, ask: Ask, *, is_repeat: bool) -> Decision:
        """What was recorded of it, though nobody heard of its commit. Raises UnsureError: it may be in a moment."""
        try:
            async with asyncio.timeout(LOOK):
                found = await gate.decided(self._pool, ask)
        except AWAY:
            found = None
        if found is None:
            raise UnsureError("the store did not say in time whether it recorded this text")
        return replace(found, is_repeat=is_repeat)

"""All that answers and keeps calls in a web process, put together. It needs no store to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.gateway.twilio import PATHS, TwilioDoor
from holdfast.gateway.twilio_requests import Requests
from holdfast.levers.model import Snapshot as TurnedLevers
from holdfast.loops import repeat
from holdfast.merchants.model import COMPANY
from holdfast.twilio.model import Account
from holdfast.twilio.signature import Verifier, key_pairs
from holdfast.voice.answering import Answerer
from holdfast.voice.keeping import Keeper
from holdfast.voice.model import Line
from holdfast.voice.recorder import Drainer, Recorder
from holdfast.voice.snapshot import CHANNEL, EVERY, Snapshots
from holdfast.voice.spool import Spool
from holdfast.voice.voicemails import Announcer

log = structlog.get_logger()


class Calls:
    """The doors in `hooks`, and the loops behind them. Used as a context: at its end the spool is let go."""

    channel = CHANNEL
    """What is notified when numbers, plans or accounts have changed: then set `changed`."""

    def __init__(self, settings: Settings, pool: Pool, general: Pool) -> None:
        """Takes the snapshot on disk at once. `pool` stores callbacks and does nothing else."""
        self.changed = asyncio.Event()
        self._general = general
        self._turned: TurnedLevers | None = None
        """None: not read yet."""
        self._snapshots = Snapshots(settings.data_dir)
        self._snapshots.load()
        self._spool = Spool(settings.data_dir)
        announcer = Announcer(self._time_zone_of)
        tests = (settings.twilio_test_number,) if settings.twilio_test_number is not None else ()
        public = (settings.public, *settings.former_public_urls)
        self._keeper = Keeper(pool, announcer, test_callers=tests, public=public)
        self._recorder = Recorder(self._keeper.store, self._keeper.probe, self._spool)
        self._drainer = Drainer(self._keeper.store, self._spool, lambda: self._recorder.store_answers)
        main = main_account(settings)
        if main is None:
            log.info("twilio.no_account", settings="HOLDFAST_TWILIO_ACCOUNT_SID, HOLDFAST_TWILIO_AUTH_TOKEN")
        self.requests = Requests(Verifier(public), main, self._accounts)
        """Reads and verifies what Twilio sends; for its other doors as well."""
        door = TwilioDoor(Answerer(self._snapshots), self._recorder, self.requests)
        self.hooks: Mapping[str, Any] = dict.fromkeys(PATHS, door)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    def heed(self, turned: TurnedLevers) -> None:
        """Take the levers as they are now."""
        if turned != self._turned:
            self._turned = turned
            self.changed.set()

    def loops(
        self, after_prepared: Callable[[Awaitable[None]], Awaitable[None]], stop: asyncio.Event
    ) -> list[Awaitable[None]]:
        """`after_prepared` begins a loop once the schema is up to date."""
        every_second = partial(repeat, every=EVERY, stop=stop)
        return [
            after_prepared(self._recorder.run()),
            every_second("drain_spool", self._drainer.tick),
            after_prepared(every_second("refresh_calls", self._refresh, wake=self.changed)),
            after_prepared(every_second("count_calls", self._keeper.count_ended)),
        ]

    async def _refresh(self) -> int:
        return await self._snapshots.refresh(self._general, self._turned)

    def line(self, phone: str) -> Line | None:
        """A number of ours, as far as is known now."""
        return self._snapshots.current.lines.get(phone)

    def _accounts(self) -> Mapping[str, Account] | None:
        return self._snapshots.current.accounts if self._snapshots.age() is not None else None

    def _time_zone_of(self, phone: str) -> str | None:
        line = self.line(phone)
        return line.time_zone if line is not None else None


def main_account(settings: Settings) -> Account | None:
    """The account of the settings; None without its token: nothing of it can be verified."""
    sid, token = settings.twilio_account_sid, settings.twilio_auth_token
    former = tuple(one.get_secret_value() for one in settings.twilio_former_auth_tokens)
    if sid is None or (token is None and not former and not settings.twilio_signing_keys):
        return None
    keys = key_pairs(pair.get_secret_value() for pair in settings.twilio_signing_keys)
    return Account(sid, "main", COMPANY, token.get_secret_value() if token is not None else "", keys, former)

"""What calls are answered from: all numbers with their plans, Twilio's accounts and the levers, in memory and on disk.

No call waits for the store. With the store away the last snapshot stays in force, and one on disk serves a cold start.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from holdfast.db.pool import Pool
from holdfast.levers import model as levers
from holdfast.twilio import store as accounts_store
from holdfast.twilio.model import Account
from holdfast.voice import snapshot_file, store
from holdfast.voice.model import Line

log = structlog.get_logger()

CHANNEL = "holdfast_voice"
"""Notified at every change of numbers, plans, accounts, and of merchants' names and time zones; payloads are empty."""
EVERY = 1.0
_NAMES = frozenset(lever.name for lever in levers.VOICE)
SAVED_EVERY = 5.0
"""Seconds at the least between two times that all numbers are put on disk; levers are whenever they change."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is needed to answer a call, as of one version of the tables. Made by `of`."""

    version: int = 0
    """Of the tables; 0: nothing is known yet."""
    lines: Mapping[str, Line] = field(default_factory=dict)
    """By phone."""
    accounts: Mapping[str, Account] = field(default_factory=dict, repr=False)
    """The subaccounts, by sid; the main account is in the settings."""
    levers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """The levers of calls that are off their default, by name and target."""
    by_merchant: Mapping[int, tuple[Line, ...]] = field(default_factory=dict, repr=False)
    pool: Mapping[int, tuple[Line, ...]] = field(default_factory=dict, repr=False)
    """The numbers that stand in as caller ID, by merchant."""

    @classmethod
    def of(
        cls,
        version: int,
        lines: Iterable[Line],
        accounts: Iterable[Account] = (),
        levers: Mapping[tuple[str, str], int] | None = None,
    ) -> "Snapshot":
        by_phone = {line.phone: line for line in sorted(lines, key=lambda line: line.phone)}
        return cls(
            version,
            by_phone,
            {account.sid: account for account in accounts},
            dict(levers or {}),
            _by_merchant(by_phone.values()),
            _by_merchant(line for line in by_phone.values() if line.stands_in),
        )


def _by_merchant(lines: Iterable[Line]) -> dict[int, tuple[Line, ...]]:
    found: dict[int, list[Line]] = {}
    for line in lines:
        found.setdefault(line.merchant_id, []).append(line)
    return {merchant_id: tuple(theirs) for merchant_id, theirs in found.items()}


class Snapshots:
    """Holds the current snapshot, keeps it fresh, and keeps it on disk. `refresh` is one loop's."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = _utc_now) -> None:
        """`directory`: the data directory."""
        self.current = Snapshot()
        self._directory = directory
        self._clock = clock
        self._as_of: datetime | None = None
        self._is_read = False
        """Whether the store was read: what comes from disk may be of another one, with the same version by chance."""
        self._saved_levers: Mapping[tuple[str, str], int] | None = None
        self._saved_lines: Mapping[str, Line] | None = None
        self._saved_at: datetime | None = None
        self._cannot_save = False

    def age(self) -> float | None:
        """Seconds since the snapshot was known to be what the store says; None: there is none."""
        return max(0.0, (self._clock() - self._as_of).total_seconds()) if self._as_of is not None else None

    def load(self) -> bool:
        """Take the snapshot on disk, for a start with the store away; whether there was one."""
        try:
            stored, values = snapshot_file.read(self._directory)
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            log.warning("voice.snapshot_ignored", path=str(self._directory), error=str(error))
            return False
        self.current = Snapshot.of(stored.version, stored.lines, stored.accounts, values)
        self._as_of = datetime.fromtimestamp(stored.as_of, UTC)
        log.info("voice.snapshot_loaded", numbers=len(self.current.lines), as_of=self._as_of.isoformat())
        return True

    async def refresh(self, pool: Pool, turned: levers.Snapshot | None = None) -> bool:
        """Read what has changed, and keep it on disk; whether anything had. Raises what `AWAY` lists.

        `turned`: the levers as this process sees them; None while it has not read them: those that are there stay.
        """
        at = self._clock()
        version = await store.version(pool)
        before = self.current
        values = before.levers if turned is None else _of_calls(turned)
        if not self._is_read or version != before.version:
            # Read after the version: whatever changes in between is read again at the next refresh.
            rows = await store.lines(pool)
            accounts = await accounts_store.accounts(pool)
            self.current = await asyncio.to_thread(_made, version, rows, accounts, values, before)
            self._is_read = True
        elif values != before.levers:
            self.current = replace(before, levers=values)
        self._as_of = at
        await self._save(self.current, at)
        return self.current is not before

    async def _save(self, snapshot: Snapshot, at: datetime) -> None:
        """What cannot be saved, or was not yet for its size, is tried again at the next refresh."""
        try:
            if snapshot.levers != self._saved_levers:
                await asyncio.to_thread(snapshot_file.write_levers, self._directory, snapshot.levers)
                self._saved_levers = snapshot.levers
            if snapshot.lines is not self._saved_lines and self._is_due(at):
                stored = snapshot_file.Stored(
                    snapshot.version,
                    at.timestamp(),
                    tuple(snapshot.lines.values()),
                    tuple(snapshot.accounts.values()),
                )
                await asyncio.to_thread(snapshot_file.write, self._directory, stored)
                self._saved_lines, self._saved_at = snapshot.lines, at
        except OSError as error:
            if not self._cannot_save:
                log.error("voice.snapshot_not_saved", path=str(self._directory), error=str(error))
            self._cannot_save = True
        else:
            self._cannot_save = False

    def _is_due(self, at: datetime) -> bool:
        since = (at - self._saved_at).total_seconds() if self._saved_at is not None else SAVED_EVERY
        return not 0 <= since < SAVED_EVERY


def _of_calls(turned: levers.Snapshot) -> dict[tuple[str, str], int]:
    return {key: int(value) for key, value in turned.values.items() if key[0] in _NAMES and not isinstance(value, str)}


def _made(
    version: int,
    rows: Iterable[store.LineRow],
    accounts: Iterable[Account],
    values: Mapping[tuple[str, str], int],
    before: Snapshot,
) -> Snapshot:
    return Snapshot.of(version, store.read_lines(rows, before.lines), accounts, values)

"""What calls are answered from: all numbers with their plans, Twilio's accounts and the levers, in memory and on disk.

No call waits for the store. With the store away the last snapshot stays in force, and one on disk serves a cold start.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from holdfast.db.pool import Pool
from holdfast.levers import model as levers
from holdfast.twilio import store as accounts_store
from holdfast.twilio.model import Account
from holdfast.voice import store
from holdfast.voice.model import Line

log = structlog.get_logger()

CHANNEL = "holdfast_voice"
"""Notified at every change of numbers, plans, accounts, and of merchants' names and time zones; payloads are empty."""
EVERY = 1.0
FILE = "voice.snapshot"
_NAMES = frozenset(lever.name for lever in levers.VOICE)
_MAGIC = b"holdfast voice snapshot 1\n"
"""With what a file begins. A later form gets another number: what wrote it is not asked to be understood."""
LARGEST = 512 * 1024 * 1024


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


class _Stored(msgspec.Struct):
    """A snapshot as it is on disk."""

    version: int
    as_of: float
    lines: tuple[Line, ...]
    accounts: tuple[Account, ...]
    levers: tuple[tuple[str, str, int], ...]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Stored)


class Snapshots:
    """Holds the current snapshot, keeps it fresh, and keeps it on disk. `refresh` is one loop's."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = _utc_now) -> None:
        """`directory`: the data directory."""
        self.current = Snapshot()
        self._path = directory / FILE
        self._clock = clock
        self._as_of: datetime | None = None
        self._is_read = False
        """Whether the store was read: what comes from disk may be of another one, with the same version by chance."""
        self._saved: Snapshot | None = None
        self._cannot_save = False

    def age(self) -> float | None:
        """Seconds since the snapshot was known to be what the store says; None: there is none."""
        return max(0.0, (self._clock() - self._as_of).total_seconds()) if self._as_of is not None else None

    def load(self) -> bool:
        """Take the snapshot on disk, for a start with the store away; whether there was one."""
        try:
            stored = _read(self._path)
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            log.warning("voice.snapshot_ignored", path=str(self._path), error=str(error))
            return False
        values = {(name, target): value for name, target, value in stored.levers}
        self.current = Snapshot.of(stored.version, stored.lines, stored.accounts, values)
        self._as_of = datetime.fromtimestamp(stored.as_of, UTC)
        log.info("voice.snapshot_loaded", numbers=len(self.current.lines), as_of=self._as_of.isoformat())
        return True

    async def refresh(self, pool: Pool, turned: levers.Snapshot) -> bool:
        """Read what has changed, and keep it on disk; whether anything had. Raises what `AWAY` lists.

        `turned`: the levers as this process sees them.
        """
        values = {
            key: int(value) for key, value in turned.values.items() if key[0] in _NAMES and not isinstance(value, str)
        }
        at = self._clock()
        version = await store.version(pool)
        before = self.current
        if not self._is_read or version != before.version:
            # Read after the version: whatever changes in between is read again at the next refresh.
            rows = await store.lines(pool)
            accounts = await accounts_store.accounts(pool)
            self.current = await asyncio.to_thread(_made, version, rows, accounts, values, before)
            self._is_read = True
        elif values != before.levers:
            self.current = replace(before, levers=values)
        self._as_of = at
        if self.current is not self._saved:
            await self._save(self.current, at)
        return self.current is not before

    async def _save(self, snapshot: Snapshot, at: datetime) -> None:
        """What cannot be saved is tried again at the next refresh."""
        try:
            await asyncio.to_thread(_write, self._path, snapshot, at)
        except OSError as error:
            if not self._cannot_save:
                log.error("voice.snapshot_not_saved", path=str(self._path), error=str(error))
            self._cannot_save = True
        else:
            self._saved = snapshot
            self._cannot_save = False


def _made(
    version: int,
    rows: Iterable[store.LineRow],
    accounts: Iterable[Account],
    values: Mapping[tuple[str, str], int],
    before: Snapshot,
) -> Snapshot:
    return Snapshot.of(version, store.read_lines(rows, before.lines), accounts, values)


def _read(path: Path) -> _Stored:
    """Raises OSError, ValueError."""
    with path.open("rb") as file:
        whole = file.read(LARGEST + 1)
    if not whole.startswith(_MAGIC):
        raise ValueError("it is of another version, or no snapshot")
    digest, body = whole[len(_MAGIC) :][:32], whole[len(_MAGIC) + 32 :]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("it is damaged")
    try:
        return _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is damaged: {error}") from None


def _write(path: Path, snapshot: Snapshot, at: datetime) -> None:
    """It appears whole or not at all, for nobody else to read: it holds what signs. Raises OSError."""
    body = _ENCODER.encode(
        _Stored(
            snapshot.version,
            at.timestamp(),
            tuple(snapshot.lines.values()),
            tuple(snapshot.accounts.values()),
            tuple((name, target, value) for (name, target), value in snapshot.levers.items()),
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
        _sync_directory(path.parent)
    except OSError:
        with suppress(OSError):
            passing.unlink(missing_ok=True)
        raise


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

"""Imports contacts and consents from files: first a dry run, then in chunks of which each is whole or not there.

An import never lifts a block. What it brings can be traced to its line, and taken back (`undoing`). Broken off, it goes
on where it was when it is begun again with the same file and options.
"""

import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from holdfast.consent import chain, customers, ledger
from holdfast.consent import import_store as store
from holdfast.consent.import_files import Source, Unread
from holdfast.consent.import_parsing import Seen, parsed
from holdfast.consent.import_rows import Parsed, Reading, Taken
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Block, Entry, RefusedError
from holdfast.db.pool import Connection, Pool, again
from holdfast.merchants import number_store as numbers

SAMPLES = 20
TRIES = 4
"""Of a chunk, where the database ends it because it and others wait for each other."""
ERASED = "the person had their data erased: they come back only by their own deed"
OWN_NUMBER = "the number is a merchant's own"


class Stops(Protocol):
    """How people are stopped, by the room that sends: block and cancel in the transaction, wait after its commit."""

    async def stop(self, db: Connection, wishes: Sequence[tuple[Entry, Block]], now: datetime) -> None: ...

    async def settled(self, customer_ids: Sequence[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """A file for a merchant. `again`: the same bytes were imported before, and are to be once more."""

    source: Source
    reading: Reading
    merchant_id: int
    origin: str
    actor: str
    key: PhoneKey
    again: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """By which two imports of the same file are the same."""
        reading = self.reading
        return {
            "columns": {name: self.source.columns[place] for name, place in sorted(reading.columns.items())},
            "region": reading.region,
            "purpose": reading.purpose,
            "zone": reading.zone,
            "dates": reading.dates,
            "disclosure": reading.disclosure,
            "sheet": self.source.sheet,
        }


@dataclass(slots=True)
class Outcome:
    """What a file comes to. `warnings` and `conflicts` are rows that are taken all the same."""

    rows: int = 0
    people: int = 0
    grants: int = 0
    opt_outs: int = 0
    known: int = 0
    contacts_new: int = 0
    contacts_changed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)
    samples: list[Unread] = field(default_factory=list)
    """The first rejects."""
    met: list[Unread] = field(default_factory=list)
    """The first conflicts."""

    @property
    def rejects(self) -> int:
        return self.rejected.total()

    def document(self) -> dict[str, Any]:
        """As it is kept, and printed for programs."""
        names = ("rows", "people", "grants", "opt_outs", "known", "contacts_new", "contacts_changed")
        return {name: getattr(self, name) for name in names} | {
            "rejects": self.rejects,
            "rejected": dict(self.rejected),
            "warnings": dict(self.warnings),
            "conflicts": dict(self.conflicts),
        }

    @classmethod
    def kept(cls, counts: Mapping[str, Any]) -> "Outcome":
        """As far as an import had come that was broken off."""
        counters = {name: Counter(counts.get(name, {})) for name in ("rejected", "warnings", "conflicts")}
        numbers = {name: value for name, value in counts.items() if isinstance(value, int) and name != "rejects"}
        return cls(**numbers, **counters)  # type: ignore[arg-type]


Hear = Callable[[int], None]
"""Is told how many rows were done."""
Reject = Callable[[Sequence[Unread]], None]


def _nothing(_: Any) -> None:
    pass


async def check(pool: Pool, job: Job, hear: Hear = _nothing, rejected: Reject = _nothing) -> Outcome:
    """The dry run: what `apply` would do now, with nothing changed. Raises ConsentError, KeyMissingError, OSError."""
    outcome, seen = Outcome(), Seen()
    people: set[int] = set()
    async for chunk in parsed(job.source, job.reading):
        rows = seen.first(chunk)
        known = await customers.find(pool, list({row.phone for row in rows}), job.key)
        erased = {phone for phone, one in known.items() if one.erased_at is not None}
        rows = await _takeable(pool, chunk, rows, erased)
        met = await _met(pool, job, rows, {phone: one.id for phone, one in known.items()})
        new = {hash(row.phone) for row, found in zip(rows, met, strict=True) if found is None} - people
        people |= new
        outcome.people += len(new)
        for row, found in zip(rows, met, strict=True):
            if found is None or not found["has_contact"]:
                outcome.contacts_new += _has_contact(row)
            else:
                outcome.contacts_changed += _changes(row, found)
        _count(outcome, chunk, rows, met)
        rejected(chunk.rejects)
        hear(len(chunk.rows) + len(chunk.rejects))
    return outcome


async def apply(
    pool: Pool,
    job: Job,
    stops: Stops,
    clock: Callable[[], datetime],
    *,
    hear: Hear = _nothing,
) -> tuple[int, Outcome]:
    """Import it: the batch, and what it came to. Goes on where an earlier try was broken off. Rejects are on record.

    Raises ConsentError, RefusedError where it was imported before, KeyMissingError, OSError.
    """
    async with _holding(pool, job):
        batch = await _begin(pool, job, clock())
        applying, seen = _Applying(pool, job, stops, batch), Seen()
        async for chunk in parsed(job.source, job.reading):
            done = len(chunk.rows) + len(chunk.rejects)
            rows = seen.first(chunk)
            if chunk.last >= applying.next_row:
                stopped = await applying.chunk(chunk, [row for row in rows if row.line >= applying.next_row], clock())
                await stops.settled(stopped)
            hear(done)
        await store.finish(pool, batch.id, clock())
    return batch.id, applying.outcome


@asynccontextmanager
async def _holding(pool: Pool, job: Job) -> AsyncIterator[None]:
    """Nobody else imports the same file for the merchant meanwhile: neither a second time, nor on from where it is."""
    async with pool.acquire() as db:
        if not await store.hold_file(db, job.merchant_id, job.source.sha256):
            raise RefusedError(
                "this file is being imported for the merchant right now, by another process: wait for it"
            )
        try:
            yield
        finally:
            if not db.is_closed():
                await store.release_file(db, job.merchant_id, job.source.sha256)


async def _begin(pool: Pool, job: Job, now: datetime) -> store.Batch:
    found = await store.of_file(pool, job.merchant_id, job.source.sha256)
    for earlier in found:
        if earlier.state == "applying":
            if earlier.options != job.options or earlier.origin != job.origin:
                raise RefusedError(
                    f"import {earlier.id} of this file was broken off at line {earlier.next_row}, and had other "
                    f"options: begin it with the same, or take it back: holdfast contacts undo {earlier.id} --why …"
                )
            return earlier
        if earlier.state == "undoing":
            raise RefusedError(f"import {earlier.id} of this file is being undone: holdfast contacts undo {earlier.id}")
        if earlier.state == "applied" and not job.again:
            raise RefusedError(
                f"this file was imported before: import {earlier.id}, begun {earlier.began_at:%Y-%m-%d %H:%M} UTC by "
                f"{earlier.actor}. What it says is on record; --again imports it once more"
            )
    number = await store.begin(
        pool,
        job.merchant_id,
        os.fsencode(job.source.path.name).decode("utf-8", "replace"),
        job.source.sha256,
        origin=job.origin,
        options=json.dumps(job.options),
        actor=job.actor,
        now=now,
    )
    batch = await store.batch(pool, number)
    assert batch is not None
    return batch


class _Applying:
    """An import under way; `next_row` is the first line that is not stored yet."""

    def __init__(self, pool: Pool, job: Job, stops: Stops, batch: store.Batch) -> None:
        self._pool, self._job, self._stops = pool, job, stops
        self._batch_id = batch.id
        self.outcome, self.next_row = Outcome.kept(batch.counts), batch.next_row

    async def chunk(self, parsed: Parsed, rows: list[Taken], now: datetime) -> list[int]:
        """All of it in one transaction, once more where others were in the way; who was stopped."""
        rejects = [one for one in parsed.rejects if one.line >= self.next_row]
        so_far = self.outcome

        async def once() -> list[int]:
            self.outcome, parsed.rejects = deepcopy(so_far), list(rejects)
            return await self._stored(parsed, rows, now)

        return await again(once, tries=TRIES)

    async def _stored(self, parsed: Parsed, rows: list[Taken], now: datetime) -> list[int]:
        async with self._pool.acquire() as db, db.transaction():
            batch = await store.lock_batch(db, self._batch_id)
            if batch is None or batch.state != "applying" or batch.next_row != self.next_row:
                raise RefusedError(f"import {self._batch_id} is worked on by another process, or is being undone")
            ids, before, rows = await self._people(db, parsed, rows, now)
            met = await _met(db, self._job, rows, {phone: ids[phone] for phone in before})
            new = [row for row, found in zip(rows, met, strict=True) if found is None or not found["is_known"]]
            await self._contacts(db, {ids[row.phone]: row for row in rows if _has_contact(row)}, now)
            entries = [_entry(self._job, self._batch_id, ids, row) for row in new if row.action == "grant"]
            await ledger.append(db, entries, now)
            opt_outs = [row for row in new if row.action == "revoke"]
            if opt_outs:
                await self._stops.stop(db, [_wish(self._job, self._batch_id, ids, row) for row in opt_outs], now)
            _count(self.outcome, parsed, rows, met)
            await store.add_rejects(db, self._batch_id, parsed.rejects)
            await store.advance(db, self._batch_id, parsed.last + 1, json.dumps(self.outcome.document()))
        self.next_row = parsed.last + 1
        return [ids[row.phone] for row in opt_outs]

    async def _people(
        self, db: Connection, parsed: Parsed, rows: list[Taken], now: datetime
    ) -> tuple[dict[str, int], Collection[str], list[Taken]]:
        """Ids by number, who of them was known before, and the rows of those who are not erased; none of them is until
        the transaction ends.
        """
        phones = list({row.phone for row in rows})
        known = await customers.find(db, phones, self._job.key)
        missing = [phone for phone in phones if phone not in known]
        people = known | await customers.ensure(db, missing, self._job.key, now)
        ids = {phone: one.id for phone, one in people.items()}
        # In the order in which everybody locks: who is stopped, the rows of people, and then the ledger's end.
        await customers.lock(db, [ids[row.phone] for row in rows if row.action == "revoke"])
        gone = await store.hold(db, list(ids.values()))
        self.outcome.people += len(missing)
        erased = {phone for phone, number in ids.items() if number in gone}
        return ids, known, await _takeable(db, parsed, rows, erased)

    async def _contacts(self, db: Connection, rows: Mapping[int, Taken], now: datetime) -> None:
        if not rows:
            return
        said = [(number, row.line, row.name, row.email, row.reference) for number, row in rows.items()]
        made, changed = await store.put_contacts(db, self._job.merchant_id, self._batch_id, said, now)
        self.outcome.contacts_new += made
        self.outcome.contacts_changed += changed


async def _takeable(db: Connection | Pool, parsed: Parsed, rows: list[Taken], erased: set[str]) -> list[Taken]:
    """Without those that cannot be taken for what is on record, which are put among the rejects."""
    own = await numbers.by_phones(db, [row.phone for row in rows])
    if not own and not erased:
        return rows
    taken = []
    for row in rows:
        if row.phone in own:
            parsed.rejects.append(Unread(row.line, OWN_NUMBER, row.phone))
        elif row.phone in erased:
            parsed.rejects.append(Unread(row.line, ERASED))
        else:
            taken.append(row)
    return taken


async def _met(db: Connection | Pool, job: Job, rows: Sequence[Taken], ids: Mapping[str, int]) -> list[Any]:
    """For each row what is on record of the person, or None of somebody new."""
    known = [row for row in rows if row.phone in ids]
    if not known:
        return [None] * len(rows)
    digests = {text: chain.disclosure_digest(text) for text in {row.disclosure for row in known} if text}
    asked = [
        (ids[row.phone], row.action, row.purpose, row.given_at, digests.get(row.disclosure or "")) for row in known
    ]
    found = {row["n"]: row for row in await store.met(db, job.merchant_id, asked)}
    by_line = {row.line: found[n] for n, row in enumerate(known)}
    return [by_line.get(row.line) for row in rows]


def _count(outcome: Outcome, parsed: Parsed, rows: Sequence[Taken], met: Sequence[Any]) -> None:
    outcome.rows += len(rows) + len(parsed.rejects)
    for one in parsed.rejects:
        outcome.rejected[one.reason] += 1
    outcome.samples += parsed.rejects[: max(0, SAMPLES - len(outcome.samples))]
    for row, found in zip(rows, met, strict=True):
        outcome.warnings.update(row.warnings)
        if found is not None and found["is_known"]:
            outcome.known += 1
        else:
            outcome.grants += row.action == "grant"
            outcome.opt_outs += row.action == "revoke"
        if found is not None:
            _note(outcome, row, _conflicts(row, found))


def _conflicts(row: Taken, found: Any) -> Iterator[str]:
    if found["blocked"] and row.action != "revoke":
        yield f"the person is blocked ({', '.join(sorted(found['blocked']))}), and stays so"
    if found["outdated"] and not found["is_known"]:
        yield "the consent is older than a revocation: kept as history, without effect"
    if found["is_known"]:
        yield "is on record already, with another disclosure" if found["is_otherwise"] else "is on record already"
    elif found["is_of_import"]:
        yield "another import said the same: it stands for both, and stays if one of them is undone"
    if found["has_contact"] and _changes(row, found):
        yield "the contact's name, e-mail or reference changes"


def _note(outcome: Outcome, row: Taken, conflicts: Iterator[str]) -> None:
    for what in conflicts:
        outcome.conflicts[what] += 1
        if len(outcome.met) < SAMPLES:
            outcome.met.append(Unread(row.line, what, row.phone))


def _has_contact(row: Taken) -> bool:
    return row.action is None or any((row.name, row.email, row.reference))


def _changes(row: Taken, found: Any) -> bool:
    said = ((row.name, "name"), (row.email, "email"), (row.reference, "reference"))
    return any(value is not None and value != found[name] for value, name in said)


def _entry(job: Job, batch_id: int, ids: Mapping[str, int], row: Taken) -> Entry:
    is_grant = row.action == "grant"
    assert row.given_at is not None
    return Entry(
        ids[row.phone],
        job.merchant_id,
        "grant" if is_grant else "revoke",
        row.purpose if is_grant else "all",  # type: ignore[arg-type]
        "import",
        row.given_at,
        job.actor,
        channel="text" if is_grant else "all",
        disclosure=row.disclosure,
        origin=job.origin or None,
        collector=row.collector,
        batch_id=batch_id,
        batch_row=row.line,
        detail=row.detail,
    )


def _wish(job: Job, batch_id: int, ids: Mapping[str, int], row: Taken) -> tuple[Entry, Block]:
    """An opt-out of a file ends everything of the merchant, as every other does."""
    block = Block(ids[row.phone], job.merchant_id, "import", "import", job.actor, batch_id=batch_id)
    return _entry(job, batch_id, ids, row), block

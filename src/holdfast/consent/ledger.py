"""Appends to the ledger, and says what holds: now, or at any time."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from holdfast.consent import chain, store
from holdfast.consent.model import EVERY_MERCHANT, ConsentError, Entry, Purpose, Row
from holdfast.db.pool import Connection, Pool

LONGEST = 4000
"""Characters of any text of an entry."""


async def lock(db: Connection) -> None:
    """For who appends later in the transaction, and locks rows of texts before that.

    Everybody takes customers first, then the ledger's end, then texts: so nobody waits in a circle.
    """
    await store.lock_head(db)


async def append(db: Connection, entries: Sequence[Entry], now: datetime) -> list[int]:
    """In the caller's transaction; the numbers of the rows. Who locks customers does so before.

    Nothing was done later than it is written down: a time ahead of `now` becomes `now`, and is kept as it was said in
    `detail.said_at`. Raises ConsentError for what cannot stand in the ledger, and for a customer who was erased.
    """
    if not entries:
        return []
    for entry in entries:
        _check(entry)
    entries = [_not_ahead(entry, now) for entry in entries]
    people = await store.commitments(db, list({entry.customer_id for entry in entries}))
    who = {number: chain.who(salt, phone) for number, (salt, phone) in people.items()}
    seq, previous = await store.lock_head(db)  # before all else that others may wait for
    texts = sorted({entry.disclosure for entry in entries if entry.disclosure})
    digests = {text: chain.disclosure_digest(text) for text in texts}
    ids = await store.disclosures(db, texts, [digests[text] for text in texts]) if texts else {}
    rows: list[tuple[Any, ...]] = []
    details: list[tuple[int, int, bytes, str]] = []
    for entry in entries:
        if entry.customer_id not in who:
            raise ConsentError(f"customer {entry.customer_id} is not there, or was erased")
        seq += 1
        said = detail = None
        if entry.detail:
            salt = chain.new_salt()
            said = msgspec.json.encode(entry.detail, order="sorted").decode()
            detail = chain.detail_digest(salt, entry.detail)
            details.append((seq, entry.customer_id, salt, said))
        text = entry.disclosure
        fields = {
            "seq": seq,
            "customer_id": entry.customer_id,
            "merchant_id": entry.merchant_id,
            "action": entry.action,
            "purpose": entry.purpose,
            "channel": entry.channel,
            "source": entry.source,
            "given_at": entry.given_at,
            "recorded_at": now,
            "origin": entry.origin,
            "collector": entry.collector,
            "batch_id": entry.batch_id,
            "batch_row": entry.batch_row,
            "actor": entry.actor,
            "who": who[entry.customer_id],
            "detail": detail,
        }
        digest = digests[text] if text else None
        linked = chain.link(previous, fields | {"disclosure": digest})
        kept = fields | {"disclosure_id": ids[digest] if digest else None, "previous": previous, "hash": linked}
        rows.append(tuple(kept[name] for name in store.COLUMNS))
        previous = linked
    await store.append(db, rows, details, previous)
    return list(range(seq - len(rows) + 1, seq + 1))


async def history(db: Connection | Pool, customer_id: int) -> list[Row]:
    """All that a customer agreed to and took back, in the order of writing."""
    return [store.read_row(row) for row in await store.rows_of(db, customer_id)]


def holding(rows: Iterable[Row], merchant_id: int, purpose: Purpose, *, at: datetime | None = None) -> Row | None:
    """The row that decides whether a merchant may text for a purpose; None where nothing was ever said.

    `at`: what happened by then. The same as `store.APPLYING` and `store.LATEST` say, by which texts are decided.
    """
    rows = list(rows)
    undone = {(row.batch_id, row.batch_row) for row in rows if row.source == "import-undone"}
    applying = [
        row
        for row in rows
        if (row.batch_id is None or (row.batch_id, row.batch_row) not in undone)
        and row.merchant_id in (merchant_id, EVERY_MERCHANT)
        and row.channel in ("text", "all")
        and (
            row.purpose in (purpose, "all")
            or (row.action == "grant" and row.purpose == "marketing" and purpose == "informational")
        )
        and (at is None or row.given_at <= at)
    ]
    return max(applying, key=lambda row: (row.given_at, row.action, row.seq), default=None)


def _not_ahead(entry: Entry, now: datetime) -> Entry:
    """Where clocks differ, or a form's is wrong: what holds is decided by what happened last."""
    if entry.given_at <= now:
        return entry
    return replace(entry, given_at=now, detail={**entry.detail, "said_at": entry.given_at.isoformat()})


def _check(entry: Entry) -> None:
    if entry.action == "grant" and (entry.merchant_id == EVERY_MERCHANT or entry.purpose == "all"):
        raise ConsentError("a consent is given to one merchant, for one purpose")
    if entry.action == "grant" and entry.channel == "all":
        raise ConsentError("a consent is given for one channel: text or call")
    if entry.given_at.tzinfo is None:
        raise ConsentError("the time of a consent needs its zone")
    for name, text in (
        ("disclosure", entry.disclosure),
        ("origin", entry.origin),
        ("collector", entry.collector),
        ("actor", entry.actor),
        *((f"detail {key}", value) for key, value in entry.detail.items()),
    ):
        if isinstance(text, str) and (len(text) > LONGEST or "\0" in text):
            raise ConsentError(f"{name}: at most {LONGEST} characters, without NUL")

"""Proves the ledger: every link of the chain is computed anew, with all that the rows commit to.

Whoever can write to the database can write the whole chain anew; that is found by a head that was noted elsewhere
before (`Head`, as every check prints it), so note one from time to time where the database's owners cannot reach.
"""

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
import msgspec

from holdfast.consent import chain, store
from holdfast.consent import verifying_store as reading
from holdfast.consent.model import ConsentError
from holdfast.db.pool import Pool

PAGE = 2000


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the ledger at some time; written `17:9f86d0…`."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row that is not as it was written, and what is wrong with it."""

    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """`rows` were looked at; `head` is the last that holds."""

    rows: int
    head: Head
    broken: Broken | None

    @property
    def is_ok(self) -> bool:
        return self.broken is None


def read_head(text: str) -> Head:
    """A head as `Head` writes it. Raises ConsentError."""
    seq, _, digest = text.strip().partition(":")
    try:
        found = Head(int(seq), bytes.fromhex(digest))
    except ValueError:
        found = Head(-1, b"")
    if found.seq < 0 or len(found.hash) != len(chain.START):
        raise ConsentError(
            f"{text[:100]!r} is no head of the ledger: write one as `consent verify` printed it, SEQ:HASH"
        )
    return found


async def verify(
    pool: Pool, *, expect: Head | None = None, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Verified:
    """Walk the whole ledger as it is at one moment. `progress` hears (rows done, rows in all)."""
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        head = Head(*await store.head(db))
        walk = _Walk(await reading.erased(db), expect)
        async for page in reading.rows(db, PAGE):
            for row in page:
                walk.step(row)
                if walk.broken is not None:
                    return walk.result()
            progress(walk.seq, max(head.seq, walk.seq))
        walk.end(head, await reading.orphan(db))
    return walk.result()


class _Walk:
    """Where the walk is, and what was found."""

    def __init__(self, erased: dict[int, int], expect: Head | None) -> None:
        self._erased = erased
        self._expect = expect
        self.seq, self._hash = 0, chain.START
        self.broken: Broken | None = None
        if expect is not None and expect.seq == 0 and expect.hash != chain.START:
            self.broken = Broken(0, "the head that was expected is not that of an empty ledger")

    def step(self, row: asyncpg.Record) -> None:
        seq = self.seq + 1
        if row["seq"] != seq:
            self.broken = Broken(seq, f"it is missing: row {row['seq']} follows on row {self.seq}")
            return
        what = self._of_row(row) or self._of_person(row) or self._of_detail(row)
        if what is None and self._expect is not None and self._expect.seq == seq:
            what = (
                None
                if self._expect.hash == bytes(row["hash"])
                else ("the ledger was written anew: up to this row its hash is not the one that was expected")
            )
        if what is not None:
            self.broken = Broken(seq, what)
            return
        self.seq, self._hash = seq, bytes(row["hash"])

    def end(self, head: Head, orphan: int | None) -> None:
        if self.broken is not None:
            return
        if head.seq > self.seq:
            self.broken = Broken(self.seq + 1, f"it is missing: the ledger's head says that there are {head.seq} rows")
        elif head != Head(self.seq, self._hash):
            self.broken = Broken(self.seq, f"the ledger's head says that row {head.seq} is the last, with another hash")
        elif self._expect is not None and self._expect.seq > self.seq:
            self.broken = Broken(self.seq + 1, f"it is missing: there were {self._expect.seq} rows before")
        elif orphan is not None:
            self.broken = Broken(orphan, "there are details of this row, but no row")

    def result(self) -> Verified:
        return Verified(self.seq, Head(self.seq, self._hash), self.broken)

    def _of_row(self, row: asyncpg.Record) -> str | None:
        if bytes(row["previous"]) != self._hash:
            return "its link to the row before it is another"
        if row["disclosure_id"] is not None:
            if row["disclosure_digest"] is None:
                return f"the text of disclosure {row['disclosure_id']}, that the person was shown, is gone"
            if chain.disclosure_digest(row["disclosure_text"]) != bytes(row["disclosure_digest"]):
                return f"the text of disclosure {row['disclosure_id']}, that the person was shown, was changed"
        fields = dict(row)
        fields["disclosure"] = row["disclosure_digest"]
        if chain.link(self._hash, fields) != bytes(row["hash"]):
            return "its contents, its hash or the digest of its disclosure were changed after it was written"
        return None

    def _of_person(self, row: asyncpg.Record) -> str | None:
        customer_id = row["customer_id"]
        if row["known_customer"] is None:
            return f"customer {customer_id} is gone"
        if row["seq"] <= self._erased.get(customer_id, 0):
            return None
        if row["phone"] is None:
            return f"customer {customer_id} has no number any more, and no row says that they were erased"
        if chain.who(bytes(row["customer_salt"]), row["phone"]) != bytes(row["who"]):
            return f"it is of another number than customer {customer_id} has: the number was changed"
        return None

    def _of_detail(self, row: asyncpg.Record) -> str | None:
        if row["detail_salt"] is None:
            if row["detail"] is None or row["seq"] <= self._erased.get(row["customer_id"], 0):
                return None
            return "its details are gone, and no row says that the person was erased"
        said = chain.detail_digest(bytes(row["detail_salt"]), msgspec.json.decode(row["said"]))
        if row["detail"] is None or said != bytes(row["detail"]) or row["detail_customer"] != row["customer_id"]:
            return "its details were changed after it was written"
        return None

"""Takes an import back: its consents count no more, and contacts are as before where nobody changed them since.

The ledger keeps the rows: for each grant one is appended that says that it was undone, with the grant's own time. Both
say nothing from then on (`store.APPLYING`), so that what the person agreed to before or since by another way holds, and
the same file, put right, can be imported anew. Blocks that the file's opt-outs made stay: they are lifted by hand, one
by one, since a wish to stop is not ours to take back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from holdfast.consent import import_store as store
from holdfast.consent import ledger
from holdfast.consent.importing import TRIES
from holdfast.consent.model import ConsentError, Entry, RefusedError, UnknownError
from holdfast.db.pool import Pool, again

PAGE = 1000


@dataclass(slots=True)
class Undone:
    """What was taken back now; `kept_blocks`: of opt-outs, which stay."""

    batch_id: int
    grants: int = 0
    contacts_deleted: int = 0
    contacts_restored: int = 0
    kept_blocks: int = 0


async def undo(
    pool: Pool,
    batch_id: int,
    *,
    actor: str,
    why: str,
    clock: Callable[[], datetime],
    hear: Callable[[int], None] = lambda _count: None,
) -> Undone:
    """Goes on where it was broken off; done twice, the second time does nothing.

    Raises UnknownError, RefusedError, ConsentError.
    """
    if not why.strip() or len(why) > 1000:
        raise ConsentError("say in 1 to 1000 characters why the import is taken back")
    async with pool.acquire() as db, db.transaction():
        batch = await store.lock_batch(db, batch_id)
        if batch is None:
            raise UnknownError(f"there is no import {batch_id}; see `holdfast contacts batches`")
        if batch.state == "undone":
            raise RefusedError(f"import {batch_id} was undone already, by {batch.undone_by}: {batch.undone_why}")
        if batch.state != "undoing":  # whoever is applying it sees that, and stops
            await store.begin_undo(db, batch_id, actor=actor, why=why.strip())
    undone, after = Undone(batch_id), 0
    while ids := await store.people(pool, batch_id, after, PAGE):
        page = partial(_page, pool, batch_id, ids, actor, clock())
        grants, deleted, restored = await again(page, tries=TRIES)
        undone.grants += grants
        undone.contacts_deleted += deleted
        undone.contacts_restored += restored
        after = ids[-1]
        hear(len(ids))
    await store.finish_undo(pool, batch_id, clock())
    undone.kept_blocks = await store.suppressed_by(pool, batch_id)
    return undone


async def _page(
    pool: Pool, batch_id: int, customer_ids: Sequence[int], actor: str, now: datetime
) -> tuple[int, int, int]:
    """Of these people, in one transaction: consents taken back, contacts deleted and restored."""
    async with pool.acquire() as db, db.transaction():
        erased = await store.hold(db, customer_ids)
        grants = [row for row in await store.not_undone(db, batch_id, customer_ids) if row["customer_id"] not in erased]
        deleted, restored = await store.restore_contacts(db, batch_id, customer_ids)
        entries = [
            Entry(
                row["customer_id"],
                row["merchant_id"],
                "revoke",
                row["purpose"],
                "import-undone",
                row["given_at"],
                actor,
                channel=row["channel"],
                batch_id=batch_id,
                batch_row=row["batch_row"],
            )
            for row in grants
        ]
        return len(await ledger.append(db, entries, now)), deleted, restored

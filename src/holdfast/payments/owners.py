"""Whose the payments of the platform's own account are, where what they belong to must say it.

A destination charge is the platform's, for a connected account that its charge, payment intent and invoice name. Its
refunds, disputes and checkout sessions do not, and may come first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from holdfast.db.pool import Connection
from holdfast.inbox import store as inbox
from holdfast.payments import store
from holdfast.payments.model import NEVER_NAME_AN_OWNER, Fact
from holdfast.payments.store import Owner

NOBODY: Owner = (None, 0)


def owner_of(fact: Fact, known: Mapping[str, Owner]) -> Owner:
    """Whose a payment of the platform's own account is: what it names itself, or one of its parents."""
    named = ((fact.owner, 0), *(known.get(parent, NOBODY) for parent in fact.parents))
    return next((owner for owner in named if owner != NOBODY), NOBODY)


async def of_parents(db: Connection, facts: Sequence[Fact], now: datetime | None) -> Mapping[str, Owner]:
    """By id, whose the parents of these facts of one batch are: as the batch says, or the ledger.

    Events that were routed before it was known whose they are, and now is, are queued again. Has to come first in the
    transaction: nobody waits for the others while holding rows of theirs.
    """
    brought = {fact.id: (fact.owner, 0) for fact in facts if fact.kind not in (*NEVER_NAME_AN_OWNER, "transfer")}
    brought |= {fact.id: (fact.owner, 0) for fact in facts if fact.id in brought and fact.owner is not None}
    named = [name for name, owner in brought.items() if owner != NOBODY]
    children = [fact for fact in facts if fact.parents]
    wanted = {name for child in children for name in (child.id, *child.parents)}
    held = await store.owners(db, wanted) if wanted else {}
    if any((held.keys() | brought.keys()).isdisjoint(child.parents) for child in children):
        await store.miss_parents(db)
        held = await store.owners(db, wanted)
    elif named:
        await store.bring_parents(db)
    known = held | {name: owner for name, owner in brought.items() if owner != NOBODY or name not in held}
    early = {child.id for child in children if held.get(child.id) == NOBODY != owner_of(child, known)}
    if named:
        early.update(await store.orphans(db, named))
    if early:
        seqs = await inbox.about(db, sorted(early))
        await inbox.queue_again(db, seqs, [0] * len(seqs), now=now)
    return known

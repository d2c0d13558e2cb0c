"""All SQL of merchants and destinations."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.merchants.model import FOR_MESSAGES, Destination, Kind, Merchant, NewDestination, NewMerchant

Executor = Connection | Pool
_MERCHANT = "id, key, name, email, stripe_account, time_zone, created_at, stripe_disconnected_at"
_DESTINATION = (
    "id, merchant_id, kind, address, secrets, events, enabled, ceiling, rotating_since, disabled_since, disabled_why"
)


async def version(db: Executor) -> int:
    """Grows with every change of merchants or destinations."""
    return int(await db.fetchval("SELECT version FROM catalogue_version"))


async def merchants(db: Executor) -> list[Merchant]:
    rows = await db.fetch(f"SELECT {_MERCHANT} FROM merchant ORDER BY key")
    return [Merchant(*row) for row in rows]


async def search(db: Executor, text: str | None, *, limit: int, after: str | None) -> list[Merchant]:
    """Merchants by key; `text` must occur in key, name, e-mail or account; `after` is the key to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_MERCHANT} FROM merchant
        WHERE ($1::text IS NULL OR concat_ws(' ', key, name, email, stripe_account) ILIKE $1)
          AND ($2::text IS NULL OR key > $2)
        ORDER BY key LIMIT $3
        """,
        text and "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%",
        after,
        limit,
    )
    return [Merchant(*row) for row in rows]


async def find(db: Executor, key: str) -> Merchant | None:
    row = await db.fetchrow(f"SELECT {_MERCHANT} FROM merchant WHERE key = $1", key)
    return Merchant(*row) if row else None


async def insert(db: Executor, new: NewMerchant) -> Merchant:
    """Raises asyncpg.UniqueViolationError when the key or the account is taken."""
    row = await db.fetchrow(
        f"""
        INSERT INTO merchant (key, name, email, stripe_account, time_zone) VALUES ($1, $2, $3, $4, $5)
        RETURNING {_MERCHANT}
        """,
        new.key,
        new.name,
        new.email,
        new.stripe_account,
        new.time_zone,
    )
    assert row is not None
    return Merchant(*row)


async def update(db: Executor, key: str, new: NewMerchant) -> Merchant | None:
    row = await db.fetchrow(
        f"""
        UPDATE merchant SET name = $2, email = $3, stripe_account = $4, time_zone = $5,
            stripe_disconnected_at = CASE WHEN stripe_account = $4 THEN stripe_disconnected_at END
        WHERE key = $1
        RETURNING {_MERCHANT}
        """,
        key,
        new.name,
        new.email,
        new.stripe_account,
        new.time_zone,
    )
    return Merchant(*row) if row else None


async def upsert(db: Executor, new: Sequence[NewMerchant]) -> tuple[int, int]:
    """Add or change merchants by key (no key twice); an empty e-mail, account or time zone keeps what is there.

    Returns (added, changed); merchants that are so already count as neither. Raises asyncpg.UniqueViolationError when
    an account belongs to another merchant.
    """
    rows = await db.fetch(
        """
        INSERT INTO merchant AS m (key, name, email, stripe_account, time_zone)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
        ON CONFLICT (key) DO UPDATE SET
            name = excluded.name,
            email = coalesce(excluded.email, m.email),
            stripe_account = coalesce(excluded.stripe_account, m.stripe_account),
            time_zone = coalesce(excluded.time_zone, m.time_zone),
            stripe_disconnected_at = CASE WHEN m.stripe_account = coalesce(excluded.stripe_account, m.stripe_account)
                THEN m.stripe_disconnected_at END
        WHERE (m.name, m.email, m.stripe_account, m.time_zone) IS DISTINCT FROM (
            excluded.name, coalesce(excluded.email, m.email), coalesce(excluded.stripe_account, m.stripe_account),
            coalesce(excluded.time_zone, m.time_zone))
        RETURNING xmax = 0 AS added
        """,
        [merchant.key for merchant in new],
        [merchant.name for merchant in new],
        [merchant.email for merchant in new],
        [merchant.stripe_account for merchant in new],
        [merchant.time_zone for merchant in new],
    )
    added = sum(row["added"] for row in rows)
    return added, len(rows) - added


async def note_connections(db: Executor, disconnected: Sequence[str], connected: Sequence[str], now: datetime) -> None:
    """Note which Stripe accounts are found to have revoked our access, and which not (any more)."""
    changed = await db.fetch(
        """
        SELECT id FROM merchant WHERE (stripe_account = ANY($1::text[]) AND stripe_disconnected_at IS NULL)
            OR (stripe_account = ANY($2::text[]) AND stripe_disconnected_at IS NOT NULL)
        """,
        list(disconnected),
        list(connected),
    )
    if not changed:
        return  # an UPDATE of nothing would make every process read the tables again
    await db.execute(
        """
        UPDATE merchant SET stripe_disconnected_at = CASE WHEN stripe_account = ANY($2::text[]) THEN $3::timestamptz END
        WHERE id = ANY($1::bigint[])
        """,
        [row[0] for row in changed],
        list(disconnected),
        now,
    )


async def ids(db: Executor, keys: Sequence[str]) -> dict[str, int]:
    rows = await db.fetch("SELECT key, id FROM merchant WHERE key = ANY($1::text[])", list(keys))
    return {row[0]: row[1] for row in rows}


async def by_ids(db: Executor, chosen: Sequence[int]) -> dict[int, Merchant]:
    rows = await db.fetch(f"SELECT {_MERCHANT} FROM merchant WHERE id = ANY($1::bigint[])", list(chosen))
    return {row["id"]: Merchant(*row) for row in rows}


async def addresses(db: Executor, chosen: Sequence[int]) -> dict[int, tuple[int, str]]:
    """(merchant id, address) of destinations, by their ids."""
    rows = await db.fetch("SELECT id, merchant_id, address FROM destination WHERE id = ANY($1::bigint[])", list(chosen))
    return {row[0]: (row[1], row[2]) for row in rows}


async def keys(db: Executor, chosen: Sequence[int]) -> dict[int, str]:
    """The keys of merchants, by id."""
    rows = await db.fetch("SELECT id, key FROM merchant WHERE id = ANY($1::bigint[])", chosen)
    return {row["id"]: row["key"] for row in rows}


async def named(db: Executor, chosen: Sequence[int]) -> dict[int, tuple[str, str]]:
    """The keys and names of merchants, by id."""
    rows = await db.fetch("SELECT id, key, name FROM merchant WHERE id = ANY($1::bigint[])", chosen)
    return {row["id"]: (row["key"], row["name"]) for row in rows}


async def accounts(db: Executor, chosen: Sequence[str]) -> dict[str, str]:
    """account → key of the merchant that has it."""
    rows = await db.fetch(
        "SELECT stripe_account, key FROM merchant WHERE stripe_account = ANY($1::text[])", list(chosen)
    )
    return {row[0]: row[1] for row in rows}


async def destinations(db: Executor, merchant_id: int | None = None) -> list[Destination]:
    rows = await db.fetch(
        f"SELECT {_DESTINATION} FROM destination WHERE $1::bigint IS NULL OR merchant_id = $1 ORDER BY merchant_id, id",
        merchant_id,
    )
    return [_destination(row) for row in rows]


async def subscribing(db: Executor, merchant_ids: Collection[int]) -> list[Destination]:
    """Enabled destinations of these merchants that take events: for who cannot wait until all are read."""
    rows = await db.fetch(
        f"""
        SELECT {_DESTINATION} FROM destination
        WHERE merchant_id = ANY($1::bigint[]) AND kind <> ALL($2::text[]) AND enabled ORDER BY merchant_id, id
        """,
        list(merchant_ids),
        list(FOR_MESSAGES),
    )
    return [_destination(row) for row in rows]


async def message_destinations(
    db: Executor, kind: Kind, wanted: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """Ids of the destinations of a kind in `FOR_MESSAGES`, by (merchant id, address); what is missing is added.

    They are looked for first: even an insert that adds nothing would make every process read the tables again. One
    that adds an address does: senders find destinations in memory, and nothing but the version tells them of a new one.
    Many at a time are therefore given at once. In a transaction, what is found is not deleted until it ends.
    """
    if kind not in FOR_MESSAGES:
        raise ValueError(kind)
    found = await _message_destinations(db, kind, wanted)
    missing = sorted({item for item in wanted if item not in found})
    if missing:
        await db.execute(
            """
            INSERT INTO destination (merchant_id, kind, address, events)
            SELECT merchant_id, $1, address, '{}' FROM unnest($2::bigint[], $3::text[]) AS n(merchant_id, address)
            ON CONFLICT DO NOTHING
            """,
            kind,
            [merchant_id for merchant_id, _ in missing],
            [address for _, address in missing],
        )
        found = await _message_destinations(db, kind, wanted)
    return found


async def _message_destinations(
    db: Executor, kind: Kind, wanted: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    rows = await db.fetch(
        """
        SELECT d.merchant_id, d.address, d.id
        FROM destination d JOIN unnest($2::bigint[], $3::text[]) AS n(merchant_id, address) USING (merchant_id, address)
        WHERE d.kind = $1
        FOR KEY SHARE OF d
        """,
        kind,
        [merchant_id for merchant_id, _ in wanted],
        [address for _, address in wanted],
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def prune_mailboxes(db: Connection, limit: int, addresses: Sequence[str] | None = None) -> int:
    """Delete up to `limit` of the company's mailboxes that no subscriber, nobody on the team and no merchant has (any
    more), or those of them in `addresses`; never one that mail is on its way to. In a transaction.

    They are locked first, so that what finds one of them meanwhile waits, and adds it anew.
    """
    unused = """
        d.merchant_id = 0 AND d.kind = 'contact'
        AND NOT EXISTS (SELECT FROM subscriber s WHERE lower(s.email) = lower(d.address))
        AND NOT EXISTS (SELECT FROM person p WHERE lower(p.email) = lower(d.address))
        AND NOT EXISTS (SELECT FROM merchant m WHERE lower(m.email) = lower(d.address))
        AND NOT EXISTS (SELECT FROM work w WHERE w.stage = 2 AND w.destination_id = d.id)
    """
    rows = await db.fetch(
        f"""
        SELECT d.id FROM destination d WHERE ($2::text[] IS NULL OR d.address = ANY($2)) AND {unused}
        LIMIT $1 FOR UPDATE SKIP LOCKED
        """,
        limit,
        addresses,
    )
    if not rows:
        return 0  # a DELETE of nothing would make every process read the tables again
    status = await db.execute(
        f"DELETE FROM destination d WHERE d.id = ANY($1::bigint[]) AND {unused}", [row[0] for row in rows]
    )
    return int(status.rpartition(" ")[2])


async def destination(db: Executor, destination_id: int) -> Destination | None:
    row = await db.fetchrow(f"SELECT {_DESTINATION} FROM destination WHERE id = $1", destination_id)
    return _destination(row) if row else None


async def insert_destination(db: Executor, new: NewDestination) -> Destination:
    """Raises asyncpg.UniqueViolationError when the merchant has this destination already."""
    row = await db.fetchrow(
        f"""
        INSERT INTO destination (merchant_id, kind, address, secrets, events, ceiling)
        VALUES ($1, $2, $3, $4, $5, $6) RETURNING {_DESTINATION}
        """,
        new.merchant_id,
        new.kind,
        new.address,
        new.secrets,
        new.events,
        new.ceiling,
    )
    assert row is not None
    return _destination(row)


async def upsert_destinations(db: Executor, new: Sequence[NewDestination]) -> int:
    """Add destinations, or change the subscription of those that are there; secrets stay. Returns how many were new.

    Without events, one that is new gets all, and one that is there keeps its subscription.
    """
    asking = [item for item in new if item.events]
    others = [replace(item, events=("*",)) for item in new if not item.events]
    added = 0
    for chosen, there in ((asking, "DO UPDATE SET events = excluded.events"), (others, "DO NOTHING")):
        if chosen:
            added += await _add_destinations(db, chosen, there)
    return added


async def _add_destinations(db: Executor, new: Sequence[NewDestination], there: str) -> int:
    rows = await db.fetch(
        f"""
        INSERT INTO destination (merchant_id, kind, address, secrets, events, ceiling)
        SELECT merchant_id, kind, address, string_to_array(secrets, ' '), string_to_array(events, ' '), ceiling
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[])
            AS n(merchant_id, kind, address, secrets, events, ceiling)
        ON CONFLICT (merchant_id, kind, address) {there}
        RETURNING xmax = 0 AS added
        """,
        [item.merchant_id for item in new],
        [item.kind for item in new],
        [item.address for item in new],
        [" ".join(item.secrets) for item in new],
        [" ".join(item.events) for item in new],
        [item.ceiling for item in new],
    )
    return sum(row["added"] for row in rows)


async def webhook_secrets(
    db: Executor, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, tuple[str, ...]]]:
    """(id, secrets) of webhooks by (merchant key, address), for those that are there."""
    rows = await db.fetch(
        """
        SELECT n.key, n.address, d.id, d.secrets FROM unnest($1::text[], $2::text[]) AS n(key, address)
        JOIN merchant m USING (key)
        JOIN destination d ON d.merchant_id = m.id AND d.kind = 'webhook' AND d.address = n.address
        """,
        [key for key, _ in wanted],
        [address for _, address in wanted],
    )
    return {(row[0], row[1]): (row[2], tuple(row[3])) for row in rows}


async def set_enabled(db: Executor, destination_id: int, enabled: bool, why: str | None = None) -> bool:
    """Returns whether this changed anything. `why` it is disabled, where no person did it."""
    status = await db.execute(
        """
        UPDATE destination SET enabled = $2, disabled_since = CASE WHEN NOT $2 THEN now() END, disabled_why = $3
        WHERE id = $1 AND enabled <> $2
        """,
        destination_id,
        enabled,
        why,
    )
    return status == "UPDATE 1"


async def set_subscription(
    db: Executor, destination_id: int, events: Sequence[str], ceiling: int | None
) -> Destination | None:
    row = await db.fetchrow(
        f"UPDATE destination SET events = $2, ceiling = $3 WHERE id = $1 RETURNING {_DESTINATION}",
        destination_id,
        list(events),
        ceiling,
    )
    return _destination(row) if row else None


async def begin_rotation(db: Executor, destination_id: int, secret: str) -> Destination | None:
    """Sign with a new secret as well; None, and nothing is changed, if that is so already, or if nothing is signed."""
    row = await db.fetchrow(
        f"""
        UPDATE destination SET secrets = array_prepend($2, secrets), rotating_since = now()
        WHERE id = $1 AND cardinality(secrets) = 1 RETURNING {_DESTINATION}
        """,
        destination_id,
        secret,
    )
    return _destination(row) if row else None


async def end_rotation(db: Executor, destination_id: int, keep: Literal["new", "old"]) -> Destination | None:
    """Sign with one secret again; None, and nothing is changed, if that is so already."""
    row = await db.fetchrow(
        f"""
        UPDATE destination SET secrets = CASE WHEN $2 = 'new' THEN secrets[1:1] ELSE secrets[2:2] END,
               rotating_since = NULL
        WHERE id = $1 AND cardinality(secrets) > 1 RETURNING {_DESTINATION}
        """,
        destination_id,
        keep,
    )
    return _destination(row) if row else None


async def delete_destination(db: Executor, destination_id: int) -> bool:
    return await db.execute("DELETE FROM destination WHERE id = $1", destination_id) == "DELETE 1"


def _destination(row: asyncpg.Record) -> Destination:
    return Destination(
        row["id"],
        row["merchant_id"],
        row["kind"],
        row["address"],
        tuple(row["secrets"]),
        tuple(row["events"]),
        row["enabled"],
        row["ceiling"],
        rotating_since=row["rotating_since"],
        disabled_since=row["disabled_since"],
        disabled_why=row["disabled_why"],
    )

"""All SQL of the API's own: what it answered to requests that may be sent again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool
MOST = 10_000
"""Answers kept at most, the newest."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A request with the same key: its answer, or a status of None while it is at work."""

    fingerprint: bytes
    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes


async def begin(db: Executor, key: str, fingerprint: bytes) -> Earlier | None:
    """Take the key for this request; if it is taken, by what.

    A key is free again after a day; and after half a minute where its process died before it could answer.
    """
    row = await db.fetchrow(
        """
        WITH old AS (
            DELETE FROM idempotency WHERE key <> $1 AND (begun_at < now() - interval '1 day' OR begun_at <= (
                SELECT begun_at FROM idempotency ORDER BY begun_at DESC OFFSET $3 LIMIT 1))
        ),
        begun AS (
            INSERT INTO idempotency AS i (key, fingerprint) VALUES ($1, $2)
            ON CONFLICT (key) DO UPDATE
            SET fingerprint = $2, begun_at = now(), status = NULL, headers = NULL, body = NULL
            WHERE i.begun_at < now() - interval '1 day'
               OR (i.status IS NULL AND i.begun_at < now() - interval '30 s' AND i.fingerprint = $2)
            RETURNING 1
        )
        SELECT EXISTS (SELECT FROM begun) AS is_ours, i.fingerprint, i.status, i.headers, i.body
        FROM (VALUES (1)) AS one LEFT JOIN idempotency i ON i.key = $1
        """,
        key,
        fingerprint,
        MOST,
    )
    assert row is not None
    if row["is_ours"]:
        return None
    headers = tuple((name, value) for name, value in json.loads(row["headers"] or "[]"))
    return Earlier(row["fingerprint"] or fingerprint, row["status"], headers, row["body"] or b"")


async def remember(db: Executor, key: str, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
    await db.execute(
        "UPDATE idempotency SET status = $2, headers = $3, body = $4 WHERE key = $1",
        key,
        status,
        json.dumps(list(headers)),
        body,
    )


async def forget(db: Executor, key: str) -> None:
    """It was not done: the same request may be sent again."""
    await db.execute("DELETE FROM idempotency WHERE key = $1", key)

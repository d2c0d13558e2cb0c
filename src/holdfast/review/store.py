"""All SQL of reviews."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from holdfast.db.pool import Connection, Pool
from holdfast.review.model import Figures, Review, Verdict

Executor = Connection | Pool

_REVIEW = "incident_id, figures, root_cause, lessons, verdict, verdict_why, proposal, made_at, closed_at, closed_by"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Figures).decode


async def keep(db: Executor, incident_id: int, figures: Figures, now: datetime) -> Review:
    """Make the review, or give it new figures; what people wrote stays."""
    row = await db.fetchrow(
        f"""
        INSERT INTO review (incident_id, figures, made_at) VALUES ($1, $2, $3)
        ON CONFLICT (incident_id) DO UPDATE SET figures = excluded.figures, made_at = excluded.made_at
        RETURNING {_REVIEW}
        """,
        incident_id,
        _encode(figures).decode(),
        now,
    )
    assert row is not None
    return _review(row)


async def get(db: Executor, incident_id: int) -> Review | None:
    row = await db.fetchrow(f"SELECT {_REVIEW} FROM review WHERE incident_id = $1", incident_id)
    return _review(row) if row is not None else None


async def listing(db: Executor, incidents: Sequence[int]) -> list[asyncpg.Record]:
    """incident_id, root_cause, verdict, made_at, closed_at, closed_by of the reviews of these incidents."""
    return await db.fetch(
        """
        SELECT incident_id, root_cause, verdict, made_at, closed_at, closed_by FROM review
        WHERE incident_id = ANY($1::bigint[])
        """,
        list(incidents),
    )


async def write(db: Executor, incident_id: int, *, root_cause: str | None, lessons: str | None) -> None:
    """What is None stays as it is."""
    await db.execute(
        """
        UPDATE review SET root_cause = coalesce($2, root_cause), lessons = coalesce($3, lessons)
        WHERE incident_id = $1
        """,
        incident_id,
        root_cause,
        lessons,
    )


async def propose(db: Executor, incident_id: int, text: str) -> None:
    await db.execute("UPDATE review SET proposal = $2 WHERE incident_id = $1", incident_id, text)


async def set_verdict(db: Executor, incident_id: int, verdict: Verdict, why: str) -> None:
    await db.execute(
        "UPDATE review SET verdict = $2, verdict_why = $3 WHERE incident_id = $1", incident_id, verdict, why
    )


async def close(db: Executor, incident_id: int, actor: str, now: datetime) -> None:
    await db.execute("UPDATE review SET closed_at = $3, closed_by = $2 WHERE incident_id = $1", incident_id, actor, now)


async def open_again(db: Executor, incident_id: int) -> None:
    await db.execute("UPDATE review SET closed_at = NULL, closed_by = NULL WHERE incident_id = $1", incident_id)


def _review(row: asyncpg.Record) -> Review:
    return Review(**{**row, "figures": _decode(row["figures"])})

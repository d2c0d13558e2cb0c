"""All SQL of lines and call plans."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec
import structlog

from holdfast.db.pool import Connection, Pool
from holdfast.merchants.numbers import time_zone_of
from holdfast.voice.model import Line, Plan

log = structlog.get_logger()

Executor = Connection | Pool
SOMEWHERE = "UTC"
"""The time zone of a number whose place has several."""
_PAGE = 500
_PLAN = msgspec.json.Decoder(Plan)


class LineRow(NamedTuple):
    """A number as it is in the tables; `plan` is JSON."""

    phone: str
    merchant_id: int
    merchant: str
    merchant_name: str
    region: str
    merchant_time_zone: str | None
    plan: str | None
    stands_in: bool


_LINE = """
    SELECT n.phone, n.merchant_id, coalesce(m.key, '') AS merchant, coalesce(m.name, '') AS merchant_name,
        n.region, m.time_zone, p.plan::text, n.stands_in
    FROM number n LEFT JOIN merchant m ON m.id = n.merchant_id LEFT JOIN call_plan p ON p.phone = n.phone
"""


async def version(db: Executor) -> int:
    """Grows with every change of what calls are answered from."""
    return int(await db.fetchval("SELECT version FROM voice_version"))


async def lines(db: Executor) -> list[LineRow]:
    """All of them, a page after the other: they are read by a process that answers calls meanwhile."""
    found: list[LineRow] = []
    while True:
        after = found[-1].phone if found else ""
        page = await db.fetch(f"{_LINE} WHERE n.phone > $1 ORDER BY n.phone LIMIT $2", after, _PAGE)
        found += [LineRow(*row) for row in page]
        if len(page) < _PAGE:
            return found


async def lines_around(db: Executor, phone: str) -> list[LineRow]:
    """The number, and what its calls may have to do with: the lines of its merchant, the company's that stand in."""
    rows = await db.fetch(
        f"""
        {_LINE}
        WHERE n.merchant_id = (SELECT merchant_id FROM number WHERE phone = $1) OR (n.merchant_id = 0 AND n.stands_in)
        """,
        phone,
    )
    return [LineRow(*row) for row in rows]


async def plans(db: Executor, phones: Sequence[str]) -> dict[str, Plan]:
    """The plans of those numbers that have one, as far as they can be read."""
    rows = await db.fetch("SELECT phone, plan::text FROM call_plan WHERE phone = ANY($1::text[])", list(phones))
    read = ((phone, _read(phone, text)) for phone, text in rows)
    return {phone: plan for phone, plan in read if plan is not None}


async def put_plans(db: Executor, new: Mapping[str, Plan], *, changed_by: str) -> int:
    """Set the plans of numbers that are there, by phone; how many were not so already."""
    status = await db.execute(
        """
        INSERT INTO call_plan AS c (phone, plan, changed_at, changed_by)
        SELECT phone, plan::jsonb, now(), $3 FROM unnest($1::text[], $2::text[]) AS n(phone, plan)
        ON CONFLICT (phone) DO UPDATE SET
            plan = excluded.plan, changed_at = excluded.changed_at, changed_by = excluded.changed_by
        WHERE c.plan IS DISTINCT FROM excluded.plan
        """,
        list(new),
        [msgspec.json.encode(plan).decode() for plan in new.values()],
        changed_by,
    )
    return int(status.rpartition(" ")[2])


async def circles(db: Executor, phones: Sequence[str]) -> list[tuple[str, str]]:
    """Those of the numbers whose calls come back to them by way of our own numbers, with the last on the way."""
    rows = await db.fetch(
        """
        WITH RECURSIVE ours AS (
            SELECT p.phone, n.phone AS target
            FROM call_plan p, jsonb_array_elements(p.plan -> 'targets') AS t JOIN number n ON n.phone = t ->> 'address'
        ), way AS (
            SELECT phone AS start, phone AS last, target FROM ours WHERE phone = ANY($1::text[])
            UNION
            SELECT w.start, o.phone, o.target FROM way w JOIN ours o ON o.phone = w.target WHERE w.target <> w.start
        )
        SELECT DISTINCT ON (start) start, last FROM way WHERE target = start ORDER BY start, last
        """,
        list(phones),
    )
    return [(row[0], row[1]) for row in rows]


async def remove_plan(db: Executor, phone: str) -> bool:
    return await db.execute("DELETE FROM call_plan WHERE phone = $1", phone) == "DELETE 1"


class Reached(NamedTuple):
    """A number that a lever may touch."""

    phone: str
    merchant_id: int


async def reached(
    db: Executor, *, region: str | None = None, merchant_id: int | None = None, phone: str | None = None
) -> list[Reached]:
    """The numbers in a region, of a merchant, or this one; all of them where nothing is given."""
    rows = await db.fetch(
        """
        SELECT phone, merchant_id FROM number
        WHERE ($1::text IS NULL OR region = $1) AND ($2::bigint IS NULL OR merchant_id = $2)
          AND ($3::text IS NULL OR phone = $3)
        ORDER BY phone
        """,
        region,
        merchant_id,
        phone,
    )
    return [Reached(*row) for row in rows]


class RungBy(NamedTuple):
    """A target, by one of the numbers whose plan has it. `region`: as the plan says, if it does."""

    phone: str
    merchant_id: int
    address: str
    region: str | None


async def rung_by(db: Executor, address: str | None = None) -> list[RungBy]:
    """Every target of every plan, or those with this address; a page of plans after the other."""
    found: list[RungBy] = []
    after: str | None = ""
    while after is not None:
        rows = await db.fetch(
            """
            SELECT n.phone, n.merchant_id, t ->> 'address' AS address, t ->> 'region' AS region
            FROM (SELECT phone, plan FROM call_plan WHERE phone > $2 ORDER BY phone LIMIT $3) AS p
                JOIN number n USING (phone) LEFT JOIN jsonb_array_elements(p.plan -> 'targets') AS t
                    ON $1::text IS NULL OR t ->> 'address' = $1
            ORDER BY n.phone
            """,
            address,
            after,
            _PAGE,
        )
        found += [RungBy(*row) for row in rows if row["address"] is not None]
        after = rows[-1]["phone"] if rows else None
    return found


async def calls_since(db: Executor, phones: Sequence[str], since: datetime) -> int:
    """Calls to these numbers that began since then."""
    return int(
        await db.fetchval(
            "SELECT count(*) FROM call WHERE began_at >= $2 AND phone = ANY($1::text[]) AND NOT is_test",
            list(phones),
            since,
        )
    )


def read_lines(rows: Iterable[LineRow], before: Mapping[str, Line]) -> Iterator[Line]:
    """Lines of rows. A plan that cannot be read, since a newer version wrote it, leaves the one there was `before`."""
    known: dict[str, Plan | None] = {}
    for row in rows:
        plan: Plan | None = Plan()
        if row.plan is not None:
            if row.plan not in known:  # many numbers have the same plan
                known[row.plan] = _read(row.phone, row.plan)
            plan = known[row.plan]
        if plan is None:
            plan = before[row.phone].plan if row.phone in before else Plan()
        yield Line(
            row.phone,
            row.merchant_id,
            row.merchant,
            row.merchant_name,
            row.region,
            plan.time_zone or row.merchant_time_zone or _place(row.phone),
            plan,
            row.stands_in,
        )


def _read(phone: str, text: str) -> Plan | None:
    try:
        return _PLAN.decode(text)
    except msgspec.MsgspecError as error:
        log.warning("voice.plan_not_understood", phone=phone, error=str(error))
        return None


@lru_cache(maxsize=100_000)
def _place(phone: str) -> str:
    """Where a number is, which takes long to look up."""
    return time_zone_of(phone) or SOMEWHERE

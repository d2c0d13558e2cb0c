"""All SQL of lines and call plans."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """All of them."""
    return [LineRow(*row) for row in await db.fetch(_LINE)]


async def line(db: Executor, phone: str) -> Line | None:
    row = await db.fetchrow(f"{_LINE} WHERE n.phone = $1", phone)
    return next(read_lines([LineRow(*row)], {})) if row else None


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


async def remove_plan(db: Executor, phone: str) -> bool:
    return await db.execute("DELETE FROM call_plan WHERE phone = $1", phone) == "DELETE 1"


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
            _time_zone(row, plan),
            plan,
            row.stands_in,
        )


def _read(phone: str, text: str) -> Plan | None:
    try:
        return _PLAN.decode(text)
    except msgspec.MsgspecError as error:
        log.warning("voice.plan_not_understood", phone=phone, error=str(error))
        return None


def _time_zone(row: LineRow, plan: Plan) -> str:
    """The zone that counts; where a number is, is looked up only where it counts, since that takes long."""
    given = plan.time_zone or row.merchant_time_zone
    return given or (_place(row.phone) if plan.hours else SOMEWHERE)


@lru_cache(maxsize=100_000)
def _place(phone: str) -> str:
    return time_zone_of(phone) or SOMEWHERE

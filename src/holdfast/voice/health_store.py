"""All SQL of the health of numbers, regions and targets: what became of legs and calls, and what the Debugger said.

Tests count nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast.db.pool import Connection, Pool
from holdfast.voice.model import HealthKind

Executor = Connection | Pool
MOST_LEGS = 5000
"""Of one line, for when its failures began: the newest."""


@dataclass(frozen=True, slots=True)
class LegCount:
    """Legs to one target from one of our numbers. `failed` could not be put through."""

    target: str
    region: str
    phone: str
    tried: int
    answered: int
    failed: int


@dataclass(frozen=True, slots=True)
class CallCount:
    """Calls that ended, or arrived, in a time. `unheard`: missed or failed."""

    arrived: int
    ended: int
    unheard: int
    failed: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Harm:
    """What a merchant's numbers of a region lost. `unheard`: calls missed or failed."""

    merchant_id: int
    region: str
    calls: int
    unheard: int
    failed_legs: int


async def legs(db: Executor, since: datetime, until: datetime) -> list[LegCount]:
    rows = await db.fetch(
        """
        SELECT target, region, phone, count(*), count(*) FILTER (WHERE outcome = 'answered'),
               count(*) FILTER (WHERE outcome = 'failed')
        FROM leg WHERE at > $1 AND at <= $2 AND NOT is_test GROUP BY target, region, phone
        """,
        since,
        until,
    )
    return [LegCount(*row) for row in rows]


async def tried(db: Executor, since: datetime, until: datetime) -> tuple[int, int]:
    """How many legs were tried in the time, and how many of them could not be put through."""
    row = await db.fetchrow(
        """
        SELECT count(*), count(*) FILTER (WHERE outcome = 'failed') FROM leg
        WHERE at > $1 AND at <= $2 AND NOT is_test
        """,
        since,
        until,
    )
    assert row is not None
    return row[0], row[1]


async def outcomes(
    db: Executor, kind: HealthKind, key: str, since: datetime, until: datetime
) -> list[tuple[datetime, bool]]:
    """(when, whether it could not be put through) of the newest legs of a line, oldest first."""
    rows = await db.fetch(_OUTCOMES[kind], key, since, until, MOST_LEGS)
    return [(row[0], row[1]) for row in reversed(rows)]


_SINCE: Final = "AND at > $2 AND at <= $3 AND NOT is_test ORDER BY at DESC LIMIT $4"
_OUTCOMES: Final[Mapping[HealthKind, str]] = {
    "target": f"SELECT at, outcome = 'failed' FROM leg WHERE target = $1 {_SINCE}",
    "region": f"SELECT at, outcome = 'failed' FROM leg WHERE region = $1 {_SINCE}",
    "number": f"SELECT at, outcome = 'failed' FROM leg WHERE phone = $1 {_SINCE}",
}
"""A statement a kind, so that each is read backwards from its own index."""


async def calls(db: Executor, since: datetime, until: datetime) -> CallCount:
    row = await db.fetchrow(
        """
        SELECT count(*) FILTER (WHERE began_at > $1 AND began_at <= $2),
               count(*) FILTER (WHERE ended_at > $1 AND ended_at <= $2),
               count(*) FILTER (WHERE ended_at > $1 AND ended_at <= $2 AND outcome IN ('missed', 'failed')),
               count(*) FILTER (WHERE ended_at > $1 AND ended_at <= $2 AND outcome = 'failed'),
               max(began_at) FILTER (WHERE began_at <= $2)
        FROM call WHERE began_at > $1 - interval '4 hours' AND NOT is_test
        """,
        since,
        until,
    )
    assert row is not None
    return CallCount(*row)


async def alerts(
    db: Executor, since: datetime, until: datetime
) -> list[tuple[int, str | None, str | None, str | None, int]]:
    """(code, phone, region, target, how many) of the Debugger's alerts that are about our addresses, or about none."""
    rows = await db.fetch(
        """
        SELECT code, phone, region, target, count(*) FROM twilio_alert
        WHERE at > $1 AND at <= $2 AND NOT is_foreign GROUP BY code, phone, region, target
        """,
        since,
        until,
    )
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


async def alert_codes(db: Executor, since: datetime, until: datetime) -> list[tuple[int, bool, int]]:
    """(code, whether it is about another program's address, how many) of the Debugger's alerts."""
    rows = await db.fetch(
        """
        SELECT code, is_foreign, count(*) FROM twilio_alert WHERE at > $1 AND at <= $2 GROUP BY code, is_foreign
        """,
        since,
        until,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def places(db: Executor) -> list[tuple[str, str]]:
    """The regions of our numbers, and a number in each."""
    rows = await db.fetch("SELECT region, min(phone) FROM number GROUP BY region ORDER BY region")
    return [(row[0], row[1]) for row in rows]


async def harmed(db: Executor, since: datetime, until: datetime, limit: int) -> list[Harm]:
    """Merchants that lost calls, by region, the worst first."""
    rows = await db.fetch(
        """
        WITH ended AS (
            SELECT merchant_id, region, count(*) AS calls,
                   count(*) FILTER (WHERE outcome IN ('missed', 'failed')) AS lost
            FROM call WHERE began_at > $1 AND began_at <= $2 AND NOT is_test GROUP BY merchant_id, region
        ), tried AS (
            SELECT c.merchant_id, c.region, count(*) AS failed FROM leg l JOIN call c ON c.sid = l.call_sid
            WHERE l.at > $1 AND l.at <= $2 AND l.outcome = 'failed' AND NOT l.is_test
            GROUP BY c.merchant_id, c.region
        )
        SELECT merchant_id, region, coalesce(calls, 0), coalesce(lost, 0), coalesce(failed, 0)
        FROM ended FULL JOIN tried USING (merchant_id, region)
        WHERE coalesce(lost, 0) + coalesce(failed, 0) > 0
        ORDER BY 4 DESC, 5 DESC, 1, 2 LIMIT $3
        """,
        since,
        until,
        limit,
    )
    return [Harm(*row) for row in rows]

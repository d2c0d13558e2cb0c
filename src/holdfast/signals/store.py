"""All SQL of signals."""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.db.pool import Connection, Pool
from holdfast.signals.registry import Labels

Executor = Connection | Pool
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Part:
    """One number of a series: a counter's value (part 0); a distribution's bucket counts (from 0) and sum (-1)."""

    name: str
    labels: Labels
    part: int


async def add(db: Executor, amounts: Sequence[tuple[Part, float]]) -> None:
    """Add to the totals over all processes."""
    # Sorted, so that two processes adding at once wait for each other instead of deadlocking.
    await db.execute(
        """
        INSERT INTO signal_total AS t (name, labels, part, value)
        SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::float8[]) ORDER BY 1, 2, 3
        ON CONFLICT (name, labels, part) DO UPDATE SET value = t.value + excluded.value
        """,
        [part.name for part, _ in amounts],
        [_SEPARATOR.join(part.labels) for part, _ in amounts],
        [part.part for part, _ in amounts],
        [amount for _, amount in amounts],
    )


async def totals(db: Executor) -> dict[Part, float]:
    rows = await db.fetch("SELECT name, labels, part, value FROM signal_total")
    return {Part(row[0], tuple(row[1].split(_SEPARATOR)) if row[1] else (), row[2]): row[3] for row in rows}

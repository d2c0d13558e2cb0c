"""Where in a table that only grows a time begins, found by its key."""

from datetime import datetime

from holdfast.db.pool import Connection, Pool


async def place(db: Connection | Pool, table: str, key: str, at: str, moment: datetime) -> int | None:
    """A key such that rows with smaller ones are from before `moment`, and others are not. None: the table is empty.

    `key` is an ascending number given at insertion, `at` the column with the row's time: names from our code, never
    from outside. Found by halving, since the usual index by such a time (BRIN) is good for short spans only, and ranges
    that deleted rows left are filled with new ones.
    """
    found: int | None = await db.fetchval(
        f"""
        WITH RECURSIVE search AS (
            SELECT min({key}) AS low, max({key}) + 1 AS high FROM {table}
            UNION ALL
            SELECT CASE WHEN found.is_before THEN found.key + 1 ELSE low END,
                   CASE WHEN found.is_before THEN high ELSE middle END
            FROM search, LATERAL (SELECT low + (high - low) / 2 AS middle) AS halved, LATERAL (
                SELECT {key} AS key, {at} < $1 AS is_before FROM {table}
                WHERE {key} >= middle ORDER BY {key} LIMIT 1) AS found
            WHERE low < high
        )
        SELECT low FROM search WHERE low >= high
        """,  # noqa: S608 - names of ours
        moment,
    )
    return found

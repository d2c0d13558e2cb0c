"""Retention: each kind by itself, found by an index, whatever else is in the tables."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from holdfast import retention
from holdfast.db.pool import create_pool

pytestmark = pytest.mark.usefixtures("any_server")

ROWS, OLD = 30_000, 300
"""Rows of each table, and those of them that are older than the retention: the first."""
LONG_AGO = f"now() - CASE WHEN n <= {OLD} THEN interval '100 days' ELSE interval '1 day' END"
FILLED = {
    "event": "(provider, event_id, type, lane, livemode, created_at, received_at, headers, body) "
    f"SELECT 'stripe', 'evt_' || n, 'x', 1, true, {LONG_AGO}, {LONG_AGO}, '{{}}', ''",
    "duplicate": f"SELECT 'stripe', 'evt_' || n, {LONG_AGO}",
    "done": f"SELECT 1, n, 1, 1, 0, {LONG_AGO}, {LONG_AGO}, 1, 'routed', NULL",
    "delivery": f"(event_seq, destination_id, merchant_id, lane, created_at) SELECT n, 1, 1, 1, {LONG_AGO}",
    "attempt": f"(delivery_id, attempt, at, outcome, latency) SELECT n, 1, {LONG_AGO}, 'delivered', 1",
    "call": "(sid, account, phone, merchant_id, region, caller, status, rank, began_at) "
    f"SELECT 'CA' || n, 'AC', '+1', 1, 'US', '+1', 'completed', 1, {LONG_AGO}",
    "leg": "(call_sid, target, place, phone, region, outcome, at) "
    f"SELECT 'CA' || n, '+1', 1, '+1', 'US', 'busy', {LONG_AGO}",
    "voicemail": "(sid, call_sid, account, merchant_id, phone, caller, url, at) "
    f"SELECT 'RE' || n, 'CA' || n, 'AC', 1, '+1', '+1', 'x', {LONG_AGO}",
    "twilio_alert": f"(sid, account, at, level, code) SELECT 'NO' || n, 'AC', {LONG_AGO}, 'error', 1",
    "message": "(merchant_id, customer_id, purpose, body, state, rule, created_at, send_at, settled_at) "
    f"SELECT 1, n, 'marketing', 'x', 'sent', 'consent', {LONG_AGO}, {LONG_AGO}, {LONG_AGO}",
    "inbound_text": "(sid, merchant_id, customer_id, phone, body, received_at, verdict, score) "
    f"SELECT 'SM' || n, 1, n, '+1', 'x', {LONG_AGO}, 'other', 0",
    "alert": "(key, runbook, cause, severity, title, why, evidence, since, opened_at, updated_at, closed_at) "
    f"SELECT 'k' || n, 'r', 'c', 'warning', 't', 'w', '[]', {LONG_AGO}, {LONG_AGO}, {LONG_AGO}, {LONG_AGO}",
}


async def test_a_kind_that_takes_too_long_is_said_and_does_not_keep_the_others(pool, database_url):
    long_ago = datetime.now(UTC) - timedelta(days=100)
    await pool.execute("INSERT INTO duplicate VALUES ('stripe', 'evt_1', $1)", long_ago)
    await pool.execute("INSERT INTO done VALUES (1, 1, 1, 1, 0, $1, $1, 1, 'routed', NULL)", long_ago)
    await pool.execute(
        "INSERT INTO report (at, kind, source, text, actor) VALUES ($1, 'late', 'merchant', 'x', 'x')", long_ago
    )
    general = await create_pool(database_url, size=1, name="general")
    await general.execute("SET statement_timeout = '300ms'")
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE duplicate")
        with capture_logs() as said:
            assert await retention.prune(general, 90) == 1
        assert [(one["event"], one.get("kind")) for one in said] == [
            ("retention.timed_out", "duplicates"),
            ("retention.pruned", None),
        ]
    assert await retention.prune(general, 90) == 1
    for table in ("duplicate", "done", "report"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    general.terminate()


async def test_what_is_old_is_found_without_reading_any_table_from_end_to_end(pool, database_url):
    for table, rows in FILLED.items():
        await pool.execute(f"INSERT INTO {table} {rows} FROM generate_series(1, {ROWS}) n")
    await pool.execute(
        "SELECT brin_summarize_new_values(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
        "JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'brin'"
    )
    await pool.execute("ANALYZE")
    general = await create_pool(database_url, size=1, name="general")
    before = await scans(general)
    while await retention.prune(general, 90):
        pass
    after = await scans(general)
    assert {table: after[table] - before[table] for table in FILLED} == dict.fromkeys(FILLED, 0)
    kept = {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in FILLED}
    assert kept == dict.fromkeys(FILLED, ROWS - OLD) | {"message": ROWS, "inbound_text": ROWS}
    general.terminate()


async def scans(general) -> dict[str, int]:
    """How often each table was read from end to end, all sessions together."""
    async with general.acquire() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
    await asyncio.sleep(0.2)
    return dict(await general.fetch("SELECT relname, seq_scan FROM pg_stat_user_tables"))

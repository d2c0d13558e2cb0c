"""Logs hold no payloads, also where an error quotes one."""

import asyncio
import json
import logging
import traceback

import asyncpg
import pytest
import structlog

from holdfast import logs, loops

PAYLOAD = "Jane Doe\nphone +14155550111"


@pytest.fixture
def written(capsys):
    """Lines of the log, as JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("json", "info", process="test")

    def read():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield read
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


async def violation(pool):
    """What PostgreSQL says of a row that breaks a constraint: it quotes the row."""
    async with pool.acquire() as connection:
        await connection.execute("CREATE TEMP TABLE picky (said text CONSTRAINT short CHECK (length(said) < 3))")
        try:
            with pytest.raises(asyncpg.CheckViolationError) as caught:
                await connection.execute("INSERT INTO picky VALUES ($1)", PAYLOAD)
        finally:
            await connection.execute("DROP TABLE picky")
    assert "Jane Doe" in str(caught.value)
    return caught.value


def test_errors_of_others_are_said_whole():
    assert logs.said(ValueError("a\nb")) == "ValueError: a\nb"


async def test_what_postgresql_quotes_is_not_said(pool):
    error = await violation(pool)
    assert logs.said(error) == ('CheckViolationError: new row for relation "picky" violates check constraint "short"')


async def test_a_loop_that_fails_logs_where_but_not_with_what(pool, written, monkeypatch):
    monkeypatch.setattr(loops, "log", structlog.get_logger())  # one that was used before is as it was then
    error, stop = await violation(pool), asyncio.Event()

    async def tick():
        stop.set()
        try:
            raise error
        except asyncpg.PostgresError as cause:
            raise ExceptionGroup("two", [RuntimeError("of ours"), cause]) from cause

    await loops.repeat("picky", tick, every=1.0, stop=stop)
    (line,) = written()
    assert (line["event"], line["loop"]) == ("loop.failed", "picky")
    for part in ("test_logs.py", "of ours", 'violates check constraint "short"'):
        assert part in line["exception"]
    for part in ("DETAIL", "Jane", "+1415"):
        assert part not in line["exception"]
    assert "Jane Doe" in str(error), "the error is as it was"
    assert "Jane Doe" in "".join(traceback.format_exception(error))


async def test_messages_of_errors_in_fields_and_from_libraries_quote_nothing(pool, written):
    error = await violation(pool)
    structlog.get_logger().warning("refused", error=f"{type(error).__name__}: {error}"[:200])
    info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("library", logging.ERROR, __file__, 1, "it said %s", (error,), info)
    logs.configure("json", "info", process="test")
    lines = [*written(), json.loads(logging.getLogger().handlers[0].format(record))]
    assert [line["event"].partition(" new row")[0] for line in lines] == ["refused", "it said"]
    for line in lines:
        assert "violates check constraint" in json.dumps(line)
        assert "Jane" not in json.dumps(line)

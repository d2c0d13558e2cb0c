"""What one would build otherwise, doing the same job on the same PostgreSQL in the same run.

FastAPI with Procrastinate, FastAPI with Celery on Redis (where `redis-server` is installed), and PgQueuer for the queue
alone. Each is set up as its documentation does, with one web and one worker process, uvloop, and connection pools.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import psycopg
from procrastinate.schema import SchemaManager

from bench import data, traffic
from bench.harness import SECRET, environment, free_port, process, say, wait_for_port, with_connection
from bench.peers import handler
from holdfast.db.embedded import EmbeddedPostgres

PROCRASTINATE, CELERY = "FastAPI + Procrastinate", "FastAPI + Celery on Redis"
ABSENT = "absent: redis-server is not installed"
DATABASE = "peer"
ACCOUNTS = data.accounts(200)


def acknowledged(server: EmbeddedPostgres, *, quick: bool) -> dict[str, Any]:
    """Events a second that the usual web handlers store, hand to their task queue, and acknowledge."""
    return _each(server, lambda name, env: _acknowledged(name, env, server, 500 if quick else 5_000))


def routed(server: EmbeddedPostgres, *, quick: bool) -> dict[str, Any]:
    """Events a second that one usual worker applies and plans the deliveries of."""
    return _each(server, lambda name, env: _routed(name, env, server, 500 if quick else 5_000))


def queue_alone(server: EmbeddedPostgres, *, quick: bool) -> dict[str, Any]:
    """Jobs a second that do nothing at all: what the queue itself costs."""
    count = 1_000 if quick else 20_000
    asked = [sys.executable, "-m", "bench.peers.pgqueuer_app", str(count)]
    _new_database(server)
    done = subprocess.run(asked, env=_environment(server), stdout=subprocess.PIPE, check=True, timeout=400)
    rate = round(float(done.stdout))
    say(f"PgQueuer alone: {rate:,} jobs/s")
    return {"PgQueuer": rate}


def _each(server: EmbeddedPostgres, measure: Callable[[str, dict[str, str]], float]) -> dict[str, Any]:
    found: dict[str, Any] = {PROCRASTINATE: round(measure(PROCRASTINATE, _environment(server)))}
    if shutil.which("redis-server") is None:
        found[CELERY] = ABSENT
    else:
        with _redis() as url:
            found[CELERY] = round(measure(CELERY, {**_environment(server), "BENCH_REDIS_URL": url}))
    for name, rate in found.items():
        say(f"{name}: {rate if isinstance(rate, str) else f'{rate:,} events/s'}")
    return found


def _acknowledged(name: str, env: dict[str, str], server: EmbeddedPostgres, count: int) -> float:
    _schema(server)
    with _web(name, env) as port:
        events = traffic.templates(400, ACCOUNTS)
        made = traffic.requests(traffic.bodies(count + 500, events), SECRET, port)
        traffic.blast(made[:500], port)
        load = traffic.blast(made[500:], port)
    if load.statuses != {200: count}:
        raise RuntimeError(f"{name}: not every event was acknowledged: {load.statuses}")
    return load.rate


def _routed(name: str, env: dict[str, str], server: EmbeddedPostgres, count: int) -> float:
    """The events come in through the web handler; then the worker starts."""
    _schema(server)
    with _web(name, env) as port:
        events = traffic.templates(400, ACCOUNTS)
        traffic.blast(traffic.requests(traffic.bodies(count, events), SECRET, port), port)
    with process(_worker(name), env):
        return with_connection(server.url(DATABASE), lambda connection: _rate(connection, count))


async def _rate(connection: "asyncpg.Connection[asyncpg.Record]", count: int) -> float:
    end = time.monotonic() + 300
    while await connection.fetchval("SELECT count(*) FROM event WHERE routed_at IS NOT NULL") < count:
        if time.monotonic() > end:
            raise RuntimeError("the usual worker did not get done in five minutes")
        time.sleep(0.25)
    rate = await connection.fetchval(
        "SELECT (count(*) - 1)::float8 / extract(epoch FROM max(routed_at) - min(routed_at))::float8 FROM event"
    )
    return float(rate)


def _environment(server: EmbeddedPostgres) -> dict[str, str]:
    return {**environment(server), "HOLDFAST_DATABASE_URL": server.url(DATABASE)}


def _new_database(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")


def _schema(server: EmbeddedPostgres) -> None:
    _new_database(server)
    with psycopg.connect(server.url(DATABASE), autocommit=True) as connection:
        connection.execute(handler.SCHEMA)
        connection.execute(SchemaManager.get_schema())
        subscriptions = [(name, f"https://{name}.example", pattern) for name in ACCOUNTS for pattern in _PATTERNS]
        connection.cursor().executemany("INSERT INTO subscription VALUES (%s, %s, %s)", subscriptions)


_PATTERNS = ("charge.%", "payment_intent.%")


@contextmanager
def _web(name: str, env: dict[str, str]) -> Iterator[int]:
    port = free_port()
    module = {PROCRASTINATE: "procrastinate_app", CELERY: "celery_app"}[name]
    asked = ["-m", "uvicorn", f"bench.peers.{module}:web", "--port", str(port), "--log-level", "error"]
    with process([*asked, "--no-access-log", "--loop", "uvloop", "--http", "httptools"], env) as started:
        wait_for_port(port, started)
        yield port


def _worker(name: str) -> list[str]:
    if name == CELERY:
        return ["-m", "celery", "-A", "bench.peers.celery_app:app", "-q", "worker", "-c", "2", "-l", "error"]
    options = ["--concurrency", "16", "--delete-jobs", "always"]
    return [
        "-m",
        "procrastinate",
        "--app",
        "bench.peers.procrastinate_app.app",
        "--log-level",
        "error",
        "worker",
        *options,
    ]


@contextmanager
def _redis() -> Iterator[str]:
    """In memory, with the snapshots of its defaults: what was put in since the last one is lost with the process."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as place:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", place, "--loglevel", "warning"]
        started = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            wait_for_port(port, started)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            started.terminate()
            started.wait(15)

"""FastAPI and Celery on Redis: the event is in PostgreSQL, the task in memory until Redis saves it."""

import os

import psycopg
import stripe
from celery import Celery
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from psycopg_pool import ConnectionPool

from bench.harness import SECRET
from bench.peers import handler

URL = os.environ["HOLDFAST_DATABASE_URL"]
app = Celery("peer", broker=os.environ["BENCH_REDIS_URL"])
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=16)
web = FastAPI()
pool = ConnectionPool(URL, min_size=1, max_size=16, open=False)


@web.post("/hooks/stripe")
async def hook(request: Request) -> dict[str, bool]:
    body = await request.body()
    try:
        event = stripe.Webhook.construct_event(body, request.headers["stripe-signature"], SECRET)
    except stripe.SignatureVerificationError:
        raise HTTPException(400) from None
    await run_in_threadpool(_store, event, body)
    return {"received": True}


def _store(event: stripe.Event, body: bytes) -> None:
    pool.open()
    with pool.connection() as connection:
        new = connection.execute(handler.ADD, handler.added(event, body)).rowcount
    if new:
        route.delay(event["id"])


_connection: psycopg.Connection | None = None


@app.task(name="route")  # type: ignore[untyped-decorator]
def route(event_id: str) -> None:
    global _connection  # noqa: PLW0603 - one connection for each of Celery's processes
    if _connection is None:
        _connection = psycopg.connect(URL)
    with _connection.transaction():
        row = _connection.execute(handler.BODY, (event_id,)).fetchone()
        if row is not None:
            for statement, parameters in handler.statements(event_id, row[0]):
                _connection.execute(statement, parameters)

"""FastAPI and Procrastinate: the task is in PostgreSQL, like the event. `web` and `app` are what their servers run."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import stripe
from fastapi import FastAPI, HTTPException, Request
from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

from bench.harness import SECRET
from bench.peers import handler

URL = os.environ["HOLDFAST_DATABASE_URL"]
app = App(connector=PsycopgConnector(conninfo=URL, min_size=4, max_size=16))
pool = AsyncConnectionPool(URL, min_size=4, max_size=16, open=False)


@asynccontextmanager
async def _lifespan(_web: FastAPI) -> AsyncIterator[None]:
    async with pool, app.open_async():
        yield


web = FastAPI(lifespan=_lifespan)


@web.post("/hooks/stripe")
async def hook(request: Request) -> dict[str, bool]:
    body = await request.body()
    try:
        event = stripe.Webhook.construct_event(body, request.headers["stripe-signature"], SECRET)
    except stripe.SignatureVerificationError:
        raise HTTPException(400) from None
    async with pool.connection() as connection:
        result = await connection.execute(handler.ADD, handler.added(event, body))
    if result.rowcount:
        await route.defer_async(event_id=event["id"])
    return {"received": True}


@app.task(name="route")
async def route(event_id: str) -> None:
    await pool.open()
    async with pool.connection() as connection:
        row = await (await connection.execute(handler.BODY, (event_id,))).fetchone()
        if row is not None:
            for statement, parameters in handler.statements(event_id, row[0]):
                await connection.execute(statement, parameters)

"""`/v1/capacity`."""

import asyncio
from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from holdfast import durations
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.durations import DurationError
from holdfast.health.capacity import capacity, document

LONGEST = timedelta(days=7)


def router(pool: Pool, settings: Settings) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["queue"])
    turn = asyncio.Lock()  # it reads all that waits: who asks twice waits, and leaves the pool to others

    @made.get("/capacity", response_class=Response, responses={200: {"content": {"application/json": {}}}})
    async def show_capacity(
        within: Annotated[str, Query(max_length=20, description="Drain what waits in this time: 15m, 1h.")] = "15m",
    ) -> Response:
        """How long what waits will take, how many workers would drain it in time, what limits now.

        The document of `holdfast queue capacity --json`.
        """
        length = durations.read(within)
        if length > LONGEST:
            raise DurationError(f"within: {within} is too long; ask for {LONGEST.days}d at most")
        async with turn:
            found = await capacity(pool, settings, length)
        return Response(msgspec.json.encode(document(found)), media_type="application/json")

    return made

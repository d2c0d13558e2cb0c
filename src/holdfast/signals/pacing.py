"""Long work in an event loop that also answers calls."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")
_STEP = 500


async def paced(items: Iterable[T], step: int = _STEP) -> AsyncIterator[T]:
    """The items; behind every `step` of them others have their turn, so `step` of them should take a millisecond."""
    for number, item in enumerate(items, 1):
        yield item
        if number % step == 0:
            await asyncio.sleep(0)

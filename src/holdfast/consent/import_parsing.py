"""A whole file in parsed chunks, in order; a large one is parsed by other processes while this one stores."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any

from holdfast.consent.import_files import Source, Unread, read
from holdfast.consent.import_rows import Parsed, Reading, Taken, parse

CHUNK = 2000
"""Rows of one transaction. Nobody else appends to the ledger while the last part of it is under way."""
INLINE = 5 * CHUNK
"""Files of up to so many rows are not worth other processes."""


class Seen:
    """Which people and consents were in the file before, by a hash of 64 bits: some 100 bytes a row."""

    def __init__(self) -> None:
        self._lines: dict[int, int] = {}

    def first(self, parsed: Parsed) -> list[Taken]:
        """Without those that were there before, which are put among the rejects."""
        rows = []
        for row in parsed.rows:
            line = self._lines.setdefault(hash((row.phone, row.action, row.purpose, row.given_at)), row.line)
            if line == row.line:
                rows.append(row)
            else:
                parsed.rejects.append(Unread(row.line, "the same was in the file before", f"line {line}"))
        return rows


async def parsed(source: Source, reading: Reading) -> AsyncIterator[Parsed]:
    """Raises ConsentError, OSError."""
    rows = iter(read(source))
    begun = list(islice(rows, INLINE + 1))
    is_large = len(begun) > INLINE
    rows = chain(begun, rows)
    chunks = iter(lambda: list(islice(rows, CHUNK)), [])
    if not is_large:
        for chunk in chunks:
            yield parse(chunk, reading)
        return
    with _processes(reading) as pool:
        waiting: deque[Future[Parsed]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(_parse_there, chunk))
            if len(waiting) > 2 * _workers():
                yield await asyncio.wrap_future(waiting.popleft())
        while waiting:
            yield await asyncio.wrap_future(waiting.popleft())


def _workers() -> int:
    return max(1, min(4, (os.cpu_count() or 2) - 1))


@contextmanager
def _processes(reading: Reading) -> Iterator[ProcessPoolExecutor]:
    """Fresh ones: a copy of this one would hold its connections."""
    pool = ProcessPoolExecutor(
        _workers(), mp_context=get_context("spawn"), initializer=_begin_there, initargs=(reading,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_there: list[Reading] = []


def _begin_there(reading: Reading) -> None:
    _there[:] = [reading]


def _parse_there(rows: list[Any]) -> Parsed:
    return parse(rows, _there[0])

"""Callbacks on disk: what could not be stored in time waits here, synced, until it can be.

One file at a time a process, locked while the process lives; those of dead processes are taken over. A line is a
checksum and a callback as JSON. What is acknowledged was written before, whole, so a torn last line never was.

Written and synced by two threads: a line is with the kernel, and survives the process, while the disk takes its time
over those before it. Everything else is done beside them, and files are moved about by the event loop alone.
"""

import asyncio
import os
import time
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from holdfast.voice.model import Callback
from holdfast.voice.spool_file import ENDING, READY, SpoolFile, line, sync_directory

log = structlog.get_logger()

T = TypeVar("T")

DIRECTORY = "spool"
REFUSED = "refused"
MOST_BYTES = 1024 * 1024 * 1024
"""On disk, of all processes together: above that nothing is added."""
MOST_WAITING = 64 * 1024 * 1024
"""In memory, of this process, for the disk to take them: above that nothing is added either."""
_LARGEST_FILE = 16 * 1024 * 1024
_LARGEST_WRITE = 1024 * 1024


class SpoolError(Exception):
    """It could not be put on disk; the message says why."""


class Put:
    """A line on its way to disk. Each future is set when that is so, or to why it cannot be."""

    __slots__ = ("synced", "text", "written")

    def __init__(self, text: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.text = text
        self.written: asyncio.Future[SpoolError | None] = loop.create_future()
        """It survives the process, though not yet the machine; and others can read it."""
        self.synced: asyncio.Future[SpoolError | None] = loop.create_future()


class Spool:
    """This process's part of the spool. What many put at once shares a write and a sync."""

    def __init__(
        self,
        data_dir: Path,
        *,
        most_bytes: int = MOST_BYTES,
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._directory = data_dir / DIRECTORY
        self._most_bytes = most_bytes
        self._most_waiting = most_waiting
        self._clock = clock
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="spool")
        self._waiting: deque[Put] = deque()
        self._waiting_bytes = 0
        self._unsynced: dict[SpoolFile, list[Put]] = {}
        self._writer: asyncio.Task[None] | None = None
        self._syncer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._syncing = asyncio.Lock()
        self._open: SpoolFile | None = None
        self._ready: SpoolFile | None = None
        self._sealed: list[SpoolFile] = []
        """Files of ours, and of dead processes, that nothing is added to any more: oldest first."""
        self._others_bytes = 0

    @property
    def waiting(self) -> int:
        """Callbacks on disk that this process is to store."""
        return sum(file.lines for file in self._own())

    def put(self, callback: Callback) -> Put:
        """Have it written and synced, which is done also if nobody waits for it any more. Raises SpoolError."""
        put = Put(line(callback))
        if self._waiting_bytes + len(put.text) > self._most_waiting:
            raise SpoolError(f"the spool cannot be written: {self._waiting_bytes} bytes wait for the disk already")
        self._waiting.append(put)
        self._waiting_bytes += len(put.text)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_waiting())
        return put

    async def append(self, callback: Callback) -> None:
        """Return once it is on disk, synced, however long that takes. Raises SpoolError."""
        error = await self.put(callback).synced
        if error is not None:
            raise error

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                await self._write(self._next())
        finally:
            self._writer = None

    def _next(self) -> list[Put]:
        """As much as is written at once."""
        batch, size = [self._waiting.popleft()], 0
        while self._waiting and size < _LARGEST_WRITE:
            size += len(batch[-1].text)
            batch.append(self._waiting.popleft())
        return batch

    async def _write(self, batch: Sequence[Put]) -> None:
        text = b"".join(put.text for put in batch)
        error: SpoolError | None = SpoolError("the process ends")
        try:
            async with self._writing:
                file = await self._file_for(len(text))
                try:
                    await self._in_thread(partial(file.write, text, len(batch)))
                except Exception:
                    self._seal()  # whatever is at its end, nothing is written behind it
                    raise
            error = None
            self._unsynced.setdefault(file, []).extend(batch)
        except Exception as failed:  # noqa: BLE001 - whatever it was, nobody waits for ever
            error = _cannot(failed)
        finally:
            self._waiting_bytes -= len(text)
            for put in batch:
                put.text = b""
                _tell(put.written, error)
                if error is not None:
                    _tell(put.synced, error)
        if self._unsynced and self._syncer is None:
            self._syncer = asyncio.create_task(self._sync_written())

    async def _file_for(self, size: int) -> SpoolFile:
        if self._others_bytes + sum(file.size for file in self._own()) + size > self._most_bytes:
            raise SpoolError(f"it has reached {self._most_bytes} bytes")
        if self._open is not None and self._open.size > _LARGEST_FILE:
            self._seal()
        if self._open is not None:
            return self._open
        ready, self._ready = self._ready, None
        if ready is None:
            ready = await self._in_thread(partial(SpoolFile.create, self._directory, self._clock()))
        self._open = ready
        await self._in_thread(ready.begin)
        return ready

    async def _sync_written(self) -> None:
        try:
            while self._unsynced:
                written, self._unsynced = self._unsynced, {}
                for file, batch in written.items():
                    error: SpoolError | None = SpoolError("the process ends")
                    try:
                        error = await self._sync(file)
                    finally:
                        for put in batch:
                            _tell(put.synced, error)
        finally:
            self._syncer = None

    async def _sync(self, file: SpoolFile) -> SpoolError | None:
        """What was written stays, whatever becomes of it: some of it may have been acknowledged."""
        async with self._syncing:
            if file.is_deleted:  # all of it is stored
                return None
            try:
                await self._in_thread(file.sync)
            except Exception as failed:  # noqa: BLE001 - as above
                error = _cannot(failed)
            else:
                return None
        async with self._writing:
            if self._open is file:
                self._seal()
        return error

    def _in_thread(self, work: Callable[[], T]) -> Awaitable[T]:
        """Of the two: no more than one write and one sync are under way."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _own(self) -> list[SpoolFile]:
        return [*self._sealed, *([self._open] if self._open is not None else [])]

    def _seal(self) -> None:
        if self._open is not None:
            self._sealed.append(self._open)
            self._open = None

    async def prepare(self) -> None:
        """Make the next file beforehand, beside whatever is written. Raises SpoolError."""
        if self._ready is None:
            try:
                self._ready = await asyncio.to_thread(SpoolFile.create, self._directory, self._clock())
            except OSError as error:
                raise _cannot(error) from error

    async def adopt(self) -> None:
        """Take over one file, the oldest, of those that processes which are gone have left."""
        ours = {file.path for file in (*self._own(), self._ready) if file is not None}
        adopted, self._others_bytes = await asyncio.to_thread(_adopt_oldest, self._directory, ours)
        if adopted is not None:
            log.info("spool.adopted", file=adopted.path.name, bytes=adopted.size)
            self._sealed.append(adopted)
            self._sealed.sort(key=lambda file: file.path.name)

    async def oldest(self) -> SpoolFile | None:
        """The oldest file to store, to which nothing is added any more; None: there is none."""
        if not self._sealed:
            async with self._writing:
                self._seal()
        return self._sealed[0] if self._sealed else None

    async def finish(self, file: SpoolFile) -> None:
        """Its content is stored: delete it."""
        async with self._syncing:
            await asyncio.to_thread(file.delete)
        self._sealed.remove(file)

    async def refuse(self, callback: Callback) -> None:
        """Set aside one that the store will not have, for people to look at. Raises SpoolError."""
        await self._aside(callback.event_id, line(callback))

    async def set_aside(self, name: str, content: bytes) -> None:
        """Set aside what cannot be read. Raises SpoolError."""
        await self._aside(name, content)

    async def _aside(self, name: str, content: bytes) -> None:
        try:
            await asyncio.to_thread(_set_aside, self._directory / REFUSED, name, content)
        except OSError as error:
            raise _cannot(error) from error

    def close(self) -> None:
        """Files stay where they are, and are the next process's."""
        self._threads.shutdown(wait=True)
        if self._ready is not None:
            self._ready.delete()
        for file in self._own():
            file.close()
        self._sealed, self._open, self._ready = [], None, None


def _adopt_oldest(directory: Path, ours: Collection[Path]) -> tuple[SpoolFile | None, int]:
    """The oldest file that nobody has, and the bytes of all others that are not ours."""
    adopted, others = None, 0
    try:
        found = sorted(path for path in directory.iterdir() if path.suffix in (ENDING, READY) and path not in ours)
    except FileNotFoundError:
        return None, 0
    for path in found:
        if adopted is None and (adopted := SpoolFile.adopt(path)) is not None:
            adopted.count()
            continue
        with suppress(FileNotFoundError):
            others += path.stat().st_size
    return adopted, others


def _set_aside(directory: Path, name: str, content: bytes) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    plain = "".join(char if char.isalnum() or char in ".-" else "_" for char in name)[:150]
    path = directory / f"{plain}-{zlib.crc32(content):08x}.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)


def _cannot(error: Exception) -> SpoolError:
    return SpoolError(f"the spool cannot be written: {error}")


def _tell(future: asyncio.Future[SpoolError | None], error: SpoolError | None) -> None:
    if not future.done():
        future.set_result(error)

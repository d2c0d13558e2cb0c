"""Callbacks on disk: what could not be stored in time waits here, synced, until it can be.

One file at a time a process, locked while the process lives; those of dead processes are taken over. A line is a
checksum and a callback as JSON. What is acknowledged was synced before, so a torn last line was never acknowledged.
"""

import asyncio
import fcntl
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from holdfast.voice.model import Callback

log = structlog.get_logger()

DIRECTORY = "spool"
REFUSED = "refused"
MOST_BYTES = 1024 * 1024 * 1024
"""On disk, of all processes together: above that nothing is added."""
_LARGEST_FILE = 16 * 1024 * 1024
_ENDING, _READY = ".spool", ".ready"
"""Of files in use, and of the one that is made beforehand: to make one takes two syncs, which a call would wait for."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Callback).decode


class SpoolError(Exception):
    """It could not be put on disk; the message says why."""


class Spool:
    """This process's part of the spool. `append` may be called at once by many; they share a sync."""

    def __init__(
        self, data_dir: Path, *, most_bytes: int = MOST_BYTES, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._directory = data_dir / DIRECTORY
        self._most_bytes = most_bytes
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._open: SpoolFile | None = None
        self._ready: SpoolFile | None = None
        self._sealed: list[SpoolFile] = []
        """Files of ours, and of dead processes, that nothing is added to any more: oldest first."""
        self._others_bytes = 0

    @property
    def waiting(self) -> int:
        """Callbacks on disk that this process is to store."""
        return sum(file.lines for file in [*self._sealed, *([self._open] if self._open else [])])

    async def append(self, callback: Callback) -> None:
        """Return once it is on disk, synced. Raises SpoolError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((line(callback), future))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await future

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                error: Exception | None = None
                try:
                    await loop.run_in_executor(self._thread, self._write, [text for text, _ in batch])
                except (OSError, SpoolError, RuntimeError) as failed:  # RuntimeError: it is closed
                    error = SpoolError(f"the spool cannot be written: {failed}")
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error) if error is not None else future.set_result(None)
        finally:
            self._flushing = None

    def _write(self, lines: Sequence[bytes]) -> None:
        """In the thread."""
        size = sum(len(text) for text in lines)
        if self._others_bytes + self._own_bytes() + size > self._most_bytes:
            raise SpoolError(f"it has reached {self._most_bytes} bytes")
        if self._open is not None and self._open.size > _LARGEST_FILE:
            self._seal()
        if self._open is None:
            ready, self._ready = self._ready, None
            self._open = ready or SpoolFile.create(self._directory, self._clock())
            self._open.begin()
        try:
            self._open.append(b"".join(lines), len(lines))
        except OSError:
            self._seal()  # whatever is at its end, nothing is written behind it
            raise

    def _own_bytes(self) -> int:
        return sum(file.size for file in self._sealed) + (self._open.size if self._open is not None else 0)

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
                raise SpoolError(f"the spool cannot be written: {error}") from error

    async def adopt(self) -> None:
        """Take over what processes that are gone have left."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._adopt)

    async def oldest(self) -> "SpoolFile | None":
        """The oldest file to store, to which nothing is added any more; None: there is none."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._oldest)

    def _oldest(self) -> "SpoolFile | None":
        if not self._sealed:
            self._seal()
        return self._sealed[0] if self._sealed else None

    async def finish(self, file: "SpoolFile") -> None:
        """Its content is stored: delete it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._finish, file)

    def _finish(self, file: "SpoolFile") -> None:
        file.delete()
        self._sealed.remove(file)

    def _adopt(self) -> None:
        ours = {file.path for file in (*self._sealed, self._open, self._ready) if file is not None}
        others = 0
        try:
            found = sorted(path for path in self._directory.iterdir() if path.suffix in (_ENDING, _READY))
        except FileNotFoundError:
            return
        for path in found:
            if path in ours:
                continue
            adopted = SpoolFile.adopt(path)
            if adopted is not None:
                log.info("spool.adopted", file=path.name, bytes=adopted.size)
                self._sealed.append(adopted)
            else:
                with suppress(FileNotFoundError):
                    others += path.stat().st_size
        self._others_bytes = others
        self._sealed.sort(key=lambda file: file.path.name)

    async def refuse(self, callback: Callback) -> None:
        """Set aside one that the store will not have, for people to look at. Raises SpoolError."""
        await self._aside(callback.event_id, line(callback))

    async def set_aside(self, name: str, content: bytes) -> None:
        """Set aside what cannot be read. Raises SpoolError."""
        await self._aside(name, content)

    async def _aside(self, name: str, content: bytes) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._thread, _set_aside, self._directory / REFUSED, name, content
            )
        except OSError as error:
            raise SpoolError(f"the spool cannot be written: {error}") from error

    def close(self) -> None:
        """Files stay where they are, and are the next process's."""
        self._thread.shutdown(wait=True)
        if self._ready is not None:
            self._ready.delete()
        for file in [*self._sealed, *([self._open] if self._open else [])]:
            file.close()
        self._sealed, self._open, self._ready = [], None, None


class SpoolFile:
    """A file that this process has locked. What is written to it is synced."""

    def __init__(self, path: Path, descriptor: int, *, size: int = 0, lines: int = 0) -> None:
        self.path = path
        self.size = size
        self.lines = lines
        self._descriptor = descriptor

    @classmethod
    def create(cls, directory: Path, now: int) -> "SpoolFile":
        """Locked before it has a name under which others look. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{now:020d}-{os.getpid()}-{secrets.token_hex(4)}"
        passing, path = directory / f"{name}.new", directory / f"{name}{_READY}"
        descriptor = os.open(passing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            passing.rename(path)
            _sync(directory)
        except OSError:
            os.close(descriptor)
            with suppress(OSError):
                passing.unlink(missing_ok=True)
            raise
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> "SpoolFile | None":
        """None while its process lives, or if another one has taken it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino != path.stat().st_ino:
                raise FileNotFoundError(path)
        except OSError:
            os.close(descriptor)
            return None
        content = _whole(descriptor)
        return cls(path, descriptor, size=len(content), lines=content.count(b"\n"))

    def begin(self) -> None:
        """It is in use from now on. Should the new name get lost with the machine, it is found under the old one."""
        path = self.path.with_suffix(_ENDING)
        self.path.rename(path)
        self.path = path

    def append(self, text: bytes, lines: int) -> None:
        """All of it, synced, or nothing. Raises OSError."""
        try:
            written = os.write(self._descriptor, text)
            while written < len(text):
                written += os.write(self._descriptor, text[written:])
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(text)
        self.lines += lines

    def read(self) -> Iterator[Callback | bytes]:
        """Callbacks in the order in which they came; what is damaged as it is there. A torn last line is left out."""
        whole, _, _torn = _whole(self._descriptor).rpartition(b"\n")
        for text in whole.split(b"\n"):
            if text:
                found = read_line(text)
                yield found if found is not None else text

    def delete(self) -> None:
        """Not synced: what is there again after a crash is stored again, and is held already."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        os.close(self._descriptor)


def line(callback: Callback) -> bytes:
    text = _encode(callback)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def read_line(text: bytes) -> Callback | None:
    """None if it is damaged."""
    checksum, _, body = text.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        return _decode(body)
    except msgspec.MsgspecError:
        return None


def _whole(descriptor: int) -> bytes:
    parts, at = [], 0
    while part := os.pread(descriptor, 1024 * 1024, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _set_aside(directory: Path, name: str, content: bytes) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    plain = "".join(char if char.isalnum() or char in ".-" else "_" for char in name)[:150]
    path = directory / f"{plain}-{zlib.crc32(content):08x}.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _sync(directory)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A file of callbacks on disk: a line is a checksum and a callback as JSON. It is its process's while that lives."""

import fcntl
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from holdfast.voice.model import Callback

ENDING, READY = ".spool", ".ready"
"""Of files in use, and of the one that is made beforehand: to make one takes two syncs, which a call would wait for."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Callback).decode


class SpoolFile:
    """A file that this process has locked."""

    def __init__(self, path: Path, descriptor: int, *, size: int = 0) -> None:
        self.path = path
        self.size = size
        self.lines = 0
        self.is_deleted = False
        self._descriptor = descriptor

    @classmethod
    def create(cls, directory: Path, now: int) -> "SpoolFile":
        """Locked before it has a name under which others look. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{now:020d}-{os.getpid()}-{secrets.token_hex(4)}"
        passing, path = directory / f"{name}.new", directory / f"{name}{READY}"
        descriptor = os.open(passing, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            passing.rename(path)
            sync_directory(directory)
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
        return cls(path, descriptor, size=os.fstat(descriptor).st_size)

    def count(self) -> None:
        """Count the lines of one that another process has written."""
        self.lines = sum(part.count(b"\n") for part in _parts(self._descriptor))

    def begin(self) -> None:
        """It is in use from now on. Should the new name get lost with the machine, it is found under the old one."""
        path = self.path.with_suffix(ENDING)
        self.path.rename(path)
        self.path = path

    def write(self, text: bytes, lines: int) -> None:
        """All of it, or nothing. Raises OSError."""
        try:
            written = os.write(self._descriptor, text)
            while written < len(text):
                written += os.write(self._descriptor, text[written:])
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(text)
        self.lines += lines

    def sync(self) -> None:
        """Raises OSError."""
        os.fdatasync(self._descriptor)

    def read(self) -> Iterator[Callback | bytes]:
        """Callbacks in the order in which they came; what is damaged as it is there. A torn last line is left out."""
        whole, _, _torn = b"".join(_parts(self._descriptor)).rpartition(b"\n")
        for text in whole.split(b"\n"):
            if text:
                found = read_line(text)
                yield found if found is not None else text

    def delete(self) -> None:
        """Not synced: what is there again after a crash is stored again, and is held already."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.is_deleted = True
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


def _parts(descriptor: int) -> Iterator[bytes]:
    at = 0
    while part := os.pread(descriptor, 1024 * 1024, at):
        yield part
        at += len(part)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

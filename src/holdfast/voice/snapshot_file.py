"""The snapshot on disk: numbers and accounts in one file, and levers, which turn often, in a small one of their own.

A file appears whole or not at all, for nobody else to read: it holds what signs.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from holdfast.twilio.model import Account
from holdfast.voice.model import Line

log = structlog.get_logger()

T = TypeVar("T")

FILE, LEVERS_FILE = "voice.snapshot", "voice.levers"
LARGEST = 512 * 1024 * 1024
# With what files begin. A later form gets another number: what wrote it is not asked to be understood.
_MAGIC, _LEVERS_MAGIC = b"holdfast voice snapshot 1\n", b"holdfast voice levers 1\n"
_DIGEST = hashlib.sha256().digest_size
_AT_ONCE = 500
"""Lines that are encoded while nothing else runs: all of them at once kept calls waiting."""

Levers = Mapping[tuple[str, str], int]
_Lever = tuple[str, str, int]


class Stored(msgspec.Struct):
    """What is in the large file."""

    version: int
    as_of: float
    lines: tuple[Line, ...]
    accounts: tuple[Account, ...]
    levers: tuple[_Lever, ...] = ()
    """As the first files had them: what is in a file of their own is newer."""


_encode = msgspec.msgpack.Encoder().encode
_DECODER = msgspec.msgpack.Decoder(Stored)
_LEVERS_DECODER = msgspec.msgpack.Decoder(tuple[_Lever, ...])


def read(directory: Path) -> tuple[Stored, Levers]:
    """Raises OSError, ValueError."""
    stored = _decoded(_DECODER, _body(directory / FILE, _MAGIC))
    levers = stored.levers
    try:
        levers = _decoded(_LEVERS_DECODER, _body(directory / LEVERS_FILE, _LEVERS_MAGIC))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.warning("voice.levers_ignored", path=str(directory / LEVERS_FILE), error=str(error))
    return stored, {(name, target): value for name, target, value in levers}


def write(directory: Path, stored: Stored) -> None:
    """Raises OSError."""
    _write(directory / FILE, _MAGIC, _encoded(stored))


def write_levers(directory: Path, levers: Levers) -> None:
    """Raises OSError."""
    body = _encode([(name, target, value) for (name, target), value in levers.items()])
    _write(directory / LEVERS_FILE, _LEVERS_MAGIC, [body])


def _encoded(stored: Stored) -> Iterator[bytes]:
    """In parts, what the decoder reads as a whole: a map of the fields, the long ones as arrays.

    Source: MessagePack specification, formats fixmap and array 32.
    """
    yield b"\x84" + _encode("version") + _encode(stored.version) + _encode("as_of") + _encode(stored.as_of)
    fields: Sequence[tuple[str, Sequence[object]]] = (("lines", stored.lines), ("accounts", stored.accounts))
    for name, found in fields:
        yield _encode(name) + b"\xdd" + len(found).to_bytes(4, "big")
        for begin in range(0, len(found), _AT_ONCE):
            yield b"".join(_encode(one) for one in found[begin : begin + _AT_ONCE])


def _decoded(decoder: "msgspec.msgpack.Decoder[T]", body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is damaged: {error}") from None


def _body(path: Path, magic: bytes) -> bytes:
    """Raises OSError, ValueError."""
    with path.open("rb") as file:
        whole = file.read(LARGEST + 1)
    if not whole.startswith(magic):
        raise ValueError("it is of another version, or no snapshot")
    digest, body = whole[len(magic) :][:_DIGEST], whole[len(magic) + _DIGEST :]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("it is damaged")
    return body


def _write(path: Path, magic: bytes, body: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    digest = hashlib.sha256()
    try:
        with open(os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(magic + bytes(_DIGEST))
            for part in body:
                digest.update(part)
                file.write(part)
            file.seek(len(magic))
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
        _sync_directory(path.parent)
    except OSError:
        with suppress(OSError):
            passing.unlink(missing_ok=True)
        raise


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

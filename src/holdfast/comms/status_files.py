"""The status page in files: the snapshot that a starting process reads, and a page that any web server can show."""

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from holdfast.comms.status import Update

SNAPSHOT = "snapshot.json"
LARGEST = 32 * 1024 * 1024
_VERSION = 1


class Snapshot(msgspec.Struct, frozen=True):
    """What was published, as it was read from the store at `read_at`."""

    read_at: datetime
    updates: tuple[Update, ...]
    version: int = _VERSION


def place(data_dir: Path) -> Path:
    return data_dir / "status"


def write_snapshot(directory: Path, updates: Sequence[Update], read_at: datetime) -> None:
    """Raises OSError."""
    write(directory, {SNAPSHOT: msgspec.json.encode(Snapshot(read_at, tuple(updates)))})


def read_snapshot(directory: Path) -> Snapshot | None:
    """None if there is none. Raises OSError, and ValueError if it cannot be understood."""
    path = directory / SNAPSHOT
    try:
        with path.open("rb") as file:
            body = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    if len(body) > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST} bytes")
    try:
        found = msgspec.json.decode(body, type=Snapshot)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    if found.version != _VERSION or any(one.at.tzinfo is None for one in found.updates) or found.read_at.tzinfo is None:
        raise ValueError(f"{path} is of another version")
    return found


def write(directory: Path, files: Mapping[str, bytes]) -> None:
    """Each file appears whole or not at all, whoever else writes it or crashes. Raises OSError."""
    for name, body in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        passing = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with passing.open("xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            passing.replace(path)
        except OSError:
            with suppress(OSError):
                passing.unlink(missing_ok=True)
            raise

"""How starts and stops of the embedded server wait: for each other, and for the server."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.db.embedded_account import EmbeddedError

START_LIMIT = 300.0  # seconds: crash recovery replays up to max_wal_size
STOP_LIMIT = 60.0
PATIENCE = START_LIMIT + STOP_LIMIT


@contextmanager
def alone(path: Path, given_up: threading.Event | None = None) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def locked() -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        if not wait(locked, PATIENCE, given_up):
            raise EmbeddedError(f"another process has been starting or stopping PostgreSQL for too long; see {path}")
        yield
    finally:
        os.close(fd)


def wait(happened: Callable[[], bool], patience: float, given_up: threading.Event | None = None) -> bool:
    give_up = time.monotonic() + patience
    while not happened():
        if time.monotonic() > give_up:
            return False
        if given_up is not None:
            go_on(given_up)
        time.sleep(0.02)
    return True


def go_on(given_up: threading.Event) -> None:
    if given_up.is_set():
        raise EmbeddedError("PostgreSQL is not wanted any more: this process stops")

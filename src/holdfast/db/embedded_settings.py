"""The embedded PostgreSQL's settings, and how its files are written."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]


def settings_file(data: Path, *, lz4: bool) -> str:
    memory = _memory()
    quoted = str(data / "postgresql.conf").replace("\\", "\\\\").replace("'", "''")
    settings = {
        "max_connections": "200",
        "shared_buffers": f"{max(128, min(memory // 4, 1024))}MB",
        "effective_cache_size": f"{max(256, memory * 6 // 10)}MB",
        "huge_pages": "off",
        "wal_level": "replica",
        "fsync": "on",
        "full_page_writes": "on",
        "wal_compression": "lz4" if lz4 else "off",
        "default_toast_compression": "lz4" if lz4 else "pglz",
        "max_wal_size": "2GB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "autovacuum_naptime": "5s",
        "autovacuum_vacuum_cost_limit": "2000",
        "jit": "off",
        "random_page_cost": "1.1",
        "idle_in_transaction_session_timeout": "60s",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] %a ",
        "log_min_duration_statement": "-1",
    }
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    head = ["# Written by Holdfast at each start. Put your own settings in local.conf beside this file."]
    return "\n".join([*head, f"include '{quoted}'", *lines, "include_if_exists 'local.conf'", ""])


def _memory() -> int:
    """MiB of memory: the machine's, or this container's limit (cgroup v2) if that is less."""
    total: int = psutil.virtual_memory().total
    with suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return total // 2**20


def write_whole(path: Path, text: str, mode: int, own: Callable[[int], None]) -> None:
    """Replace a file whole. Never through a link: as root, we write in a directory of the server's user."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        own(file.fileno())
        os.fchmod(file.fileno(), mode)
        file.write(text)
    partial.replace(path)

"""Thresholds: one TOML file, `watch.toml` in this folder, whose sections a file of the user's may override."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import msgspec

SHIPPED = "watch.toml"


class WatchError(Exception):
    """What is asked of `health_watch` cannot be; the message says why and what can be."""


class UnknownError(WatchError):
    """There is no such alert, silence or merchant."""


class WatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How alerts open, close and are told. Seconds."""

    closes_after: float = 120.0
    """An alert closes when nothing was seen of it for so long."""
    flapping: int = 3
    """Openings within an hour from which on an alert counts as flapping, and takes four times as long to close."""
    explained_for: float = 1800.0
    """What an alert explains stays explained for so long after it closed: queues are still being worked off."""
    tell_again: float = 14400.0
    """An alert that stays open is told again after so long."""
    group_wait: float = 10.0
    """Alerts of one runbook that open within so long are told together."""


S = TypeVar("S", bound=msgspec.Struct)


class Sections:
    """The settings as read: ask for a section with its type. Whatever nobody asked for is a mistake."""

    def __init__(self, path: Path | None = None) -> None:
        """`path` is the user's file. Raises WatchError."""
        self._path = path
        self._shipped = tomllib.loads(files("holdfast.watch").joinpath(SHIPPED).read_text())
        self._own: Mapping[str, Any] = {}
        if path is not None:
            try:
                self._own = tomllib.loads(path.read_text())
            except OSError as error:
                raise WatchError(f"{path} cannot be read: {error.strerror}") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise WatchError(f"{path}: {error}") from None
        unknown = [name for name in self._own if name not in self._shipped]
        if unknown:
            known = ", ".join(f"[{name}]" for name in self._shipped)
            raise WatchError(f"{path}: there is no section {unknown[0]!r}; there are {known}")

    def section(self, name: str, kind: type[S]) -> S:
        """One section. Raises WatchError naming the file, the section and the mistake."""
        own = self._own.get(name, {})
        if not isinstance(own, dict):
            raise WatchError(f"{self._path}: {name} is a section; write [{name}]")
        try:
            return msgspec.convert(self._shipped[name] | own, kind)
        except msgspec.ValidationError as error:
            raise WatchError(f"{self._path or SHIPPED}: [{name}] {error}") from None

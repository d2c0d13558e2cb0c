"""The front matter of a runbook: what it is called, what it answers, how fast."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args

from holdfast import durations
from holdfast.runbooks import yaml_values
from holdfast.runbooks.mistakes import Mistakes
from holdfast.runbooks.model import Clocks
from holdfast.runbooks.yaml_values import Entry, YamlError
from holdfast.watch.model import Severity

NAME = re.compile(r"[a-z0-9]+(?:[-._][a-z0-9]+)*", re.ASCII)
"""How runbooks and steps are called: it stands in addresses, commands and file names."""
LONGEST_NAME = 80
_NEEDED = ("id", "title", "triggers", "severity")
_KNOWN = (*_NEEDED, "cadence", "clocks")
_LONGEST_TITLE = 200
_LONGEST_TRIGGER = 200
_LONGEST_TIME = timedelta(weeks=4)


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """As written; where it is wrong, a mistake was noted and something else stands here."""

    id: str
    title: str
    triggers: tuple[str, ...]
    severity: Severity
    clocks: Clocks


def is_name(text: object) -> bool:
    return isinstance(text, str) and len(text) <= LONGEST_NAME and NAME.fullmatch(text) is not None


def read_time(value: object) -> timedelta:
    """`30m`. Raises DurationError."""
    found = durations.read(value if isinstance(value, str) else str(value))
    if found > _LONGEST_TIME:
        raise durations.DurationError(f"{value} is too long; write at most 4w")
    return found


def read(text: str | None, stem: str, mistakes: Mistakes) -> FrontMatter:
    """Front matter, whose text begins on line 2; None: there is none. `stem`: the file's name without its ending."""
    entries: Mapping[str, Entry] = {}
    broken = text is None
    if text is None:
        mistakes.add(1, f"there is no front matter; begin with ---, {', '.join(f'{name}: …' for name in _NEEDED)}, ---")
    else:
        try:
            entries = yaml_values.read(text, 2)
        except YamlError as error:
            mistakes.add(error.line, f"front matter: {error.what}")
            broken = True
    if not broken:
        for name in _NEEDED:
            if name not in entries:
                mistakes.add(1, f"front matter has no {name}; write `{name}: {_example(name, stem)}`")
    for name, entry in entries.items():
        if name not in _KNOWN:
            mistakes.add(entry.line, f"front matter takes no {name!r}; there are {', '.join(_KNOWN)}")
    return _Reader(entries, stem, mistakes).front_matter()


def _example(name: str, stem: str) -> str:
    examples = {"id": stem, "title": "What it is for", "triggers": "[webhook-backlog]", "severity": "critical"}
    return examples[name]


class _Reader:
    def __init__(self, entries: Mapping[str, Entry], stem: str, mistakes: Mistakes) -> None:
        self._entries = entries
        self._stem = stem
        self._mistakes = mistakes

    def front_matter(self) -> FrontMatter:
        severity: Severity = self._one("severity", _severity, "critical")
        return FrontMatter(
            self._one("id", self._id, self._stem),
            self._one("title", _title, ""),
            self._one("triggers", _triggers, ()),
            severity,
            Clocks(
                acknowledge=self._one("clocks", _acknowledge, Clocks().acknowledge),
                update=self._one("cadence", read_time, Clocks().update),
            ),
        )

    def _one(self, name: str, convert: Callable[[Any], Any], default: Any) -> Any:
        entry = self._entries.get(name)
        if entry is None:
            return default
        try:
            return convert(entry.value)
        except ValueError as error:
            self._mistakes.add(entry.line, f"{name}: {error}")
            return default

    def _id(self, value: object) -> str:
        if value != self._stem and str(value) != self._stem:
            raise ValueError(f"{value!r} is not the file's name; write `id: {self._stem}` or rename the file")
        if not is_name(self._stem):
            raise ValueError(
                f"{value!r} cannot be one; name the file in small letters, digits and hyphens, at most {LONGEST_NAME}"
            )
        return self._stem


def _title(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_TITLE or not value.isprintable():
        raise ValueError(f"write one line in words, at most {_LONGEST_TITLE} characters; quote it if it is a number")
    return value.strip()


def _triggers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("write a list such as [webhook-backlog]; [] for a runbook that people begin")
    for one in value:
        if not isinstance(one, str) or not 0 < len(one) <= _LONGEST_TRIGGER or not one.isprintable() or " " in one:
            raise ValueError(f"{one!r} is none; write an alert's runbook, or how its key begins: webhook-backlog/route")
        if value.count(one) > 1:
            raise ValueError(f"{one!r} is there twice; remove one")
    return tuple(value)


def _severity(value: object) -> str:
    if value not in get_args(Severity):
        raise ValueError(f"there is no {value!r}; write {' or '.join(get_args(Severity))}")
    return str(value)


def _acknowledge(value: object) -> timedelta:
    if not isinstance(value, dict):
        raise ValueError("write `clocks: {acknowledge: 5m}`")
    for name in value:
        if name != "acknowledge":
            raise ValueError(f"there is no clock {name!r}; write `clocks: {{acknowledge: 5m}}`")
    return read_time(value["acknowledge"]) if value else Clocks().acknowledge

"""All runbooks: the product's own, and the user's directory, which overrides them by id and adds to them.

Files are read again when they change. One that is broken by an edit does not take a working runbook away: the last good
reading stays in force, and what is wrong is logged.
"""

import difflib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import structlog

from holdfast.runbooks import parser
from holdfast.runbooks.actions import Registry
from holdfast.runbooks.model import Runbook, RunbookError

log = structlog.get_logger()

SHIPPED = Path(str(files("holdfast.runbooks").joinpath("library")))
"""The product's own."""
_NOT_RUNBOOKS = ("readme.md",)

Signature = tuple[int, int, int]


class Library:
    """`directory` is the user's, `shipped` stands in for the product's."""

    def __init__(self, directory: Path | None, registry: Registry, *, shipped: Path | None = None) -> None:
        self._own = Layer(directory, registry, shipped=False)
        self._shipped = Layer(shipped or SHIPPED, registry, shipped=True)

    def all(self) -> list[Runbook]:
        """By id."""
        found = self._now()
        return [found[one] for one in sorted(found)]

    def get(self, runbook_id: str) -> Runbook:
        """Raises RunbookError if there is none."""
        found = self._now()
        if runbook_id not in found:
            raise self._unknown(runbook_id)
        return found[runbook_id]

    def for_alert(self, runbook: str, key: str) -> Runbook | None:
        """The runbook that answers an alert with this runbook name and this key.

        A trigger is the name itself, or how the key begins. The longest wins; of equal ones, the user's.
        """
        best: tuple[int, bool] | None = None
        found = None
        for one in self.all():
            for trigger in one.triggers:
                if trigger == runbook or key.startswith(trigger):
                    rank = (len(trigger), not one.shipped)
                    if best is None or rank > best:
                        best, found = rank, one
        return found

    def mistakes(self, runbook_id: str | None = None) -> list[str]:
        """What is wrong with the files as they are now, or with those of one runbook."""
        self._now()
        found = [*self._shipped.mistakes.items(), *self._own.mistakes.items()]
        return [line for name, lines in found if runbook_id in (None, name) for line in lines]

    def diff(self, runbook_id: str) -> str:
        """What the user's file changes in the shipped one, as a patch; "" if nothing. Raises RunbookError."""
        self._now()
        shipped, own = self._shipped.text(runbook_id), self._own.text(runbook_id)
        if shipped is None and own is None:
            raise self._unknown(runbook_id)
        return "" if own is None else patch(runbook_id, shipped, own)

    def _now(self) -> dict[str, Runbook]:
        self._shipped.refresh()
        self._own.refresh()
        return {**self._shipped.good, **self._own.good}

    def _unknown(self, runbook_id: str) -> RunbookError:
        there = ", ".join(sorted({**self._shipped.good, **self._own.good})) or "none"
        return RunbookError([f"there is no runbook {runbook_id!r}; there are: {there}"])


def patch(name: str, before: str | None, after: str) -> str:
    """What makes `after` of `before` (None: there was no file), as `patch -p1` and `git apply` take it."""
    lines = difflib.unified_diff(
        _lines(before or ""),
        _lines(after),
        "/dev/null" if before is None else f"a/{name}.md",
        f"b/{name}.md",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """As patches count lines: only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    signature: Signature
    runbook: Runbook | None
    mistakes: tuple[str, ...]


class Layer:
    """The runbooks of one directory. `good`: those in force; `mistakes`: what is wrong with each, "" for all of it."""

    def __init__(self, directory: Path | None, registry: Registry, *, shipped: bool) -> None:
        self.good: Mapping[str, Runbook] = {}
        self.mistakes: Mapping[str, list[str]] = {}
        self._directory = directory
        self._registry = registry
        self._is_shipped = shipped
        self._files: dict[str, _File] = {}

    def refresh(self) -> None:
        """Read what changed."""
        if self._directory is None:
            return
        try:
            seen = _signatures(self._directory)
        except OSError as error:
            # Perhaps only for a moment, such as a mount that is away: what was read stays in force.
            mistakes = {"": [f"{self._directory}:1: it cannot be read: {error.strerror}; see that it is there"]}
            if mistakes != self.mistakes:
                log.error("runbooks.unreadable", directory=str(self._directory), error=error.strerror)
            self.mistakes = mistakes
            return
        if self.mistakes or {name: (one.path, one.signature) for name, one in self._files.items()} != seen:
            self._files = {name: self._read(name, path, signature) for name, (path, signature) in seen.items()}
            self._choose()

    def text(self, name: str) -> str | None:
        """The file as it is now, right or wrong; None: there is none. Raises RunbookError."""
        found = self._files.get(name)
        if found is None:
            return None
        try:
            return parser.text_of(found.path.read_bytes(), str(found.path))
        except OSError as error:
            raise RunbookError([f"{found.path}:1: it cannot be read: {error.strerror}"]) from None

    def _read(self, name: str, path: Path, signature: Signature) -> _File:
        known = self._files.get(name)
        if known is not None and (known.path, known.signature) == (path, signature):
            return known
        try:
            return _File(path, signature, parser.load(path, self._registry, shipped=self._is_shipped), ())
        except RunbookError as error:
            return _File(path, signature, None, tuple(error.mistakes))

    def _choose(self) -> None:
        """What is in force: each file if it is right, else its last good reading.

        Those that did not change come first, so that a new file cannot take a trigger from a runbook that works.
        """
        before, good, mistakes = self.good, dict[str, Runbook](), dict[str, list[str]]()
        owners: dict[str, str] = {}
        for name in sorted(self._files, key=lambda one: (before.get(one) != self._files[one].runbook, one)):
            file = self._files[name]
            wrong = [*file.mistakes, *(_shared(file.runbook, owners) if file.runbook else ())]
            chosen = before.get(name) if wrong else file.runbook
            if chosen is not None:
                good[name] = chosen
                owners |= dict.fromkeys(chosen.triggers, name)
            if wrong and wrong != self.mistakes.get(name):
                log.error("runbook.broken", runbook=name, in_force=chosen and chosen.version, mistakes=wrong)
            if wrong:
                mistakes[name] = wrong
        self.good, self.mistakes = good, mistakes


def _shared(runbook: Runbook, owners: Mapping[str, str]) -> list[str]:
    """The triggers that are another runbook's."""
    lines = runbook.text.split("\n")
    begin = next((number for number, text in enumerate(lines) if text.startswith("triggers")), 0)
    found = []
    for trigger in runbook.triggers:
        if trigger in owners:
            line = next((number for number, text in enumerate(lines[begin:], begin + 1) if trigger in text), 1)
            found.append(f"{runbook.path}:{line}: trigger {trigger!r} is that of {owners[trigger]}; remove it from one")
    return found


def together(runbooks: list[Runbook]) -> list[str]:
    """The mistakes of runbooks in one directory that are right each by itself: triggers that two of them share."""
    owners: dict[str, str] = {}
    found = []
    for one in runbooks:
        found += _shared(one, owners)
        owners |= dict.fromkeys(one.triggers, one.id)
    return found


def paths(directory: Path) -> list[Path]:
    """The runbooks' files in a directory. Raises OSError."""
    return [path for path, _ in _signatures(directory).values()]


def _signatures(directory: Path) -> dict[str, tuple[Path, Signature]]:
    """What tells that a file changed: its time, size and number, by the file's stem."""
    found: dict[str, tuple[Path, Signature]] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix != ".md" or path.name.startswith(".") or path.name.lower() in _NOT_RUNBOOKS:
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            continue  # gone since it was listed
        if stat.S_ISREG(status.st_mode):
            found[path.stem] = (path, (status.st_mtime_ns, status.st_size, status.st_ino))
    return found

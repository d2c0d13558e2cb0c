"""The code span at the end of a task item, which says what runs: `do: voice.redistribute within=5m`."""

import re
import shlex
from dataclasses import dataclass, field
from datetime import timedelta
from typing import get_args

from holdfast import durations
from holdfast.runbooks.front_matter import read_time
from holdfast.runbooks.model import Kind

KINDS: tuple[str, ...] = get_args(Kind)
_SPAN = re.compile(r"([A-Za-z]+)(?:\s+([^\s:]+))?\s*:(?:\s+(.*))?", re.DOTALL)
_TIGHT = re.compile(rf"({'|'.join(KINDS)})():(\S.*)", re.DOTALL)
_NO_COLON = re.compile(rf"(?:{'|'.join(KINDS)})\s+(?:\d+\s*[a-z]+\s+)?\w+\.\w+(?:\s.*)?", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
FORMS = "`do: room.action`, `check: …`, `ask: …`, `every 30m: …` or `person: id=…`"


class SpanError(Exception):
    """It looks as if something were to run, but is not written as it must be; the message says how."""


@dataclass(frozen=True, slots=True)
class Span:
    """`cadence`: an `every` without a time of its own. `given`: as written, `id` and `role` too."""

    kind: Kind
    action: str | None = None
    every: timedelta | None = None
    cadence: bool = False
    given: dict[str, str] = field(default_factory=dict)


def is_like(text: str) -> bool:
    """Whether somebody meant this to run, rightly written or not."""
    try:
        return read(text) is not None
    except SpanError:
        return True


def read(text: str) -> Span | None:
    """None: a code span like any other. Raises SpanError."""
    text = text.strip()
    found = _TIGHT.fullmatch(text) or _SPAN.fullmatch(text)
    if found is None:
        if _NO_COLON.fullmatch(text):
            raise SpanError(f"`{text}` has no colon; write {FORMS}")
        return None
    word, time, rest = found[1], found[2] or None, found[3] or ""
    if word not in KINDS:
        if word.lower() in KINDS:
            raise SpanError(f"kinds are written small; write `{word.lower()}: …`")
        if time is not None:
            return None
        raise SpanError(f"there is no kind {word!r}; write {FORMS}, or put other code before the item's end")
    kind: Kind = word  # type: ignore[assignment]  # it is one of them
    if kind == "every":
        return Span(kind, *_call(kind, rest, time))
    if time is not None:
        raise SpanError(f"only `every` takes a time; write `{kind}: …`")
    return Span(kind, *_call(kind, rest, None))


def _call(kind: Kind, rest: str, time: str | None) -> tuple[str | None, timedelta | None, bool, dict[str, str]]:
    try:
        every = None if time is None else read_time(time)
    except durations.DurationError as error:
        raise SpanError(f"every: {error}") from None
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise SpanError(f"`{rest}`: {str(error).lower()}; quote values as in a shell: text='two words'") from None
    action = None
    if kind != "person":
        if not words or _PARAMETER.fullmatch(words[0]):
            raise SpanError(f"no action is named; write `{kind}: room.action name=value`")
        action = words.pop(0)
    return action, every, kind == "every" and time is None, _parameters(kind, words)


def _parameters(kind: Kind, words: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        found = _PARAMETER.fullmatch(word)
        if found is None:
            instead = "`person: id=…`" if kind == "person" else "name=value, and quotes around a value with spaces"
            raise SpanError(f"{word!r} is no parameter; write {instead}")
        if found[1] in given:
            raise SpanError(f"{found[1]} is there twice; remove one")
        given[found[1]] = found[2]
    return given

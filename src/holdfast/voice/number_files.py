"""Files of numbers with their call plans, CSV or JSON lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.merchants.files import Fields, Rejected, read_rows
from holdfast.merchants.model import MerchantError
from holdfast.twilio.model import TwilioError
from holdfast.voice.hours import read_opening
from holdfast.voice.model import VoiceError
from holdfast.voice.plans import PlanChange
from holdfast.voice.service import Row, Wanted, checked

COLUMNS = (
    "phone",
    "merchant",
    "region",
    "stands_in",
    "account",
    "sid",
    "targets",
    "rings",
    "hours",
    "time_zone",
    "greeting",
    "closed_greeting",
    "voicemail_greeting",
    "language",
)
_TEXTS = COLUMNS[COLUMNS.index("time_zone") :]
"""Fields of a plan that are written as they are."""
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0", "")


def read_file(path: Path) -> Iterator[Row | Rejected]:
    """The numbers of a CSV (with a header line) or JSON lines file, in order. Raises MerchantError, OSError.

    A row that cannot be taken comes as Rejected, and so does a number that was there before.
    """
    seen: dict[str, int] = {}
    for line, fields in read_rows(path, COLUMNS, ("phone", "merchant")):
        yield fields if isinstance(fields, Rejected) else _row(line, fields, seen)


def _row(line: int, fields: Fields, seen: dict[str, int]) -> Row | Rejected:
    try:
        wanted = checked(
            Wanted(
                fields.get("phone", ""),
                fields.get("merchant"),
                fields.get("region") or None,
                fields.get("account") or None,
                fields.get("sid") or None,
                _switch(fields.get("stands_in", ""), "stands_in") if fields.get("stands_in") else None,
                _plan(fields),
            )
        )
    except (MerchantError, TwilioError, VoiceError) as error:
        return Rejected(line, str(error))
    for name in (wanted.phone, wanted.sid):
        if name is not None and seen.setdefault(name, line) != line:
            return Rejected(line, f"{name} was on line {seen[name]} already")
    return Row(line, wanted)


def _plan(fields: Fields) -> PlanChange | None:
    """What a row says of its number's plan; what it leaves empty stays as it is there."""
    rings = fields.get("rings")
    if rings and (not rings.isdecimal() or len(rings) > 6):
        raise VoiceError(f"rings is a number of seconds, not {rings[:40]!r}")
    given: dict[str, Any] = {name: fields[name] for name in _TEXTS if fields.get(name)}
    hours = tuple(read_opening(one) for one in fields.get("hours", "").split(";") if one.strip())
    if hours:
        given["hours"] = hours
    change = PlanChange(tuple(fields.get("targets", "").split()), int(rings) if rings else None, given)
    return change if change != PlanChange() else None


def _switch(text: str, name: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise VoiceError(f"{name} is yes or no, not {text[:40]!r}")

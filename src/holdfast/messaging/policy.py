"""How merchants text: in which hours, how often, from which number, and in whose name. The gate reads the same rows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from holdfast.consent.model import EVERY_MERCHANT
from holdfast.db.pool import Connection, Pool
from holdfast.messaging import policy_store as store
from holdfast.messaging.model import MessagingError
from holdfast.naming import is_name

MOST: Final = 1000
LONGEST_HELP: Final = 480
"""Three segments of a text. Source: https://www.twilio.com/docs/glossary/what-sms-character-limit"""
SPREAD: Final = timedelta(hours=6)
"""Between New York and Honolulu, in summer: see `consent.zones`."""
_SERVICE: Final = re.compile(r"MG[0-9a-f]{32}")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{5,14}")


class PolicyError(MessagingError):
    """A policy cannot be so; the message says what can."""


@dataclass(frozen=True, slots=True)
class Policy:
    """None: as for every merchant, and there: nothing of it. Marketing goes from `opens` to `closes` of the person's
    time, at most so often to one person in 24 hours and 7 days. `sender`: a number of the merchant, or a messaging
    service; None: its first number. `provider_answers`: whether Twilio itself answers STOP, START and HELP.
    """

    opens: time | None = None
    closes: time | None = None
    most_per_day: int | None = None
    most_per_week: int | None = None
    sender: str | None = None
    brand: str | None = None
    help_text: str | None = None
    provider_answers: bool | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None


NAMES: Final = store.FIELDS


async def own(db: Connection | Pool, merchant_id: int) -> Policy:
    """What is set for this one alone (0: for every one)."""
    found = (await store.policies(db, [merchant_id])).get(merchant_id)
    return _policy(found) if found is not None else Policy()


async def in_force(db: Connection | Pool, merchant_id: int) -> Policy:
    """Its own, filled up with what holds for every one."""
    rows = await store.policies(db, [merchant_id, EVERY_MERCHANT])
    every, mine = _policy(rows[EVERY_MERCHANT]), rows.get(merchant_id)
    return _filled(_policy(mine), every) if mine is not None else every


async def change(
    pool: Pool, merchant_id: int, changes: Mapping[str, Any], *, by: str, now: datetime | None = None
) -> Policy:
    """Change what is named; None: as for every merchant again. Returns what is set for it then. Raises PolicyError."""
    unknown = [name for name in changes if name not in NAMES]
    if unknown:
        raise PolicyError(f"a policy has no {unknown[0]!r}; there are {', '.join(NAMES)}")
    async with pool.acquire() as db, db.transaction():
        await store.lock(db, merchant_id)
        wanted = replace(await own(db, merchant_id), **changes)
        every = await own(db, EVERY_MERCHANT) if merchant_id != EVERY_MERCHANT else wanted
        _check(wanted, every, is_own=merchant_id != EVERY_MERCHANT)
        if wanted.sender is not None and _PHONE.fullmatch(wanted.sender):
            await _check_number(db, merchant_id, wanted.sender)
        await store.put_policy(db, merchant_id, {name: getattr(wanted, name) for name in NAMES}, by=by, now=now)
        return await own(db, merchant_id)


def warnings(found: Policy) -> list[str]:
    """What a policy in force does that may not be meant."""
    if found.opens is None or found.closes is None:
        return []
    lasts = datetime.combine(date.min, found.closes) - datetime.combine(date.min, found.opens)
    if lasts > SPREAD:
        return []
    return [
        f"from {found.opens:%H:%M} to {found.closes:%H:%M} there is no time that is right both in New York and in "
        "Honolulu: marketing to US numbers that do not say their state, such as toll-free ones, is refused (no_hours)"
    ]


def read_time(text: str) -> time:
    """`08:00`. Raises PolicyError."""
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        return time.fromisoformat(text)
    raise PolicyError(f"{text[:20]!r} is not a time of day: write it as 08:00, up to 23:59")


def _check(wanted: Policy, every: Policy, *, is_own: bool) -> None:
    filled = _filled(wanted, every)
    if not is_own:
        _check_whole(wanted)
    if filled.opens is not None and filled.closes is not None and filled.opens >= filled.closes:
        raise PolicyError(
            f"it opens at {filled.opens:%H:%M} and closes at {filled.closes:%H:%M}: it has to open before it closes, "
            "on the same day"
        )
    for name, most in (("most_per_day", wanted.most_per_day), ("most_per_week", wanted.most_per_week)):
        if most is not None and not 0 <= most <= MOST:
            raise PolicyError(f"{name} is a number from 0 (none at all) to {MOST}, not {most}")
    if wanted.sender is not None and not (_SERVICE.fullmatch(wanted.sender) or _PHONE.fullmatch(wanted.sender)):
        raise PolicyError(
            f"{wanted.sender[:40]!r} is no sender: write a number of the merchant, such as +14155550123, or a "
            "messaging service, MG and 32 digits from 0 to f"
        )
    if wanted.brand is not None and not is_name(wanted.brand):
        raise PolicyError("a brand is 1 to 200 printable characters: what people know the merchant as")
    if wanted.help_text is not None and not (wanted.help_text.strip() and len(wanted.help_text) <= LONGEST_HELP):
        raise PolicyError(f"the answer to HELP has 1 to {LONGEST_HELP} characters")
    if "\0" in (wanted.help_text or ""):
        raise PolicyError("the answer to HELP has a character that cannot be stored")


def _check_whole(wanted: Policy) -> None:
    """What holds for every merchant is what others fall back on."""
    needed = ("opens", "closes", "most_per_day", "most_per_week", "provider_answers")
    missing = [name for name in needed if getattr(wanted, name) is None]
    if missing:
        raise PolicyError(f"{missing[0]} of every merchant has to be something: there is nothing else to fall back on")
    if wanted.sender is not None:
        raise PolicyError("a sender is a merchant's own: set it for one merchant")


async def _check_number(db: Connection, merchant_id: int, phone: str) -> None:
    if not await store.has_number(db, merchant_id, phone):
        raise PolicyError(
            f"{phone} is no number of this merchant; `holdfast numbers list --merchant KEY` shows those it has"
        )


def _filled(mine: Policy, every: Policy) -> Policy:
    values = {name: getattr(mine if getattr(mine, name) is not None else every, name) for name in NAMES}
    return replace(mine, **values)


def _policy(row: Mapping[str, Any]) -> Policy:
    return Policy(**{name: value for name, value in row.items() if name != "merchant_id"})

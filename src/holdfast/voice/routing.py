"""What a call is told, decided from the snapshot alone: the same call, asked again, is told the same."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from zlib import crc32

from holdfast.levers.model import AVOID, CALLER_ID_POOL, VOICEMAIL_ONLY, Lever
from holdfast.merchants.model import COMPANY
from holdfast.merchants.numbers import region_of
from holdfast.voice.hours import is_open
from holdfast.voice.model import MOST_TARGETS, Announce, Decision, Dial, Line, PlanTarget, TakeMessage
from holdfast.voice.snapshot import Snapshot

NOT_IN_SERVICE = "The number you have called is not in service. Please check the number and call again."
UNKNOWN = "unknown number"
VOICEMAIL = "voicemail only"
CLOSED = "closed"
NOBODY = "nobody answered"
NO_PLAN = "no plan"
IN_PLAN = "in its plan"
STANDS_IN = "its own targets are avoided"
ALL_AVOIDED = "avoided, but there is nobody else"
_LOOKED_AT = 200
"""The most lines of a merchant that are looked through for somebody to stand in, or numbers for a caller ID."""


def decide(snapshot: Snapshot, phone: str, *, call_sid: str, tried: Sequence[str], now: datetime) -> Decision:
    """What a call to `phone` is told, of which the addresses in `tried` were rung before.

    The rules, in order; each leaves the caller with somebody, or with somewhere to speak to:

    1. Nothing known (a cold start without store and snapshot), or no plan: a message.
    2. A number that is not ours: an announcement.
    3. Closed, or voicemail-only: a message, whatever was rung before. Closed comes first: its caller hears so with and
       without trouble, and is not hit by it.
    4. The first target of its plan that was not rung and is not avoided.
    5. All of its targets avoided: somebody of the merchant's other lines, those that are open and not voicemail-only
       themselves. Only then: where one of its own could be rung, the plan is what the merchant wants.
    6. All of its targets avoided, and nobody left who stands in: its own targets all the same, in order. Going round
       something helps, or changes nothing: that nobody is rung any more is for a person to decide, by voicemail-only.
    7. A message.
    """
    line = snapshot.lines.get(phone)
    if line is None:
        if not snapshot.version:
            return TakeMessage(_greeting(None), NO_PLAN)
        return Announce(NOT_IN_SERVICE, UNKNOWN)
    message = _no_ringing(snapshot, line, now)
    if message is not None:
        return message
    target, why = _next(snapshot, line, call_sid, tried, now)
    if target is None:
        return TakeMessage(_greeting(line), why)
    greeting = None if tried else line.plan.greeting
    return Dial(target, tuple(tried), why, _caller_id(snapshot, line, call_sid), greeting)


def _no_ringing(snapshot: Snapshot, line: Line, now: datetime) -> TakeMessage | None:
    """The message, where nobody is to be rung at all."""
    if not line.plan.targets:
        return TakeMessage(_greeting(line), NO_PLAN)
    if not is_open(line.plan.hours, line.time_zone, now):
        return TakeMessage(line.plan.closed_greeting or _greeting(line, closed=True), CLOSED)
    selecting = selected(snapshot, VOICEMAIL_ONLY, line)
    if selecting is not None:
        return TakeMessage(_greeting(line), f"{VOICEMAIL}: {shown(selecting, line) or 'all'}")
    return None


def selected(snapshot: Snapshot, lever: Lever, line: Line) -> str | None:
    """The target of the lever that selects this line: `region:US`, empty for everything; None: none does."""
    for target in ("", f"region:{line.region}", f"merchant:{line.merchant_id}", f"number:{line.phone}"):
        if selects(snapshot.levers.get((lever.name, target), 0), line.phone):
            return target
    return None


def shown(target: str, line: Line) -> str:
    """The target of a lever that bears on the line, as it is written outside: a merchant by its key."""
    return f"merchant:{line.merchant}" if target.startswith("merchant:") and line.merchant else target


def selects(percent: int, phone: str) -> bool:
    """Whether a number is among this percent of all: a larger percent has all numbers of a smaller one."""
    return crc32(phone.encode()) % 100 < percent


def avoids(snapshot: Snapshot, line: Line, target: PlanTarget) -> bool:
    """Whether calls to this line go round the target."""
    return _goes_round(snapshot, line, f"target:{target.address}") or _goes_round(
        snapshot, line, f"region:{target_region(target)}"
    )


def target_region(target: PlanTarget) -> str:
    """Where a target is."""
    return target.region or _region_of(target.address)


@lru_cache(maxsize=100_000)
def _region_of(address: str) -> str:
    return region_of(address)


def _goes_round(snapshot: Snapshot, line: Line, what: str) -> bool:
    return selects(snapshot.levers.get((AVOID.name, what), 0), line.phone)


def _next(
    snapshot: Snapshot, line: Line, call_sid: str, tried: Sequence[str], now: datetime
) -> tuple[PlanTarget | None, str]:
    if len(tried) >= MOST_TARGETS:
        return None, NOBODY
    ringable = [target for target in line.plan.targets if not avoids(snapshot, line, target)]
    if ringable:
        left = next((target for target in ringable if target.address not in tried), None)
        return left, IN_PLAN if left is not None else NOBODY
    for found, why in ((_standing_in(snapshot, line, call_sid, now), STANDS_IN), (line.plan.targets, ALL_AVOIDED)):
        left = next((target for target in found if target.address not in tried), None)
        if left is not None:
            return left, why
    return None, NOBODY


def _standing_in(snapshot: Snapshot, line: Line, call_sid: str, now: datetime) -> Iterator[PlanTarget]:
    """Targets of the merchant's other lines, each call beginning at another line, so that no desk gets all of them."""
    for other in _from_somewhere(snapshot.by_merchant.get(line.merchant_id, ()), call_sid):
        if (
            other.phone != line.phone
            and is_open(other.plan.hours, other.time_zone, now)
            and selected(snapshot, VOICEMAIL_ONLY, other) is None
        ):
            yield from (target for target in other.plan.targets if not avoids(snapshot, line, target))


def _caller_id(snapshot: Snapshot, line: Line, call_sid: str) -> str | None:
    """A number that stands in, where a lever wants one; None shows the caller's own."""
    wanted = selected(snapshot, CALLER_ID_POOL, line) is not None or _goes_round(snapshot, line, f"number:{line.phone}")
    if not wanted:
        return None
    for owner in dict.fromkeys((line.merchant_id, COMPANY)):
        for other in _from_somewhere(snapshot.pool.get(owner, ()), call_sid):
            is_avoided = _goes_round(snapshot, line, f"number:{other.phone}") or _goes_round(
                snapshot, line, f"region:{other.region}"
            )
            if not is_avoided:
                return other.phone
    return None


def _from_somewhere(lines: Sequence[Line], call_sid: str) -> Iterator[Line]:
    """All of them, bounded, beginning at one that the call decides."""
    if not lines:
        return iter(())
    first = crc32(call_sid.encode()) % len(lines)
    return islice((lines[(first + place) % len(lines)] for place in range(len(lines))), _LOOKED_AT)


def _greeting(line: Line | None, *, closed: bool = False) -> str:
    if line is not None and line.plan.voicemail_greeting:
        return line.plan.voicemail_greeting
    reached = f"You have reached {line.merchant_name}. " if line is not None and line.merchant_name else ""
    why = "We are closed at the moment." if closed else "Nobody can take your call right now."
    return f"{reached}{why} Please leave a message after the tone."

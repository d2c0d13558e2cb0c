"""Whose texts people stop, and what else of them is out of line: judged every half minute, told in gauges.

**Rate.** Of the texts that a merchant sent, by the import or form that their consents came through, how many people
stopped within a day (STOP, a doubtful wish, a block at Twilio, a complaint). It is judged over the texts of the last
three hours and of the last day, and counts with what is certain of it: the lower end of Wilson's interval, as calls do.

**News.** It is told while it goes on: while people stop the texts of the last three hours, too, and as many as would be
bad. What was sent before is known by then; else one ordinary stop a day would raise the same alarm again.

Nor is what nobody can be sent any more: of a batch or form of which all are blocked.

**Blame.** A batch or form that is out of line is told by itself. A merchant is told only if it still is out of line
without these, and without the worst of the others: then it is not who agreed, but what is sent.

Limits and where they come from: `watch.toml`, section `consent-complaint`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.messaging import standing_store as store
from holdfast.messaging.signals import TROUBLE, TROUBLE_FACTS
from holdfast.messaging.standing_store import DAY, QUARTER, Count, Tally
from holdfast.signals.shares import bounds

EVERY: Final = 30.0
HOUR: Final = timedelta(hours=1)
WEEK: Final = timedelta(days=7)
MOST: Final = 20
"""Of each kind, the worst."""
_AT_ONCE: Final = timedelta(hours=3)
"""Of texts that one statement counts, after a pause."""
_ASKED: Final = 50
"""Batches and forms of which it is asked whether somebody can be texted still."""
_STILL: Final = 2
"""People who stop the texts of the last hours, from which on it goes on."""
_WHOLE: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)

Kind = Literal[
    "stop_rate_merchant", "stop_rate_batch", "stop_rate_origin", "suppressed_tries", "keyword_loop",
    "similar_complaints"
]  # fmt: skip


class ConsentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `consent-complaint` of `watch.toml`. Shares are 0 to 1, times seconds."""

    bad: float = 0.03
    """Share of people who stop, at the least: bad whatever is usual."""
    unusual: float = 0.015
    """… that is bad when it is `times` the merchant's own of 30 days."""
    times: float = 3.0
    stops: int = 5
    """People who stopped, from which on a rate counts."""
    texts: int = 20
    usual_texts: int = 500
    """Texts in 30 days from which on a merchant has a usual rate."""
    lately: float = 10800.0
    """A rate is news while people stop the texts of so long."""
    tries: int = 20
    """Texts in an hour to people who were suppressed before."""
    keywords: int = 10
    """STOP, START and HELP in an hour of one person."""
    similar: int = 2
    """People who complained about one merchant or batch in seven days."""
    reply_warning: float = 1200.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """`of`: a merchant's key, `batch:ID`, or `form:MERCHANT:NAME`. `facts`: numbers; `seconds`: since when it is so."""

    kind: Kind
    of: str
    value: float
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rate:
    """Of `sent` texts, `stopped` people stopped: `low` of them at the least. `hours`: over which time."""

    sent: int
    stopped: int
    low: float
    hours: int


async def measure(pool: Pool, now: datetime, settings: ConsentSettings | None = None) -> None:
    """Count what is new, and say in gauges what is out of line."""
    tell(await look(pool, now, settings or ConsentSettings()))


def tell(found: Sequence[Trouble]) -> None:
    TROUBLE.replace(((one.kind, one.of), one.value) for one in found)
    TROUBLE_FACTS.replace(((one.kind, one.of, fact), value) for one in found for fact, value in one.facts.items())


def forget() -> None:
    """Somebody else says it from now on."""
    tell(())


async def look(pool: Pool, now: datetime, settings: ConsentSettings) -> list[Trouble]:
    """Everything that is out of line now, the worst of each kind first."""
    await count(pool, now)
    since = begun(now - DAY)
    lately = begun(now - timedelta(seconds=settings.lately))
    tallies = await store.tallies(pool, since, lately, settings.stops)
    usual = await store.usual(pool, sorted({one.merchant_id for one in tallies}), since)
    tallies = await _still_texted(pool, tallies)
    tries = await store.suppressed_tries(pool, now - HOUR, now, settings.tries, MOST)
    loops = await store.keyword_loops(pool, now - HOUR, now, settings.keywords, MOST)
    by_merchant, by_batch = await store.similar_complaints(pool, now - WEEK, now, settings.similar, MOST)
    ids = {one.merchant_id for one in tallies} | {one.of for one in (*tries, *loops, *by_merchant)}
    keys = await merchants.keys(pool, sorted(ids))
    found = judged(tallies, usual, keys, settings, now)
    found += [_of_count("suppressed_tries", _named(one.of, keys), one, now) for one in tries]
    found += [_of_count("keyword_loop", _named(one.of, keys), one, now) for one in loops]
    found += [_of_count("similar_complaints", _named(one.of, keys), one, now) for one in by_merchant]
    found += [_of_count("similar_complaints", f"batch:{one.of}", one, now) for one in by_batch]
    return found


async def _still_texted(pool: Pool, tallies: Sequence[Tally]) -> list[Tally]:
    """Without batches and forms through which nobody can be texted any more; those that are stopped most are asked."""
    named = [one for one in tallies if (one.batch_id or one.origin) and one.lately_stopped]
    worst = sorted(named, key=lambda one: (-one.lately_stopped, -one.stopped))[:_ASKED]
    over = {one for one in worst if await store.over(pool, one.merchant_id, one.batch_id, one.origin)}
    return [one for one in tallies if one not in over]


async def count(pool: Pool, now: datetime) -> None:
    """Bring the tally up to now: the quarter under way and the one before, more only after a pause."""
    until = await store.counted_until(pool)
    oldest = begun(now - DAY)
    since = oldest if until is None else max(oldest, until - QUARTER)
    since, end = min(since, begun(now - QUARTER)), now + _WHOLE
    while since < end:
        await store.count_sent(pool, since, min(end, since + _AT_ONCE))
        since += _AT_ONCE
    await store.count_stopped(pool, oldest, now)
    await store.coarsen(pool, now)


def begun(at: datetime) -> datetime:
    """When the quarter of an hour of this moment began."""
    return at - (at - _EPOCH) % QUARTER


def judged(
    tallies: Iterable[Tally],
    usual: Mapping[int, tuple[int, int]],
    keys: Mapping[int, str],
    settings: ConsentSettings,
    now: datetime,
) -> list[Trouble]:
    """What is out of line of these, by the rules above; of each kind the worst first, and no more than `MOST`."""
    of_merchants: dict[int, list[Tally]] = defaultdict(list)
    for one in tallies:
        of_merchants[one.merchant_id].append(one)
    found = []
    for merchant_id, parts in of_merchants.items():
        own = usual_share(*usual.get(merchant_id, (0, 0)), settings)
        rest = []
        for part in parts:
            rate = out_of_line([part], own, settings) if part.batch_id or part.origin else None
            if rate is None:
                rest.append(part)
            else:
                kind, of = _part(part, _named(merchant_id, keys))
                found.append(Trouble(kind, of, rate.low, _facts(rate, own, [part], now)))
        rate = out_of_line(rest, own, settings)
        if rate is not None and out_of_line(_without_worst(rest), own, settings) is not None:
            of, facts = _named(merchant_id, keys), _facts(rate, own, rest, now)
            found.append(Trouble("stop_rate_merchant", of, rate.low, facts))
    found.sort(key=lambda one: (-one.value, one.of))
    kinds: tuple[Kind, ...] = ("stop_rate_merchant", "stop_rate_batch", "stop_rate_origin")
    return [one for kind in kinds for one in [each for each in found if each.kind == kind][:MOST]]


def _without_worst(parts: Sequence[Tally]) -> list[Tally]:
    """Without the batch or form whose texts most people stop now: it may be out of line, and is not certain yet."""
    named = [part for part in parts if part.batch_id or part.origin]
    worst = max(named, key=lambda part: (part.lately_stopped, part.stopped), default=None)
    return [part for part in parts if part is not worst]


def usual_share(sent: int, stopped: int, settings: ConsentSettings) -> float | None:
    """A merchant's own rate; None while it has too few texts to have one."""
    return stopped / sent if sent >= settings.usual_texts else None


def out_of_line(parts: Sequence[Tally], usual: float | None, settings: ConsentSettings) -> Rate | None:
    """The rate of these together if it is out of line and news: of the last hours or day, whichever is worse."""
    day = _rate(sum(one.sent for one in parts), sum(one.stopped for one in parts), 24)
    short = round(settings.lately / 3600)
    lately = _rate(sum(one.lately_sent for one in parts), sum(one.lately_stopped for one in parts), short)
    limit = limit_of(usual, settings)
    if lately.stopped < _STILL or lately.stopped < limit * lately.sent:
        return None
    found = [
        rate
        for rate in (day, lately)
        if rate.stopped >= settings.stops and rate.sent >= settings.texts and rate.low > limit
    ]
    return max(found, key=lambda rate: rate.low, default=None)


def limit_of(usual: float | None, settings: ConsentSettings) -> float:
    """The rate from which on it is out of line: bad anyway, or bad for this merchant."""
    if usual is None:
        return settings.bad
    return min(settings.bad, max(settings.unusual, settings.times * usual))


def _rate(sent: int, stopped: int, hours: int) -> Rate:
    """A person may stop what was refused later: no more stopped than were texted."""
    sent = max(sent, stopped)
    return Rate(sent, stopped, bounds(stopped, sent)[0], hours)


def _facts(rate: Rate, usual: float | None, parts: Sequence[Tally], now: datetime) -> Mapping[str, float]:
    first = min((one.first_stop_at for one in parts if one.first_stop_at is not None), default=now)
    facts = {
        "sent": float(rate.sent),
        "stopped": float(rate.stopped),
        "hours": float(rate.hours),
        "seconds": (now - first).total_seconds(),
    }
    return facts if usual is None else facts | {"usual": usual}


def _part(part: Tally, merchant: str) -> tuple[Kind, str]:
    if part.batch_id:
        return "stop_rate_batch", f"batch:{part.batch_id}"
    shown = "".join(each if each.isprintable() else "?" for each in part.origin[:60])
    return "stop_rate_origin", f"form:{merchant}:{shown}"


def _of_count(kind: Kind, of: str, one: Count, now: datetime) -> Trouble:
    facts = {"people": float(one.people), "seconds": (now - one.since).total_seconds()}
    return Trouble(kind, of, float(one.count), facts)


def _named(merchant_id: int, keys: Mapping[int, str]) -> str:
    return keys.get(merchant_id, f"merchant:{merchant_id}")

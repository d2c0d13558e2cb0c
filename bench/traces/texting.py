"""Texts under their conditions, tick by tick, under the product's names: who is texted, who stops it, what is found.

A few merchants send reminders all day and a campaign now and then. Who stops does so after a quarter of an hour on
average, some much later. What is out of line is judged every half minute, as the product does
(`holdfast.messaging.standing.judged`), and the audit looks every five minutes. Complaints are told by their counter and
gauges.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from bench.traces.conditions import DAY, MINUTE, Conditions
from bench.traces.draw import binomial, log_uniform, poisson
from bench.traces.measures import TICK
from holdfast.messaging.standing import HOUR, ConsentSettings, begun, judged
from holdfast.messaging.standing_store import Tally
from holdfast.signals.buckets import Counts, Data, Levels, joined

_LIMITS = ConsentSettings()
_JUDGED_EVERY, _AUDITED_EVERY = 6, 60
"""Ticks."""
_LATELY = timedelta(seconds=_LIMITS.lately)
_BAD_BATCH = 900
_Group = tuple[int, int, str]
"""Merchant, batch, form: as in `Tally`."""


@dataclass(frozen=True, slots=True)
class Texter:
    """A merchant. `a_day`: reminders; `campaign`: texts of one, `campaigns` of them a week."""

    id: int
    a_day: float
    campaign: float
    campaigns: float
    stops: float
    """Share of people who stop a campaign; a tenth as many stop reminders."""
    is_known: bool
    """Whether it has texted for a month."""

    @property
    def month(self) -> tuple[int, int]:
        """Texts and stops of a usual month."""
        if not self.is_known:
            return 0, 0
        reminders, campaigns = 30 * self.a_day, 4.3 * self.campaigns * self.campaign
        return int(reminders + campaigns), int(self.stops * (campaigns + 0.1 * reminders))


def drawn(seed: int) -> tuple[Texter, ...]:
    """Ordinary merchants: 0.2 to 1.5 % stop a campaign."""
    rng = Random(seed * 17 + 11)
    return tuple(
        Texter(
            number + 1,
            log_uniform(rng, 5, 3000),
            log_uniform(rng, 50, 20_000),
            rng.uniform(0.3, 4),
            log_uniform(rng, 0.002, 0.015),
            rng.random() < 0.8,
        )
        for number in range(rng.randint(3, 12))
    )


@dataclass(slots=True)
class _Campaign:
    group: _Group
    rate: float
    until: float
    stops: float


class Texting:
    """`tick` gives the signals of five seconds."""

    def __init__(self, rng: Random, texters: tuple[Texter, ...]) -> None:
        self._rng, self._of = rng, texters
        self._number = 0
        self._keys = {one.id: f"merchant-{one.id}" for one in texters}
        self._usual = {one.id: one.month for one in texters}
        self._quarters: dict[datetime, dict[_Group, list[int]]] = {}
        self._first: dict[_Group, datetime] = {}
        self._coming: dict[int, list[tuple[datetime, _Group]]] = defaultdict(list)
        """Who will stop at which tick: the quarter and group of the text."""
        self._campaigns: list[_Campaign] = []
        self._keywords: list[int] = []
        self._tries: list[tuple[int, int]] = []
        self._waiting_complaints = 0
        self._around = self._found = 0
        self._trouble: dict[str, float] = {}
        self._facts: dict[str, float] = {}

    def tick(self, at: datetime, now: Conditions) -> dict[str, Data]:
        self._number += 1
        self._send(at, now)
        self._stop(at)
        texts = now.texts
        self._around += poisson(self._rng, texts.bypass_rate * TICK)
        if self._number % _AUDITED_EVERY == 0:
            self._found = self._around
            if not texts.bypass_rate:  # it is over once somebody has settled it
                self._around = 0
        self._keywords += [self._number] * poisson(self._rng, texts.keyword_rate * TICK)
        tries = poisson(self._rng, texts.tries_rate * TICK)
        if tries:
            self._tries.append((self._number, tries))
        if self._number % _JUDGED_EVERY == 0:
            self._judge(at)
        return self._data(now)

    def _data(self, now: Conditions) -> dict[str, Data]:
        texts, data = now.texts, dict[str, Data]()
        if not now.workers_gone:
            data["texts_trouble"], data["texts_trouble_facts"] = Levels(self._trouble), Levels(self._facts)
            found = {joined(("bypassed", "warning")): float(self._found)} if self._found else {}
            data["audit_findings_open"] = Levels(found)
        if not now.web_gone:
            data["complaints_open"] = Levels({"": float(texts.complaints)})
            if texts.complaints:
                data["complaints_due_seconds"] = Levels({"": texts.due}, "min")
            new = texts.complaints - self._waiting_complaints
            if new > 0:
                data["complaints_filed"] = Counts({"api": float(new)})
            self._waiting_complaints = texts.complaints
        return data

    def _send(self, at: datetime, now: Conditions) -> None:
        rng, hour = self._rng, at.hour
        if 8 <= hour < 20:
            for one in self._of:
                self._text(at, (one.id, 0, ""), poisson(rng, one.a_day / (DAY / 2) * TICK), 0.1 * one.stops)
                if rng.random() < one.campaigns / (7 * DAY / 2) * TICK:
                    length = rng.uniform(5, 60) * MINUTE
                    group = (one.id, rng.choice((0, 10 * one.id)), "")
                    until = self._number * TICK + length
                    self._campaigns.append(_Campaign(group, one.campaign / length, until, one.stops))
        for campaign in self._campaigns:
            self._text(at, campaign.group, poisson(rng, campaign.rate * TICK), campaign.stops)
        self._campaigns = [one for one in self._campaigns if one.until > self._number * TICK]
        bad, texts = self._of[0].id, now.texts
        self._text(at, (bad, _BAD_BATCH, ""), poisson(rng, texts.batch_rate * TICK), texts.stop_share)
        self._text(at, (bad, 0, ""), poisson(rng, texts.merchant_rate * TICK), texts.stop_share)
        self._text(at, (bad, 0, "raffle"), poisson(rng, texts.form_rate * TICK), texts.stop_share)

    def _text(self, at: datetime, group: _Group, count: int, stops: float) -> None:
        if not count:
            return
        quarter = begun(at)
        self._quarters.setdefault(quarter, {}).setdefault(group, [0, 0])[0] += count
        for _ in range(binomial(self._rng, count, stops)):
            later = self._rng.expovariate(1 / (15 * MINUTE)) * (8 if self._rng.random() < 0.1 else 1)
            self._coming[self._number + 1 + int(later / TICK)].append((quarter, group))

    def _stop(self, at: datetime) -> None:
        for quarter, group in self._coming.pop(self._number, ()):
            if quarter in self._quarters:
                self._quarters[quarter][group][1] += 1
                self._first.setdefault(group, at)

    def _judge(self, at: datetime) -> None:
        oldest, lately, hour = begun(at - timedelta(days=1)), begun(at - _LATELY), int(HOUR.total_seconds() / TICK)
        for quarter in [one for one in self._quarters if one < oldest]:
            del self._quarters[quarter]
        sums: dict[_Group, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for quarter, groups in self._quarters.items():
            for group, (sent, stopped) in groups.items():
                total = sums[group]
                total[0] += sent
                total[1] += stopped
                if quarter >= lately:
                    total[2] += sent
                    total[3] += stopped
        tallies = [
            Tally(*group, sent, stopped, new, newly, self._first.get(group))
            for group, (sent, stopped, new, newly) in sums.items()
        ]
        found = judged(tallies, self._usual, self._keys, _LIMITS, at)
        self._trouble = {joined((one.kind, one.of)): one.value for one in found}
        self._facts = {joined((one.kind, one.of, fact)): value for one in found for fact, value in one.facts.items()}
        self._keywords = [one for one in self._keywords if one > self._number - hour]
        self._tries = [one for one in self._tries if one[0] > self._number - hour]
        whose = self._keys[self._of[0].id]
        for kind, count, least in (
            ("keyword_loop", len(self._keywords), _LIMITS.keywords),
            ("suppressed_tries", sum(count for _, count in self._tries), _LIMITS.tries),
        ):
            if count >= least:
                self._trouble[joined((kind, whose))] = float(count)
                self._facts[joined((kind, whose, "people"))] = 1.0

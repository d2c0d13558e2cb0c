"""The web process: events come in and are answered; what is refused, or answered too late, comes again."""

from random import Random

from bench.traces.business import Business
from bench.traces.draw import QUICK, Bins, binomial, poisson
from bench.traces.measures import TICK, Moment, Tick
from bench.traces.senders import HELD, EventLag, Resends

HANGS_UP = 10.0
"""Seconds after which Stripe counts an answer as a failure."""


class Receiving:
    def __init__(self, rng: Random, business: Business) -> None:
        self._rng = rng
        self._of = business
        self._resends = Resends(rng, business.stripe_patience)
        self._lag = EventLag()

    def receive(self, tick: Tick, moment: Moment) -> list[int]:
        """Returns the new events of each lane."""
        rng, of, cond = self._rng, self._of, moment.conditions
        number, now, rate = moment.number, moment.now, moment.rate
        spread = rng.gammavariate(12, 1 / 12)  # over-dispersed: events come in company
        usual = rate * spread * TICK
        new, away, late, ages = [0, 0, 0], 0, 0, 0.0
        refused = cond.refused
        for lane, share in enumerate(of.lanes):
            mean = (usual + cond.extra * TICK) * share + (cond.extra_bulk * TICK if lane == 2 else 0.0)
            count = poisson(rng, mean)
            if refused or cond.web_gone:
                lost = count if cond.web_gone else binomial(rng, count, refused)
                if lost:
                    self._resends.again(number, lane, 1, lost, now)
                    away += lost
                    count -= lost
            new[lane] = count
        fresh = sum(new)
        if cond.late_share:
            late = binomial(rng, fresh, cond.late_share)
            ages = late * cond.late_age * rng.uniform(0.8, 1.2)
        again = poisson(rng, usual * of.duplicates + cond.resent * TICK)
        if again and refused:
            lost = binomial(rng, again, refused)
            away += lost
            again -= lost
        slow = self._slow_share(moment)
        late_answers = binomial(rng, fresh + again, slow)
        if late_answers:
            self._resends.again(number, HELD, 1, late_answers, now)
        for lane, tried, count, created in self._resends.due(number):
            share = 1.0 if cond.web_gone else refused
            lost = binomial(rng, count, share)
            if lost:
                self._resends.again(number, lane, tried, lost, created)
                away += lost
            taken = count - lost
            if lane == HELD:
                again += taken
            else:
                new[lane] += taken
                late += taken
                ages += taken * (now - created)
            unheard = binomial(rng, taken, slow)
            if unheard:
                late_answers += unheard
                self._resends.again(number, HELD, tried, unheard, created)
        if cond.web_gone:
            away = again = 0
        self._answer(tick, new, again, away, late_answers, moment)
        self._lag.add(sum(new), late, ages / late if late else 0.0)
        tick.event_lag = self._lag.median(rng.uniform(0.6, 1.6)) if number % 3 == 0 else None
        return new

    def _slow_share(self, moment: Moment) -> float:
        """Share of answers that come after Stripe hung up."""
        median = self._answer_seconds(moment)
        from_load = 0.0 if median < HANGS_UP / 4 else min(1.0, (median - HANGS_UP / 4) / HANGS_UP)
        return max(moment.conditions.slow_answers, from_load)

    def _answer_seconds(self, moment: Moment) -> float:
        cond = moment.conditions
        base = self._of.answer_seconds
        starved = 1 + 30 * max(0.0, moment.cpu[0] - 0.8) ** 2 / 0.04
        trips = 3 * max(0.0, moment.round_trip - self._of.round_trip)
        return base * starved + trips + cond.answer_more + 0.5 * cond.lag_web

    def _answer(self, tick: Tick, new: list[int], again: int, away: int, slow: int, moment: Moment) -> None:
        rng, fresh = self._rng, sum(new)
        tick.answers = {}
        for answer, count in (("new", fresh), ("duplicate", again), ("away", away)):
            if count:
                tick.answers[answer] = count
        if rng.random() < 0.0005:
            tick.answers["bad_signature"] = rng.randint(1, 3)  # somebody tries the door
        bins: Bins = {}
        answered = fresh + again - slow
        total = QUICK.observe(rng, bins, max(0, answered), self._answer_seconds(moment))
        total += QUICK.observe(rng, bins, away, 0.002 + 0.5 * moment.conditions.lag_web)
        total += QUICK.observe(rng, bins, slow, 16.0)
        tick.answer_seconds = (total, bins)

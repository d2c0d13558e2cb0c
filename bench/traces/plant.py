"""The platform under its conditions, tick by tick: what comes in, waits, is done, and what that costs.

What is modelled, each as plainly as it can be while cause and effect hold:

- Events come as a Poisson process whose rate follows the hour, the weekday and slow noise, and is over-dispersed.
- The router has a capacity, shared by lanes as the product's claims are; above it, a real line forms and ages. The
  capacity falls with the database's round trips (a batch is a dozen of them), with a starved processor, a late event
  loop and gone workers. Failed events are tried again with the product's back-off, at most a quarter of an hour later.
- Deliveries have slots; each try holds one for as long as the destination takes. One destination may be down: its
  deliveries wait by themselves (as behind a breaker) and are worked off at a bounded rate when it is back.
- Answers that are refused or come after Stripe hung up bring the event back later (`senders`).
- Processors, memory, disk, pools, event loops and Postgres follow load and conditions, with noise.
"""

from datetime import datetime
from math import exp, sqrt
from random import Random

from bench.traces.business import Business
from bench.traces.conditions import Conditions
from bench.traces.delivering import Delivering
from bench.traces.draw import poisson
from bench.traces.machines import Machines
from bench.traces.measures import BATCH, ROUND_TRIPS, TICK, Moment, Tick
from bench.traces.receiving import Receiving
from bench.traces.routing import Routing

_MOOD = 1800.0
"""Seconds that the noise of demand lasts."""


class Plant:
    """`tick` it with the conditions of each five seconds, in turn."""

    def __init__(self, rng: Random, business: Business) -> None:
        self._rng = rng
        self._of = business
        self._number = 0
        self._mood = 0.0
        self._receiving = Receiving(rng, business)
        self._routing = Routing(rng, business)
        self._delivering = Delivering(rng, business)
        self._machines = Machines(rng, business)

    def tick(self, now: float, at: datetime, conditions: Conditions) -> Tick:
        """The five seconds that end `now` (seconds of the trace), at `at`."""
        self._number += 1
        tick = Tick()
        self._database(tick, conditions)
        batch = BATCH + ROUND_TRIPS * tick.round_trip + conditions.route_more
        rate = self._demand(at, conditions)
        moment = Moment(self._number, now, rate, conditions, tick.round_trip, batch, self._machines.cpu)
        new = self._receiving.receive(tick, moment)
        self._delivering.deliver(tick, moment, self._routing.route(tick, moment, new))
        self._machines.measure(tick, moment)
        return tick

    def _demand(self, at: datetime, now: Conditions) -> float:
        """Events a second that the world has for us: rhythm, and noise that lasts for about half an hour."""
        self._mood += -self._mood * TICK / 1800 + 0.15 * sqrt(2 * TICK / 1800) * self._rng.gauss(0, 1)
        return self._of.rate * self._of.rhythm(at) * exp(self._mood) * now.demand_x

    def _database(self, tick: Tick, now: Conditions) -> None:
        """What Postgres says of itself."""
        rng, of = self._rng, self._of
        tick.round_trip = of.round_trip * exp(rng.gauss(0, 0.25)) * now.round_trip_x + (
            now.round_trip_more * rng.uniform(0.7, 1.3)
        )
        tick.locks = float(poisson(rng, 0.03 + now.locks)) if now.locks else float(rng.random() < 0.03)
        tick.transaction = max(now.transaction, rng.expovariate(1 / 0.15))
        load = 0.05 * rng.random()
        tick.connections = min(1.0, of.connections + now.connections + load)
        tick.store_errors = poisson(rng, 5 * now.store_errors) if now.store_errors else 0

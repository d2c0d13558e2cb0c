"""What life and faults change about the plant for one tick. Everything at its default is a quiet day."""

from collections.abc import Callable
from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(slots=True)
class CallConditions:
    """The same, of calls. `failing`: the share of legs that fails, everywhere or of what is named."""

    demand_x: float = 1.0
    lost: float = 0.0
    """How often none of the calls of a tick comes."""
    failing: float = 0.0
    ringing: float = 0.0
    """Share of legs that ring nowhere, so that nobody answers."""
    region: str = ""
    of_region: float = 0.0
    number: str = ""
    of_number: float = 0.0
    target: str = ""
    of_target: float = 0.0
    doors: float = 0.0
    """Share of calls that end at our doors, with an error."""
    door_seconds: float = 0.0
    spools: bool = False
    """Callbacks cannot be stored."""
    alerts: float = 0.0
    code: tuple[str, str, str] = ("customer", "messaging", "30005")
    """Further alerts of the Debugger, a second, and of which kind."""
    api: int = 0
    page: int = 0
    """0 well, 1 warning, 2 failed: Twilio's API and status page."""


@dataclass(slots=True)
class TextConditions:
    """The same, of texts. Rates are texts a second."""

    batch_rate: float = 0.0
    """Of a campaign to an import of people who never agreed …"""
    merchant_rate: float = 0.0
    """… or of one that is not what people agreed to, however they came in."""
    stop_share: float = 0.0
    """… and how many of these people stop it."""
    form_rate: float = 0.0
    complaints: int = 0
    """Complaints that have been filed and not answered."""
    due: float = 3600.0
    """Seconds until the first of them is due."""
    bypass_rate: float = 0.0
    """Texts around the gate."""
    keyword_rate: float = 0.0
    """Keywords that two machines send each other."""
    tries_rate: float = 0.0
    """Texts to people who stopped, of a merchant that does not take it over."""


@dataclass(slots=True)
class Conditions:
    """Shares are 0 to 1, rates a second, times seconds; `_x` is a factor."""

    demand_x: float = 1.0
    extra: float = 0.0
    """Further new events, in the usual mix of lanes."""
    extra_bulk: float = 0.0
    """Further new events, all of them bulk."""
    resent: float = 0.0
    """Events that we hold and acknowledged in time, sent again all the same."""
    late_share: float = 0.0
    late_age: float = 0.0
    """How old late events are when they come."""
    refused: float = 0.0
    """Share of webhooks answered 503."""
    slow_answers: float = 0.0
    """Share of webhooks answered after Stripe hung up."""
    answer_more: float = 0.0
    """Added to every answer."""
    router_failing: float = 0.0
    router_errors: int = 0
    """Events that fail in the router once."""
    route_limit: float = 1e9
    deliver_limit: float = 1e9
    """What can be done at most, as a share of what is usually asked for at this hour."""
    route_more: float = 0.0
    """Added to the time of a batch in the router."""
    workers_gone: bool = False
    web_gone: bool = False
    deliver_seconds: float = 0.0
    """What destinations in general take, if more than usual."""
    deliver_failing: float = 0.0
    down_share: float = 0.0
    """Share of deliveries that go to one destination that is down."""
    cpu_web: float = 0.0
    cpu_worker: float = 0.0
    """What others use of the host's processors."""
    leak_web: float = 0.0
    leak_worker: float = 0.0
    """Share of the host's memory that leaked."""
    disk: float = 0.0
    """Share of the disk that is used beyond the usual."""
    io: float = 0.0
    """Pressure on the disk."""
    round_trip_x: float = 1.0
    round_trip_more: float = 0.0
    locks: float = 0.0
    transaction: float = 0.0
    connections: float = 0.0
    store_errors: float = 0.0
    """Ticks of background loops a second that find the store away."""
    pool: str = ""
    """The pool that is exhausted: kind and name, as in the labels."""
    http_more: float = 0.0
    lag_web: float = 0.0
    lag_worker: float = 0.0
    """How late the event loop is."""
    api: int = 0
    page: int = 0
    """0 well, 1 warning, 2 failed: Stripe's API and status page as our probes see them."""
    calls: CallConditions = field(default_factory=CallConditions)
    texts: TextConditions = field(default_factory=TextConditions)


Effect = Callable[[Conditions, float, float], None]
"""Changes the conditions, given how far it is effective (0 to 1) and for how long (seconds)."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that lasts from `begin` to `end`, in seconds of the trace; `rise` and `fall` are at its ends."""

    begin: float
    end: float
    effect: Effect
    rise: float = 0.0
    fall: float = 0.0

    def apply(self, conditions: Conditions, now: float) -> None:
        share = 1.0
        if self.rise and now < self.begin + self.rise:
            share = (now - self.begin) / self.rise
        if self.fall and now > self.end - self.fall:
            share = min(share, (self.end - now) / self.fall)
        self.effect(conditions, max(0.0, share), now - self.begin)

"""What a verification says: counts that must add up, and what needs a person."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime


class VerifyError(Exception):
    """The window cannot be verified; the message says why and what to write instead."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events by what became of them, in the words of `inbox.store.STATES`; `waiting` are in the queue.

    `received` is counted by itself. `late` of the waiting ones have waited longer than any promise; `lost` are neither
    queued nor done.
    """

    received: int = 0
    applied: int = 0
    stored: int = 0
    waiting: int = 0
    unmatched: int = 0
    unreadable: int = 0
    unfetched: int = 0
    dead: int = 0
    lost: int = 0
    late: int = 0

    @classmethod
    def of(cls, states: Mapping[str, int], received: int, late: int) -> "Events":
        return cls(
            received,
            states.get("applied", 0),
            states.get("stored", 0),
            states.get("live", 0),
            states.get("unmatched", 0),
            states.get("unreadable", 0),
            states.get("unfetched", 0),
            states.get("dead", 0),
            states.get("lost", 0),
            late,
        )

    @property
    def accounted_for(self) -> int:
        """All but what is lost."""
        in_trouble = self.unmatched + self.unreadable + self.unfetched + self.dead
        return self.applied + self.stored + self.waiting + in_trouble


@dataclass(frozen=True, slots=True)
class Notifications:
    """Deliveries of the window's events by what became of them. `planned` is counted by itself.

    `late` of the waiting ones should have been sent, or have been tried in vain for long.
    """

    planned: int = 0
    delivered: int = 0
    waiting: int = 0
    dead: int = 0
    lost: int = 0
    late: int = 0

    @classmethod
    def of(cls, states: Mapping[str, int], planned: int, late: int) -> "Notifications":
        delivered, live, dead, lost = (states.get(state, 0) for state in ("delivered", "live", "dead", "lost"))
        return cls(planned, delivered, live, dead, lost, late)

    @property
    def accounted_for(self) -> int:
        return self.delivered + self.waiting + self.dead


@dataclass(frozen=True, slots=True)
class Notified:
    """The window's events by the worst of their notifications; `none`: no notification was planned (yet)."""

    none: int
    all_delivered: int
    on_their_way: int
    given_up: int


@dataclass(frozen=True, slots=True)
class LaneResult:
    """`missing` of the applied events have no ledger entry, `behind` one that never took the event in."""

    lane: str
    events: Events
    notifications: Notifications
    missing: int = 0
    behind: int = 0

    @property
    def in_ledger(self) -> int:
        return self.events.applied - self.missing - self.behind


@dataclass(frozen=True, slots=True)
class MerchantResult:
    """`merchant` is its key; None for the company itself and for events that nobody could be found for."""

    merchant: str | None
    events: Events
    notifications: Notifications


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """One account's part of Stripe's list; `account` None is the platform. `missing_by_lane`: where they belong."""

    account: str | None
    merchant: str | None
    listed: int
    missing_by_lane: Mapping[str, int]
    error: str | None

    @property
    def missing(self) -> int:
        return sum(self.missing_by_lane.values())


@dataclass(frozen=True, slots=True)
class AtStripe:
    """Stripe's own list of events created in [since, until) against what we hold. `why` it was not compared, or "".

    `mode`: of the key that it was read with, live or test. `notes`: what of it was not compared.
    """

    why: str
    since: datetime | None = None
    until: datetime | None = None
    accounts: tuple[ListedAccount, ...] = ()
    mode: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def compared(self) -> bool:
        return not self.why and all(account.error is None for account in self.accounts)

    @property
    def listed(self) -> int:
        return sum(account.listed for account in self.accounts)

    @property
    def missing(self) -> int:
        return sum(account.missing for account in self.accounts)


@dataclass(frozen=True, slots=True)
class Sum:
    """Two ways to count the same. `what` says it in words."""

    what: str
    whole: int
    parts: int

    @property
    def holds(self) -> bool:
        return self.whole == self.parts


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs a person: `count` of `what`, `why`, what to `do`, and some `examples`."""

    what: str
    count: int
    why: str
    do: str
    lane: str | None = None
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """What was given up: of events received in the window, or given up in it although received before (`earlier`).

    `held_back` of the deliveries go to destinations that are disabled or gone: they would only die again.
    """

    events: tuple[str, ...] = ()
    deliveries: tuple[int, ...] = ()
    held_back: int = 0
    earlier_events: int = 0
    earlier_deliveries: int = 0


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of the events received in [since, until), as of one instant, `at`."""

    since: datetime
    until: datetime
    at: datetime
    events: Events
    repeated: int
    """Redeliveries in the window of events that we held: acknowledged, not processed again."""
    notifications: Notifications
    notified: Notified
    lanes: tuple[LaneResult, ...]
    merchants: tuple[MerchantResult, ...]
    stripe: AtStripe
    sums: tuple[Sum, ...]
    needs: tuple[Need, ...]
    notes: tuple[str, ...]
    dead_letters: DeadLetters

    @property
    def adds_up(self) -> bool:
        return all(one.holds for one in self.sums)

    @property
    def ok(self) -> bool:
        """Nothing is lost and nothing needs a person; some may still be on their way (`settled`)."""
        return self.adds_up and not self.needs

    @property
    def settled(self) -> bool:
        return not self.events.waiting and not self.notifications.waiting


def document(found: Verification) -> dict[str, object]:
    """For programs: what the command and the API print as JSON."""
    letters = found.dead_letters
    return asdict(found) | {
        "ok": found.ok,
        "adds_up": found.adds_up,
        "settled": found.settled,
        "sums": [asdict(one) | {"holds": one.holds} for one in found.sums],
        "lanes": [asdict(lane) | {"in_ledger": lane.in_ledger} for lane in found.lanes],
        "stripe": asdict(found.stripe)
        | {
            "accounts": [asdict(account) | {"missing": account.missing} for account in found.stripe.accounts],
            "compared": found.stripe.compared,
            "listed": found.stripe.listed,
            "missing": found.stripe.missing,
        },
        "dead_letters": asdict(letters) | {"events": len(letters.events), "deliveries": len(letters.deliveries)},
    }

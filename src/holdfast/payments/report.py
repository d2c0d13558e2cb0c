"""What a comparison of Stripe's lists of events with ours says."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class AccountReport:
    """One account's part: `account` None is the platform itself. `error`: why its list could not be read.

    `missing_by_lane` are the missing ones by the lane that they belong in. `revoked`: it is not connected any more.
    """

    account: str | None
    merchant: str | None
    listed: int = 0
    missing: int = 0
    missing_by_lane: dict[str, int] = field(default_factory=dict)
    taken_in: int = 0
    error: str | None = None
    revoked: bool = False

    @property
    def name(self) -> str:
        return self.account or "the platform"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs a person: `what` it is, `why`, and what to `do`."""

    what: str
    why: str
    do: str


@dataclass(slots=True)
class Report:
    """What came of it. Events add up: critical = applied + waiting + in trouble; so do their notifications.

    `mode` is what the API key is for, live or test. `notes`: what was not compared, or differs from what was asked for.
    """

    since: datetime
    until: datetime
    mode: str
    accounts: list[AccountReport] = field(default_factory=list)
    critical: int = 0
    critical_applied: int = 0
    critical_waiting: int = 0
    critical_trouble: int = 0
    notifications: int = 0
    notifications_delivered: int = 0
    notifications_waiting: int = 0
    notifications_dead: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def listed(self) -> int:
        return sum(account.listed for account in self.accounts)

    @property
    def missing(self) -> int:
        return sum(account.missing for account in self.accounts)

    @property
    def taken_in(self) -> int:
        return sum(account.taken_in for account in self.accounts)

    @property
    def ok(self) -> bool:
        """Nothing needs a person, and nothing is still on its way."""
        return not self.findings and not self.critical_waiting and not self.notifications_waiting

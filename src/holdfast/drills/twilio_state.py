"""What the emulated Twilio remembers: accounts, numbers, calls, recordings, messages, alerts. Bounded."""

import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from holdfast.drills.twilio_faults import TwilioEmulatorError

KEPT: Final = 50_000
"""How many of each kind are kept: the oldest go first."""


@dataclass(slots=True)
class Account:
    """`shared_key` is (id, secret) of a key that signs webhooks instead of the auth token."""

    sid: str
    auth_token: str
    parent: str | None = None
    created: float = 0.0
    debugger_url: str | None = None
    shared_key: tuple[str, str] | None = None


@dataclass(slots=True)
class Number:
    """An incoming phone number. Methods are `POST` or `GET`; times are Unix."""

    sid: str
    phone: str
    account: str
    region: str | None
    created: float
    updated: float
    friendly_name: str = ""
    voice_url: str = ""
    voice_method: str = "POST"
    voice_fallback_url: str = ""
    voice_fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    status_callback_events: tuple[str, ...] = ("completed",)
    sms_url: str = ""
    sms_method: str = "POST"
    sms_fallback_url: str = ""
    sms_fallback_method: str = "POST"
    advanced_opt_out: bool = False


@dataclass(slots=True)
class CallRecord:
    """A call or a leg of one. `duration` is in simulated seconds, from answer to end."""

    sid: str
    account: str
    from_: str
    to: str
    direction: str
    created: float
    status: str = "queued"
    updated: float = 0.0
    parent: str | None = None
    number_sid: str | None = None
    started: float | None = None
    ended: float | None = None
    duration: int | None = None


@dataclass(slots=True)
class Recording:
    """What a caller left. `duration` is in seconds; `text` is what a transcription would find."""

    sid: str
    account: str
    call_sid: str
    duration: int
    created: float
    text: str = ""
    transcription_sid: str | None = None


@dataclass(slots=True)
class Message:
    """A text, in (`direction` inbound) or out."""

    sid: str
    account: str
    from_: str
    to: str
    body: str
    direction: str
    created: float
    status: str
    updated: float = 0.0
    sent: float | None = None
    service: str | None = None
    error_code: int | None = None
    error_message: str | None = None
    status_callback: str = ""


@dataclass(slots=True)
class Alert:
    """An entry of the Debugger. `request` and `response` are what was asked of our server, and what it answered."""

    sid: str
    account: str
    error_code: int
    level: str
    text: str
    created: float
    resource_sid: str
    request_url: str = ""
    request_method: str = "POST"
    request_variables: str = ""
    response_status: int | None = None
    response_headers: str = ""
    response_body: str = ""


class _Stored(Protocol):
    sid: str
    account: str


_Item = TypeVar("_Item", bound=_Stored)


class Shelf(Generic[_Item]):
    """The latest items of one kind, by sid."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[str, _Item] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: _Item) -> _Item:
        self._items[item.sid] = item
        while len(self._items) > self._most:
            self._items.popitem(last=False)
        return item

    def get(self, sid: str, account: str | None = None) -> _Item | None:
        """An item, if it is kept and belongs to the account (any, if none is given)."""
        item = self._items.get(sid)
        return item if item is not None and account in (None, item.account) else None

    def newest_first(self, account: str | None = None) -> Iterator[_Item]:
        return (item for item in reversed(self._items.values()) if account in (None, item.account))


@dataclass(slots=True)
class TwilioState:
    """Everything the API answers from. `blocked` holds (our number, person) of those who said stop."""

    rng: random.Random
    most: int = KEPT
    accounts: dict[str, Account] = field(default_factory=dict)
    by_phone: dict[str, Number] = field(default_factory=dict)
    blocked: set[tuple[str, str]] = field(default_factory=set)
    numbers: Shelf[Number] = field(init=False)
    calls: Shelf[CallRecord] = field(init=False)
    recordings: Shelf[Recording] = field(init=False)
    messages: Shelf[Message] = field(init=False)
    alerts: Shelf[Alert] = field(init=False)

    def __post_init__(self) -> None:
        if self.most < 1:
            raise TwilioEmulatorError(f"at least 1 of each kind must be kept, not {self.most}")
        self.numbers = Shelf(10_000_000)  # as many as are added: an operator's numbers do not age
        self.calls = Shelf(self.most)
        self.recordings = Shelf(self.most)
        self.messages = Shelf(self.most)
        self.alerts = Shelf(self.most)

    def new_sid(self, prefix: str) -> str:
        """A sid as Twilio makes them: two letters and 32 hexadecimal digits."""
        return f"{prefix}{self.rng.getrandbits(128):032x}"

    def account(self, sid: str) -> Account:
        """An account that must exist. TwilioEmulatorError if it does not."""
        found = self.accounts.get(sid)
        if found is None:
            raise TwilioEmulatorError(f"there is no account {sid}: use `add_subaccount` first")
        return found

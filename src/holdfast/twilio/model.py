"""Twilio's accounts, and the errors of what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

PROVIDER: Final = "twilio"
"""Whose events its callbacks are."""


class TwilioError(Exception):
    """An account or number is not as it must be; the message says what to write instead."""


class TwilioApiError(Exception):
    """Twilio did not do what it was asked; the message says what it answered.

    `status` is the HTTP status, None where there was no answer; `code` Twilio's own, such as 20003, None if it gave
    none; `retry` whether asking again later may help. `never_sent`: it certainly did not reach Twilio; `pause`: seconds
    that Twilio wants us to wait.
    """

    never_sent: bool = False
    pause: float | None = None

    def __init__(
        self, message: str, *, status: int | None = None, code: int | None = None, retry: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry = retry


@dataclass(frozen=True, slots=True)
class Account:
    """A Twilio account: the company's (merchant_id 0) or a merchant's own. The token signs, and is a password.

    `signing`: shared keys that Twilio may sign with instead, key id to secret. `former_tokens` only verify: while a
    token is rotated, Twilio signs with one of two, and says nowhere which.
    """

    sid: str
    name: str
    merchant_id: int
    auth_token: str = field(repr=False)
    signing: Mapping[str, str] = field(default_factory=dict, repr=False)
    former_tokens: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as Twilio has it. `status`: active, suspended or closed."""

    sid: str
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class TwilioNumber:
    """A phone number as Twilio has it. `urls`: what `NUMBER_FIELDS` names, the empty ones too."""

    sid: str
    phone: str
    account: str
    name: str
    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TwilioCall:
    """A call as Twilio has it. `status`: queued, ringing, in-progress, completed, busy, failed, no-answer, canceled."""

    sid: str
    account: str
    status: str
    to: str
    from_: str
    seconds: int | None
    answered_by: str | None


@dataclass(frozen=True, slots=True)
class TwilioText:
    """A text as Twilio has it. `direction`: inbound, outbound-api, outbound-call or outbound-reply. `from_` may be a
    messaging service's number, or empty until one is chosen. `sent_at` is None until it was sent.
    """

    sid: str
    account: str
    to: str
    from_: str
    body: str
    status: str
    direction: str
    error_code: int | None
    created_at: datetime
    sent_at: datetime | None
    service: str | None


@dataclass(frozen=True, slots=True)
class DebuggerAlert:
    """An entry of Twilio's Debugger. `level`: error, warning, notice or debug. `said` is Twilio's text, decoded.

    `resource`: the call, message or other thing that it is about. `url`: the address that Twilio had asked.
    """

    sid: str
    account: str
    at: datetime
    level: str
    code: int
    resource: str | None = None
    url: str | None = None
    said: str = ""


NUMBER_FIELDS: Final = (
    "voice_url",
    "voice_method",
    "voice_fallback_url",
    "voice_fallback_method",
    "voice_application_sid",
    "trunk_sid",
    "status_callback",
    "status_callback_method",
    "sms_url",
    "sms_method",
    "sms_fallback_url",
    "sms_fallback_method",
    "sms_application_sid",
)
"""What of a number decides where its calls and texts go. Source: https://www.twilio.com/docs/phone-numbers/api"""

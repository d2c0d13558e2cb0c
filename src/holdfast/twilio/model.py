"""Twilio's accounts, and the errors of what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


class TwilioError(Exception):
    """An account or number is not as it must be; the message says what to write instead."""


class TwilioApiError(Exception):
    """Twilio did not do what it was asked; the message says what it answered.

    `status` is the HTTP status, None where there was no answer; `code` Twilio's own, such as 20003, None if it gave
    none; `retry` whether asking again later may help.
    """

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

    `signing`: shared keys that Twilio may sign with instead, key id to secret.
    """

    sid: str
    name: str
    merchant_id: int
    auth_token: str = field(repr=False)
    signing: Mapping[str, str] = field(default_factory=dict, repr=False)

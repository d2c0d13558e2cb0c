"""News of a text that a person sent, and of their consent: what programs get, and what the mail about it says."""

from datetime import datetime
from typing import Literal

import msgspec

from holdfast.delivery.voicemail import local_time

TYPES = ("text.received", "consent.revoked", "consent.granted")


class TextNews(msgspec.Struct, frozen=True):
    """What these events are about. `id` is Twilio's of the text; of a consent given by link, our own.

    `merchant` is its key, None where nobody has the number. `scope`, of a consent alone: merchant, or every merchant of
    the company. `purposes`: what was agreed to; empty where it was taken back. `time_zone`: an IANA name.
    """

    id: str
    from_: str = msgspec.field(name="from")
    to: str
    merchant: str | None
    merchant_name: str | None
    body: str
    media: tuple[str, ...]
    received_at: datetime
    time_zone: str
    scope: Literal["merchant", "company"] | None = None
    purposes: tuple[str, ...] = ()


class _Data(msgspec.Struct, frozen=True):
    object: TextNews


class _Event(msgspec.Struct, frozen=True):
    """As payment events are: what it is about stands where receivers look for it."""

    type: str
    data: _Data


_SCOPES = {"merchant": "this merchant's texts", "company": "every merchant's texts"}
_decode = msgspec.json.Decoder(_Event).decode


def write_text(event_type: str, news: TextNews) -> bytes:
    """The event's body."""
    return msgspec.json.encode(_Event(event_type, _Data(news)))


def read_text(body: bytes) -> TextNews:
    """Raises ValueError."""
    return _decode(body).data.object


def title(event_type: str, news: TextNews) -> str:
    who = news.from_ or "an unknown sender"
    match event_type:
        case "consent.revoked":
            return f"{who} wants no more texts"
        case "consent.granted":
            return f"{who} agreed to texts"
    return f"Text from {who}"


def rows(news: TextNews) -> tuple[tuple[str, str], ...]:
    """Label and value of what a mail says; values may be empty."""
    return (
        ("From", news.from_),
        ("To", news.to),
        ("Merchant", news.merchant_name or news.merchant or ""),
        ("Time", local_time(news.received_at, news.time_zone)),
        ("Text", news.body),
        ("Pictures", " ".join(news.media)),
        ("Agreed to", ", ".join(news.purposes)),
        ("Blocks", _SCOPES.get(news.scope or "", "")),
    )

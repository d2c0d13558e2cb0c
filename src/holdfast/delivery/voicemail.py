"""News of a message that a caller left: what programs get, and what the mail about it says."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

TYPES = "voicemail."
"""How the types of these events begin."""


class VoicemailNews(msgspec.Struct, frozen=True):
    """What `voicemail.received` and `voicemail.transcribed` are about.

    `duration`: seconds, None where Twilio did not say; `merchant` is its key, None where nobody has the number;
    `time_zone` an IANA name.
    """

    id: str
    call: str
    from_: str = msgspec.field(name="from")
    to: str
    merchant: str | None
    merchant_name: str | None
    duration: int | None
    recording_url: str
    transcription: str | None
    received_at: datetime
    time_zone: str


class _Data(msgspec.Struct, frozen=True):
    object: VoicemailNews


class _Event(msgspec.Struct, frozen=True):
    """As payment events are: what it is about stands where receivers look for it."""

    type: str
    data: _Data


_decode = msgspec.json.Decoder(_Event).decode


def write_voicemail(event_type: str, news: VoicemailNews) -> bytes:
    """The event's body."""
    return msgspec.json.encode(_Event(event_type, _Data(news)))


def read_voicemail(body: bytes) -> VoicemailNews:
    """Raises ValueError."""
    return _decode(body).data.object


def rows(news: VoicemailNews) -> tuple[tuple[str, str], ...]:
    """Label and value of what a mail says, in the order in which people ask; values may be empty."""
    return (
        ("From", news.from_),
        ("To", news.to),
        ("Merchant", news.merchant_name or news.merchant or ""),
        ("Time", local_time(news.received_at, news.time_zone)),
        ("Length", _length(news.duration)),
        ("Recording", news.recording_url),
        ("Transcription", news.transcription or ""),
    )


def local_time(at: datetime, time_zone: str) -> str:
    """On the merchant's clocks. `time_zone`: an IANA name; UTC where it is none."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def _length(seconds: int | None) -> str:
    """`0:42 min`"""
    return "" if seconds is None else f"{seconds // 60}:{seconds % 60:02d} min"

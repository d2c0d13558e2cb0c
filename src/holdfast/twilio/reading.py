"""What Twilio's API answers, read: rows of JSON become what `model` has. Pure.

Source: https://www.twilio.com/docs/usage/twilios-response
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs

from holdfast.twilio.model import NUMBER_FIELDS, DebuggerAlert, TwilioCall, TwilioNumber, TwilioText


def number(row: Mapping[str, Any]) -> TwilioNumber:
    urls = {name: _word(row, name) for name in NUMBER_FIELDS}
    name = _word(row, "friendly_name")
    return TwilioNumber(str(row["sid"]), str(row["phone_number"]), _word(row, "account_sid"), name, urls)


def call(row: Mapping[str, Any]) -> TwilioCall:
    seconds = row.get("duration")
    return TwilioCall(
        sid=str(row["sid"]),
        account=_word(row, "account_sid"),
        status=_word(row, "status"),
        to=_word(row, "to"),
        from_=_word(row, "from"),
        seconds=int(seconds) if seconds not in (None, "") else None,
        answered_by=row.get("answered_by"),
    )


def text(row: Mapping[str, Any]) -> TwilioText:
    code = row.get("error_code")
    created = _rfc2822(row.get("date_created"))
    return TwilioText(
        sid=str(row["sid"]),
        account=_word(row, "account_sid"),
        to=_word(row, "to"),
        from_=_word(row, "from"),
        body=_word(row, "body"),
        status=_word(row, "status"),
        direction=_word(row, "direction"),
        error_code=int(code) if code is not None and str(code).isdigit() else None,
        created_at=created or datetime.now(UTC),
        sent_at=_rfc2822(row.get("date_sent")),
        service=row.get("messaging_service_sid") or None,
    )


def alert(row: Mapping[str, Any]) -> DebuggerAlert:
    at = datetime.fromisoformat(str(row.get("date_generated") or row["date_created"]))
    code = _word(row, "error_code")
    return DebuggerAlert(
        sid=str(row["sid"]),
        account=_word(row, "account_sid"),
        at=at,
        level=str(row.get("log_level") or "error").lower(),
        code=int(code) if code.isdigit() else 0,
        resource=row.get("resource_sid") or None,
        url=row.get("request_url") or None,
        said=said_in(_word(row, "alert_text")),
    )


def said_in(text: str) -> str:
    """What an alert's text says: of `Msg=…&sourceComponent=…` its message, of anything else all of it."""
    found = parse_qs(text).get("Msg") or parse_qs(text).get("msg") if "=" in text else None
    return (found[0] if found else text)[:1000]


def _word(row: Mapping[str, Any], name: str) -> str:
    """Empty where it is not there, or null."""
    return str(row.get(name) or "")


def _rfc2822(text: object) -> datetime | None:
    """Times of the 2010 API, such as Thu, 24 Aug 2023 05:01:45 +0000."""
    try:
        return parsedate_to_datetime(str(text)).astimezone(UTC) if text else None
    except ValueError:
        return None

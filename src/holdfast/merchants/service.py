"""What a merchant and a destination must be, and reading whole files of merchants."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.merchants.files import Rejected, read_rows
from holdfast.merchants.model import MerchantError, NewMerchant
from holdfast.naming import KEY, KEY_IS, ZONE_IS, is_email, is_name
from holdfast.naming import time_zone as zone_of

ACCOUNT = re.compile(r"acct_[A-Za-z0-9_]{1,200}")
PATTERN = re.compile(r"[A-Za-z0-9_.*]{1,255}")
COLUMNS = ("key", "name", "email", "stripe_account", "time_zone", "webhook_url", "webhook_events", "webhook_secret")


@dataclass(frozen=True, slots=True)
class Row:
    """One merchant of a file; `webhook_events` is empty where the file says nothing."""

    line: int
    merchant: NewMerchant
    webhook_url: str | None
    webhook_events: tuple[str, ...]
    webhook_secret: str | None


def checked(new: NewMerchant) -> NewMerchant:
    """The merchant, if it is as it must be. Raises MerchantError."""
    if not KEY.fullmatch(new.key):
        raise MerchantError(f"{new.key!r} is not a merchant key: {KEY_IS}")
    if not is_name(new.name):
        raise MerchantError(f"merchant {new.key} needs a name of 1 to 200 printable characters")
    if new.email is not None:
        checked_email(new.email)
    if new.stripe_account is not None and not ACCOUNT.fullmatch(new.stripe_account):
        raise MerchantError(f"{new.stripe_account!r} is not a Stripe account: it looks like acct_1Nv0FGQ9RKHgCVdK")
    if new.time_zone is not None and zone_of(new.time_zone) is None:
        raise MerchantError(f"{new.time_zone[:60]!r} is not a time zone: {ZONE_IS}")
    return new


def checked_email(text: str) -> str:
    """The address, if mail can go there. Raises MerchantError."""
    if not is_email(text):
        raise MerchantError(f"{text!r} is not an e-mail address")
    return text


def checked_events(patterns: Iterable[str]) -> tuple[str, ...]:
    """Event type patterns, at least one. Raises MerchantError."""
    events = tuple(dict.fromkeys(patterns))
    if not events:
        raise MerchantError("name at least one event type, such as charge.failed, payout.* or * for all")
    for pattern in events:
        if not PATTERN.fullmatch(pattern):
            raise MerchantError(f"{pattern!r} is not an event type pattern: write charge.failed, payout.* or *")
    if len(events) > 100:
        raise MerchantError("at most 100 event type patterns; use * to take several types in one")
    return events


def read_file(path: Path) -> Iterator[Row | Rejected]:
    """The merchants of a CSV (with a header line) or JSON lines file, in order. Raises MerchantError, OSError.

    A row that cannot be taken comes as Rejected, and so does a key or account that was there before.
    """
    seen: dict[str, int] = {}
    for line, fields in read_rows(path, COLUMNS, ("key", "name")):
        yield fields if isinstance(fields, Rejected) else _row(line, fields, seen)


def _row(line: int, fields: Mapping[str, str], seen: dict[str, int]) -> Row | Rejected:
    try:
        merchant = checked(
            NewMerchant(
                fields.get("key", ""),
                fields.get("name", ""),
                fields.get("email") or None,
                fields.get("stripe_account") or None,
                fields.get("time_zone") or None,
            )
        )
        patterns = (fields.get("webhook_events") or "").split()
        events = checked_events(patterns) if patterns else ()
    except MerchantError as error:
        return Rejected(line, str(error))
    for name in (merchant.key, merchant.stripe_account):
        if name is not None and seen.setdefault(name, line) != line:
            return Rejected(line, f"{name} was on line {seen[name]} already")
    url = fields.get("webhook_url") or None
    secret = fields.get("webhook_secret") or None
    if secret and not url:
        return Rejected(line, "has a webhook_secret but no webhook_url")
    return Row(line, merchant, url, events, secret)

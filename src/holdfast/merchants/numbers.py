"""Phone numbers of merchants: how they are written, and where they are.

Source: ITU-T E.164; ranges and countries by https://github.com/google/libphonenumber
"""

import re
from dataclasses import dataclass
from datetime import datetime

import phonenumbers

from holdfast.merchants.model import MerchantError

REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}")
"""How a region is written: `US`, `US-CA`, `eu-west`."""
UNKNOWN_REGION = "unknown"


@dataclass(frozen=True, slots=True)
class NewNumber:
    """`phone` in E.164. `account`: the Twilio subaccount that has it, None for the main one. `sid`: its PN…, if known.

    `stands_in`: it may be shown as caller ID instead of another number.
    """

    phone: str
    merchant_id: int
    region: str
    account: str | None = None
    sid: str | None = None
    stands_in: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """A phone number of a merchant (merchant_id 0: the company's own)."""

    id: int
    phone: str
    merchant_id: int
    account: str | None
    sid: str | None
    region: str
    stands_in: bool
    created_at: datetime


def e164(text: str) -> str:
    """The number as E.164: `+15550100`. It has to begin with + and its country's code. Raises MerchantError."""
    said = f"{text[:40]!r} is not a phone number: write it with its country's code, such as +14155550123"
    if not text.startswith("+"):
        raise MerchantError(said)
    try:
        parsed = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise MerchantError(said) from None
    if not phonenumbers.is_possible_number(parsed):
        raise MerchantError(f"{said}; this one has too few or too many digits")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def region_of(phone: str) -> str:
    """The country of an E.164 number, such as US; `UNKNOWN_REGION` for what belongs to none (SIP addresses too)."""
    try:
        parsed = phonenumbers.parse(phone, None)
    except phonenumbers.NumberParseException:
        return UNKNOWN_REGION
    # Numbers that no range has, such as those reserved for fiction, are in the main country of their code.
    code = parsed.country_code
    found = phonenumbers.region_code_for_number(parsed) or phonenumbers.region_code_for_country_code(code or 0)
    return UNKNOWN_REGION if found in ("ZZ", "001") else found


def time_zone_of(phone: str) -> str | None:
    """The IANA time zone of an E.164 number that has one alone, such as Europe/London; None where it is not certain."""
    from phonenumbers.tzdata import (  # a map that costs memory, and only some need it
        TIMEZONE_DATA,
        TIMEZONE_LONGEST_PREFIX,
    )

    # What `timezone.time_zones_for_geographical_number` does with a number that it takes apart first and puts together
    # again, which takes twenty times as long: all numbers are looked up when calls begin to be answered.
    digits = phone.removeprefix("+")
    prefixes = (digits[:length] for length in range(TIMEZONE_LONGEST_PREFIX, 0, -1))
    zones = next((TIMEZONE_DATA[prefix] for prefix in prefixes if prefix in TIMEZONE_DATA), ())
    return zones[0] if len(zones) == 1 else None


def checked_region(text: str) -> str:
    """Raises MerchantError."""
    if not REGION.fullmatch(text):
        raise MerchantError(f"{text[:40]!r} is no region: write a country or a name of your own, such as US or US-west")
    return text

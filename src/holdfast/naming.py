"""What a key (the short name of a merchant or person), an e-mail address and a time zone look like."""

import re
from email.errors import MessageError
from email.headerregistry import Address
from zoneinfo import ZoneInfo

KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
KEY_IS = "write 1 to 63 lower-case letters, digits, dots, dashes, underscores"
"""How to write a key, for messages."""
ZONE_IS = "write its IANA name, such as Europe/Berlin or America/New_York"
"""How to write a time zone, for messages."""


def is_email(text: str) -> bool:
    """Whether mail can go there."""
    try:
        address = Address(addr_spec=text)
    except (MessageError, ValueError, IndexError):
        return False
    return bool(address.domain) and text.isprintable() and len(text) <= 254


def is_name(text: str) -> bool:
    """Whether it is a full name: 1 to 200 printable characters."""
    return bool(text.strip()) and text.isprintable() and len(text) <= 200


def time_zone(name: str) -> ZoneInfo | None:
    """The time zone of an IANA name; None where there is none."""
    try:
        return ZoneInfo(name) if name != "localtime" else None  # that is whatever a machine has it to be
    except (OSError, ValueError, KeyError):  # by what is odd about the name
        return None

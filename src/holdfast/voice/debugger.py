"""Twilio's Debugger: what its codes mean, and whose trouble each one is.

Source: https://www.twilio.com/docs/api/errors
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, get_args

Whose = Literal["ours", "twilio", "carrier", "customer", "other", "unknown"]
"""ours: our doors, TwiML, settings or account; twilio: Twilio itself; carrier: who carries a call or text, or the
equipment of a target; customer: the number or device at the other end; other: another program's, whose addresses are
on the same account; unknown: a code that is in no table here."""
WHOSE: tuple[Whose, ...] = get_args(Whose)
Product = Literal["voice", "messaging", "api", "other"]


class Meaning(NamedTuple):
    """What a code means, in a few words of our own."""

    whose: Whose
    product: Product
    said: str


DOOR_CODES: Final = frozenset({11200, 11205, 11206, 11210, 11215, 11220, 11235, 11236, 11237, 12100, 12300})
"""Twilio asked a door and could not use the answer, or got none: callers hear an error."""

_CODES: Final[Mapping[int, Meaning]] = {
    10001: Meaning("ours", "api", "the account is not active"),
    10003: Meaning("ours", "api", "the account may not be used from this address"),
    10004: Meaning("ours", "voice", "the account's limit of calls at once is reached"),
    11100: Meaning("ours", "voice", "an address of ours is not a valid URL"),
    11200: Meaning("ours", "voice", "our door answered with an error, or took longer than 15 s"),
    11205: Meaning("ours", "voice", "our door could not be connected to"),
    11206: Meaning("ours", "voice", "our door did not speak proper HTTP"),
    11210: Meaning("ours", "voice", "the host of our address is not found in DNS"),
    11215: Meaning("ours", "voice", "our door redirected too often"),
    11220: Meaning("ours", "voice", "TLS with our door failed"),
    11235: Meaning("ours", "voice", "the TLS certificate of our door is not accepted"),
    11236: Meaning("ours", "voice", "the TLS certificate of our door is not accepted"),
    11237: Meaning("ours", "voice", "the TLS certificate of our door could not be validated"),
    11750: Meaning("ours", "voice", "our answer was too large"),
    11751: Meaning("ours", "messaging", "a media file of ours was too large or missing"),
    12100: Meaning("ours", "voice", "our TwiML could not be parsed"),
    12200: Meaning("ours", "voice", "our TwiML has something unknown in it"),
    12300: Meaning("ours", "voice", "our answer had a content type that is no TwiML"),
    12400: Meaning("twilio", "voice", "Twilio failed inside while it followed TwiML"),
    13214: Meaning("ours", "voice", "the caller ID that we asked for may not be shown"),
    13223: Meaning("ours", "voice", "a target is not written as a phone number"),
    13224: Meaning("customer", "voice", "a target's number does not exist, or Twilio does not call such"),
    13225: Meaning("ours", "voice", "a target may not be called: its number is forbidden"),
    13226: Meaning("ours", "voice", "a target's country is not valid"),
    13227: Meaning("ours", "voice", "the account may not call a target's country"),
    15003: Meaning("ours", "voice", "our door did not take a callback well"),
    20003: Meaning("ours", "api", "Twilio does not accept our credentials"),
    20005: Meaning("ours", "api", "the account is not active"),
    20429: Meaning("ours", "api", "we asked the API too often"),
    20500: Meaning("twilio", "api", "Twilio's API failed inside"),
    20503: Meaning("twilio", "api", "Twilio's API was not available"),
    21211: Meaning("customer", "messaging", "the number to reach is not valid"),
    21610: Meaning("customer", "messaging", "the recipient has opted out"),
    21614: Meaning("customer", "messaging", "the number to reach is no mobile number"),
    30001: Meaning("ours", "messaging", "our queue of texts at Twilio overflowed"),
    30002: Meaning("ours", "messaging", "the account is suspended"),
    30003: Meaning("customer", "messaging", "the handset is unreachable"),
    30004: Meaning("customer", "messaging", "the recipient blocks texts"),
    30005: Meaning("customer", "messaging", "the handset is unknown or out of service"),
    30006: Meaning("customer", "messaging", "the number is a landline, or its carrier takes no texts"),
    30007: Meaning("carrier", "messaging", "a carrier filtered a text"),
    30008: Meaning("carrier", "messaging", "a text was lost for an unknown reason"),
    30034: Meaning("ours", "messaging", "the sender is not registered for A2P 10DLC"),
    32011: Meaning("carrier", "voice", "a target's SIP equipment does not answer as it should"),
}
_RANGES: Final[tuple[tuple[range, Meaning], ...]] = (
    (range(10_000, 11_000), Meaning("ours", "api", "the account is limited")),
    (range(11_000, 12_000), Meaning("ours", "voice", "our door could not be used")),
    (range(12_000, 13_000), Meaning("ours", "voice", "our TwiML is wrong")),
    (range(13_000, 15_000), Meaning("ours", "voice", "a verb of our TwiML could not be followed")),
    (range(15_000, 17_000), Meaning("ours", "voice", "a callback or conference of ours is wrong")),
    (range(20_000, 20_500), Meaning("ours", "api", "the API refused what we asked")),
    (range(20_500, 20_600), Meaning("twilio", "api", "Twilio's API failed")),
    (range(20_600, 30_000), Meaning("ours", "api", "the API refused what we asked")),
    (range(30_000, 31_000), Meaning("carrier", "messaging", "a text was not delivered")),
    (range(31_000, 32_000), Meaning("customer", "voice", "a softphone or its network failed")),
    (range(32_000, 33_000), Meaning("carrier", "voice", "SIP: a trunk or a target's equipment failed")),
)
_UNKNOWN: Final = Meaning("unknown", "other", "see https://www.twilio.com/docs/api/errors")


_ABOUT_ADDRESSES: Final = range(11_000, 17_000)
"""What Twilio asks of an address, and what that answers: only of these is the address whose trouble it is."""
_OTHERS: Final = "an address of another program on the account could not be used, or its TwiML is wrong"


def meaning(code: int, *, is_foreign: bool = False) -> Meaning:
    """What a code means; of one that is not listed, what its range does. `is_foreign`: see `KeptAlert`."""
    found = _CODES.get(code) or next((meant for codes, meant in _RANGES if code in codes), _UNKNOWN)
    if is_foreign and found.whose == "ours" and code in _ABOUT_ADDRESSES:
        return Meaning("other", found.product, _OTHERS)
    return found


def is_of_our_doors(code: int, *, is_foreign: bool = False) -> bool:
    """Whether an alert says that one of our doors could not be used."""
    return code in DOOR_CODES and not is_foreign


def known_code(code: int) -> str:
    """The code as a label: those of the table by themselves, others by their hundred, so that there are few."""
    return str(code) if code in _CODES else f"{code // 100}xx"


def by_whose(codes: Iterable[tuple[int, bool, int]]) -> dict[Whose, int]:
    """Alerts by whose trouble they are, from (code, whether it is about another program's address, how many)."""
    found: dict[Whose, int] = {}
    for code, is_foreign, count in codes:
        whose = meaning(code, is_foreign=is_foreign).whose
        found[whose] = found.get(whose, 0) + count
    return found

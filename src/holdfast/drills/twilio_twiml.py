"""Reading TwiML: a document becomes a list of verbs, or a TwimlError with the code that Twilio gives for it.

Sources: https://www.twilio.com/docs/voice/twiml and https://www.twilio.com/docs/api/errors (12xxx).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

VOICE_VERBS: Final = frozenset({"Say", "Play", "Pause", "Dial", "Record", "Redirect", "Reject", "Hangup", "Gather"})
MESSAGING_VERBS: Final = frozenset({"Message", "Redirect"})
_NOUNS: Final = {"Dial": frozenset({"Number", "Sip"})}
_XML_TYPES: Final = ("text/xml", "application/xml", "text/html")


class TwimlError(Exception):
    """A document cannot be executed; `code` is Twilio's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb or noun. `text` is its own text, without that of its children."""

    name: str
    attributes: Mapping[str, str]
    text: str
    children: tuple["Verb", ...] = ()

    def get(self, attribute: str) -> str | None:
        return self.attributes.get(attribute)

    def flag(self, attribute: str, *, default: bool = False) -> bool:
        return self.attributes.get(attribute, str(default)).strip().lower() == "true"

    def number(self, attribute: str, default: float) -> float:
        """A number, or the default where the attribute is missing or none, which is what Twilio falls back to."""
        try:
            value = float(self.attributes[attribute])
        except (KeyError, ValueError):
            return default
        return value if math.isfinite(value) else default


def parse(body: bytes, content_type: str, verbs: frozenset[str] = VOICE_VERBS) -> list[Verb]:
    """The verbs of a document; plain text is said, audio is played. TwimlError for anything else."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("audio/"):
        return [Verb("Play", {}, "")]
    if kind == "text/plain":
        return [Verb("Say" if "Say" in verbs else "Message", {}, body.decode(errors="replace"))]
    if kind not in _XML_TYPES:
        raise TwimlError(12300, f"Invalid Content-Type {content_type!r}")
    return parse_xml(body, verbs)


def parse_xml(body: bytes | str, verbs: frozenset[str] = VOICE_VERBS) -> list[Verb]:
    """The verbs of an XML document. TwimlError if it is no TwiML, or holds verbs that the emulated Twilio lacks."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - expat bounds entity expansion, and the sender is our own server
    except ET.ParseError as error:
        raise TwimlError(12100, f"Document parse failure: {error}") from error
    if root.tag != "Response":
        raise TwimlError(12100, f"Document parse failure: the root is <{root.tag}>, not <Response>")
    _check(root, verbs)
    for verb in root:
        if verb.tag in _NOUNS:
            _check(verb, _NOUNS[verb.tag])
    return [_verb(child) for child in root]


def _check(parent: ET.Element, known: frozenset[str]) -> None:
    for child in parent:
        if child.tag not in known:
            names = ", ".join(sorted(known))
            raise TwimlError(12100, f"<{child.tag}> in <{parent.tag}> is not emulated; known there: {names}")


def _verb(element: ET.Element) -> Verb:
    children = tuple(_verb(child) for child in element)
    return Verb(element.tag, dict(element.attrib), (element.text or "").strip(), children)

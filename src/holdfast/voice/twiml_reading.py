"""TwiML as whoever walks it reads it: the verbs of one document, in order, and what each of them does.

Source: https://www.twilio.com/docs/voice/twiml
"""

from dataclasses import dataclass, field
from xml.etree import ElementTree as ET  # what is read was written by our own door

KNOWN = frozenset({"Say", "Play", "Pause", "Dial", "Record", "Hangup", "Redirect", "Reject"})


class TwimlError(Exception):
    """It is no TwiML that Twilio would follow; the message says why."""


@dataclass(frozen=True, slots=True)
class Verb:
    """`text`: what is said, played, or where it goes; of Dial its targets."""

    name: str
    text: str = ""
    targets: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        given = self.attributes
        shown = f", shows {given['callerId']}" if given.get("callerId") else ""
        said = {
            "Say": f"says: {self.text}",
            "Play": f"plays {self.text}",
            "Dial": f"rings {', '.join(self.targets)} for {given.get('timeout', '30')} s{shown}",
            "Record": f"takes a message of at most {given.get('maxLength', '3600')} s",
            "Hangup": "hangs up",
            "Redirect": f"goes on at {self.text}",
        }
        return said.get(self.name, self.name.lower())


def read(body: bytes) -> list[Verb]:
    """Raises TwimlError."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise TwimlError("it has a document type, which Twilio does not take")
    try:
        root = ET.fromstring(body)  # noqa: S314 - entities are refused above
    except ET.ParseError as error:
        raise TwimlError(f"it is no XML: {error}") from None
    if root.tag != "Response":
        raise TwimlError(f"it begins with <{root.tag}>, not with <Response>")
    unknown = sorted({one.tag for one in root} - KNOWN)
    if unknown:
        raise TwimlError(f"it has a verb that nobody has tested: <{unknown[0]}>")
    return [_verb(one) for one in root]


def _verb(one: ET.Element) -> Verb:
    text = " ".join("".join(one.itertext()).split())
    targets = tuple((inner.text or "").strip() for inner in one) if len(one) else (text,) if one.tag == "Dial" else ()
    return Verb(one.tag, text, targets, dict(one.attrib))

"""Where Twilio calls us about a number's calls, and which addresses of a number are ours."""

from collections.abc import Iterable
from urllib.parse import urlsplit

DOORS = "/hooks/twilio/"
"""How the paths of all of Twilio's doors begin."""
INCOMING = "/hooks/twilio/voice"
"""Asked what to do with a call: a number's VoiceUrl."""
STATUS = "/hooks/twilio/voice/status"
"""Told how a call goes and ends: a number's StatusCallback."""


def behind(url: str, bases: Iterable[str]) -> str | None:
    """What of an address comes behind one of our public URLs, if it is one of our doors: path, query and fragment."""
    for base in sorted(bases, key=len, reverse=True):
        rest = url.removeprefix(base)
        if rest != url and rest.startswith(DOORS):
            return rest
    return None


def base_of(text: str) -> str | None:
    """A public URL without what may not be in it; None if the text is none."""
    parts = urlsplit(text.strip())
    is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
    if not is_whole or parts.path not in ("", "/") or parts.query or parts.fragment:
        return None  # a path would get lost: what we answer names addresses from the host on
    return text.strip().rstrip("/")

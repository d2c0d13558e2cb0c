"""Evidence as PostgreSQL takes it: whatever an action hands over must not keep its outcome from being written down."""

import json
import math
from collections.abc import Mapping
from typing import Any

LARGEST = 200_000
"""Characters of one piece of evidence."""


def stored(evidence: Mapping[str, Any]) -> str:
    """As JSON without what jsonb refuses (NUL, NaN, Infinity); something too large is replaced by a word about it."""
    text = json.dumps(_clean(evidence), default=lambda value: plain(str(value)))
    return text if len(text) <= LARGEST else json.dumps({"left out": f"{len(text):,} characters of evidence"})


def plain(text: str) -> str:
    """Without NUL, which no text in the store may have."""
    return text.replace("\0", "")


def _clean(value: Any) -> Any:
    match value:
        case str():
            return plain(value)
        case float() if not math.isfinite(value):
            return str(value)
        case Mapping():
            return {plain(str(key)): _clean(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(item) for item in value]
    return value

"""Whether a text that many read names a merchant."""

import re
from collections.abc import Iterable

_SHORT = 4
"""Names of one word that is shorter are as often just a word: `Ode`, `Joe`."""
_OURS = frozenset(("stripe", "twilio"))
"""A merchant may be called so; who writes it means the provider."""


def named_in(text: str, names: Iterable[str]) -> str | None:
    """The first of these names that stands in the text as whole words; None if none does.

    One word must be written as the name is: `Target` names somebody, `our target` does not. More words count however
    they are written.
    """
    for name in names:
        words = name.split()
        if not words or name.lower() in _OURS or (len(words) == 1 and len(words[0]) < _SHORT):
            continue
        pattern = r"(?<!\w)" + r"\s+".join(re.escape(word) for word in words) + r"(?!\w)"
        if re.search(pattern, text, re.IGNORECASE if len(words) > 1 else 0):
            return name
    return None

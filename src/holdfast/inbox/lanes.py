"""Which lane an event type goes to: an editable table of patterns, the most specific one wins."""

import re
from collections.abc import Mapping

from holdfast.patterns import compiled
from holdfast.queue.model import Lane

_CACHED = 4096


class LaneTable:
    """Pattern → lane. `*` stands for any run of characters; a type that no pattern fits is standard.

    The most specific pattern is the one with the most literal characters. Thin events prefix their types with the
    API version (`v1.charge.failed`); it does not change how much they matter, where no pattern fits it with the prefix.
    """

    def __init__(self, rules: Mapping[str, Lane]) -> None:
        self._exact = {pattern: lane for pattern, lane in rules.items() if "*" not in pattern}
        wild = [pattern for pattern in rules if "*" in pattern]
        wild.sort(key=lambda pattern: (-len(pattern.replace("*", "")), pattern))
        self._wild = [(compiled((pattern,)), rules[pattern]) for pattern in wild]
        self._seen: dict[str, Lane] = {}

    def lane(self, event_type: str) -> Lane:
        known = self._seen.get(event_type)
        if known is None:
            known = self._find(event_type)
            if len(self._seen) < _CACHED:  # types come from outside: bounded
                self._seen[event_type] = known
        return known

    def _find(self, event_type: str) -> Lane:
        names = (event_type, re.sub(r"^v\d+\.", "", event_type))
        exact = next((self._exact[name] for name in names if name in self._exact), None)
        if exact is not None:
            return exact
        fitting = (lane for pattern, lane in self._wild if any(pattern.fullmatch(name) for name in names))
        return next(fitting, Lane.STANDARD)

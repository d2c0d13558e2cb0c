"""Event type patterns, as subscriptions and the lane table use them: `*` is any run of characters, all else literal."""

import re
from collections.abc import Sequence
from functools import lru_cache


def matches(patterns: Sequence[str], event_type: str) -> bool:
    """Whether one of the patterns fits an event type.

    Thin events have types of their own (`v1.charge.failed`) and match only patterns that say so: who subscribes to
    `charge.failed` would otherwise get every event twice.
    """
    return compiled(tuple(patterns)).fullmatch(event_type) is not None


@lru_cache(maxsize=16_384)
def compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all of them; it fits nothing when there are none."""
    return re.compile("|".join(_regex(pattern) for pattern in patterns) if patterns else "(?!)", re.DOTALL)


def _regex(pattern: str) -> str:
    """Atomic groups: each part is looked for once, so that no pattern can make matching slow."""
    first, *rest = (re.escape(part) for part in re.split(r"\*+", pattern))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last

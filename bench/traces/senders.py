"""Stripe as the sender: what it sends again because of our answers, and how old events are when they come."""

from collections import deque
from random import Random

HELD, LANES = 3, 3
"""Where the lane of an event would be, `HELD` says that we have it already: it comes as a duplicate."""
LONGEST = 600.0
_WINDOW, _NEWEST = 120, 1000


class Resends:
    """Refused and unheard answers bring events back, each time about three times later.

    Assumed: the first time after half a minute to two; never later than ten minutes. Stripe goes on for three days in
    truth, but what it sends in the last of them is too thin to be seen, and would fall into the next fault of a trace.
    """

    def __init__(self, rng: Random, patience: float) -> None:
        self._rng = rng
        self._patience = patience
        self._due: dict[int, dict[tuple[int, int], tuple[int, float]]] = {}

    def again(self, tick: int, lane: int, tried: int, count: int, created: float) -> None:
        """`count` events of a lane (or `HELD`) were not taken at their `tried`th time; `created` on average then."""
        pieces = min(count, 4)
        for number in range(pieces):
            wait = min(LONGEST, self._patience * 3.0 ** (tried - 1)) * self._rng.uniform(0.5, 1.5)
            due = self._due.setdefault(tick + 1 + int(wait / 5), {})
            share = count // pieces + (number < count % pieces)
            before, sum_of_created = due.get((lane, tried + 1), (0, 0.0))
            due[lane, tried + 1] = (before + share, sum_of_created + share * created)

    def due(self, tick: int) -> list[tuple[int, int, int, float]]:
        """(lane, the how manieth time, count, created on average) of those that come now."""
        found = self._due.pop(tick, None)
        if not found:
            return []
        return [(lane, tried, count, total / count) for (lane, tried), (count, total) in found.items()]


class EventLag:
    """The median age of the last new events, as `health.store.event_lag` finds it: a thousand, of ten minutes."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, int, float]] = deque(maxlen=_WINDOW)

    def add(self, new: int, late: int, age: float) -> None:
        """Of `new` events that came in this tick, `late` were `age` old on average."""
        self._recent.append((new, late, age))

    def median(self, prompt: float) -> float | None:
        """`prompt` is the age of those that are in time; None without events."""
        events, late, ages = 0, 0, 0.0
        for new, of_them, age in reversed(self._recent):
            events += new
            late += of_them
            ages += of_them * age
            if events >= _NEWEST:
                break
        if not events:
            return None
        # Late ages are spread around their mean: with few late events, none is in the middle.
        share = min(1.0, max(0.0, (late / events - 0.45) / 0.35))
        return prompt + (ages / late - prompt) * share if late and share else prompt

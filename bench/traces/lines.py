"""Work that waits: first come first served within a lane, lanes by weight, newest first where a lane is late."""

from collections import deque
from collections.abc import Sequence
from random import Random

from bench.traces.measures import TICK

WEIGHTS = (16, 4, 1)
PROMISES = (5.0, 60.0, 900.0)
LATE_OLDEST = 0.25
"""As `queue.model.ClaimPolicy` has them."""

LONGEST_BACKOFF = 900.0
"""Seconds. The product waits up to hours; what it sends in the last of them would fall into the next fault."""


def backoff(rng: Random, tried: int) -> int:
    """Ticks until the next try: full jitter below 5 s times 4 to the power of the tries before, as the product does."""
    return 1 + int(rng.uniform(0, min(LONGEST_BACKOFF, 5.0 * 4.0 ** min(6, tried - 1))) / TICK)


class Served:
    """So many works received at `at` that are tried for the `tried`th time; `held` if they are in the line's books."""

    __slots__ = ("at", "count", "held", "tried")

    def __init__(self, at: float, count: int, tried: int, held: bool) -> None:
        self.at = at
        self.count = count
        self.tried = tried
        self.held = held


class Line:
    """One lane of a stage: who waits, who waits for another try, and how old the oldest of all of them is."""

    __slots__ = ("_disordered", "_due", "_held", "_latest", "_waiting", "depth", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.depth = 0
        """With those that wait for another try."""
        self._waiting: deque[Served] = deque()
        self._held: dict[float, int] = {}
        self._due: dict[int, dict[tuple[float, int], int]] = {}
        self._latest = 0.0
        self._disordered = False

    def put(self, at: float, count: int) -> None:
        """New works wait."""
        self._hold(at, count)
        self._wait(Served(at, count, 1, held=True))

    def wake(self, tick: int) -> None:
        """What is to be tried again by now waits like the others."""
        if tick not in self._due:
            return
        for (at, tried), count in self._due.pop(tick).items():
            self._wait(Served(at, count, tried, held=True))

    def done(self, works: Served, count: int) -> None:
        if works.held and count:
            self.depth -= count
            left = self._held[works.at] - count
            if left > 0:
                self._held[works.at] = left
            else:
                del self._held[works.at]
                if not self._held:
                    self._disordered, self._latest = False, 0.0

    def again(self, works: Served, count: int, tick: int) -> None:
        """So many of them failed and are tried again at `tick`."""
        if not works.held:
            self._hold(works.at, count)
        due = self._due.setdefault(tick, {})
        key = (works.at, works.tried + 1)
        due[key] = due.get(key, 0) + count

    def take(self, count: int, now: float, promise: float) -> list[Served]:
        """Up to `count` of those that wait; when the oldest is later than promised, mostly the newest."""
        if count >= self.waiting:
            taken = list(self._waiting)
            self._waiting.clear()
            self.waiting = 0
            return taken
        late = bool(self._waiting) and now - self._waiting[0].at > promise
        oldest = round(count * LATE_OLDEST) if late else count
        return self._pull(oldest, newest=False) + self._pull(count - oldest, newest=True)

    def oldest(self, now: float) -> float:
        if not self._held:
            return 0.0
        first = min(self._held) if self._disordered else next(iter(self._held))
        return now - first

    def _pull(self, count: int, *, newest: bool) -> list[Served]:
        taken, waiting = [], self._waiting
        self.waiting -= count
        while count > 0:
            works = waiting[-1 if newest else 0]
            if works.count <= count:
                taken.append(works)
                count -= works.count
                _ = waiting.pop() if newest else waiting.popleft()
            else:
                works.count -= count
                taken.append(Served(works.at, count, works.tried, held=True))
                count = 0
        return taken

    def _wait(self, works: Served) -> None:
        self._waiting.append(works)
        self.waiting += works.count

    def _hold(self, at: float, count: int) -> None:
        if at < self._latest and at not in self._held:
            self._disordered = True
        self._latest = max(self._latest, at)
        self._held[at] = self._held.get(at, 0) + count
        self.depth += count


def serve(
    lines: Sequence[Line], fresh: Sequence[Sequence[tuple[float, int]]], budget: int, now: float
) -> list[list[Served]]:
    """Serve up to `budget` works: those that wait, then `fresh` ones (received when, how many) of each lane."""
    asked = [line.waiting for line in lines]
    for lane, new in enumerate(fresh):
        for _, count in new:
            asked[lane] += count
    if sum(asked) <= budget:
        served = []
        for line, new in zip(lines, fresh, strict=True):
            works = line.take(line.waiting, now, 0.0) if line.waiting else []
            works += [Served(at, count, 1, held=False) for at, count in new]
            served.append(works)
        return served
    for line, new in zip(lines, fresh, strict=True):
        for at, count in new:
            line.put(at, count)
    shares = [min(wanted, budget * weight // sum(WEIGHTS)) for wanted, weight in zip(asked, WEIGHTS, strict=True)]
    left = budget - sum(shares)
    for lane, wanted in enumerate(asked):
        more = min(left, wanted - shares[lane])
        shares[lane] += more
        left -= more
    return [line.take(share, now, promise) for line, share, promise in zip(lines, shares, PROMISES, strict=True)]

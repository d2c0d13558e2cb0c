"""What the detectors of Twilio outages look at over time: legs, calls that end, calls that come."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.signals.frame import Frame
from holdfast.signals.shares import bounds
from holdfast.watch.model import Evidence
from holdfast.watch.windows import Usual, Window

_LENGTHS = (60, 240, 900)
_NEARLY_NONE = 0.05
_USUALLY = 3.0
"""Times the usual share that is more than usual."""
_LAST, _ALSO_FAILS = 12, 0.4
"""Legs of a region that tell how it is now; the part of the worst one's share that must fail elsewhere too."""
_FORGOTTEN = timedelta(minutes=15)
_BUSY = 0.05
"""Calls a second below which silence alone alarms nobody: whether it is closing time would take too long to tell."""
_ENOUGH, _OFTEN = 30.0, 0.3
"""Legs that say something about who answers; and the share of them that is usually answered, or nothing is said."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that is wrong; `weight` from 1 on opens an alert. `share`: of what fails, at the least."""

    name: str
    weight: float
    evidence: Evidence
    why: str
    patience: int = 2
    share: float = 0.0


def began(at: datetime, seconds: float) -> datetime:
    return at - timedelta(seconds=seconds)


class _Share:
    """How much of a whole some part of it is, over two windows and usually."""

    def __init__(self) -> None:
        self.parts = tuple(Window(length) for length in _LENGTHS)
        self.wholes = tuple(Window(length) for length in _LENGTHS)
        self._usual_part, self._usual_whole = Usual(), Usual()

    def add(self, part: float, whole: float) -> None:
        for window in self.parts:
            window.add(part)
        for window in self.wholes:
            window.add(whole)

    def learn(self, *, strange: bool) -> None:
        self._usual_part.add(self.parts[0].last, strange=strange)
        self._usual_whole.add(self.wholes[0].last, strange=strange)

    @property
    def usual(self) -> float | None:
        whole = self._usual_whole.rate
        return self._usual_part.rate / whole if whole else None

    def lowest(self) -> tuple[float, float, float]:
        """(at the least, part, whole) of the window that is most certain that the share is large.

        A shorter one in which nearly none of enough was so ends the matter: longer ones tell of what is over.
        """
        best = (0.0, 0.0, 0.0)
        for part, whole in zip(self.parts, self.wholes, strict=True):
            best = max(best, (bounds(part.total, whole.total)[0], part.total, whole.total))
            if whole.total >= _LAST and part.total < _NEARLY_NONE * whole.total:
                break
        return best


class Regions:
    """What became of the last legs to each region: does it fail in one, or in others too?"""

    def __init__(self) -> None:
        self._last: dict[str, tuple[datetime, list[tuple[float, float]]]] = {}
        """When a leg was tried last, and of each tick with any, failed and tried."""

    def add(self, frame: Frame) -> None:
        now: dict[str, tuple[float, float]] = {}
        for (region, outcome), number in frame.counts("call_legs"):
            failed, tried = now.get(region, (0.0, 0.0))
            now[region] = (failed + number * (outcome == "failed"), tried + number)
        for region, counted in now.items():
            last = [*self._last.get(region, (frame.at, []))[1], counted]
            while sum(tried for _, tried in last[1:]) >= _LAST:
                del last[0]
            self._last[region] = (frame.at, last)
        self._last = {region: one for region, one in self._last.items() if frame.at - one[0] <= _FORGOTTEN}

    def all_fail(self, ill: Collection[str]) -> bool:
        """Whether legs fail beside these regions too, or there are no others."""
        others = [region for region in self._last if region not in ill]
        return not others or self._share(others) >= _ALSO_FAILS * self._share(ill)

    def fail_everywhere(self) -> bool:
        """Whether they fail too where it is not worst."""
        worst = max(self._last, key=lambda region: (self._share([region]), region), default=None)
        return worst is None or self.all_fail((worst,))

    def _share(self, regions: Collection[str]) -> float:
        legs = [counted for region in regions if region in self._last for counted in self._last[region][1]]
        return sum(failed for failed, _ in legs) / max(1.0, sum(tried for _, tried in legs))


class Legs:
    """Targets that calls are put through to: what cannot be reached, and what rings and is not answered."""

    def __init__(self) -> None:
        self._failed, self._answered = _Share(), _Share()
        self.regions = Regions()

    def learn(self, *, strange: bool) -> None:
        self._failed.learn(strange=strange)
        self._answered.learn(strange=strange)

    def failing(self, frame: Frame, limit: float, few: float, *, is_lone: bool) -> Symptom | None:
        """`is_lone`: single numbers or targets are known to be ill, and no region is: then it is not everywhere."""
        self.regions.add(frame)
        tried = frame.count("call_legs")
        self._failed.add(frame.count("call_legs", None, "failed"), tried)
        self._answered.add(frame.count("call_legs", None, "answered"), tried)
        low, part, whole = self._failed.lowest()
        limit = max(limit, _USUALLY * (self._failed.usual or 0.0))
        if not part or is_lone or not self.regions.fail_everywhere():
            return None
        said = f"legs that could not be put through, {part:.0f} of {whole:.0f}: at the least"
        evidence = Evidence(said, 100 * low, 100 * limit, "%", "limit")
        return Symptom(
            "legs", min(low / limit, part / few), evidence, "Calls cannot be put through, wherever they go.", 2, low
        )

    def ill(self, frame: Frame) -> Symptom | None:
        """Regions are ill, and no other is spared: also where few call."""
        ill = {labels[1]: low for labels, low in frame.levels("voice_ill") if labels[0] == "region"}
        if not ill or not self.regions.all_fail(ill):
            return None
        worst = max(ill, key=lambda region: ill[region])
        evidence = Evidence(f"legs of region {worst} that fail, at the least", 100 * ill[worst], 35, "%", "limit")
        return Symptom("legs", 1.0, evidence, "No region is spared.", 2, ill[worst])

    def unanswered(self, limit: float) -> Symptom | None:
        """Everything rings, and nobody ever answers: it does not ring in truth."""
        usual = self._answered.usual
        enough = (
            (part.total, whole.total)
            for part, whole in zip(self._answered.parts[:2], self._answered.wholes[:2], strict=True)
            if whole.total >= _ENOUGH
        )
        answered, tried = next(enough, (0.0, 0.0))
        if usual is None or usual < _OFTEN or not tried:
            return None
        high = bounds(answered, tried)[1]
        said = f"legs that are answered, {answered:.0f} of {tried:.0f}: at the most"
        evidence = Evidence(said, 100 * high, 100 * usual, "%", "usual")
        why = "What rings is not answered any more, by anybody: it may not ring in truth."
        return Symptom("unanswered", min(2.0, limit * usual / max(high, 0.01)), evidence, why, 3)


class Unheard:
    """Calls that ended with an error, of all that ended."""

    def __init__(self) -> None:
        self._failed = _Share()

    def learn(self, *, strange: bool) -> None:
        self._failed.learn(strange=strange)

    def failing(self, frame: Frame, limit: float, few: float) -> Symptom | None:
        ended = frame.count("calls")
        self._failed.add(frame.count("calls", None, "failed"), ended)
        low, part, whole = self._failed.lowest()
        limit = max(limit, _USUALLY * (self._failed.usual or 0.0))
        if not part:
            return None
        said = f"calls that ended with an error, {part:.0f} of {whole:.0f}: at the least"
        evidence = Evidence(said, 100 * low, 100 * limit, "%", "limit")
        return Symptom("calls", min(low / limit, part / few), evidence, "Callers hear errors, or are cut off.", 6, low)


class Silence:
    """No call comes at all, when many are usual: with what came before, and only while we are there to be called."""

    def __init__(self) -> None:
        self._usual = Usual()
        self._before = Window(600)
        """Until the last call: towards closing time, calls get fewer faster than two hours tell."""
        self._rate = 0.0
        self._came = 0.0
        self._silent: datetime | None = None
        """Since when; None while nothing is known."""

    def learn(self, *, strange: bool) -> None:
        self._usual.add(self._came, strange=strange)

    def see(self, frame: Frame, limit: float, at_least: float) -> Symptom | None:
        self._came = frame.count("call_answers")
        self._before.add(self._came)
        if frame.level("process_cpu_ratio", "web") is None:
            self._silent = None  # nobody is there
            return None
        if self._came or self._silent is None:
            self._silent = frame.at
            self._rate = min(self._usual.rate, self._before.rate)
            return None
        seconds = (frame.at - self._silent).total_seconds()
        improbable = 0.5 * self._rate * seconds  # half of it, for even that lags behind
        weight = min(improbable / limit, seconds / at_least, 2.0 if self._rate >= _BUSY else 0.9)
        if weight < 0.5:
            return None
        evidence = Evidence("no call has come for", seconds, 1 / max(self._rate, 1e-9), "s", "usual")
        return Symptom("silence", weight, evidence, "Calls do not reach us any more.", 1)

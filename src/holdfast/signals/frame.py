"""What all processes measured in one interval of time, and the few questions asked of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from holdfast.signals.buckets import Counts, Data, Levels, Spreads, joined, parted
from holdfast.signals.registry import Labels
from holdfast.signals.rollup import combined
from holdfast.signals.sketch import Sketch
from holdfast.signals.store import Stored

_SEPARATOR = joined(("", ""))


@dataclass(frozen=True, slots=True)
class Frame:
    """The signals of the interval that ends at `at`, added up over processes.

    `data` is by signal name; a signal of which nothing was measured is missing. Labels with None match anything.
    """

    at: datetime
    data: Mapping[str, Data] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Iterable[Stored], at: datetime) -> "Frame":
        """From the buckets of all processes."""
        groups: dict[str, list[Stored]] = defaultdict(list)
        for stored in found:
            groups[stored.bucket.name].append(stored)
        return cls(at, {name: combined(group) for name, group in groups.items()})

    def count(self, name: str, *labels: str | None) -> float:
        """How many of a counter's series that match; 0 when none was counted."""
        found = self.data.get(name)
        if not isinstance(found, Counts):
            return 0.0
        exact = _exact(found.series, labels)
        if exact is not None:
            return exact
        return sum(value for key, value in found.series.items() if matches(parted(key), labels))

    def counts(self, name: str) -> Iterator[tuple[Labels, float]]:
        """Every series of a counter."""
        found = self.data.get(name)
        if isinstance(found, Counts):
            for key, value in found.series.items():
                yield parted(key), value

    def level(self, name: str, *labels: str | None) -> float | None:
        """The highest of a gauge's series that match; None when no process says any."""
        found = self.data.get(name)
        if not isinstance(found, Levels):
            return None
        exact = _exact(found.series, labels)
        if exact is not None:
            return exact
        return max((value for key, value in found.series.items() if matches(parted(key), labels)), default=None)

    def levels(self, name: str) -> Iterator[tuple[Labels, float]]:
        """Every series of a gauge."""
        found = self.data.get(name)
        if isinstance(found, Levels):
            for key, value in found.series.items():
                yield parted(key), value

    def spread(self, name: str, *labels: str | None) -> Sketch:
        """What was observed in a distribution's series that match, together."""
        found = self.data.get(name)
        whole = Sketch()
        if isinstance(found, Spreads):
            for key, (total, bins) in found.series.items():
                if matches(parted(key), labels):
                    whole.add(Sketch(bins, total))
        return whole


def _exact(series: Mapping[str, float], labels: tuple[str | None, ...]) -> float | None:
    """The series with just these labels, which most questions are about; None where the question is wider."""
    return None if None in labels else series.get(_SEPARATOR.join(cast(tuple[str, ...], labels)))


def matches(labels: Labels, wanted: tuple[str | None, ...]) -> bool:
    """Whether labels are those wanted; None is any, and what is not named is any."""
    return all(want is None or label == want for label, want in zip(labels, wanted, strict=False))

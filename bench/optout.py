"""How well the rules tell texts that revoke consent from ordinary ones, beside the words that Twilio knows.

Texts are lines of `{"text", "label", "why"}` in `bench/texts`: `held_out.jsonl` by somebody who never saw the rules, on
which nothing is tuned (of these no text is shown); all others were written with the rules or looked at since, and the
weights of words are learned from them (`bench/texts/learn.py`). Labels are "stop", "ordinary" and "doubtful"; the last
are counted but are neither right nor wrong, as people differ about them.
"""

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import say
from holdfast.messaging.optout import judge, provider_word

TEXTS = Path(__file__).parent / "texts"
HELD_OUT = TEXTS / "held_out.jsonl"
TARGET = 0.98
LABELS = ("stop", "ordinary", "doubtful")
SUPPRESSING = frozenset({"stop", "doubtful"})
SHOWN = 20
"""Wrong texts that are shown, of those that were written with the rules."""


@dataclass(frozen=True, slots=True)
class Line:
    """One text and what a person said of it: `label` is "stop", "ordinary" or "doubtful"."""

    text: str
    label: str
    why: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Of lines labelled stop or ordinary: how many stops are suppressed, how many suppressed are stops."""

    recall: float
    precision: float

    @property
    def lower(self) -> float:
        return min(self.recall, self.precision)


def run(*, quick: bool) -> dict[str, Any]:
    """Raises FileNotFoundError where nobody has written held-out texts, ValueError where a line is not one."""
    lines = read(HELD_OUT)
    return figures(lines, show=False, repeats=1 if quick else 5)


def read(path: Path) -> list[Line]:
    """Raises FileNotFoundError, ValueError."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: it holds texts by somebody who has not seen the rules, one a line")
    return [_line(path, number, text) for number, text in enumerate(path.read_text("utf-8").splitlines(), 1) if text]


def _line(path: Path, number: int, text: str) -> Line:
    try:
        found = json.loads(text)
        line = Line(found["text"], found["label"], found.get("why", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path.name}, line {number}: not an object with "text" and "label"') from error
    if line.label not in LABELS:
        raise ValueError(f"{path.name}, line {number}: {line.label!r} is none of {', '.join(LABELS)}")
    return line


def figures(lines: Sequence[Line], *, show: bool, repeats: int = 1) -> dict[str, Any]:
    """`show` also gives texts that were judged wrongly; otherwise only why the person labelled them so."""
    verdicts = Counter((line.label, str(judge(line.text).verdict)) for line in lines)
    ordinary = sum(count for (label, _), count in verdicts.items() if label == "ordinary")
    suppressed = sum(verdicts["ordinary", verdict] for verdict in SUPPRESSING)
    ours, words = measured(lines, suppresses), measured(lines, lambda text: provider_word(text) == "STOP")
    wrong = [line for line in lines if line.label != "doubtful" and suppresses(line.text) != (line.label == "stop")]
    result: dict[str, Any] = {
        "value": round(ours.lower, 4),
        "target": f">= {TARGET}",
        "ok": ours.lower >= TARGET,
        "recall": round(ours.recall, 4),
        "precision": round(ours.precision, 4),
        "baseline": {"recall": round(words.recall, 4), "precision": round(words.precision, 4)},
        "lines": dict(Counter(line.label for line in lines)),
        "verdicts": {
            label: {verdict: count for (of, verdict), count in sorted(verdicts.items()) if of == label}
            for label in LABELS
        },
        "ordinary_suppressed": round(suppressed / ordinary, 4) if ordinary else 0.0,
        "us_per_text": round(_microseconds([line.text for line in lines], repeats), 1),
        "wrong_by_why": dict(Counter(f"{line.label}: {line.why}" for line in wrong)),
    }
    if show:
        result["wrong"] = [line.text for line in wrong[:SHOWN]]
    say(f"recall {ours.recall:.4f}, precision {ours.precision:.4f} over {len(lines)} lines, {len(wrong)} wrong")
    return result


def suppresses(text: str) -> bool:
    """Whether nothing more would be sent after this text, until a person has decided or for good."""
    return judge(text).verdict in SUPPRESSING


def measured(lines: Sequence[Line], suppressing: Callable[[str], bool]) -> Measured:
    """Doubtful lines do not count. 1.0 where there is nothing to be wrong about."""
    counts = Counter((line.label, suppressing(line.text)) for line in lines)
    right, missed, wrongly = counts["stop", True], counts["stop", False], counts["ordinary", True]
    return Measured(
        recall=right / (right + missed) if right + missed else 1.0,
        precision=right / (right + wrongly) if right + wrongly else 1.0,
    )


def _microseconds(texts: Sequence[str], repeats: int) -> float:
    """The median over the texts, of each the quickest time."""
    quickest = []
    for text in texts:
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            judge(text)
            times.append(time.perf_counter() - began)
        quickest.append(min(times))
    return 1e6 * statistics.median(quickest) if quickest else 0.0

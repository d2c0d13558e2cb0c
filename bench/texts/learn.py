"""Learns the weights of words (`holdfast.messaging.optout_weighing`) from the labelled lines that may be read.

    PYTHONPATH=src:. python -m bench.texts.learn             writes the table of all lines
    PYTHONPATH=src:. python -m bench.texts.learn --left-out  figures for each author, by a table made without them

Logistic regression by gradient descent, a line at a time, with L2. What weighs least is dropped in rounds, and the
rest learned anew. The lines are shuffled from a fixed seed and weights are rounded, so the same lines make the same
table. Lines labelled doubtful, or of a bare word, are not learned from. `held_out.jsonl` is never opened.
"""

import json
import math
import random
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import optout as bench
from bench.harness import say
from holdfast.messaging import optout
from holdfast.messaging.optout_weighing import TABLE, Table, features

HERE = Path(__file__).parent
AUTHORS = ("written", "seen", "seen_two", "seen_three", "seen_four")
LEAST_LINES = 2
"""Lines that something stands in, for it to be learned."""
KEPT = (5000, 2800, 1500)
"""How much is left after each round."""
PASSES = (5, 5, 5, 14)
"""Over the lines, in each round, the last without dropping."""
STEP, PENALTY = 0.7, 0.03


class Example(NamedTuple):
    found: frozenset[str]
    wish: bool


def examples(lines: Sequence[bench.Line]) -> list[Example]:
    rests = [(optout.put_aside(line.text), line.label) for line in lines if line.label != "doubtful"]
    return [Example(features(rest.text), label == "stop") for rest, label in rests if rest]


def learned(known: Sequence[Example]) -> Table:
    lines_with = Counter(one for example in known for one in sorted(example.found))
    kept = {one for one, count in lines_with.items() if count >= LEAST_LINES}
    for most, passes in zip(KEPT, PASSES, strict=False):
        weights = _fitted(known, kept, lines_with, passes)
        by_matter = sorted(kept, key=lambda one: (-abs(weights[one]) * math.sqrt(lines_with[one]), one))
        kept = set(by_matter[:most])
    weights = _fitted(known, kept, lines_with, PASSES[-1])
    return {one: rounded for one in sorted(weights) if (rounded := round(weights[one], 1)) or not one}


def _fitted(known: Sequence[Example], kept: set[str], lines_with: Counter[str], passes: int) -> Table:
    names = sorted(kept)
    place = {one: at for at, one in enumerate(names)}
    shrink = [PENALTY / lines_with[one] for one in names]
    rows = [
        ([place[one] for one in sorted(example.found) if one in place], len(example.found) ** -0.5, example.wish)
        for example in known
    ]
    weights, even = [0.0] * len(names), 0.0
    turn = random.Random(0)
    for number in range(passes):
        turn.shuffle(rows)
        step = STEP * 8 / (1 + number)
        for places, share, wish in rows:
            sure = even + share * math.fsum([weights[at] for at in places])
            wrong = float(wish) - 1 / (1 + math.exp(-max(-30.0, min(30.0, sure))))
            even += 0.05 * step * wrong
            change = step * wrong * share
            for at in places:
                weights[at] += change - step * shrink[at] * weights[at]
    return {**dict(zip(names, weights, strict=True)), "": even}


def written(table: Table) -> str:
    """The table as its file has it, one word a line."""
    return json.dumps(table, ensure_ascii=False, indent=0) + "\n"


def everything() -> Table:
    return learned([one for author in AUTHORS for one in examples(bench.read(HERE / f"{author}.jsonl"))])


def left_out() -> dict[str, bench.Measured]:
    """How each author's lines are judged with the words of all others."""
    lines = {author: bench.read(HERE / f"{author}.jsonl") for author in AUTHORS}
    known = {author: examples(lines[author]) for author in AUTHORS}
    figures = {}
    for author in AUTHORS:
        table = learned([one for other in AUTHORS if other != author for one in known[other]])
        figures[author] = bench.measured(lines[author], partial(_suppresses, table))
    return figures


def _suppresses(table: Table, text: str) -> bool:
    return optout.judge(text, table).verdict in bench.SUPPRESSING


def main(arguments: Sequence[str]) -> None:
    if "--left-out" in arguments:
        for author, found in left_out().items():
            say(f"{author}: recall {found.recall:.4f}, precision {found.precision:.4f}")
        return
    table = everything()
    TABLE.write_text(written(table), "utf-8")
    say(f"{len(table)} weights in {TABLE.name}")


if __name__ == "__main__":
    main(sys.argv[1:])

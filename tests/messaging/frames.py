"""Frames of five seconds, as processes would have measured texts and complaints."""

from datetime import UTC, datetime, timedelta

from holdfast.signals.buckets import Counts, Data, Levels, joined
from holdfast.signals.frame import Frame

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def frame(number, *, trouble=None, facts=None, filed=None, waiting=0.0, due=None, findings=None, misplaced=0.0):
    """`trouble` by kind and whose, `facts` likewise of each; `filed` by source, `findings` by kind and severity."""
    data: dict[str, Data] = {"process_cpu_ratio": Levels({"worker": 0.2}), "complaints_open": Levels({"": waiting})}
    if trouble:
        data["texts_trouble"] = Levels({joined(labels): value for labels, value in trouble.items()})
        data["texts_trouble_facts"] = Levels(
            {joined((*labels, fact)): value for labels in trouble for fact, value in (facts or {}).items()}
        )
    if filed:
        data["complaints_filed"] = Counts(dict(filed))
    if misplaced:
        data["texts_misplaced"] = Counts({"": misplaced})
    if due is not None:
        data["complaints_due_seconds"] = Levels({"": due}, "min")
    if findings:
        data["audit_findings_open"] = Levels({joined(labels): count for labels, count in findings.items()})
    return Frame(NOON + timedelta(seconds=5 * number), data)

"""Frames of five seconds, as processes would have measured calls."""

from datetime import UTC, datetime, timedelta

from holdfast.signals.buckets import Counts, Data, Levels, Spreads, joined
from holdfast.signals.frame import Frame
from holdfast.signals.sketch import Sketch
from holdfast.watch.reports import REPORTS

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def frame(
    number,
    *,
    legs=None,
    calls=None,
    answers=0.0,
    ill=None,
    ill_for=60.0,
    alerts=None,
    checks=None,
    reports=0.0,
    asked=None,
    took=None,
    spooled=0.0,
    web=True,
):
    """`legs` and `calls` by region and outcome, `alerts` by whose, product and code, `ill` by kind and key."""
    data: dict[str, Data] = {"callbacks_spooled": Levels({"": spooled})}
    if web:
        data["process_cpu_ratio"] = Levels({"web": 0.2})
    for name, counted in (("call_legs", legs), ("calls", calls), ("twilio_alerts", alerts)):
        if counted:
            data[name] = Counts({joined(labels): count for labels, count in counted.items()})
    if answers:
        data["call_answers"] = Counts({joined(("dial", "plan")): answers})
    if asked:
        data["webhooks_received"] = Counts({joined(("twilio", answer)): count for answer, count in asked.items()})
    if took is not None:
        sketch = Sketch()
        for _ in range(3):
            sketch.observe(took)
        data["webhook_seconds"] = Spreads({"twilio": (sketch.total, sketch.bins)})
    if ill:
        data["voice_ill"] = Levels({joined(labels): low for labels, low in ill.items()})
        data["voice_ill_seconds"] = Levels({joined(labels): ill_for for labels in ill})
    if checks:
        data["health_check"] = Levels(dict(checks))
    if reports:
        data[REPORTS] = Levels({"unanswered": reports})
    return Frame(NOON + timedelta(seconds=5 * number), data)

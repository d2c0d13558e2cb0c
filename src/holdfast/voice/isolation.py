"""Is it everything that fails, or some regions, numbers or targets, and whose trouble is it? In words and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from holdfast.voice import health_store as store
from holdfast.voice.debugger import Whose, by_whose, is_of_our_doors
from holdfast.voice.health import WINDOW, health, verdict
from holdfast.voice.model import LineHealth

Extent = Literal["all", "regions", "numbers", "targets", "nothing", "unknown"]
Fault = Literal["ours", "twilio", "target", "nobody", "unknown"]
"""ours: Twilio cannot use our doors; twilio: it, or a carrier, puts nothing through; target: equipment of theirs."""
_DOORS = 3
"""Alerts about our doors within the window from which on they are the fault: one may be a restart."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """How far trouble reaches. `ill`: by kind, the keys of what is ill. Legs and calls are of the window.

    `unheard`: calls that were missed or failed. `alerts`: the Debugger's, by whose trouble each is.
    """

    extent: Extent
    whose: Fault
    said: str
    ill: Mapping[str, Sequence[str]]
    tried: int
    failed: int
    calls: int
    unheard: int
    alerts: Mapping[Whose, int]
    window: timedelta
    last_call_at: datetime | None


async def isolation(db: store.Executor, now: datetime, *, window: timedelta = WINDOW) -> Isolation:
    """What the legs, calls and alerts of the window say."""
    tried, failed = await store.tried(db, now - window, now)
    lines = await health(db, now, window=window) if failed else []  # which costs where there are many numbers
    calls = await store.calls(db, now - window, now)
    alerts = await store.alert_codes(db, now - window, now)
    doors = sum(count for code, is_foreign, count in alerts if is_of_our_doors(code, is_foreign=is_foreign))
    ill = {kind: [line.key for line in lines if line.kind == kind and line.verdict == "ill"] for kind in _KINDS}
    extent = _extent(lines, tried, failed, calls.ended)
    whose = _whose(extent, doors, failed)
    if whose == "ours" and extent in ("nothing", "unknown"):
        extent = "all" if calls.failed >= _DOORS and calls.failed * 2 > calls.ended else "unknown"
    return Isolation(
        extent=extent,
        whose=whose,
        said=f"{_reach(extent, ill)}; {_WHOSE[whose]}. {_figures(failed, tried, calls, doors)}.",
        ill=ill,
        tried=tried,
        failed=failed,
        calls=calls.ended,
        unheard=calls.unheard,
        alerts=by_whose(alerts),
        window=window,
        last_call_at=calls.last_at,
    )


_KINDS = ("region", "number", "target")


def _extent(lines: Sequence[LineHealth], tried: int, failed: int, ended: int) -> Extent:
    ill = {kind: [line for line in lines if line.kind == kind and line.verdict == "ill"] for kind in _KINDS}
    regions = [line for line in lines if line.kind == "region" and line.tried]
    if ill["region"]:
        others = [line for line in regions if line.verdict != "ill"]
        spared = any(line.verdict == "well" or line.failed * 2 < line.tried for line in others)
        return "regions" if spared else "all"
    if ill["number"]:
        return "numbers"
    if ill["target"]:
        return "targets"
    if not tried and not ended:
        return "unknown"
    return "unknown" if verdict(failed, tried) == "unknown" and failed else "nothing"


def _whose(extent: Extent, doors: int, failed: int) -> Fault:
    if doors >= _DOORS and doors >= failed:
        return "ours"
    if extent == "targets":
        return "target"
    if extent in ("all", "regions", "numbers"):
        return "twilio"
    return "nobody" if extent == "nothing" else "unknown"


_WHOSE: Mapping[Fault, str] = {
    "ours": "it is our own trouble: Twilio cannot use what our doors answer",
    "twilio": "it is Twilio's trouble, or a carrier's behind it: they do not put calls through",
    "target": "it is the trouble of these targets, or of their carriers",
    "nobody": "nothing is wrong",
    "unknown": "it is not known whose trouble it is",
}


def _reach(extent: Extent, ill: Mapping[str, Sequence[str]]) -> str:
    kinds = {"regions": "region", "numbers": "number", "targets": "target"}
    if extent not in kinds:
        return {"all": "Everything fails", "nothing": "Nothing is ill"}.get(extent, "Too little is known")
    named = ill[kinds[extent]]
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    return f"Some {extent} fail: {', '.join(named[:5])}{more}"


def _figures(failed: int, tried: int, calls: store.CallCount, doors: int) -> str:
    parts = [
        f"{failed} of {tried} legs could not be put through",
        f"{calls.unheard} of {calls.ended} calls went unheard",
    ]
    if doors:
        parts.append(f"{doors} alerts of Twilio's about our doors")
    return ", ".join(parts)

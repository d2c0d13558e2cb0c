"""Lines and snapshots for tests: a bakery with two desks, open around the clock unless told otherwise."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from holdfast.voice.model import DAYS, Line, Opening, Plan, PlanTarget
from holdfast.voice.snapshot import Snapshot

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
"""A Monday."""
BAKERY = "+14155550100"
DESK, MOBILE = "+14155550111", "+442079460112"
NIGHTLY = Opening(DAYS, "22:00", "06:00")


def plan(*addresses: str, **fields: Any) -> Plan:
    return Plan(targets=tuple(PlanTarget(one) for one in addresses), **fields)


def line(phone: str = BAKERY, *addresses: str, merchant_id: int = 1, **fields: Any) -> Line:
    """A line whose plan rings these addresses: its two desks where none is named."""
    named = {name: fields.pop(name) for name in ("region", "time_zone", "stands_in") if name in fields}
    made = fields.pop("plan", None) or plan(*(addresses or (DESK, MOBILE)), **fields)
    return Line(
        phone,
        merchant_id,
        f"merchant-{merchant_id}",
        "The Bakery",
        named.get("region", "US"),
        named.get("time_zone", "UTC"),
        made,
        named.get("stands_in", False),
    )


def snapshot(lines: Iterable[Line], levers: Mapping[str, int] | None = None) -> Snapshot:
    """`levers`: percents by `voice.avoid target:+1…`."""
    values = {}
    for written, percent in (levers or {}).items():
        name, _, target = written.partition(" ")
        values[name, target] = percent
    return Snapshot.of(1, lines, (), values)


def place(phone: str) -> int:
    """From which percent on a lever selects a number."""
    return crc32(phone.encode()) % 100 + 1

"""The status page of the emulated Stripe: a Statuspage v2 summary document, set by hand.

Stripe's own is https://www.stripestatus.com/api/v2/summary.json; the format is https://metastatuspage.com/api/v2.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from holdfast.drills.stripe_objects import Json

Indicator = Literal["none", "minor", "major", "critical"]
ComponentStatus = Literal["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"]

_DESCRIPTIONS: Final[dict[str, str]] = {
    "none": "All Systems Operational",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}
_COMPONENTS: Final = ("API", "Dashboard", "Stripe.js", "Checkout", "Connect", "Webhooks")
_PAGE_ID: Final = "stripe-emulated"


class StatusPage:
    """What the status page says now. `components` maps a component's name to its status."""

    def __init__(self) -> None:
        self._indicator: Indicator = "none"
        self._updated_at = 0.0
        self._components: dict[str, ComponentStatus] = dict.fromkeys(_COMPONENTS, "operational")

    def update(self, indicator: Indicator, components: Mapping[str, ComponentStatus], at: float) -> None:
        """Change the indicator, and the named components, at Unix time `at`; unknown components are added."""
        self._indicator = indicator
        self._components.update(components)
        self._updated_at = at

    def document(self) -> Json:
        """`summary.json` as Statuspage v2 writes it."""
        updated = datetime.fromtimestamp(self._updated_at, UTC).isoformat(timespec="milliseconds")
        components = [
            _component(position, name, status, updated)
            for position, (name, status) in enumerate(self._components.items(), 1)
        ]
        page = {"id": _PAGE_ID, "name": "Stripe", "url": "https://www.stripestatus.com", "time_zone": "Etc/UTC"}
        return {
            "page": page | {"updated_at": updated},
            "components": components,
            "incidents": [],
            "scheduled_maintenances": [],
            "status": {"indicator": self._indicator, "description": _DESCRIPTIONS[self._indicator]},
        }


def _component(position: int, name: str, status: ComponentStatus, updated: str) -> Json:
    return {
        "id": f"{_PAGE_ID}-{position}",
        "name": name,
        "status": status,
        "created_at": updated,
        "updated_at": updated,
        "position": position,
        "description": None,
        "showcase": True,
        "start_date": None,
        "group_id": None,
        "page_id": _PAGE_ID,
        "group": False,
        "only_show_if_degraded": False,
    }

"""The status page of an emulated provider: a Statuspage v2 summary document, set by hand.

The format is https://metastatuspage.com/api/v2.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

Indicator = Literal["none", "minor", "major", "critical"]
ComponentStatus = Literal["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"]
IncidentStatus = Literal["investigating", "identified", "monitoring", "resolved"]

_DESCRIPTIONS: Final[dict[str, str]] = {
    "none": "All Systems Operational",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}
_BADNESS: Final[dict[ComponentStatus, int]] = {
    "operational": 0,
    "under_maintenance": 1,
    "degraded_performance": 2,
    "partial_outage": 3,
    "major_outage": 4,
}


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident on the page. `components` names what it affects, `text` is its latest update."""

    name: str
    status: IncidentStatus = "investigating"
    impact: Indicator = "major"
    text: str = "We are investigating."
    components: tuple[str, ...] = ()


class StatusPage:
    """What a status page says now. `groups` maps a group's name to the names of the components in it."""

    def __init__(
        self,
        *,
        page_id: str,
        name: str,
        url: str,
        components: Sequence[str] = (),
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._page = {"id": page_id, "name": name, "url": url, "time_zone": "Etc/UTC"}
        self._indicator: Indicator = "none"
        self._updated_at = 0.0
        self._groups = dict(groups or {})
        self._group_of = {member: group for group, members in self._groups.items() for member in members}
        self._components: dict[str, ComponentStatus] = dict.fromkeys((*components, *self._group_of), "operational")
        self._incidents: tuple[Incident, ...] = ()

    def update(
        self,
        indicator: Indicator,
        components: Mapping[str, ComponentStatus],
        at: float,
        incidents: Iterable[Incident] | None = None,
    ) -> None:
        """Change the indicator, and the named components, at Unix time `at`; unknown components are added.

        `incidents` replaces those that are open, unless it is `None`.
        """
        self._indicator = indicator
        self._components.update(components)
        self._updated_at = at
        if incidents is not None:
            self._incidents = tuple(incidents)

    def document(self) -> dict[str, Any]:
        """`summary.json` as Statuspage v2 writes it."""
        updated = datetime.fromtimestamp(self._updated_at, UTC).isoformat(timespec="milliseconds")
        return {
            "page": self._page | {"updated_at": updated},
            "components": [*self._component_entries(updated), *self._group_entries(updated)],
            "incidents": [self._incident(number, found, updated) for number, found in enumerate(self._incidents, 1)],
            "scheduled_maintenances": [],
            "status": {"indicator": self._indicator, "description": _DESCRIPTIONS[self._indicator]},
        }

    def _component_entries(self, updated: str) -> list[dict[str, Any]]:
        entries = []
        for position, (name, status) in enumerate(self._components.items(), 1):
            group = self._group_of.get(name)
            entry = self._entry(self._component_id(name), name, status, position, updated)
            entries.append(entry | {"group_id": None if group is None else self._group_id(group), "group": False})
        return entries

    def _group_entries(self, updated: str) -> list[dict[str, Any]]:
        entries = []
        for position, (group, members) in enumerate(self._groups.items(), 1):
            worst = max((self._components[member] for member in members), key=_BADNESS.__getitem__)
            entry = self._entry(self._group_id(group), group, worst, position, updated)
            ids = [self._component_id(member) for member in members]
            entries.append(entry | {"group_id": None, "group": True, "components": ids})
        return entries

    def _entry(self, entry_id: str, name: str, status: ComponentStatus, position: int, updated: str) -> dict[str, Any]:
        return {
            "id": entry_id,
            "name": name,
            "status": status,
            "created_at": updated,
            "updated_at": updated,
            "position": position,
            "description": None,
            "showcase": True,
            "start_date": None,
            "page_id": self._page["id"],
            "only_show_if_degraded": False,
        }

    def _incident(self, number: int, incident: Incident, updated: str) -> dict[str, Any]:
        incident_id = f"{self._page['id']}-incident-{number}"
        known = [entry for entry in self._component_entries(updated) if entry["name"] in incident.components]
        update = {"id": f"{incident_id}-update", "status": incident.status, "body": incident.text}
        stamps = {"created_at": updated, "updated_at": updated, "page_id": self._page["id"]}
        return {
            "id": incident_id,
            "name": incident.name,
            "status": incident.status,
            "impact": incident.impact,
            "shortlink": f"{self._page['url']}/incidents/{incident_id}",
            "started_at": updated,
            "monitoring_at": None,
            "resolved_at": updated if incident.status == "resolved" else None,
            "incident_updates": [update | {"incident_id": incident_id, "display_at": updated} | stamps],
            "components": known,
        } | stamps

    def _component_id(self, name: str) -> str:
        return f"{self._page['id']}-{list(self._components).index(name) + 1}"

    def _group_id(self, group: str) -> str:
        return f"{self._page['id']}-group-{list(self._groups).index(group) + 1}"

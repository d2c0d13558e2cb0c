"""The status page for programs: Statuspage's documents and an Atom feed.

Sources: https://metastatuspage.com/api/v2 (summary, status, components, incidents), RFC 4287 (Atom).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

import msgspec

from holdfast.comms.status import COMPONENTS, OVERALL, WORDS, PublicIncident, Status, Update

Json = dict[str, Any]
PAGE_ID: Final = "holdfast"
NEWEST: Final = 50
"""Incidents in `incidents.json`, as Statuspage gives; the feed has half as many."""
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
"""For readers that want a time where there is none: since when a component exists, or the page was last changed."""
_ATOM = "http://www.w3.org/2005/Atom"
ElementTree.register_namespace("", _ATOM)


@dataclass(frozen=True, slots=True)
class About:
    """Whose page it is and where; `stale_since`: what is said here was last known to be true then."""

    name: str
    url: str
    stale_since: datetime | None = None


def documents(status: Status, about: About) -> Mapping[str, bytes]:
    """Path below `/api/v2/` → JSON."""
    page = _page(status, about)
    components = [_component(status, number) for number in range(len(status.components))]
    listed = [_incident(one, about, components) for one in status.incidents[:NEWEST]]
    unresolved = [_incident(one, about, components) for one in status.open]
    overall = {"indicator": status.indicator, "description": OVERALL[status.indicator]}
    found: dict[str, Json] = {
        "summary.json": {
            "page": page,
            "components": components,
            "incidents": unresolved,
            "scheduled_maintenances": [],
            "status": overall,
        },
        "status.json": {"page": page, "status": overall},
        "components.json": {"page": page, "components": components},
        "incidents.json": {"page": page, "incidents": listed},
        "incidents/unresolved.json": {"page": page, "incidents": unresolved},
    }
    return {path: msgspec.json.encode(document) for path, document in found.items()}


def feed(status: Status, about: About) -> bytes:
    """An entry an incident, the newest first, changed whenever something is published of it."""
    root = ElementTree.Element(f"{{{_ATOM}}}feed", {"{http://www.w3.org/XML/1998/namespace}lang": "en"})
    host = urlsplit(about.url).hostname or "localhost"
    _add(root, "id", f"tag:{host},2026:status")
    _add(root, "title", f"{about.name} status")
    _add(root, "updated", _time(status.changed_at or _BEGAN))
    _add(root, "link", rel="self", type="application/atom+xml", href=f"{about.url}/status/feed.atom")
    _add(root, "link", rel="alternate", type="text/html", href=f"{about.url}/status")
    _add(_add(root, "author"), "name", about.name)
    for incident in status.incidents[: NEWEST // 2]:
        entry = _add(root, "entry")
        _add(entry, "id", f"tag:{host},2026:status/incidents/{incident.id}")
        _add(entry, "title", incident.title)
        _add(entry, "published", _time(incident.began_at))
        _add(entry, "updated", _time(incident.latest.at))
        _add(entry, "link", rel="alternate", type="text/html", href=_address(incident, about))
        said = (
            f"{WORDS[one.state]} ({one.at.astimezone(UTC):%d %b %Y, %H:%M} UTC): {one.body}"
            for one in _newest(incident)
        )
        _add(entry, "content", "\n\n".join(said), type="text")
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _page(status: Status, about: About) -> Json:
    return {
        "id": PAGE_ID,
        "name": about.name,
        "url": f"{about.url}/status",
        "time_zone": "Etc/UTC",
        "updated_at": _time(status.changed_at or _BEGAN),
        "stale_since": _time(about.stale_since) if about.stale_since is not None else None,
    }


def _component(status: Status, number: int) -> Json:
    history = status.components[number]
    key = history.component.key
    changed = max(
        (one.at for incident in status.incidents for one in incident.updates if key in one.components), default=_BEGAN
    )
    return {
        "id": key,
        "name": history.component.name,
        "status": history.state,
        "created_at": _time(_BEGAN),
        "updated_at": _time(changed),
        "position": number + 1,
        "description": history.component.what,
        "showcase": True,
        "start_date": None,
        "group_id": None,
        "page_id": PAGE_ID,
        "group": False,
        "only_show_if_degraded": False,
    }


def _incident(incident: PublicIncident, about: About, components: Sequence[Json]) -> Json:
    monitoring = incident.reached("monitoring")
    return {
        "id": str(incident.id),
        "name": incident.title,
        "status": incident.latest.state,
        "created_at": _time(incident.began_at),
        "started_at": _time(incident.began_at),
        "updated_at": _time(incident.latest.at),
        "monitoring_at": _time(monitoring) if monitoring is not None else None,
        "resolved_at": _time(incident.resolved_at) if incident.resolved_at is not None else None,
        "impact": incident.impact,
        "shortlink": _address(incident, about),
        "page_id": PAGE_ID,
        "incident_updates": [
            _update(one, before)
            for one, before in reversed(list(zip(incident.updates, [None, *incident.updates[:-1]], strict=True)))
        ],
        "components": [one for one in components if one["id"] in incident.touched],
    }


def _update(update: Update, before: Update | None) -> Json:
    was = before.components if before is not None else {}
    at = _time(update.at)
    return {
        "id": str(update.id),
        "status": update.state,
        "body": update.body,
        "incident_id": str(update.incident_id),
        "created_at": at,
        "updated_at": at,
        "display_at": at,
        "affected_components": [
            {
                "code": component.key,
                "name": component.name,
                "old_status": was.get(component.key, "operational"),
                "new_status": update.components[component.key],
            }
            for component in COMPONENTS
            if component.key in update.components
        ],
    }


def _newest(incident: PublicIncident) -> Sequence[Update]:
    return incident.updates[::-1]


def _address(incident: PublicIncident, about: About) -> str:
    return f"{about.url}/status/incidents/{incident.id}"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add(parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}", attributes)
    element.text = text
    return element

"""The status page for people: no JavaScript, its style inside it, under a policy that allows nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from holdfast.comms.status import DAYS, HEADLINES, WORDS, ComponentHistory, PublicIncident, Status, by_day
from holdfast.comms.status_documents import About

RECENT_DAYS = 14
"""Days of past incidents on the first page; the history has all."""


class Html:
    """Renders pages. `can_subscribe`: whether mail with links to here can be sent, so that the form is of use."""

    def __init__(self, *, can_subscribe: bool) -> None:
        self._can_subscribe = can_subscribe

    def index(self, status: Status, about: About, now: datetime) -> bytes:
        return self._render(
            "status.html.j2",
            about,
            status=status,
            days=by_day(status.incidents, now, RECENT_DAYS),
            at=now,
            is_static=False,
        )

    def static_index(self, status: Status, about: About, now: datetime) -> bytes:
        """The same without what needs the server: a file on another host."""
        return self._render(
            "status.html.j2",
            about,
            status=status,
            days=by_day(status.incidents, now, RECENT_DAYS),
            at=now,
            is_static=True,
        )

    def history(self, status: Status, about: About, now: datetime) -> bytes:
        began = [(day, one) for day, one in by_day(status.incidents, now, DAYS) if one]
        return self._render("status_history.html.j2", about, status=status, days=began)

    def incident(self, incident: PublicIncident, about: About) -> bytes:
        return self._render("status_incident.html.j2", about, incident=incident)

    def message(
        self, about: About, title: str, text: str, *, button: str | None = None, refused: bool = False
    ) -> bytes:
        """A page that says one thing, and has a button where there is something to confirm."""
        return self._render("status_message.html.j2", about, title=title, text=text, button=button, refused=refused)

    def _render(self, template: str, about: About, **values: Any) -> bytes:
        page = _templates().get_template(template)
        return page.render(
            about=about, can_subscribe=self._can_subscribe, css=style(), policy=_in_page(), **values
        ).encode()


@cache
def style() -> str:
    """The style sheet: what is between the tags, to the byte, since the policy names its hash."""
    return _templates().get_template("status.css.j2").render()


@cache
def policy() -> str:
    """Nothing from anywhere but this one style sheet; forms go to us alone. Source: https://www.w3.org/TR/CSP3/"""
    return f"{_in_page()}; form-action 'self'; frame-ancestors 'none'"


@cache
def _in_page() -> str:
    """What of it a page can say itself, where no server of ours says it."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'"


@cache
def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("holdfast.comms"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"word": lambda state: WORDS[state], "day": _day, "moment": _moment, "told": _told}
    made.globals |= {"headlines": HEADLINES, "length": DAYS}
    return made


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _moment(at: datetime) -> Markup:
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} {:%b %Y, %H:%M} UTC</time>').format(
        at.isoformat(timespec="seconds"), at.day, at
    )


def _told(history: ComponentHistory) -> str:
    """The bars, for those who do not see them."""
    ill: Sequence[str] = [
        f"{_day(one.day)}: {WORDS[one.worst].lower()}" for one in history.days if one.worst != "operational"
    ]
    return f"The last {DAYS} days: " + ("; ".join(ill) if ill else "operational every day")

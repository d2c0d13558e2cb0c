"""What people are told, in plain words and figures; templates beside it. No clock, no store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from holdfast.comms import call_wording, consent_wording
from holdfast.comms.affected import AffectedMerchant
from holdfast.comms.figures import Figures
from holdfast.comms.wording import wording
from holdfast.comms.words import clock, day_and_clock, length, many
from holdfast.incidents.model import Entry, Incident, StepRow

_templates = Environment(
    loader=PackageLoader("holdfast.comms"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_MOST = 12
"""Lines of a list in an update: it is read on a telephone."""
OWN_FIGURES = "--- Below: each merchant's own figures, filled in for each. What is changed here is not sent. ---"
"""In the draft of a mail to merchants, where what a person may edit ends."""


@dataclass(frozen=True, slots=True)
class Text:
    """What is sent; `html` where it is a mail that has it."""

    subject: str
    text: str
    html: str | None = None


def _render(name: str, incident: Incident, now: datetime, **given: Any) -> str:
    since, lasts = day_and_clock(incident.since), length(now - incident.since)
    said = _templates.get_template(name).render(incident=incident, since=since, lasts=lasts, **given)
    return re.sub(r"\n{3,}", "\n\n", said).strip()


# To the team


def announcement(incident: Incident, now: datetime) -> Text:
    """That there is an incident: what, since when, how bad, and how to acknowledge it."""
    subject = f"Incident {incident.id} [{incident.severity}] {incident.title}"
    return Text(subject, _render("announcement.txt.j2", incident, now))


@dataclass(frozen=True, slots=True)
class Course:
    """How an incident goes: what is new in its log, and its steps."""

    new: Sequence[Entry]
    steps: Sequence[StepRow]
    affected: Sequence[AffectedMerchant] = ()


def team_update(
    incident: Incident,
    course: Course,
    seen: Figures,
    *,
    number: int,
    next_at: datetime | None,
    now: datetime,
    person: str | None = None,
) -> Text:
    """How it stands, by the log and the figures; `person` is what somebody wrote instead of the log's lines."""
    said = _render(
        "team_update.txt.j2",
        incident,
        now,
        person=person.strip() if person else "",
        now_words=now_words(seen),
        affected=wording(incident).affected(course.affected) if course.affected else "",
        done=_cut([f"{clock(entry.at)} {_entry(entry)}" for entry in course.new if entry.kind in _TOLD]),
        waits=_cut([_waits(incident, step) for step in course.steps if step.state in _FOR_PEOPLE]),
        ahead=_cut([_ahead(step) for step in course.steps if step.state in ("running", "waiting")]),
        next_at=clock(next_at) if next_at is not None and incident.is_open else "",
    )
    return Text(f"Update {number} on incident {incident.id}: {incident.title}", said)


_TOLD = ("state", "step", "lever", "person", "note")
_FOR_PEOPLE = ("asking", "failed", "uncertain")


def _entry(entry: Entry) -> str:
    by = "" if entry.actor == "holdfast" else f" ({entry.actor})"
    return f"{' '.join(entry.text.split())[:300]}{by}"


def _waits(incident: Incident, step: StepRow) -> str:
    if step.kind == "ask" and step.state == "asking":
        return f"{step.text} (holdfast incidents approve {incident.id} {step.key})"
    said = f": {step.said}" if step.state != "asking" and step.said else ""
    if step.state == "failed":
        return f"{step.text}{said} (holdfast incidents retry|done|skip {incident.id} {step.key})"
    return f"{step.text}{said} (holdfast incidents done {incident.id} {step.key})"


def _ahead(step: StepRow) -> str:
    return f"{step.text}: {step.said}" if step.said else step.text


def _cut(lines: list[str]) -> list[str]:
    """The last ones, with a word about those before."""
    if len(lines) <= _MOST:
        return lines
    return [f"({len(lines) - _MOST} more, by `holdfast incidents show`)", *lines[-_MOST:]]


def now_words(seen: Figures) -> str:
    """`300 events to be routed and 20 notifications to be sent, the oldest for 6 min; …`; of calls or texts first."""
    if seen.consent is not None:
        queues = f" Events: {_queue_words(seen)}" if seen.waiting else ""
        return consent_wording.now_words(seen.consent) + queues
    if seen.calls is not None:
        queues = _queue_words(seen)
        return f"{call_wording.now_words(seen.calls)}" + (f" Events: {queues}" if seen.waiting else "")
    return _queue_words(seen)


def _queue_words(seen: Figures) -> str:
    if not seen.waiting:
        later = (
            f"; {many(seen.later, 'delivery').replace('deliverys', 'deliveries')} to be tried again later"
            if seen.later
            else ""
        )
        return f"nothing waits{later}."
    parts = []
    if seen.to_route:
        parts.append(f"{many(seen.to_route, 'event')} to be routed")
    if seen.to_send:
        parts.append(f"{many(seen.to_send, 'notification')} to be sent")
    if seen.drain_s is None:
        drained = "at the present rates this does not drain"
    else:
        drained = f"drained in about {length(seen.drain_s)} at the present rates"
    limit = f" What limits: {seen.limit.rstrip('.')}." if seen.limit else ""
    return f"{' and '.join(parts)}, the oldest for {length(seen.oldest_s)}; {drained}.{limit}"


def page(incident: Incident, text: str, now: datetime) -> Text:
    """To a person who is needed now."""
    first = " ".join(text.split()) or incident.title
    return Text(
        f"[{incident.severity}] Incident {incident.id}: {first}", _render("page.txt.j2", incident, now, text=text)
    )


# To merchants


def default_paragraph(incident: Incident) -> str:
    """What is affected, since when, and what we do; the same for all, and with nobody's name or figures."""
    return wording(incident).paragraph(incident)


def merchant_mail(
    incident: Incident,
    merchant: AffectedMerchant,
    *,
    next_at: datetime,
    now: datetime,
    paragraph: str | None = None,
    again: bool = False,
) -> Text:
    """What is affected, since when, what we do, when we write next. Of this merchant alone.

    `again`: to who knows of it; once the incident is calm, that the cause is gone and what is still done.
    """
    words = wording(incident)
    subject = words.again if again else words.first
    if again and incident.calm_at is not None:
        subject, paragraph = words.calm, words.ending(incident, incident.calm_at)
    closing = f"You need not do anything. We write again by {day_and_clock(next_at)}, or as soon as it is over."
    return _mail(subject, incident, merchant, paragraph, closing, now)


def merchant_draft(
    incident: Incident, merchants: Sequence[AffectedMerchant], *, next_at: datetime, now: datetime
) -> str:
    """For a person to read and change before it goes out, with the figures of the first merchant."""
    first = merchants[0]
    mailed = [one for one in merchants if one.email]
    mail = merchant_mail(incident, first, next_at=next_at, now=now)
    by_hand = len(merchants) - len(mailed)
    hand = f"; {many(by_hand, 'merchant')} without an address to be told by hand" if by_hand else ""
    return (
        f"{default_paragraph(incident)}\n\n{OWN_FIGURES}\n"
        f"Goes to {many(len(mailed), 'merchant')}, each with figures of its own{hand}.\n"
        f"As {first.name} gets it:\n\nSubject: {mail.subject}\n\n{mail.text}"
    )


def edited_paragraph(incident: Incident, text: str | None) -> str | None:
    """What a person made of a draft, up to where the figures begin; None if that is nothing."""
    if text is None:
        return None
    kept = []
    for line in text.strip().splitlines():
        if line.strip().lstrip("- ").startswith(wording(incident).figures) or line.lstrip().startswith("---"):
            break
        kept.append(line.rstrip())
    return "\n".join(kept).strip() or None


def all_clear(incident: Incident, merchant: AffectedMerchant, now: datetime) -> Text:
    """That it is over, and what became of the merchant's events or calls; honest about what is not well yet."""
    words = wording(incident)
    paragraph = words.over(incident, merchant, incident.resolved_at or incident.calm_at or now)
    return _mail(words.clear, incident, merchant, paragraph, words.closing(merchant), now)


def _mail(  # noqa: PLR0917 - the parts of a mail, from above
    subject: str, incident: Incident, merchant: AffectedMerchant, paragraph: str | None, closing: str, now: datetime
) -> Text:
    given = {
        "merchant": merchant,
        "paragraph": paragraph or default_paragraph(incident),
        "lines": wording(incident).own(merchant, now),
        "closing": closing,
        "subject": subject,
    }
    text = _render("merchant_mail.txt.j2", incident, now, **given)
    return Text(subject, text, _render("merchant_mail.html.j2", incident, now, **given))


def customer_notice(incident: Incident, merchants: Sequence[AffectedMerchant], seen: Figures, now: datetime) -> str:
    """For merchants to forward to their customers; nobody is named."""
    longest = max((one.longest_s for one in merchants), default=0.0)
    by = clock(now + timedelta(seconds=seen.drain_s)) if seen.drain_s else ""
    return _render(wording(incident).notice, incident, now, longest=length(longest) if longest else "", by=by)

"""What complaints about texts came to, as parts of a review."""

from collections.abc import Iterable

from holdfast.comms.words import length, people
from holdfast.complaints.impact import ComplaintImpact
from holdfast.review.blocks import Block, Paragraph, Table


def complaint_summary(found: ComplaintImpact) -> str:
    """In a sentence or two."""
    if not found.complaints:
        return f"Nobody complained. {_held(found)}".rstrip()
    times = f" {found.complaints:,} times" if found.complaints > found.people else ""
    said = f"{people(found.people)} complained{times}, {_answers(found)}."
    without = f" {found.without_consent:,} texts had gone out to them without consent." if found.without_consent else ""
    return f"{said}{without} {_held(found)}".rstrip()


def _answers(found: ComplaintImpact) -> str:
    """How many were answered, and in time only if nobody waits beyond the hour."""
    was = "was" if found.answered == 1 else "were"
    parts = [f"{found.answered or 'none'} {was} answered"]
    if found.late:
        parts.append(f"{found.late:,} of them later than the hour")
    elif found.answered and not found.overdue:
        parts.append("all of them within the hour")
    if found.longest is not None:
        parts.append(f"the last after {length(found.longest)}")
    said = ", ".join(parts)
    if found.unanswered:
        wait = "waits" if found.unanswered == 1 else "wait"
        overdue = f", {found.overdue:,} beyond the hour" if found.overdue else ""
        said += f"; {found.unanswered:,} {wait} for an answer still{overdue}"
    if found.erased:
        said += f"; {found.erased:,} had their data erased before"
    return said


def of_complaints(found: ComplaintImpact) -> Iterable[Block]:
    yield Paragraph(complaint_summary(found))
    if found.ways:
        rows = tuple((one.name, one.merchant or "-", f"{one.people:,}", f"{one.complained:,}") for one in found.ways)
        yield Table(("Came in by", "Merchant", "People", "Complained"), rows, (4, 3, 2, 2), frozenset({2, 3}), "")
    for cause in found.causes:
        yield Paragraph(f"Cause, as the complaints were closed: {cause}")


def _held(found: ComplaintImpact) -> str:
    if not found.held:
        return ""
    kept = f", {found.kept:,} of them for good" if found.kept else ""
    return f"{found.held:,} people who came the same way were held back{kept}."

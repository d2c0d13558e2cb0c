"""What complaints about texts came to, as parts of a review."""

from collections.abc import Iterable

from holdfast.comms.words import length
from holdfast.complaints.impact import ComplaintImpact
from holdfast.review.blocks import Block, Paragraph, Table


def complaint_summary(found: ComplaintImpact) -> str:
    """In a sentence or two."""
    if not found.complaints:
        return f"Nobody complained. {_held(found)}".rstrip()
    people = "1 person" if found.complaints == 1 else f"{found.complaints:,} people"
    late = f", {found.late:,} of them later than the hour" if found.late else ", all of them within the hour"
    longest = f", the last after {length(found.longest)}" if found.longest is not None else ""
    said = f"{people} complained, {found.answered:,} were answered{late}{longest}."
    without = f" {found.without_consent:,} texts had gone out to them without consent." if found.without_consent else ""
    return f"{said}{without} {_held(found)}".rstrip()


def of_complaints(found: ComplaintImpact | None) -> Iterable[Block]:
    """Nothing of an incident that is not about complaints."""
    if found is None:
        return
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

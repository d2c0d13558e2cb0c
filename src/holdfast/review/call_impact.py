"""What an outage did to calls, as parts of a review."""

from collections.abc import Iterable

from holdfast.review.blocks import Block, Paragraph, Table
from holdfast.review.model import CallImpact

MOST_MERCHANTS = 50


def call_summary(calls: CallImpact) -> str:
    """In one sentence."""
    if not calls.calls:
        return "No call came meanwhile."
    hit = "1 merchant was" if calls.merchants_affected == 1 else f"{calls.merchants_affected:,} merchants were"
    return (
        f"Of {calls.calls:,} calls meanwhile {calls.answered:,} were answered, {calls.failed:,} failed, "
        f"{calls.missed:,} were missed and {calls.to_voicemail:,} sent to voicemail, where {calls.messages:,} callers "
        f"left a message; {hit} affected."
    )


def of_calls(calls: CallImpact | None) -> Iterable[Block]:
    """Nothing of an incident that is not about calls."""
    if calls is None:
        return
    yield Paragraph(call_summary(calls))
    if not calls.merchants:
        return
    rows = tuple(
        (
            one.merchant or "-",
            one.name,
            f"{one.calls:,}",
            f"{one.answered:,}",
            f"{one.failed:,}",
            f"{one.missed:,}",
            f"{one.to_voicemail:,}",
            f"{one.messages:,}",
        )
        for one in calls.merchants[:MOST_MERCHANTS]
    )
    left = calls.merchants_affected - len(rows)
    columns = ("Merchant", "Name", "Calls", "Answered", "Failed", "Missed", "To voicemail", "Messages")
    yield Table(
        columns, rows, (3, 4, 2, 2, 2, 2, 2, 2), frozenset(range(2, 8)), f"and {left:,} more" if left > 0 else ""
    )
    yield Paragraph(
        "Sent to voicemail are those that would have rung otherwise. Calls that Twilio never brought to us are in no "
        "figure here.",
        quiet=True,
    )

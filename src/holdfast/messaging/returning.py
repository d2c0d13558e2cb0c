"""What a person who comes back agrees to: what held just before they stopped it."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.consent import ledger
from holdfast.consent.model import Purpose, Row

PURPOSES: tuple[Purpose, ...] = ("marketing", "informational")
OURS = frozenset(("import-undone", "operator", "erasure"))
"""Sources of revocations that were not the person's own: what these ended does not come back by a START."""

OWN_DEEDS = frozenset(("opt-in-message", "link"))
"""Sources of grants by which a person comes back."""


def returned_to(rows: Sequence[Row], since: datetime) -> set[int]:
    """Merchants that the person agreed to anew since then, themselves."""
    return {
        row.merchant_id for row in rows if row.action == "grant" and row.source in OWN_DEEDS and row.given_at > since
    }


def purposes_to_restore(rows: Sequence[Row], merchant_id: int) -> list[tuple[Purpose, str | None]]:
    """(purpose, disclosure) of the consents that the person's last revocations ended, or that hold.

    Informational texts alone where there were none. `rows`: all of the person's.
    """
    found: dict[int, tuple[Purpose, str | None]] = {}
    for purpose in PURPOSES:
        row = _before_the_stop(rows, merchant_id, purpose)
        if row is not None:
            granted: Purpose = "marketing" if row.purpose == "marketing" else "informational"
            found[row.seq] = (granted, row.disclosure)
    return list(found.values()) or [("informational", None)]


def _before_the_stop(rows: Sequence[Row], merchant_id: int, purpose: Purpose) -> Row | None:
    left = list(rows)
    while (last := ledger.holding(left, merchant_id, purpose)) is not None:
        if last.action == "grant":
            return last
        if last.source in OURS:
            return None
        left.remove(last)
    return None

"""Files texts that are complaints by themselves: those in which somebody threatens, or calls it harassment.

By the names of the rules that they met (`messaging.optout`). One of these is met by "blocked" alone as well, which is
an opt-out and no complaint: of it only texts count that name an authority, a law or harassment.
"""

from datetime import datetime, timedelta

import structlog

from holdfast.complaints import store
from holdfast.complaints.model import ComplaintError
from holdfast.complaints.service import file_text
from holdfast.complaints.store import Complaining
from holdfast.config import Settings
from holdfast.db.pool import Pool

log = structlog.get_logger()

THREATS = ("a threat over texts",)
NAMED = ("authorities",)
NAMING = r"harass|\m(fcc|ftc|tcpa)\M|cease and desist|invasion of privacy"
"""A regular expression of PostgreSQL."""
SINCE = timedelta(days=2)
"""Texts that are older were seen by many ticks."""
AT_ONCE = 50
EVERY = 5.0
BY = "text"
_WHICH = Complaining(THREATS, NAMED, NAMING)


async def tick(pool: Pool, settings: Settings, now: datetime) -> int:
    """File those that nobody has filed yet; how many. What cannot be filed is logged, and holds up no other."""
    filed = 0
    for row in await store.complaining_texts(pool, _WHICH, now - SINCE, AT_ONCE):
        try:
            made = await file_text(pool, settings, row["sid"], filed_by=BY, now=now)
            filed += made.is_new
        except ComplaintError as error:
            log.warning("complaint.not_filed", text=row["sid"], error=str(error))
    return filed

"""Files texts that are complaints by themselves: those in which somebody threatens, or calls it harassment."""

from datetime import datetime, timedelta

import structlog

from holdfast.complaints import store
from holdfast.complaints.model import ComplaintError
from holdfast.complaints.service import file_text
from holdfast.config import Settings
from holdfast.db.pool import Pool

log = structlog.get_logger()

RULES = ("threat or complaint",)
"""Of `messaging.optout`: what it calls a text that threatens with the law, or speaks of harassment."""
SINCE = timedelta(days=2)
"""Texts that are older were seen by many ticks."""
AT_ONCE = 50
EVERY = 5.0
BY = "text"


async def tick(pool: Pool, settings: Settings, now: datetime) -> int:
    """File those that nobody has filed yet; how many. What cannot be filed is logged, and holds up no other."""
    filed = 0
    for row in await store.complaining_texts(pool, RULES, now - SINCE, AT_ONCE):
        try:
            made = await file_text(pool, settings, row["sid"], filed_by=BY, now=now)
            filed += made.is_new
        except ComplaintError as error:
            log.warning("complaint.not_filed", text=row["sid"], error=str(error))
    return filed

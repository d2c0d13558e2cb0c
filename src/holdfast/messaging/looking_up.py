"""Whether Twilio has a text whose answer was lost.

Source: https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources
"""

import asyncio
from datetime import timedelta
from typing import Final, Literal

from holdfast.db.pool import Pool
from holdfast.messaging import answers
from holdfast.messaging import sending_store as store
from holdfast.messaging.callbacks import RANKS
from holdfast.messaging.sending_store import Sent, Text
from holdfast.twilio.client import TwilioClient

PATIENCE: Final = 8.0
"""Seconds for looking one up."""
BEFORE: Final = timedelta(minutes=10)
"""For so long before it was tried is looked: Twilio's clock is another one than the store's."""


async def look_up(pool: Pool, client: TwilioClient, text: Text) -> Sent | Literal["perhaps"] | None:
    """The oldest in the same words that is no other of ours; *perhaps*: one of other words that may be it.

    Twilio may change the words: quotes, dashes, links. Raises TwilioApiError, TimeoutError.
    """
    if text.to is None or text.tried_at is None:
        return None
    async with asyncio.timeout(PATIENCE):
        listed = client.texts(text.tried_at - BEFORE, to=text.to, account=text.account)
        ours = [one async for one in listed if answers.is_from_same(one, text)]
    taken = await store.known_sids(pool, [one.sid for one in ours], text.id)
    free = [one for one in ours if one.sid not in taken]
    like = [one for one in free if answers.is_like(one, text)]
    if like:
        status = like[-1].status if like[-1].status in RANKS else "queued"
        return Sent(text.id, like[-1].sid, status, RANKS[status])
    return "perhaps" if any(answers.may_be(one, text) for one in free) else None

"""Texts from people that Twilio has and nobody told us of: taken in afterwards, from its own list.

Twilio asks an address for texts once, and its fallback once; what both refuse is not told again. A stop in free words
is then known to nobody else: https://www.twilio.com/docs/messaging/guides/webhook-request
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self

import msgspec
import structlog

from holdfast.config import Settings
from holdfast.consent.keys import PhoneKey
from holdfast.db.pool import Pool
from holdfast.merchants.model import COMPANY
from holdfast.messaging import auditing_store as store
from holdfast.messaging import inbound, optout
from holdfast.messaging.answering import Answering
from holdfast.messaging.inbound import Inbox, Incoming, NotATextError
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account, TwilioText

log = structlog.get_logger()

SETTLED_AFTER = timedelta(minutes=2)
"""What is younger may still be told by Twilio, or by its fallback."""
_AT_ONCE = 50


class Missing:
    """Takes such texts into the inbox. One that is told later all the same, or was taken before, changes nothing."""

    def __init__(self, pool: Pool, inbox: Inbox) -> None:
        self._pool = pool
        self._inbox = inbox

    @classmethod
    def of(cls, settings: Settings, pool: Pool) -> Self:
        answering = Answering(settings.stop_scope, optout.provider_word)
        return cls(pool, Inbox(pool, lambda: PhoneKey.load(settings), answering, optout.judge))

    async def take(self, listed: Sequence[TwilioText], account: str, *, is_main: bool, now: datetime) -> int:
        """Those of an account's list that came to a number or sender of ours and that we have not; how many.

        Raises KeyMissingError, and what `db.pool.AWAY` lists.
        """
        signed = await self._account(account, is_main)
        if signed is None:
            return 0
        texts = [
            text
            for one in listed
            if one.created_at <= now - SETTLED_AFTER and (text := _read(one, signed, is_main)) is not None
        ]
        asked = [(text.sid, text.to, text.service) for text in texts]
        unheard = await store.unheard(self._pool, asked) if asked else set()
        chosen = [text for text in texts if text.sid in unheard]
        taken = 0
        for start in range(0, len(chosen), _AT_ONCE):
            taken += sum(one.is_new for one in await self._inbox.take(chosen[start : start + _AT_ONCE]))
        if taken:
            log.warning("audit.unheard_texts", account=account, texts=taken)
        return taken

    async def _account(self, sid: str, is_main: bool) -> Account | None:
        """None: it was removed meanwhile, and nobody knows any more whom it speaks for."""
        if is_main:
            return Account(sid, "main", COMPANY, "")
        return {one.sid: one for one in await accounts.accounts(self._pool)}.get(sid)


def _read(listed: TwilioText, account: Account, is_main: bool) -> Incoming | None:
    """As it would have been told. None: it has no sid of a text."""
    told = {
        "MessageSid": listed.sid,
        "From": listed.from_,
        "To": listed.to,
        "Body": listed.body,
        "MessagingServiceSid": listed.service or "",
    }
    try:
        text = inbound.read(
            told,
            account,
            own_account=is_main,
            received=listed.created_at.timestamp(),
            headers={},
            raw=msgspec.json.encode(listed),
        )
    except NotATextError:
        return None
    return replace(text, is_late=True)

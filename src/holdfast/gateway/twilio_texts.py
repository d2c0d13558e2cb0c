"""`/hooks/twilio/message` and `…/message-status`: Twilio's signed requests about texts. Raw ASGI.

A text is answered once it is kept, and a stop once nothing more can go out: an acknowledged STOP is always stored.
What cannot be stored is refused, so that the number's fallback URL is asked.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from holdfast.config import Settings
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import KeyMissingError
from holdfast.db.group_commit import GroupCommit, NotTakenError
from holdfast.db.pool import Pool
from holdfast.gateway.receiving import Receive, Refused, Scope, Send, away, refuse
from holdfast.gateway.signals import RECEIVED, SECONDS
from holdfast.gateway.twilio_requests import BASE, Request, Requests, malformed
from holdfast.messaging import inbound, optout, stopping
from holdfast.messaging.answering import Answering
from holdfast.messaging.callbacks import StatusCallback, StatusCallbacks
from holdfast.messaging.inbound import Incoming, Judge, NotATextError, ProviderWord, Taken
from holdfast.messaging.signals import STOP_SECONDS
from holdfast.twilio.model import Account

log = structlog.get_logger()

MESSAGE, STATUS = f"{BASE}message", f"{BASE}message-status"
EMPTY = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""Replies go out by the API, where they are recorded and followed."""
_SETTLED_WITHIN = stopping.PATIENCE.total_seconds() + 0.5
"""With what `GroupCommit` waits, less than the 15 s after which Twilio has given up."""
_seconds = SECONDS.series("twilio")


TakeReports = Callable[[Sequence[StatusCallback]], Awaitable[object]]


class Texts:
    """The doors in `hooks`. Texts: 200 with empty TwiML, status callbacks: 204; both once they are committed.

    400 not to be read, 403 bad signature, or a text to another merchant's number (which is kept), 405, 413, 503 with
    Retry-After where it was not stored. Refusals are problem details.
    """

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        requests: Requests,
        take_reports: TakeReports | None = None,
        *,
        judge: Judge = optout.judge,
        provider_word: ProviderWord = optout.provider_word,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`take_reports` keeps status callbacks. `clock` gives Unix time."""
        self._own_account = settings.twilio_account_sid
        self._pool = pool
        self._requests = requests
        self._clock = clock
        answering = Answering(settings.stop_scope, provider_word)
        box = inbound.Inbox(pool, lambda: PhoneKey.load(settings), answering, judge)
        self._texts: GroupCommit[Incoming, Taken] = GroupCommit(box.take)
        self._take_reports = take_reports or StatusCallbacks(pool).take
        self._reports: GroupCommit[StatusCallback, None] = GroupCommit(self._report)
        self.hooks: Mapping[str, Any] = {MESSAGE: self.message, STATUS: self.status}

    async def message(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send, self._message)

    async def status(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send, self._status)

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        take: Callable[[Request, Account], Awaitable["_Answer"]],
    ) -> None:
        began = time.perf_counter()
        try:
            request = await self._requests.read(scope, receive)
            answer = await take(request, self._requests.verified(request))
            said = answer.said
        except Refused as refused:
            said = refused.answer
            await refuse(send, refused)
        else:
            length = str(len(answer.body)).encode()
            headers = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", length)]
            start = {"type": "http.response.start", "status": answer.status, "headers": headers if answer.body else []}
            await send(start)
            await send({"type": "http.response.body", "body": answer.body})
        RECEIVED.inc(1, "twilio", said)
        _seconds.observe(time.perf_counter() - began)

    async def _message(self, request: Request, account: Account) -> "_Answer":
        began = time.perf_counter()
        try:
            text = inbound.read(
                request.params,
                account,
                own_account=account.sid == self._own_account,
                received=self._clock(),
                headers=request.headers,
                raw=request.body,
            )
        except NotATextError as error:
            raise malformed(str(error)) from None
        taken = await _kept(self._texts.put(text))
        if taken.refused is not None:
            raise Refused(403, "wrong_merchant", taken.refused)
        if taken.customer_id is not None:
            await _kept(asyncio.wait_for(stopping.settled(self._pool, [taken.customer_id]), _SETTLED_WITHIN))
            STOP_SECONDS.observe(time.perf_counter() - began)
        return _Answer("new" if taken.is_new else "duplicate", 200, EMPTY)

    async def _status(self, request: Request, account: Account) -> "_Answer":
        """Whose number it is does not matter: of a text that another account sent, it changes nothing."""
        report = StatusCallback(
            request.params, request.query, account.sid, request.headers, request.body, received=self._clock()
        )
        await _kept(self._reports.put(report))
        return _Answer("new", 204, b"")

    async def _report(self, batch: Sequence[StatusCallback]) -> Sequence[None]:
        await self._take_reports(batch)
        return [None] * len(batch)


@dataclass(frozen=True, slots=True)
class _Answer:
    said: str
    status: int
    body: bytes


async def _kept(storing: Awaitable[Any]) -> Any:
    """Whatever is in the way, what was not stored is not acknowledged. Raises Refused."""
    try:
        return await storing
    except KeyMissingError as error:
        log.error("twilio.text_not_kept", reason=str(error))
        raise away("a key is missing; see the log") from None
    except NotTakenError as error:
        raise away(str(error)) from None
    except Exception as error:
        log.error("twilio.text_not_kept", reason=type(error).__name__, exc_info=not isinstance(error, OSError))
        raise away("the store did not take it") from None

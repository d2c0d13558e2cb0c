"""A live call of the emulated Twilio: fetches TwiML, has its verbs executed, reports, and ends.

Sources: https://www.twilio.com/docs/voice/twiml (parameters, how a document is executed) and
https://www.twilio.com/docs/usage/webhooks/voice-webhooks (fallback URLs, status callbacks).
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urljoin

from holdfast.drills.twilio_exchange import CallResult, EndedAs, Event, Exchange, Step, call_params
from holdfast.drills.twilio_people import Caller
from holdfast.drills.twilio_state import CallRecord
from holdfast.drills.twilio_twiml import TwimlError, Verb, parse
from holdfast.drills.twilio_webhooks import Answer, Ask

_MOST_DOCUMENTS: Final = 50  # a Redirect loop must end
_ERROR_MESSAGE: Final = 5.0  # seconds that "an application error has occurred" lasts

Reason = Literal["finished", "hangup", "rejected", "hung_up", "ended", "diverted", "error", "busy"]


class CallOver(Exception):  # noqa: N818 - it is no error
    """The call ends here, for this reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Document:
    """TwiML that was fetched from `url`, against which its own addresses are resolved."""

    url: str
    verbs: list[Verb]


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom a call asks what to do, and tells what becomes of it."""

    url: str = ""
    method: str = "POST"
    fallback_url: str = ""
    fallback_method: str = "POST"
    status_callback: str = ""
    status_callback_method: str = "POST"
    events: frozenset[str] = frozenset({"completed"})


Executor = Callable[["LiveCall", Verb], Awaitable[Document | None]]


@dataclass(slots=True)
class LiveCall:
    """One call. `party` is the person on the line, `at` the simulated seconds since it began to ring.

    `executors` maps a verb to what executes it: that gives the next document, or `None` to go on with the next verb.
    `on_answer` is called once, when the call is answered. The party hangs up at `deadline` unless somebody has their
    attention, and at `leaves_at` in any case.
    """

    exchange: Exchange
    record: CallRecord
    plan: Plan
    party: Caller
    rng: random.Random
    executors: Mapping[str, Executor]
    on_answer: Callable[[], Awaitable[None]] | None = None
    at: float = 0.0
    deadline: float = 0.0
    leaves_at: float = math.inf
    answered_at: float | None = None
    document: Document = field(default_factory=lambda: Document("", []))
    steps: list[Step] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)
    answered_by: str | None = None
    ended_as: EndedAs | None = None
    began: float = 0.0
    _documents: int = 0
    _sequence: int = 0
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _stop_reason: Reason = "ended"
    _diversion: Callable[[], Awaitable[Document]] | None = None

    def __post_init__(self) -> None:
        self.deadline = self.at + self.party.patience
        self.began = self.exchange.clock()

    async def wait(self, seconds: float, *, patient: bool = False) -> None:
        """Let simulated seconds pass. CallOver if the party hangs up, or the call is ended, before they have."""
        left = max(0.0, (self.leaves_at if patient else min(self.deadline, self.leaves_at)) - self.at)
        seconds, loop = max(0.0, seconds), asyncio.get_running_loop()
        began = loop.time()
        if not await self.exchange.sleep(min(seconds, left), self._stopped):
            self.at += min(seconds, left, (loop.time() - began) * self.exchange.speed)
            raise CallOver(self._stop_reason)
        self.at += min(seconds, left)
        if seconds > left:
            raise CallOver("hung_up")

    async def answer(self) -> None:
        """Pick the call up, if it only rang so far."""
        if self.answered_at is not None:
            return
        self.answered_at = self.at
        self.record.status = "in-progress"
        self.record.started = self.record.updated = self.exchange.clock()
        self.progress("answered", "in-progress")
        if self.on_answer is not None:
            await self.on_answer()

    def note(self, verb: str, outcome: str, at: float | None = None) -> None:
        self.steps.append(Step(self.at if at is None else at, "verb", verb, outcome))

    def address(self, url: str | None) -> str:
        """An address in the present document, made absolute; that document's own if there is none."""
        try:
            return urljoin(self.document.url, url) if url else self.document.url
        except ValueError:
            return url or ""  # asking for it will say what is wrong with it

    async def fetch(self, url: str, method: str | None, extra: Mapping[str, str]) -> Document:
        """Ask for the next document, of the fallback URL if this one fails. CallOver if that fails too."""
        found = await self._ask(url, method or "POST", extra)
        if isinstance(found, Document):
            return found
        if self.plan.fallback_url:
            told = {"ErrorCode": str(found), "ErrorUrl": url.partition("#")[0]}
            found = await self._ask(self.plan.fallback_url, self.plan.fallback_method, dict(extra) | told)
            if isinstance(found, Document):
                return found
        await self.answer()
        self.ended_as = "error"
        await self.wait(_ERROR_MESSAGE)
        raise CallOver("error")

    async def tell(self, url: str, method: str | None, extra: Mapping[str, str]) -> None:
        """Ask for a document that nobody will hear, as Twilio does when the caller has hung up."""
        self.record.status = "completed"
        await self._ask(url, method or "POST", extra)

    def stop(self, reason: Reason = "ended") -> None:
        """End the call from outside."""
        self._stop_reason = reason
        self._stopped.set()

    def divert(self, document: Callable[[], Awaitable[Document]]) -> None:
        """Break off what the call executes, and go on with this document."""
        self._diversion = document
        self.stop("diverted")

    def progress(self, event: str, status: str, extra: Mapping[str, str] | None = None) -> None:
        """Send the status callback of an event, if the call has one for it."""
        if self.plan.status_callback and event in self.plan.events:
            told = Event(status, self._sequence, extra or {})
            self.exchange.progress(self.record, self.plan.status_callback, self.plan.status_callback_method, told)
            self._sequence += 1

    async def run(self, first: Document | None = None) -> CallResult:
        """Follow the plan, or the document given, to the end of the call."""

        async def planned() -> Document:
            return first or await self.fetch(self.plan.url, self.plan.method, {})

        reason = await self._reason(planned)
        while reason == "diverted" and self._diversion is not None:
            self._stopped.clear()
            diversion, self._diversion = self._diversion, None
            reason = await self._reason(diversion)
        return self.finish(reason)

    async def _reason(self, document: Callable[[], Awaitable[Document]]) -> Reason:
        """Why the call ended, or was broken off, having followed a document."""
        try:
            await self.follow(await document())
        except CallOver as over:
            return over.reason
        return "finished"

    async def follow(self, document: Document) -> None:
        """Execute a document and those it leads to. CallOver when something ends the call before its words do."""
        following: Document | None = document
        while following is not None:
            self.document, following = following, None
            for verb in self.document.verbs:
                following = await self.executors[verb.name](self, verb)
                if following is not None:
                    break

    def finish(self, reason: Reason) -> CallResult:
        """Close the books on a call that is over."""
        record, now = self.record, self.exchange.clock()
        record.ended = record.updated = now
        record.status = self._final_status(reason)
        if self.answered_at is not None:
            record.duration = round(self.at - self.answered_at)
        self.progress("completed", record.status)
        return CallResult(
            sid=record.sid,
            from_=record.from_,
            to=record.to,
            began=self.began,
            duration=self.at,
            status=record.status,
            ended_as=self.ended_as or ("hung_up" if reason in ("hung_up", "ended") else "announcement"),
            answered_by=self.answered_by,
            recordings=tuple(self.recordings),
            steps=tuple(self.steps),
        )

    def _final_status(self, reason: Reason) -> str:
        if self.answered_at is not None:
            return "completed"
        return {"rejected": "no-answer", "busy": "busy", "hung_up": "canceled", "ended": "canceled"}.get(
            reason, "completed"
        )

    async def _ask(self, url: str, method: str, extra: Mapping[str, str]) -> Document | int:
        """A document, or the code of the error that there was instead of one."""
        account = self.exchange.state.account(self.record.account)
        params = call_params(self.record, self.exchange.regions) | dict(extra)
        ask = Ask(url, params, account, self.exchange.state.new_sid("IT"), method)
        began, self._documents = self.at, self._documents + 1
        answer = await self.exchange.poster.ask(ask)
        self.at += answer.seconds
        if self._documents > _MOST_DOCUMENTS:
            answer = Answer(answer.status, error=12100, why=f"more than {_MOST_DOCUMENTS} documents in one call")
        error, verbs = answer.error, []
        if error is None:
            try:
                verbs = parse(answer.body, answer.content_type)
            except TwimlError as wrong:
                error, answer = wrong.code, Answer(answer.status, answer.body, headers=answer.headers, why=str(wrong))
        names = tuple(verb.name for verb in verbs)
        outcome = "ok" if error is None else f"error {error}: {answer.why}"
        self.steps.append(Step(began, "request", ask.url, outcome, answer.status, names))
        if error is None:
            return Document(url.partition("#")[0], verbs)
        self.exchange.debugger.alert(account.sid, error, self.record.sid, ask, answer)
        return error

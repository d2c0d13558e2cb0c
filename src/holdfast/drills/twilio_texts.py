"""Texts on the emulated Twilio: sending with its callbacks, receiving with its webhook, and who said stop.

Sources: https://www.twilio.com/docs/messaging/api/message-resource, /messaging/guides/webhook-request and
https://help.twilio.com/articles/223134027 (opt-out words on long codes).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from holdfast.drills.tasks import Tasks
from holdfast.drills.twilio_callbacks import Callback
from holdfast.drills.twilio_debugger import text_of
from holdfast.drills.twilio_exchange import API_VERSION, Exchange
from holdfast.drills.twilio_faults import Facts
from holdfast.drills.twilio_people import e164
from holdfast.drills.twilio_state import Message, Number
from holdfast.drills.twilio_twiml import MESSAGING_VERBS, TwimlError, Verb, parse
from holdfast.drills.twilio_webhooks import Answer, Ask

STOP_WORDS: Final = frozenset({"STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"})
START_WORDS: Final = frozenset({"START", "YES", "UNSTOP"})
HELP_WORDS: Final = frozenset({"HELP", "INFO"})
_SENDING: Final = 0.5  # seconds from one status of a message to the next
_UNDELIVERED: Final = 30003
_MOST_REDIRECTS: Final = 10


class TextRefused(Exception):  # noqa: N818 - it is no error of ours
    """A message was not accepted; `code` is Twilio's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TextResult:
    """How an incoming text went. `sid` is empty if it was lost on its way, `status` that of the last answer, `None` for
    none, `error` Twilio's code for what was wrong with it; `replies` are the sids of the messages sent back.
    """

    sid: str
    opt_out: str | None
    status: int | None
    error: int | None
    replies: tuple[str, ...] = ()


def opt_out_type(body: str) -> str | None:
    """What a text means to Twilio's opt-out handling: only a text that is nothing but the word counts."""
    word = body.strip().upper()
    for kind, words in (("STOP", STOP_WORDS), ("START", START_WORDS), ("HELP", HELP_WORDS)):
        if word in words:
            return kind
    return None


@dataclass(slots=True)
class Texts:
    """Sends and receives. Messages under way are background tasks, at most `most` at once."""

    exchange: Exchange
    most: int
    _tasks: Tasks = field(default_factory=Tasks)
    _count: int = 0

    def send(self, account: str, params: Mapping[str, str], direction: str = "outbound-api") -> Message:
        """Accept a message and send it in the background. TextRefused with Twilio's reason."""
        exchange = self.exchange
        to, sender = e164(params.get("To", "")), params.get("From", "")
        if to is None:
            raise TextRefused(21211, f"Invalid 'To' Phone Number: {params.get('To', '')}")
        service = params.get("MessagingServiceSid")
        if service:
            sender = sender or self._sender_of(account)
        self._check(account, sender, to, params.get("Body", ""))
        message = Message(
            sid=exchange.state.new_sid("SM"),
            account=account,
            from_=sender,
            to=to,
            body=params.get("Body", ""),
            direction=direction,
            created=exchange.clock(),
            status="queued",
            service=service,
            status_callback=params.get("StatusCallback", ""),
        )
        exchange.state.messages.add(message)
        self._tasks.begin(self._carry(message))
        return message

    async def receive(
        self, from_: str, number: Number, body: str, media: tuple[str, ...] = (), service: str | None = None
    ) -> TextResult:
        """A text from outside to one of our numbers: the block list first, then the webhook and its replies."""
        kind, state = opt_out_type(body), self.exchange.state
        facts = Facts("sms", number.phone, number.region, from_)
        if self.exchange.faults().struck(self._dice(), facts, "outage", "text_lost") is not None:
            return TextResult("", kind, None, None)
        self._heed(kind, number, from_)
        message = Message(
            sid=state.new_sid("MM" if media else "SM"),
            account=number.account,
            from_=from_,
            to=number.phone,
            body=body,
            direction="inbound",
            created=self.exchange.clock(),
            status="received",
            sent=self.exchange.clock(),
            service=service,
        )
        state.messages.add(message)
        if not number.sms_url:
            return TextResult(message.sid, kind, None, None)
        params = self._incoming_params(message, number, media)
        if kind is not None and number.advanced_opt_out:
            params["OptOutType"] = kind
        verbs, answer, error = await self._ask(number, message, params)
        replies = self._reply(number, from_, verbs)
        return TextResult(message.sid, kind, answer.status, error, replies)

    async def settled(self) -> None:
        await self._tasks.settled()

    async def close(self) -> None:
        await self._tasks.close()

    def _dice(self) -> random.Random:
        self._count += 1
        return self.exchange.rng_of(self._count)

    def _sender_of(self, account: str) -> str:
        """The number that a messaging service picks: here the account's first."""
        phones = (number.phone for number in self.exchange.state.by_phone.values() if number.account == account)
        return next(phones, "")

    def _check(self, account: str, sender: str, to: str, body: str) -> None:
        state = self.exchange.state
        if not sender:
            raise TextRefused(21603, "A 'From' phone number is required.")
        if sender.startswith("+"):
            number = state.by_phone.get(sender)
            if number is None or number.account != account:
                raise TextRefused(21606, f"The 'From' phone number {sender} is not a valid message-capable number.")
        if not body:
            raise TextRefused(21602, "Message body is required.")
        if (sender, to) in state.blocked:
            raise TextRefused(21610, "Attempt to send to unsubscribed recipient")
        if len(self._tasks) >= self.most:
            raise TextRefused(30001, "Queue overflow")

    def _heed(self, kind: str | None, number: Number, person: str) -> None:
        """Twilio blocks by itself, for this one sender only."""
        if kind == "STOP":
            self.exchange.state.blocked.add((number.phone, person))
        elif kind == "START":
            self.exchange.state.blocked.discard((number.phone, person))

    async def _carry(self, message: Message) -> None:
        """Take a message through its statuses."""
        exchange = self.exchange
        rng = self._dice()
        facts = Facts("sms", message.from_, exchange.regions.of(message.to), message.to)
        self._report(message, facts)
        await exchange.sleep(_SENDING)
        struck = exchange.faults().struck(rng, facts, "outage", "message_fails")
        message.status, message.sent = "sent", exchange.clock()
        self._report(message, facts)
        await exchange.sleep(_SENDING)
        message.status = "delivered"
        if struck is not None:
            code = struck.error_code or _UNDELIVERED
            message.status, message.error_code, message.error_message = "undelivered", code, text_of(code)
            exchange.debugger.alert(message.account, code, message.sid)
        self._report(message, facts)

    def _report(self, message: Message, facts: Facts) -> None:
        exchange = self.exchange
        message.updated = exchange.clock()
        if not message.status_callback:
            return
        params = {
            "AccountSid": message.account,
            "MessageSid": message.sid,
            "SmsSid": message.sid,
            "MessageStatus": message.status,
            "SmsStatus": message.status,
            "From": message.from_,
            "To": message.to,
            "ApiVersion": API_VERSION,
        }
        if message.service:
            params["MessagingServiceSid"] = message.service
        if message.error_code is not None:
            params |= {"ErrorCode": str(message.error_code), "ErrorMessage": message.error_message or ""}
        account = exchange.state.account(message.account)
        ask = Ask(message.status_callback, params, account, exchange.state.new_sid("IT"))
        exchange.callbacks.send(Callback(ask, facts, message.sid))

    def _incoming_params(self, message: Message, number: Number, media: tuple[str, ...]) -> dict[str, str]:
        regions = self.exchange.regions
        params = {
            "MessageSid": message.sid,
            "SmsSid": message.sid,
            "SmsMessageSid": message.sid,
            "AccountSid": message.account,
            "From": message.from_,
            "To": message.to,
            "Body": message.body,
            "NumMedia": str(len(media)),
            "NumSegments": str(max(1, -(-len(message.body) // 160))),
            "SmsStatus": "received",
            "ApiVersion": API_VERSION,
        }
        if message.service:
            params["MessagingServiceSid"] = message.service
        for place, url in enumerate(media):
            params |= {f"MediaUrl{place}": url, f"MediaContentType{place}": "image/jpeg"}
        for end, region in (("From", regions.of(message.from_)), ("To", number.region)):
            params |= {f"{end}City": "", f"{end}State": "", f"{end}Zip": "", f"{end}Country": region or ""}
        return params

    async def _ask(
        self, number: Number, message: Message, params: dict[str, str]
    ) -> tuple[list[Verb], Answer, int | None]:
        """What the number's server answers to a text; the fallback URL is asked if it answers nothing usable."""
        url, method = number.sms_url, number.sms_method
        for _ in range(_MOST_REDIRECTS):
            verbs, answer, error = await self._ask_once(url, method, message, params)
            if error is not None:
                if not number.sms_fallback_url or "ErrorCode" in params:
                    return [], answer, error
                params = params | {"ErrorCode": str(error), "ErrorUrl": url.partition("#")[0]}
                url, method = number.sms_fallback_url, number.sms_fallback_method
                continue
            redirect = next((verb for verb in verbs if verb.name == "Redirect"), None)
            if redirect is None:
                return verbs, answer, None
            url, method = redirect.text, redirect.get("method") or "POST"
        return [], answer, 12100

    async def _ask_once(
        self, url: str, method: str, message: Message, params: dict[str, str]
    ) -> tuple[list[Verb], Answer, int | None]:
        exchange = self.exchange
        ask = Ask(url, params, exchange.state.account(message.account), exchange.state.new_sid("IT"), method)
        answer = await exchange.poster.ask(ask)
        error, verbs = answer.error, []
        if error is None and answer.body.strip():  # a text may be answered with nothing at all
            try:
                verbs = parse(answer.body, answer.content_type, MESSAGING_VERBS)
            except TwimlError as wrong:
                error = wrong.code
        if error is not None:
            exchange.debugger.alert(message.account, error, message.sid, ask, answer)
        return verbs, answer, error

    def _reply(self, number: Number, person: str, verbs: list[Verb]) -> tuple[str, ...]:
        """Send the `Message`s of an answer. One that is refused is an alert, as nobody waits for it."""
        replies = []
        for verb in verbs:
            body = " ".join(part for part in (verb.text, *(child.text for child in verb.children)) if part)
            params = {"From": verb.get("from") or number.phone, "To": verb.get("to") or person, "Body": body}
            params["StatusCallback"] = verb.get("statusCallback") or verb.get("action") or ""
            try:
                replies.append(self.send(number.account, params, "outbound-reply").sid)
            except TextRefused as refused:
                self.exchange.debugger.alert(number.account, refused.code, number.sid)
        return tuple(replies)

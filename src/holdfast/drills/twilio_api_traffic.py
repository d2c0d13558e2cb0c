"""The part of the emulated Twilio's API that makes calls and sends messages, and shows how they went.

Sources: https://www.twilio.com/docs/voice/api/call-resource and /messaging/api/message-resource.
"""

from typing import Any, Final

from aiohttp import web

from holdfast.drills.twilio_api import ACCOUNTS
from holdfast.drills.twilio_calls import Document, Plan
from holdfast.drills.twilio_faults import TwilioEmulatorError
from holdfast.drills.twilio_listing import ApiError, answer, missing, page_2010, within
from holdfast.drills.twilio_people import e164
from holdfast.drills.twilio_resources import call_json, message_json
from holdfast.drills.twilio_state import CallRecord, Message
from holdfast.drills.twilio_switch import Order, Switch, inline
from holdfast.drills.twilio_texts import TextRefused, Texts
from holdfast.drills.twilio_twiml import TwimlError
from holdfast.drills.twilio_webhooks import is_address

_OVER: Final = ("completed", "busy", "failed", "no-answer", "canceled")
_CALLS: Final = f"{ACCOUNTS}/{{account}}/Calls"
_MESSAGES: Final = f"{ACCOUNTS}/{{account}}/Messages"


class TrafficApi:
    """Handlers of calls and messages."""

    def __init__(self, switch: Switch, texts: Texts) -> None:
        self._switch = switch
        self._texts = texts
        self._exchange = switch.exchange
        self._state = switch.exchange.state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{_CALLS}.json", self._calls),
            web.post(f"{_CALLS}.json", self._create_call),
            web.get(f"{_CALLS}/{{sid}}.json", self._call),
            web.post(f"{_CALLS}/{{sid}}.json", self._update_call),
            web.get(f"{_MESSAGES}.json", self._messages),
            web.post(f"{_MESSAGES}.json", self._create_message),
            web.get(f"{_MESSAGES}/{{sid}}.json", self._message),
        ]

    async def _calls(self, request: web.Request) -> web.Response:
        query = request.query
        started, ended = within(query, "StartTime"), within(query, "EndTime")
        found = [
            call
            for call in self._state.calls.newest_first(request.match_info["account"])
            if query.get("To") in (None, call.to)
            and query.get("From") in (None, call.from_)
            and query.get("Status") in (None, call.status)
            and query.get("ParentCallSid") in (None, call.parent)
            and started(call.started)
            and ended(call.ended)
        ]
        return page_2010("calls", found, call_json, request)

    def _find_call(self, request: web.Request) -> CallRecord:
        found = self._state.calls.get(request.match_info["sid"], request.match_info["account"])
        if found is None:
            raise missing(request.path)
        return found

    async def _call(self, request: web.Request) -> web.Response:
        return answer(200, call_json(self._find_call(request)))

    async def _create_call(self, request: web.Request) -> web.Response:
        given = await request.post()
        order = self._order(request.match_info["account"], given)
        self._state.calls.add(order.record)
        try:
            self._switch.begin(self._switch.outgoing(order))
        except TwilioEmulatorError as error:
            raise ApiError(429, 20429, str(error)) from error
        return answer(201, call_json(order.record))

    def _order(self, account: str, given: Any) -> Order:
        """What is to be called, and what is to happen then. ApiError with Twilio's code for what is wrong."""
        if not given.get("To"):
            raise ApiError(400, 21201, "No 'To' number is specified")
        to = given["To"] if given["To"].startswith("sip:") else e164(given["To"])
        if to is None:
            raise ApiError(400, 21211, f"Invalid 'To' Phone Number: {given['To']}")
        number = self._state.by_phone.get(given.get("From", ""))
        if number is None or number.account != account:
            raise ApiError(
                400, 21210, f"The source phone number provided, {given.get('From', '')}, is not yet verified"
            )
        document = _inline(given)
        url = given.get("Url", "")
        if document is None and not is_address(url):
            raise ApiError(400, 21205, f"Url is not a valid URL: {url}")
        state, now = self._state, self._exchange.clock()
        record = CallRecord(state.new_sid("CA"), account, number.phone, to, "outbound-api", now, number_sid=number.sid)
        return Order(record, _plan(given, url), _seconds(given.get("Timeout", "60")), document)

    async def _update_call(self, request: web.Request) -> web.Response:
        """End a live call, or have it go on with other TwiML."""
        call, given = self._find_call(request), await request.post()
        live = self._switch.live.get(call.sid)
        if call.status in _OVER or live is None:
            raise ApiError(400, 21220, "Call is not in-progress. Cannot redirect.")
        if given.get("Status") in ("completed", "canceled"):
            live.stop()
            # The call itself ends a moment later; Twilio too answers with what will be.
            return answer(200, call_json(call) | {"status": given["Status"]})
        document, url = _inline(given), str(given.get("Url", ""))
        own = live.record is call  # a test call to a number of ours ends with the call that comes in there
        if not own or call.status != "in-progress" or (document is None and not is_address(url)):
            raise ApiError(400, 21220, "Call is not in-progress, or neither a Url nor Twiml was given.")

        async def diversion() -> Document:
            return document or await live.fetch(url, str(given.get("Method", "POST")), {})

        live.divert(diversion)
        return answer(200, call_json(call))

    async def _messages(self, request: web.Request) -> web.Response:
        query = request.query
        sent = within(query, "DateSent")
        found = [
            message
            for message in self._state.messages.newest_first(request.match_info["account"])
            if query.get("To") in (None, message.to)
            and query.get("From") in (None, message.from_)
            and sent(message.sent)
        ]
        return page_2010("messages", found, message_json, request)

    async def _message(self, request: web.Request) -> web.Response:
        found: Message | None = self._state.messages.get(request.match_info["sid"], request.match_info["account"])
        if found is None:
            raise missing(request.path)
        return answer(200, message_json(found))

    async def _create_message(self, request: web.Request) -> web.Response:
        given = await request.post()
        try:
            message = self._texts.send(
                request.match_info["account"], {name: str(value) for name, value in given.items()}
            )
        except TextRefused as refused:
            status = 429 if refused.code == 30001 else 400
            raise ApiError(status, refused.code, str(refused)) from refused
        return answer(201, message_json(message))


def _inline(given: Any) -> Document | None:
    """TwiML given with a request. ApiError if it is none."""
    try:
        return inline(given["Twiml"]) if given.get("Twiml") else None
    except TwimlError as error:
        raise ApiError(400, error.code, str(error)) from error


def _plan(given: Any, url: str) -> Plan:
    return Plan(
        url=url,
        method=given.get("Method", "POST"),
        fallback_url=given.get("FallbackUrl", ""),
        fallback_method=given.get("FallbackMethod", "POST"),
        status_callback=given.get("StatusCallback", ""),
        status_callback_method=given.get("StatusCallbackMethod", "POST"),
        events=frozenset(given.getall("StatusCallbackEvent", ["completed"])),
    )


def _seconds(given: str) -> float:
    try:
        return min(600.0, max(1.0, float(given)))
    except ValueError as error:
        raise ApiError(400, 20001, f"Timeout must be in seconds, not {given!r}") from error

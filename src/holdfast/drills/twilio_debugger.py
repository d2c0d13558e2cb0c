"""The Debugger of the emulated Twilio: keeps alerts, and tells the account's Debugger webhook.

Source: https://www.twilio.com/docs/usage/troubleshooting/debugging-event-webhooks.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from holdfast.drills.twilio_callbacks import Callback, Callbacks
from holdfast.drills.twilio_faults import Facts
from holdfast.drills.twilio_state import Account, Alert, TwilioState
from holdfast.drills.twilio_webhooks import Answer, Ask, Overrides, split_overrides

TEXTS: Final = {
    11100: "Invalid URL format",
    11200: "HTTP retrieval failure",
    11205: "HTTP connection failure",
    11750: "TwiML response body too large",
    12100: "Document parse failure",
    12300: "Invalid Content-Type",
    13214: "Dial: Invalid callerId value",
    13224: "Dial: Twilio does not support calling this number or the number is invalid",
    13227: "Dial: No International Authorization",
    15003: "Call Progress: Warning Response to Callback URL",
    21610: "Attempt to send to unsubscribed recipient",
    30001: "Queue overflow",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    32011: "SIP: Error communicating with your SIP communications infrastructure",
}
_WARNINGS: Final = (15003,)


def text_of(code: int) -> str:
    return TEXTS.get(code, f"Error {code}")


class Debugger:
    """Takes alerts. `clock` gives Unix time."""

    def __init__(self, state: TwilioState, callbacks: Callbacks, clock: Callable[[], float]) -> None:
        self._state = state
        self._callbacks = callbacks
        self._clock = clock
        callbacks.failed = self._callback_failed

    def alert(
        self, account: str, code: int, resource_sid: str, ask: Ask | None = None, answer: Answer | None = None
    ) -> Alert:
        """Record an alert about a call, message or number; `ask` and `answer` are the request that went wrong."""
        why = answer.why if answer is not None else ""
        alert = Alert(
            sid=self._state.new_sid("NO"),
            account=account,
            error_code=code,
            level="warning" if code in _WARNINGS else "error",
            text=urlencode({"Msg": f"{text_of(code)}: {why}" if why else text_of(code), "ErrorCode": code}),
            created=self._clock(),
            resource_sid=resource_sid,
        )
        if ask is not None:
            alert.request_url, alert.request_method = split_overrides(ask.url, Overrides())[0], ask.method
            alert.request_variables = urlencode(ask.params)
        if answer is not None and answer.status is not None:
            alert.response_status = answer.status
            alert.response_headers = urlencode(answer.headers)
            alert.response_body = answer.body.decode(errors="replace")
        self._state.alerts.add(alert)
        self._tell(self._state.account(account), alert, ask, answer)
        return alert

    def _callback_failed(self, callback: Callback, answer: Answer) -> None:
        # A Debugger webhook that fails is not reported to itself.
        if callback.complaint is not None:
            self.alert(callback.ask.account.sid, callback.complaint, callback.resource_sid, callback.ask, answer)

    def _tell(self, account: Account, alert: Alert, ask: Ask | None, answer: Answer | None) -> None:
        if account.debugger_url is None:
            return
        params = {
            "Sid": alert.sid,
            "AccountSid": account.sid,
            "ParentAccountSid": account.parent or "",
            "Timestamp": datetime.fromtimestamp(alert.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "Level": alert.level.upper(),
            "PayloadType": "application/json",
            "Payload": msgspec.json.encode(_payload(alert, ask, answer)).decode(),
        }
        request = Ask(account.debugger_url, params, account, self._state.new_sid("EV"))
        self._callbacks.send(Callback(request, Facts("debugger"), alert.sid, complaint=None))


def _payload(alert: Alert, ask: Ask | None, answer: Answer | None) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "resource_sid": alert.resource_sid,
        "service_sid": None,
        "error_code": str(alert.error_code),
        "more_info": {"Msg": text_of(alert.error_code), "ErrorCode": str(alert.error_code), "LogLevel": alert.level},
    }
    if ask is not None:
        request = {"url": alert.request_url, "method": ask.method, "headers": {}, "parameters": dict(ask.params)}
        response = {
            "status_code": answer.status if answer is not None else None,
            "headers": dict(answer.headers) if answer is not None else {},
            "body": alert.response_body,
        }
        payload["webhook"] = {"type": "application/json", "request": request, "response": response}
    return payload

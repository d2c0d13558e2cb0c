"""What Twilio is asked for and told: accounts, numbers, calls, the Debugger.

Its REST API over aiohttp, not the SDK: that takes the products' addresses as constants, so an emulated Twilio could not
stand in for all of them, and heeds no Retry-After. Sources: https://www.twilio.com/docs/usage/api and
https://www.twilio.com/docs/usage/monitor-alert
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from holdfast.config import Settings
from holdfast.twilio import reading
from holdfast.twilio.model import (
    NUMBER_FIELDS,
    Account,
    AccountState,
    DebuggerAlert,
    TwilioApiError,
    TwilioCall,
    TwilioError,
    TwilioNumber,
    TwilioText,
)

TWILIO: Final = "https://api.twilio.com"
PAGE: Final = 200
TIMEOUT: Final = 10.0
"""Seconds that one answer may take."""
TRIES: Final = 4
LONGEST_PAUSE: Final = 20.0
"""Seconds: who is told by Retry-After to wait longer is told so at once instead."""
_TOO_MANY: Final = 429


class TwilioClient:
    """Asks and tells Twilio. Use as `async with`. Every method raises TwilioApiError.

    `account` of a method is the sid of a subaccount, None for the main one. The token of a known subaccount is used
    where there is one: the main account's opens its numbers and calls too, but not its Debugger.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        api_url: str = TWILIO,
        *,
        accounts: Iterable[Account] = (),
        timeout: float = TIMEOUT,
        tries: int = TRIES,
    ) -> None:
        self.account_sid = account_sid
        self._main_token = auth_token
        self.know(accounts)
        self._api = api_url.rstrip("/")
        self._monitor = monitor_url(self._api)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._tries = tries
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(
        cls, settings: Settings, accounts: Iterable[Account] = (), *, timeout: float = TIMEOUT, tries: int = TRIES
    ) -> "TwilioClient":
        """With the credentials of the settings. Raises TwilioError when there are none."""
        if settings.twilio_account_sid is None or settings.twilio_auth_token is None:
            raise TwilioError("set HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN: Twilio's API wants both")
        token = settings.twilio_auth_token.get_secret_value()
        return cls(
            settings.twilio_account_sid,
            token,
            settings.twilio_api_url,
            accounts=accounts,
            timeout=timeout,
            tries=tries,
        )

    def know(self, accounts: Iterable[Account]) -> None:
        """From now on these are the subaccounts and their tokens."""
        self._tokens = {one.sid: one.auth_token for one in accounts} | {self.account_sid: self._main_token}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def account(self, account: str | None = None) -> AccountState:
        """An account and whether it is active."""
        sid = account or self.account_sid
        found = await self._ask("GET", self._api, f"/2010-04-01/Accounts/{quote(sid)}.json", account)
        return AccountState(str(found["sid"]), str(found.get("friendly_name") or ""), str(found["status"]))

    async def numbers(self, account: str | None = None) -> AsyncIterator[TwilioNumber]:
        """All phone numbers of an account."""
        async for row in self._listed(self._path(account, "IncomingPhoneNumbers"), "incoming_phone_numbers", account):
            yield reading.number(row)

    async def number_by_phone(self, phone: str, account: str | None = None) -> TwilioNumber | None:
        """The number of an account that is this one, in E.164; None where it has no such number."""
        path = self._path(account, "IncomingPhoneNumbers")
        found = await self._ask("GET", self._api, path, account, query={"PhoneNumber": phone, "PageSize": "20"})
        rows: list[dict[str, Any]] = found.get("incoming_phone_numbers") or []
        return next((reading.number(row) for row in rows if row.get("phone_number") == phone), None)

    async def update_number(self, sid: str, *, account: str | None = None, **urls: str) -> TwilioNumber:
        """Change where the calls and texts of a number (its PN…) go: any of `NUMBER_FIELDS`. Returns it as it is then.

        The same change twice is the same as once, so it is tried again where an answer was lost.
        """
        unknown = [name for name in urls if name not in NUMBER_FIELDS]
        if unknown:
            raise ValueError(f"a number has no {unknown[0]}; there are {', '.join(NUMBER_FIELDS)}")
        form = {_parameter(name): value for name, value in urls.items()}
        path = self._path(account, f"IncomingPhoneNumbers/{quote(sid)}")
        return reading.number(await self._ask("POST", self._api, path, account, form=form))

    async def place_call(
        self,
        to: str,
        from_: str,
        *,
        url: str | None = None,
        twiml: str | None = None,
        status_callback: str | None = None,
        timeout: int | None = None,
        account: str | None = None,
    ) -> TwilioCall:
        """Call `to` from one of our numbers; what it is told is at `url`, or is `twiml`. `timeout`: seconds of ringing.

        It is tried again only when Twilio certainly placed none: a lost answer must not become a second call.
        """
        if (url is None) == (twiml is None):
            raise ValueError("give a call either a url or its twiml")
        form = {"To": to, "From": from_}
        given = {"Url": url, "Twiml": twiml, "StatusCallback": status_callback}
        form |= {name: value for name, value in given.items() if value is not None}
        if status_callback is not None:
            form["StatusCallbackMethod"] = "POST"
        if timeout is not None:
            form["Timeout"] = str(timeout)
        path = self._path(account, "Calls")
        return reading.call(await self._ask("POST", self._api, path, account, form=form, again=False))

    async def call(self, sid: str, account: str | None = None) -> TwilioCall:
        """A call as it is now."""
        return reading.call(await self._ask("GET", self._api, self._path(account, f"Calls/{quote(sid)}"), account))

    async def end_call(self, sid: str, account: str | None = None) -> TwilioCall:
        """Hang up, whether it rings or is answered."""
        path = self._path(account, f"Calls/{quote(sid)}")
        return reading.call(await self._ask("POST", self._api, path, account, form={"Status": "completed"}))

    async def send_text(
        self,
        to: str,
        from_: str,
        body: str,
        *,
        status_callback: str | None = None,
        account: str | None = None,
        timeout: float | None = None,
    ) -> TwilioText:
        """Send a text. `from_`: one of our numbers, or a messaging service (MG…). `timeout`: seconds for all of it.

        It is asked once: Twilio takes no idempotency key for texts. An error without `never_sent` and without a status
        below 500 leaves open whether it was taken.
        """
        form = {"To": to, "Body": body}
        form["MessagingServiceSid" if from_.startswith("MG") else "From"] = from_
        if status_callback is not None:
            form["StatusCallback"] = status_callback
        path = self._path(account, "Messages")
        async with asyncio.timeout(timeout):
            return reading.text(await self._ask("POST", self._api, path, account, form=form, tries=1))

    async def texts(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        to: str | None = None,
        from_: str | None = None,
        account: str | None = None,
    ) -> AsyncIterator[TwilioText]:
        """Texts since then, newest first, in both directions.

        Of all people, those that were sent; with `to`, those that were only made as well, as Twilio filters by the time
        of sending alone.
        """
        query = {"PageSize": str(PAGE)}
        if to is None:
            query |= {"DateSent>": _written(since)} | ({"DateSent<": _written(until)} if until is not None else {})
        query |= {name: value for name, value in (("To", to), ("From", from_)) if value is not None}
        async for row in self._listed(self._path(account, "Messages"), "messages", account, query):
            text = reading.text(row)
            if to is not None and text.created_at < since:
                return
            if until is None or text.created_at <= until:
                yield text

    async def alerts(
        self, since: datetime, until: datetime, level: str | None = None, account: str | None = None
    ) -> AsyncIterator[DebuggerAlert]:
        """The Debugger's alerts of [since, until], newest first. `level`: error, warning, notice, debug; None: all."""
        query = {"StartDate": _written(since), "EndDate": _written(until), "PageSize": str(PAGE)}
        if level is not None:
            query["LogLevel"] = level
        path: str | None = "/v1/Alerts"
        while path is not None:
            page = await self._ask("GET", self._monitor, path, account, query=query)
            for row in page.get("alerts") or []:
                yield reading.alert(row)
            path, query = _rest((page.get("meta") or {}).get("next_page_url")), {}

    def _path(self, account: str | None, what: str) -> str:
        return f"/2010-04-01/Accounts/{quote(account or self.account_sid)}/{what}.json"

    async def _listed(
        self, path: str | None, key: str, account: str | None, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        query = query or {"PageSize": str(PAGE)}
        while path is not None:
            page = await self._ask("GET", self._api, path, account, query=query)
            for row in page.get(key) or []:
                yield row
            path, query = _rest(page.get("next_page_uri")), {}

    def _auth(self, account: str | None) -> str:
        sid = account if account in self._tokens else self.account_sid
        assert sid is not None
        return aiohttp.encode_basic_auth(sid, self._tokens[sid])

    async def _ask(
        self,
        method: str,
        base: str,
        path: str,
        account: str | None,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        again: bool = True,
        tries: int | None = None,
    ) -> dict[str, Any]:
        """`again`: whether it may be tried again although Twilio may have done it."""
        most = tries or self._tries
        asked = _Asked(method, base, path, self._auth(account), query or None, form)
        for attempt in range(1, most + 1):
            try:
                return await self._once(asked)
            except _RefusedError as refused:
                error = refused.error
                pause = refused.pause if refused.pause is not None else 0.25 * 2**attempt
                may = error.retry and (again or error.status == _TOO_MANY or refused.never_sent)
                if not may or attempt == most or pause > LONGEST_PAUSE:
                    error.never_sent, error.pause = refused.never_sent, refused.pause
                    raise error from None
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _once(self, asked: "_Asked") -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("use TwilioClient as `async with`")
        request = self._session.request(
            asked.method,
            f"{asked.base}{asked.path}",
            params=asked.query,
            data=asked.form,
            headers={"Authorization": asked.auth},
            allow_redirects=False,
        )
        try:
            async with request as answer:
                status, headers, body = answer.status, answer.headers, await answer.read()
        except TimeoutError:
            said = f"Twilio did not answer {asked} within {self._timeout.total:g} s"
            raise _RefusedError(TwilioApiError(said, retry=True)) from None
        except (aiohttp.ClientError, OSError) as error:
            said = f"Twilio cannot be reached for {asked}: {type(error).__name__}"
            never_sent = isinstance(error, aiohttp.ClientConnectorError)
            raise _RefusedError(TwilioApiError(said, retry=True), never_sent=never_sent) from None
        if status >= 300:
            raise _RefusedError(_refused(str(asked), status, body), pause=_pause(headers.get("Retry-After")))
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            document = None
        if not isinstance(document, dict):
            raise TwilioApiError(f"Twilio answered {asked} with something that is no JSON object", status=status)
        return document


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    base: str
    path: str
    auth: str = field(repr=False)
    query: Mapping[str, str] | None
    form: Mapping[str, str] | None

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


class _RefusedError(Exception):
    """`pause`: seconds that Twilio wants us to wait."""

    def __init__(self, error: TwilioApiError, *, pause: float | None = None, never_sent: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause = pause
        self.never_sent = never_sent


def monitor_url(api_url: str) -> str:
    """Where the Debugger is: beside the API at Twilio (in its regions too); anywhere else at the same address.

    Source: https://www.twilio.com/docs/global-infrastructure/using-the-twilio-rest-api-in-a-non-us-region
    """
    parts = urlsplit(api_url)
    host = parts.hostname or ""
    if host.startswith("api.") and host.endswith(".twilio.com"):
        return f"{parts.scheme}://monitor.{host.removeprefix('api.')}"
    return api_url


def _refused(what: str, status: int, body: bytes) -> TwilioApiError:
    """Source of its form: https://www.twilio.com/docs/usage/twilios-response#errors-and-exceptions"""
    said, code = "", None
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        document = msgspec.json.decode(body)
        if isinstance(document, dict):
            said = str(document.get("message") or "")[:300]
            code = document.get("code") if isinstance(document.get("code"), int) else None
    if status == 401:
        said = f"it does not accept the account's token; {said}".removesuffix("; ")
    coded = f" ({code})" if code is not None else ""
    message = f"Twilio answered {what} with {status}{coded}: {said}".removesuffix(": ")
    return TwilioApiError(message, status=status, code=code, retry=status == _TOO_MANY or status >= 500)


def _pause(text: str | None) -> float | None:
    """Retry-After in seconds; a date is not worth a parser here."""
    return float(text) if text is not None and text.isascii() and text.isdigit() else None


def _rest(link: str | None) -> str | None:
    """Path and query of the next page: the host in it is Twilio's own, whatever we were told to ask."""
    if not link:
        return None
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parameter(name: str) -> str:
    """`voice_url` as the API writes it: `VoiceUrl`."""
    return "".join(word.capitalize() for word in name.split("_"))

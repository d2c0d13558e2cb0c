"""Sends deliveries by e-mail, over SMTP."""

import asyncio
import time
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from holdfast.delivery.mail_content import compose, one_line
from holdfast.delivery.model import RESPONSE_KEPT, Attempt, DeliveryError, Message, Outcome
from holdfast.merchants.model import Destination

_CONNECTIONS = 4
_IDLE = 30.0
"""Seconds after which a connection is not trusted any more; servers commonly close after a minute or more."""


_LOG_IN = frozenset((530, 534, 535, 538))
"""What an answer to any command may be when it wants a log-in or encryption first: RFC 4954 section 6, RFC 3207."""
_TOO_LARGE = 552
"""What says at the sender's address already that the mail is too large: RFC 1870 section 6."""
_REFUSES = "the mail server refuses us: {}; check HOLDFAST_SMTP_URL and HOLDFAST_MAIL_FROM"


class MailSettingsError(DeliveryError):
    """The SMTP URL or the sender's address cannot be used; the message says what to write, never the password."""


class MailSender:
    """Sends to destinations of kind `email` and `contact`, over a few connections that are used again; `async with`.

    `smtp_url`: `smtp://user:password@host:port?starttls=1` (0: never; without: if the server offers it), `smtps://…`
    for TLS from the start. `mail_from`: `Name <address>`. Raises MailSettingsError.
    """

    def __init__(self, smtp_url: str, mail_from: str) -> None:
        self._connect_options = _options(smtp_url)
        self._from = _mail_from(mail_from)
        self._idle: list[tuple[float, aiosmtplib.SMTP]] = []
        self._slots = asyncio.Semaphore(_CONNECTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            _, connection = self._idle.pop()
            try:
                await connection.quit(timeout=1.0)
            except (aiosmtplib.SMTPException, OSError):
                connection.close()

    async def send(self, destination: Destination, message: Message, now: datetime) -> Attempt:
        """Try once, for at most `destination.timeout` seconds from the time a connection is free.

        SMTP 5xx about this mail is rejected for good; 4xx, trouble with the connection and a refused log-in or sender
        (our mistake, not the mail's) are worth a retry. Source: RFC 5321 section 4.2.1.
        """
        try:
            mail = compose(destination, self._from, message, now)
        except (MessageError, ValueError, IndexError):  # IndexError: of the email package, on some malformed addresses
            return Attempt(Outcome.REFUSED, None, 0.0, "the destination is not one e-mail address")
        async with self._slots:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(destination.timeout):
                    response = await self._transmit(mail)
            except aiosmtplib.SMTPRecipientsRefused as refused:
                first = refused.recipients[0]
                return _answered(
                    first.code, first.message, time.perf_counter() - began, about_mail=first.code not in _LOG_IN
                )
            except aiosmtplib.SMTPResponseException as refused:
                return _answered(
                    refused.code, refused.message, time.perf_counter() - began, about_mail=_about_mail(refused)
                )
            except aiosmtplib.SMTPNotSupported:
                text = "the mail server lacks what this mail needs (SMTPUTF8 or TLS)"
                return Attempt(Outcome.RETRY, None, time.perf_counter() - began, text)
            except (aiosmtplib.SMTPException, OSError) as error:
                text = _readable(error, destination.timeout)
                return Attempt(Outcome.RETRY, None, time.perf_counter() - began, text, down=True, congested=True)
            return Attempt(Outcome.DELIVERED, 250, time.perf_counter() - began, response=_kept(response))

    async def _transmit(self, mail: EmailMessage) -> str:
        """Over a connection that is at hand, else over a new one; a stale one is replaced once, at once.

        (A mail that the server took just before it hung up comes twice, with the same Message-ID.)
        """
        connection = self._take()
        if connection is not None:
            try:
                return await self._over(connection, mail)
            except (aiosmtplib.SMTPServerDisconnected, ConnectionError):
                pass
        fresh = aiosmtplib.SMTP(**self._connect_options)
        try:
            await fresh.connect()
        except BaseException:
            fresh.close()
            raise
        return await self._over(fresh, mail)

    async def _over(self, connection: aiosmtplib.SMTP, mail: EmailMessage) -> str:
        clean = False
        try:
            _, response = await connection.send_message(mail)
            clean = True
            return response
        except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused):
            clean = connection.is_connected  # the server said no; aiosmtplib has reset the session
            raise
        finally:
            if clean:
                self._idle.append((time.monotonic(), connection))
            else:
                connection.close()

    def _take(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            since, connection = self._idle.pop()
            if connection.is_connected and time.monotonic() - since < _IDLE:
                return connection
            connection.close()
        return None


def _options(smtp_url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(smtp_url)
        port = parts.port
    except ValueError:
        raise MailSettingsError("the SMTP URL cannot be read; write smtp://user:password@host:587?starttls=1") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise MailSettingsError("the SMTP URL must be smtp://host or smtps://host")
    starttls = parse_qs(parts.query).get("starttls", [None])[-1]
    if starttls not in (None, "0", "1"):
        raise MailSettingsError("the SMTP URL's starttls must be 1 (always) or 0 (never)")
    secure = parts.scheme == "smtps"
    return {
        "hostname": parts.hostname,
        "port": port,
        "use_tls": secure,
        "start_tls": False if secure else None if starttls is None else starttls == "1",
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "timeout": 10.0,
    }


def _mail_from(text: str) -> Address:
    name, address = parseaddr(text)
    try:
        if not text.isprintable():
            raise ValueError("a control character")
        return Address(name, addr_spec=address)
    except (MessageError, ValueError, IndexError):
        raise MailSettingsError(f"{text!r} is not a sender; write Holdfast <holdfast@example.com>") from None


def _about_mail(error: aiosmtplib.SMTPResponseException) -> bool:
    if isinstance(error, aiosmtplib.SMTPSenderRefused):
        return error.code == _TOO_LARGE  # else it is our address that it does not want
    about_mail = isinstance(error, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError)
    return about_mail and error.code not in _LOG_IN


def _answered(code: int, text: str, latency: float, *, about_mail: bool = True) -> Attempt:
    closing = code == 421 or not about_mail
    return Attempt(
        Outcome.REJECTED if code >= 500 and about_mail else Outcome.RETRY,
        code,
        latency,
        f"the mail server answered {code}: {one_line(text)}" if about_mail else _REFUSES.format(code),
        _kept(text),
        down=closing,
        congested=closing,
    )


def _kept(response: str) -> bytes:
    return response.encode(errors="replace")[:RESPONSE_KEPT]


def _readable(error: Exception, timeout: float) -> str:
    match error:
        case aiosmtplib.SMTPConnectTimeoutError():
            return "connect to the mail server timed out"
        case TimeoutError():
            return f"the mail server timed out after {timeout:g} s"
        case aiosmtplib.SMTPServerDisconnected():
            return "the mail server closed the connection"
        case aiosmtplib.SMTPConnectError() | OSError():
            return "the mail server cannot be reached"
    return f"not sent: {type(error).__name__}"

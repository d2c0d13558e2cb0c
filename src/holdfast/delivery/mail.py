"""Sends deliveries by e-mail, over SMTP."""

import asyncio
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import msgspec
from jinja2 import Environment, PackageLoader, select_autoescape

from holdfast.delivery.model import RESPONSE_KEPT, Attempt, DeliveryError, Message, Outcome
from holdfast.merchants.model import Destination
from holdfast.money import money

_CONNECTIONS = 4
_IDLE = 30.0
"""Seconds after which a connection is not trusted any more; servers commonly close after a minute or more."""

_TITLES = {
    "payment_intent.succeeded": "Payment succeeded",
    "payment_intent.payment_failed": "Payment failed",
    "payment_intent.canceled": "Payment canceled",
    "payment_intent.requires_action": "Payment needs the customer's action",
    "charge.succeeded": "Charge succeeded",
    "charge.failed": "Charge failed",
    "charge.refunded": "Charge refunded",
    "charge.dispute.created": "Dispute opened",
    "charge.dispute.closed": "Dispute closed",
    "charge.dispute.funds_withdrawn": "Dispute: funds withdrawn",
    "charge.dispute.funds_reinstated": "Dispute: funds reinstated",
    "refund.created": "Refund created",
    "refund.failed": "Refund failed",
    "checkout.session.completed": "Checkout completed",
    "checkout.session.async_payment_succeeded": "Payment succeeded",
    "checkout.session.async_payment_failed": "Payment failed",
    "invoice.paid": "Invoice paid",
    "invoice.payment_succeeded": "Invoice paid",
    "invoice.payment_failed": "Invoice payment failed",
    "invoice.payment_action_required": "Invoice payment needs the customer's action",
    "payout.paid": "Payout paid",
    "payout.failed": "Payout failed",
    "transfer.reversed": "Transfer reversed",
    "radar.early_fraud_warning.created": "Early fraud warning",
    "account.application.deauthorized": "Account disconnected",
}
_AMOUNT_FIELDS = {
    "charge.refunded": "amount_refunded",
    "invoice.paid": "amount_paid",
    "invoice.payment_succeeded": "amount_paid",
    "transfer.reversed": "amount_reversed",
}


class MailSettingsError(DeliveryError):
    """The SMTP URL or the sender's address cannot be used; the message says what to write, never the password."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What an e-mail says; `rows` are label and value."""

    title: str
    amount: str | None
    event_type: str
    rows: tuple[tuple[str, str], ...]


class MailSender:
    """Sends to destinations of kind `email`, over a few connections that are used again. Use as `async with`.

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

        SMTP 5xx about this mail is rejected for good; 4xx, trouble with the connection and a refused log-in (our
        mistake, not the mail's) are worth a retry. Source: RFC 5321 section 4.2.1.
        """
        try:
            mail = compose(destination.address, self._from, message, now)
        except (MessageError, ValueError, IndexError):  # IndexError: of the email package, on some malformed addresses
            return Attempt(Outcome.REFUSED, None, 0.0, "the destination is not one e-mail address")
        async with self._slots:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(destination.timeout):
                    response = await self._transmit(mail)
            except aiosmtplib.SMTPRecipientsRefused as refused:
                first = refused.recipients[0]
                return _answered(first.code, first.message, time.perf_counter() - began)
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


def compose(to: str, sender: Address, message: Message, now: datetime) -> EmailMessage:
    """The mail of a delivery: text and HTML. Its Message-ID is the same at every attempt, so that twins are known.

    Raises ValueError or MessageError if `to` is not one address.
    """
    notice = describe(message)
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = Address(addr_spec=to)
    mail["Subject"] = _one_line(
        ("" if message.livemode else "[test] ")
        + (f"{notice.title}: {notice.amount}" if notice.amount else notice.title)
    )
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{re.sub(r'[^A-Za-z0-9._-]', '_', message.webhook_id)}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content(_templates.get_template("event.txt.j2").render(notice=notice))
    mail.add_alternative(_templates.get_template("event.html.j2").render(notice=notice), subtype="html")
    return mail


def describe(message: Message) -> Notice:
    """What to tell a merchant about an event; of an unknown type, its name and what it is about."""
    about = _object(message.body)
    amount = _amount(about, _AMOUNT_FIELDS.get(message.event_type))
    rows = (
        ("Merchant", message.merchant or message.account or ""),
        ("Amount", amount or ""),
        (_words(_text(about.get("object"))) or "Object", _text(about.get("id"))),
        ("Status", _words(_text(about.get("status")))),
        ("Reason", _reason(about)),
        ("Time", f"{message.created.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ("Event", f"{message.event_id} ({message.event_type})"),
        ("Mode", "" if message.livemode else "test: no money moved"),
    )
    title = _TITLES.get(message.event_type) or f"Event: {message.event_type}"
    return Notice(title, amount, message.event_type, tuple((label, _one_line(value)) for label, value in rows if value))


_templates = Environment(
    loader=PackageLoader("holdfast.delivery"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
    trim_blocks=True,
    lstrip_blocks=True,
)


def _object(body: bytes) -> dict[str, Any]:
    """What the event is about: its object, or of a thin event the reference to it; empty if there is none."""
    try:
        event = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    if not isinstance(event, dict):
        return {}
    data = event.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    about = about or event.get("related_object")
    return about if isinstance(about, dict) else {}


def _amount(about: dict[str, Any], field: str | None) -> str | None:
    currency = about.get("currency")
    if not (isinstance(currency, str) and re.fullmatch("[A-Za-z]{3}", currency)):
        return None
    for name in (field, "amount", "amount_total", "amount_due", "total"):
        amount = about.get(name) if name else None
        if isinstance(amount, int) and not isinstance(amount, bool):
            return money(amount, currency)
    return None


def _reason(about: dict[str, Any]) -> str:
    last_error = about.get("last_payment_error")
    if isinstance(last_error, dict):
        return _text(last_error.get("message")) or _words(_text(last_error.get("code")))
    return _text(about.get("failure_message")) or _words(_text(about.get("failure_reason") or about.get("reason")))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words(name: str) -> str:
    """`payment_intent` → `Payment intent`"""
    return re.sub(r"[_.]+", " ", name).strip().capitalize()


def _one_line(text: str) -> str:
    """Values come from outside: no line breaks or control characters, and not endless."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:300]


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
    return isinstance(error, aiosmtplib.SMTPSenderRefused | aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError)


def _answered(code: int, text: str, latency: float, *, about_mail: bool = True) -> Attempt:
    closing = code == 421 or not about_mail
    return Attempt(
        Outcome.REJECTED if code >= 500 and about_mail else Outcome.RETRY,
        code,
        latency,
        f"the mail server answered {code}: {_one_line(text)}" if about_mail else f"the mail server refuses us: {code}",
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

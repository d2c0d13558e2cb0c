"""What an e-mail says: of a payment event, a voicemail or a text, or a message of our own as it was written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, select_autoescape

from holdfast.delivery import text_news, voicemail
from holdfast.delivery.model import Message, read_own
from holdfast.merchants.model import Destination
from holdfast.money import money

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
    "complaint.filed": "Complaint about texts",
}
_AMOUNT_FIELDS = {
    "charge.refunded": "amount_refunded",
    "invoice.paid": "amount_paid",
    "invoice.payment_succeeded": "amount_paid",
    "transfer.reversed": "amount_reversed",
}


_LONG = frozenset(("Transcription", "Text", "Pictures"))
"""Labels of what people said."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What an e-mail says; `rows` are label and value, `why` is why it is sent to this mailbox."""

    title: str
    amount: str | None
    why: str
    rows: tuple[tuple[str, str], ...]


def compose(to: Destination, sender: Address, message: Message, now: datetime) -> EmailMessage:
    """The mail of a delivery: text and HTML. Its Message-ID is the same at every attempt, so that twins are known.

    To a `contact` goes the message as it was written, to an `email` what the event says; to both the news of a
    voicemail or a text. Raises ValueError or MessageError if `to` is not one address.
    """
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = Address(addr_spec=to.address)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{re.sub(r'[^A-Za-z0-9._-]', '_', message.webhook_id)}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    if message.event_type.startswith(voicemail.TYPES):
        _tell(mail, describe_voicemail(message, is_subscriber=to.kind == "email"))
    elif message.event_type in text_news.TYPES:
        _tell(mail, describe_text(message, is_subscriber=to.kind == "email"))
    elif to.kind == "contact":
        _write(mail, message)
    else:
        _tell(mail, describe(message), prefix="" if message.livemode else "[test] ")
    return mail


def _write(mail: EmailMessage, message: Message) -> None:
    """A message of our own; the headers kept with it, such as List-Unsubscribe (RFC 8058), go with it."""
    said = read_own(message.body)
    mail["Subject"] = one_line(said.subject)
    for name, value in message.headers.items():
        mail[name] = value
    mail.set_content(said.text)
    if said.html is not None:
        mail.add_alternative(said.html, subtype="html")


def _tell(mail: EmailMessage, notice: Notice, prefix: str = "") -> None:
    """Of something that happened."""
    mail["Subject"] = one_line(prefix + (f"{notice.title}: {notice.amount}" if notice.amount else notice.title))
    mail.set_content(_templates.get_template("event.txt.j2").render(notice=notice))
    mail.add_alternative(_templates.get_template("event.html.j2").render(notice=notice), subtype="html")


def describe(message: Message) -> Notice:
    """What to tell a merchant about an event; of an unknown type, its name and what it is about."""
    about = _object(message.body)
    amount = _amount(about, _AMOUNT_FIELDS.get(message.event_type))
    rows = (
        ("Merchant", message.merchant or message.account or ""),
        ("Amount", amount or ""),
        (_words(_text(about.get("object"))) or "Object", _text(about.get("id"))),
        ("Number", _text(about.get("phone")) if message.event_type == "complaint.filed" else ""),
        ("Status", _words(_text(about.get("status")))),
        ("Reason", _reason(about)),
        ("Time", f"{message.created.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        ("Event", f"{message.event_id} ({message.event_type})"),
        ("Mode", "" if message.livemode else "test: no money moved"),
    )
    title = _TITLES.get(message.event_type) or f"Event: {message.event_type}"
    return Notice(title, amount, _subscribed(message), _said(rows))


def describe_voicemail(message: Message, *, is_subscriber: bool) -> Notice:
    """What to tell a merchant about a message that a caller left. Raises ValueError."""
    news = voicemail.read_voicemail(message.body)
    what = "Voicemail" if message.event_type == "voicemail.received" else "Transcription of the voicemail"
    why = _subscribed(message) if is_subscriber else f"You receive this because {news.to} takes messages for you."
    return Notice(f"{what} from {news.from_ or 'an unknown caller'}", None, why, _said(voicemail.rows(news)))


def describe_text(message: Message, *, is_subscriber: bool) -> Notice:
    """What to tell a merchant about a text that came, or about a person's consent. Raises ValueError."""
    news = text_news.read_text(message.body)
    why = _subscribed(message) if is_subscriber else f"You receive this because {news.to} gets texts for you."
    return Notice(text_news.title(message.event_type, news), None, why, _said(text_news.rows(news)))


def _subscribed(message: Message) -> str:
    return f"You receive this because your destination in Holdfast subscribes to {message.event_type}."


def _said(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((label, one_line(value, 4000 if label in _LONG else 300)) for label, value in rows if value)


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


def one_line(text: str, most: int = 300) -> str:
    """Values come from outside: no line breaks or control characters, and not endless."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:most]

"""What a row of a file says of a person, or why it cannot be taken. Pure, and done in several processes at once."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberType

from holdfast.consent.import_dates import DateError, Order, read_date
from holdfast.consent.import_files import Row, Unread
from holdfast.consent.ledger import LONGEST
from holdfast.consent.model import ConsentError, Purpose
from holdfast.naming import is_name, time_zone

FIELDS: Mapping[str, str] = {
    "phone": "phone phone_number mobile mobile_phone mobile_number cell cell_phone cell_number cellphone telephone tel "
    "number msisdn contact_id to telefono telefono_movil numero_de_telefono movil celular numero",
    "name": "name full_name customer_name contact_name first_name customer contact nombre nombre_completo cliente",
    "surname": "surname last_name family_name apellido apellidos",
    "email": "email e_mail email_address mail correo correo_electronico",
    "reference": "reference ref external_id customer_id correlation_id id referencia",
    "purpose": "purpose consent_type consent_purpose proposito finalidad",
    "status": "status consent_status consent opt_in optin opted_in subscribed subscription_status consentimiento "
    "estado acepta suscrito",
    "given_at": "given_at date_of_consent consent_date consented_at consent_timestamp consent_time opt_in_date "
    "optin_date opted_in_at opt_in_at signup_date signed_up_at date timestamp fecha_de_consentimiento "
    "fecha_consentimiento fecha_alta fecha_de_alta fecha",
    "method": "method consent_method how metodo forma via",
    "disclosure": "disclosure disclosure_text consent_text consent_language wording text texto_legal texto aviso",
    "ip": "ip ip_address direccion_ip",
    "recording": "recording recording_id recording_url call_recording grabacion",
    "collector": "collector collected_by agent employee recogido_por agente empleado",
    "zone": "zone time_zone timezone tz zona_horaria zona",
    "source": "source consent_source origen fuente",
}
"""Fields, and what their columns are called, in English and Spanish, the surest first."""
_GRANTS = (
    "opt-in optin opted-in re-opt-in in yes y true 1 t subscribed granted grant consented active si s alta suscrito "
    "acepta"
)
_REVOKES = (
    "opt-out optout opted-out out no n false 0 f unsubscribe unsubscribed revoked revoke stop stopped declined removed "
    "remove dnc do-not-contact do-not-text do-not-call do-not-message do-not-sms do-not-call-or-text "
    "do-not-text-or-call suppressed blocked blacklisted baja de-baja dado-de-baja dada-de-baja no-contactar no-llamar "
    "no-enviar no-acepta rechazado rechaza cancelo-suscripcion"
)
_ACTIONS = dict.fromkeys(_GRANTS.split(), "grant") | dict.fromkeys(_REVOKES.split(), "revoke")
_OF_TEXTS = "(?:all|everything|any|texts?|texting|sms|mms|mobile|messages?|todos?|todas?|mensajes?)"
_OPT_OUT_OF = re.compile(rf"(?:{_OF_TEXTS}-)?({'|'.join(_REVOKES.split())})(?:-(?:from|of|for|de))?(?:-{_OF_TEXTS})?")
"""An opt-out that says of what: unsubscribed (SMS). One of e-mail or calls alone says nothing of texts."""
_MARKETING = ["marketing", "promotional", "promotions", "promo", "publicidad", "promocional", "comercial"]
_INFORMATIONAL = [
    "informational",
    "transactional",
    "information",
    "reminders",
    "reminder",
    "notifications",
    "informativo",
    "informativa",
    "transaccional",
    "recordatorios",
]
_PURPOSES: Mapping[str, Purpose] = {
    **dict.fromkeys(_MARKETING, "marketing"),
    **dict.fromkeys(_INFORMATIONAL, "informational"),
}
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,185}\.[^@\s.]{2,}")
_PLAIN = re.compile(r"\+1[2-9]\d{9}")
"""A number that needs no taking apart: North America's have ten digits."""
_EARLIEST = 1990
_SLACK = timedelta(minutes=5)
SHORT, LONG = 200, 500
NOT_MOBILE = {
    PhoneNumberType.FIXED_LINE: "the number is a landline: texts do not arrive",
    PhoneNumberType.TOLL_FREE: "the number is toll-free, not a mobile",
    PhoneNumberType.PREMIUM_RATE: "the number is of premium rate, not a mobile",
    PhoneNumberType.UNKNOWN: "the number is of no range that is in use",
}
NO_DISCLOSURE = "cannot be used for marketing: no disclosure"
NO_CONSENT = "says nothing of consent: the contact alone is taken"
UNKNOWN_STATUS = "the status of consent is none that is known: write opt-in or opt-out"
_LOST_OPT_OUT = "an opt-out that cannot be taken: "
_UNREAD = ("is not CSV", "is longer than", "has not as many fields", "is not a JSON object")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows of a file are to be read. `columns`: field to its place in a row."""

    columns: Mapping[str, int]
    now: datetime
    region: str | None = None
    purpose: Purpose | None = None
    zone: str = "UTC"
    dates: Order | None = None
    disclosure: str | None = None

    @property
    def has_consents(self) -> bool:
        return "status" in self.columns or "given_at" in self.columns


class Taken(NamedTuple):
    """What a row says. `action` None: nothing of consent. A tuple, since a million of them go between processes."""

    line: int
    phone: str
    name: str | None
    email: str | None
    reference: str | None
    action: str | None
    purpose: str | None
    given_at: datetime | None
    disclosure: str | None
    collector: str | None
    detail: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Parsed:
    """What a chunk of rows comes to, in the order of the file; `last` is its last line."""

    last: int
    rows: list[Taken] = field(default_factory=list)
    rejects: list[Unread] = field(default_factory=list)


def may_be_opt_out(reason: str, reading: Reading) -> bool:
    """Whether somebody who was rejected so may have asked for no more texts."""
    return reason.startswith((UNKNOWN_STATUS, _LOST_OPT_OUT)) or (
        "status" in reading.columns and reason.startswith(_UNREAD)
    )


class _RejectedError(Exception):
    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(reason)
        self.reason, self.said = reason, said


def guess(columns: Sequence[str], given: Mapping[str, str]) -> dict[str, int]:
    """Field to place of its column: as given, else by what the columns are called. Raises ConsentError."""
    found: dict[str, int] = {}
    for name, column in given.items():
        if name not in FIELDS:
            raise ConsentError(f"--map {name}=…: there is no such field; there are {', '.join(FIELDS)}")
        if column not in columns:
            raise ConsentError(f"--map {name}={column}: the file has no such column; it has {', '.join(columns)}")
        found[name] = columns.index(column)
    plain = {_plain(name): place for place, name in reversed(list(enumerate(columns))) if name}
    for name, words in FIELDS.items():
        place = next((plain[word] for word in words.split() if word in plain), None)
        if name not in found and place is not None and place not in found.values():
            found[name] = place
    if "phone" not in found:
        raise ConsentError(f"no column is that of phone numbers: say --map phone=COLUMN, of {', '.join(columns)}")
    return found


def parse(rows: Sequence[Row | Unread], reading: Reading) -> Parsed:
    """A chunk of a file."""
    last = rows[-1]
    parsed = Parsed(last.line if isinstance(last, Unread) else last[0])
    for row in rows:
        if isinstance(row, Unread):
            parsed.rejects.append(row)
            continue
        line, values = row
        try:
            parsed.rows.append(_taken(line, values, reading))
        except _RejectedError as error:
            parsed.rejects.append(Unread(line, error.reason, error.said[:200].replace("\0", "")))
    return parsed


def _taken(line: int, values: list[str], reading: Reading) -> Taken:
    said = {name: values[place].strip() for name, place in reading.columns.items()}
    action = _action(said)
    try:
        return _read(line, said, action, reading)
    except _RejectedError as error:
        if action != "revoke":
            raise
        raise _RejectedError(f"{_LOST_OPT_OUT}{error.reason}", error.said) from None


def _read(line: int, said: dict[str, str], action: str | None, reading: Reading) -> Taken:
    """An opt-out counts without what else of its row cannot be taken."""
    warnings: list[str] = []

    def kept(name: str, read: Callable[[], str | None]) -> str | None:
        try:
            return read()
        except _RejectedError as error:
            if action != "revoke":
                raise
            warnings.append(f"an opt-out counts without its {name}: {error.reason}")
            return None

    for name, value in said.items():
        if "\0" in value and (action != "revoke" or name == "phone"):
            raise _RejectedError("has a NUL character")
    if action == "revoke" and any("\0" in value for value in said.values()):
        said = {name: value if "\0" not in value else "" for name, value in said.items()}
        warnings.append("an opt-out counts without what has a NUL character")
    phone = _phone(said["phone"], reading.region, warnings)
    given_at = _given_at(said, action, reading, warnings) if action is not None else None
    if action is None and reading.has_consents:
        warnings.append(NO_CONSENT)
    disclosure = (_text(said, "disclosure", LONGEST) or reading.disclosure) if action == "grant" else None
    purpose = _purpose(said.get("purpose", ""), reading) if action == "grant" else None
    if purpose == "marketing" and disclosure is None:
        warnings.append(NO_DISCLOSURE)
    detail = {
        name: text
        for name in ("method", "ip", "recording", "source")
        if (text := kept(name, partial(_text, said, name, LONG)))
    }
    return Taken(
        line,
        phone,
        kept("name", partial(_name, said)),
        _email(said.get("email", ""), warnings),
        kept("reference", partial(_text, said, "reference", SHORT)),
        action,
        purpose,
        given_at,
        disclosure,
        kept("collector", partial(_text, said, "collector", SHORT)),
        detail if action is not None else {},
        tuple(warnings),
    )


def _phone(text: str, region: str | None, warnings: list[str]) -> str:
    if not text:
        raise _RejectedError("has no phone number")
    if _PLAIN.fullmatch(text):
        parsed = phonenumbers.PhoneNumber(1, int(text[2:]))
        phone = text
    else:
        if re.fullmatch(r"\d(\.\d+)?[eE]\+?\d+", text):
            raise _RejectedError("the phone number was rounded by a spreadsheet: have that column be text", text)
        try:
            parsed = phonenumbers.parse(text[:60].removeprefix("tel:"), region)
        except phonenumbers.NumberParseException:
            if region is None and not text.startswith("+"):
                raise _RejectedError("the phone number has no country's code: say --region US", text) from None
            raise _RejectedError("is no phone number", text) from None
        if not phonenumbers.is_possible_number(parsed):
            raise _RejectedError("the phone number has too few or too many digits", text)
        phone = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    kind = NOT_MOBILE.get(phonenumbers.number_type(parsed))
    if kind is not None:
        warnings.append(kind)
    return phone


def _action(said: Mapping[str, str]) -> str | None:
    """Without a column that says whether, a row with a date is a consent."""
    if "status" not in said:
        return "grant" if said.get("given_at") else None
    written = _accentless(said["status"].lower())
    word = written.replace("_", "-").replace(" ", "-")
    if not word:
        return None
    if word in _ACTIONS:
        return _ACTIONS[word]
    if _OPT_OUT_OF.fullmatch(re.sub(r"[^a-z0-9]+", "-", written).strip("-")):
        return "revoke"
    raise _RejectedError(UNKNOWN_STATUS, said["status"])


def _given_at(said: Mapping[str, str], action: str, reading: Reading, warnings: list[str]) -> datetime:
    """An opt-out counts in any case: from now, where its date is missing or cannot be."""
    try:
        return _dated(said, reading)
    except _RejectedError as error:
        if action != "revoke":
            raise
        warnings.append(f"an opt-out whose date cannot be taken counts from now: {error.reason}")
        return reading.now


def _dated(said: Mapping[str, str], reading: Reading) -> datetime:
    text = said.get("given_at", "")
    if not text:
        raise _RejectedError("has no date of consent")
    zone = said.get("zone") or reading.zone
    if said.get("zone") and time_zone(zone) is None:
        raise _RejectedError("is no time zone: write an IANA name, such as America/New_York", zone)
    try:
        found = read_date(text, zone, reading.dates)
    except DateError as error:
        raise _RejectedError(str(error), text) from None
    if found > reading.now + _SLACK:
        raise _RejectedError("the date of consent is in the future", text)
    if found.year < _EARLIEST:
        raise _RejectedError(f"the date of consent is before {_EARLIEST}", text)
    return found


def _purpose(text: str, reading: Reading) -> str:
    word = _accentless(text.lower())
    if word in _PURPOSES:
        return _PURPOSES[word]
    if word:
        raise _RejectedError("the purpose is none: write marketing or informational", text)
    if reading.purpose is None:
        raise _RejectedError("has no purpose: say --purpose marketing or --purpose informational")
    return reading.purpose


def _name(said: Mapping[str, str]) -> str | None:
    name = " ".join(part for part in (said.get("name"), said.get("surname")) if part)
    if name and not is_name(name):
        raise _RejectedError("the name is longer than 200 characters, or not printable", name)
    return name or None


def _email(text: str, warnings: list[str]) -> str | None:
    if not text:
        return None
    if len(text) > 254 or not text.isprintable() or not _EMAIL.fullmatch(text):
        warnings.append("the e-mail address is none, and left out")
        return None
    return text


def _text(said: Mapping[str, str], name: str, longest: int) -> str | None:
    text = said.get(name)
    if not text:
        return None
    if len(text) > longest:
        raise _RejectedError(f"{name} is longer than {longest} characters", text)
    return text


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", _accentless(text.lower())).strip("_")


def _accentless(text: str) -> str:
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))

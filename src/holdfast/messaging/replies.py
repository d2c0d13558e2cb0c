"""The texts that answer STOP and HELP: one each, without advertising, to people who are suppressed, too.

Sources: 47 CFR 64.1200(a)(12) (one confirmation, within five minutes, no marketing); CTIA Messaging Principles and Best
Practices, section 5.1 (HELP is answered with who sends and how to stop).
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.db.notifications import hint
from holdfast.db.pool import Connection
from holdfast.messaging import inbound_store as store
from holdfast.messaging.inbound_store import Face, NewReply
from holdfast.messaging.model import Kind
from holdfast.queue.channels import SEND

CONFIRM_WITHIN = timedelta(minutes=5)
HELP_WITHIN = timedelta(hours=1)
MOST_HELP = 5
"""Answers to HELP that one person gets of one merchant in an hour: two machines must not talk to each other."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SPANISH = _words(
    "alto pare pares paren parar para basta baja cancelar cancela cancele cancelen detener salir nomas ayuda mensaje "
    "mensajes texto textos quiero deje dejen dejar enviar envíen envien envíe envie mande manden más favor por borrar "
    "borre borren quitar quite quiten eliminar número numero lista darme desuscribir recibir sus de mi me sí gracias "
    "hola ustedes usted interesa molesten mandar mandarme escribirme escriban suscripción suscripcion información"
)
_ENGLISH = _words(
    "stop quit end me my text texts texting message messages please no not the this your you dont want to from remove "
    "list unsubscribe cancel help info number off"
)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class To:
    """Whom to reply to, about which text: `phone` the person's, `number` ours that they wrote to."""

    sid: str
    customer_id: int
    phone: str
    number: str
    account: str | None
    body: str
    received_at: datetime


async def confirm(db: Connection, to: To, face: Face, now: datetime) -> int | None:
    """That they get no more texts, in their language, for as long as it may be said; None: it was said."""
    return await _queue(db, _reply(to, face, "confirmation", confirmation(face, to.body), CONFIRM_WITHIN), now)


async def answer_help(db: Connection, to: To, face: Face, now: datetime) -> int | None:
    """None: it is answered already, or was too often lately."""
    lately = await store.replies_since(db, to.customer_id, face.merchant_id, "help", now - timedelta(hours=1))
    if lately >= MOST_HELP:
        return None
    return await _queue(db, _reply(to, face, "help", help_text(face, to.body), HELP_WITHIN), now)


def confirmation(face: Face, body: str) -> str:
    """In the language of the text that it answers."""
    if is_spanish(body):
        who = f"de {face.brand}" if face.brand else "nuestros"
        return f"No recibirá más mensajes {who}. Responda START para volver a recibirlos."
    return f"You will get no more texts from {face.brand or 'us'}. Reply START to get them again."


def help_text(face: Face, body: str) -> str:
    """The merchant's own, or who it is and how to stop."""
    if face.help_text:
        return face.help_text
    if is_spanish(body):
        who = f"Mensajes de {face.brand}." if face.brand else "Mensajes de este número."
        return f"{who} Responda STOP para no recibir más."
    who = f"Texts from {face.brand}." if face.brand else "Texts from this number."
    return f"{who} Reply STOP to get no more."


def is_spanish(body: str) -> bool:
    """Whether more of its words are Spanish ones than English ones."""
    words = [word.lower() for word in _WORD.findall(body[:2000])]
    return sum(word in _SPANISH for word in words) > sum(word in _ENGLISH for word in words)


def _reply(to: To, face: Face, kind: Kind, body: str, within: timedelta) -> NewReply:
    key = "confirm" if kind == "confirmation" else kind
    return NewReply(
        merchant_id=face.merchant_id,
        customer_id=to.customer_id,
        kind=kind,
        key=f"{key}:{to.sid}",
        to=to.phone,
        from_=to.number,
        account=to.account,
        body=body,
        not_after=to.received_at + within,
    )


async def _queue(db: Connection, reply: NewReply, now: datetime) -> int | None:
    queued = await store.add_reply(db, reply, now)
    if queued is not None:
        await hint(db, SEND)
    return queued

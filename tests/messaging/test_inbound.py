"""Texts as they are taken in: whatever the order of words and however often each comes, the last wish holds."""

from datetime import timedelta
from email.headerregistry import Address
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.consent.keys import PhoneKey
from holdfast.delivery.mail_content import compose
from holdfast.delivery.model import Message
from holdfast.merchants.model import Destination
from holdfast.messaging import inbound, optout, replies
from holdfast.messaging.answering import Answering
from holdfast.messaging.inbound import Incoming, NotATextError
from holdfast.messaging.inbound_store import Face
from holdfast.twilio.model import Account
from tests.messaging.texts import ANN, BAKERY, NOON, ask, grant, town
from tests.voice.twilio import ACCOUNT, sid

MAIN = Account(ACCOUNT, "main", 0, "token")
_numbers = count(1000)


def incoming(body: str, phone: str, minute: int, **more: str) -> Incoming:
    about = {"MessageSid": sid("SM"), "From": phone, "To": BAKERY, "Body": body} | more
    at = NOON + timedelta(minutes=minute)
    return inbound.read(about, MAIN, own_account=True, received=at.timestamp(), headers={}, raw=b"")


def box(pool: Any, minute: int) -> inbound.Inbox:
    answering = Answering("merchant", lambda _: None)
    clock = NOON + timedelta(minutes=minute, seconds=1)
    return inbound.Inbox(pool, PhoneKey, answering, optout.judge, clock=lambda: clock)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(st.sampled_from(["stop", "START", "yes", "hello", "unsubscribe"]), min_size=1, max_size=6),
    times=st.lists(st.integers(1, 3), min_size=6, max_size=6),
    at_once=st.booleans(),
)
async def test_the_last_wish_holds_and_each_stop_is_confirmed_once(pool, said, times, at_once):
    merchant = await pool.fetchval("SELECT id FROM merchant WHERE key = 'bakery'") or (await town(pool)).bakery
    await pool.execute("UPDATE messaging_policy SET provider_answers = false")
    phone = f"+1212555{next(_numbers)}"
    await grant(pool, merchant, phone)
    texts = [incoming(body, phone, minute) for minute, body in enumerate(said)]
    copies = [[text] * times[minute] for minute, text in enumerate(texts)]
    if at_once:
        taken = await box(pool, len(said)).take([text for same in copies for text in same])
        assert sum(one.is_new for one in taken) == len(said)
    else:
        for minute, same in enumerate(copies):
            for text in same:
                await box(pool, minute).take([text])
    blocked, stops = False, 0
    for body in said:
        if body in ("stop", "unsubscribe"):
            stops += not blocked
            blocked = True
        elif body in ("START", "yes"):
            blocked = False
    later = NOON + timedelta(hours=1)
    assert (await ask(pool, merchant, phone, later)).rule == ("suppressed" if blocked else "consent")
    kinds = [row[0] for row in await pool.fetch("SELECT kind FROM message WHERE to_phone = $1", phone)]
    assert kinds.count("confirmation") == stops
    marketing = await ask(pool, merchant, phone, later, purpose="marketing")
    assert marketing.rule == ("suppressed" if blocked else "consent")


def face(**more: Any) -> Face:
    given: dict[str, Any] = {"brand": "The Bakery", "help_text": None, "provider_answers": True} | more
    return Face(1, "bakery", "The Bakery", "bakery@example.com", "America/New_York", **given)


def test_answers_are_in_the_language_of_the_text():
    for body in ("alto", "NO MÁS MENSAJES", "Ya no quiero recibir sus mensajes", "¿Ayuda?"):
        assert replies.is_spanish(body), body
    for body in ("stop", "no more texts", "take me off your list", "🛑", ""):
        assert not replies.is_spanish(body), body
    assert replies.help_text(face(), "ayuda") == "Mensajes de The Bakery. Responda STOP para no recibir más."
    assert replies.help_text(face(help_text="Call 555."), "ayuda") == "Call 555."
    assert replies.confirmation(face(brand=None), "stop").startswith("You will get no more texts from us.")


def test_what_has_no_sid_is_no_text():
    for given_sid in ("", "x", "SM", "SM-1"):
        with pytest.raises(NotATextError, match="MessageSid"):
            incoming("stop", ANN, 0, MessageSid=given_sid)


async def test_the_mail_about_a_text_shows_its_words_and_runs_none_of_them(pool):
    await town(pool)
    await box(pool, 0).take([incoming("<script>x</script>\r\nBcc: all@example.com\n" * 5, ANN, 0)])
    row = await pool.fetchrow("SELECT * FROM event WHERE type = 'text.received'")
    to = Destination(1, 1, "contact", "bakery@example.com", (), (), True)
    message = Message(
        delivery_id=1,
        webhook_id="msg_1",
        attempt=1,
        event_id=row["event_id"],
        event_type=row["type"],
        created=NOON,
        received=NOON,
        account=None,
        merchant="bakery",
        livemode=True,
        body=row["body"],
        headers={},
    )
    mail = compose(to, Address("Holdfast", addr_spec="h@example.com"), message, NOON)
    text, html = (part.get_content() for part in mail.iter_parts())
    assert mail["Subject"] == f"Text from {ANN}"
    assert mail["Bcc"] is None
    assert "Text: <script>x</script> Bcc: all@example.com" in text
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert f"because {BAKERY} gets texts for you" in text

"""Subscriptions by mail: asked for, confirmed, mailed once, given up; over real SMTP."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette

from holdfast import retention
from holdfast.comms import publishing, status_service, status_store, subscribing
from holdfast.comms.messages import to_mailboxes
from holdfast.comms.status_board import StatusBoard
from holdfast.comms.status_page import StatusPage
from holdfast.comms.status_service import PublicStatus
from holdfast.config import Settings
from holdfast.delivery import store as deliveries
from holdfast.delivery.mail import MailSender
from holdfast.delivery.service import Deliverer
from holdfast.incidents import people_store as people
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.queue.model import Lane
from tests.comms.incidents import moved, opened
from tests.comms.pages import PUBLIC

NEVER = ("", "x", "a@b", "@b.example", "a b@c.example", "a@b.example, c@d.example", "a@b.example\nBcc: x@y.example")
ANN = "ann@shop.example"


def now():
    return datetime.now(UTC)


@pytest.fixture(autouse=True)
def _prompt(monkeypatch):
    monkeypatch.setattr("holdfast.comms.status_page.EVEN", 0.0)


@pytest.fixture
def settings(tmp_path, post):
    return Settings(data_dir=tmp_path, public_url=PUBLIC, status_name="Acme", smtp_url=f"{post.url}?starttls=0")


@pytest.fixture
async def client(settings, pool):
    app = Starlette(routes=StatusPage(settings, pool, StatusBoard(settings)).routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as visitor:
        yield visitor


@pytest.fixture
async def arrive(pool, post):
    """Work off the deliveries, and read what came."""

    async def mails(to=None):
        async with MailSender(post.url, "Acme <status@acme.example>") as sender, asyncio.timeout(15):
            sending = Deliverer(pool, Catalogue(), {"contact": sender})
            while await sending.tick() or sending.in_flight or sending.ended.is_set():
                sending.ended.clear()
                await sending.settle()
                await asyncio.sleep(0.005)
        return post.messages(to)

    return mails


def links(mail):
    return re.findall(
        r"https://status\.example(/status/(?:confirm|unsubscribe)/\S+)", mail.get_body(("plain",)).get_content()
    )


async def subscribed(client, arrive, address=ANN):
    await client.post("/status/subscribe", data={"email": address})
    (link,) = links((await arrive(address))[-1])
    assert (await client.post(link)).status_code == 200
    return link


async def subscribers(pool):
    return [(one.email, one.confirmed_at is not None) for one in await status_store.subscribers(pool)]


async def test_who_asks_gets_a_link_and_is_subscribed_when_the_button_is_pressed(client, arrive, pool):
    answer = await client.post("/status/subscribe", data={"email": f" {ANN.upper()} "})
    assert (answer.status_code, "Look into your mailbox" in answer.text) == (200, True)
    (mail,) = await arrive(ANN)
    assert mail["subject"] == "Acme status: confirm your subscription"
    (link,) = links(mail)
    for _ in range(2):  # a scanner looks at it, and looks again
        shown = await client.get(link)
        assert 'method="post"' in shown.text
        assert shown.headers["referrer-policy"] == "no-referrer"
        assert shown.headers["cache-control"] == "no-store"
    assert await subscribers(pool) == [(ANN, False)]
    for _ in range(2):
        confirmed = await client.post(link)
        assert (confirmed.status_code, "You are subscribed" in confirmed.text) == (200, True)
    assert await subscribers(pool) == [(ANN, True)]


async def test_every_update_is_mailed_once_to_who_is_subscribed(client, arrive, pool, settings):
    await subscribed(client, arrive)
    await client.post("/status/subscribe", data={"email": "unconfirmed@shop.example"})
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, "k1", "investigating", "It is <slow>.", now=now())
    await publishing.follow(pool, await moved(pool, incident, "resolved", now()), "f", now=now())
    await asyncio.gather(*(drained(pool, settings) for _ in range(3)))
    mails = [mail for mail in await arrive(ANN) if "confirm" not in mail["subject"]]
    assert sorted(mail["subject"] for mail in mails) == [
        "Acme status, investigating: Payment events are delayed",
        "Acme status, resolved: Payment events are delayed",
    ]
    (first,) = [mail for mail in mails if "investigating" in mail["subject"]]
    assert "It is <slow>." in first.get_body(("plain",)).get_content()
    assert "It is &lt;slow&gt;." in first.get_body(("html",)).get_content()
    assert f"{PUBLIC}/status/incidents/{incident.id}" in first.get_body(("plain",)).get_content()
    assert len(await arrive("unconfirmed@shop.example")) == 1, "the link alone"


async def drained(pool, settings):
    while await subscribing.mail(pool, settings):
        pass


async def test_many_subscribers_are_mailed_in_batches_each_once(pool, settings, post, arrive, monkeypatch):
    monkeypatch.setattr(subscribing, "BATCH", 3)
    for number in range(7):
        async with pool.acquire() as connection:
            found = await status_store.ask(
                connection,
                f"s{number}@shop.example",
                f"h{number}",
                "secret",
                pause=subscribing.PAUSE,
                window=subscribing.WINDOW,
                most=100,
                now=now(),
            )
        assert found is not None
        await status_store.confirm(pool, found.id, now())
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, "k1", "investigating", "Slow.", now=now())
    batches = [await subscribing.mail(pool, settings) for _ in range(4)]
    assert batches == [3, 3, 1, 0]
    await arrive()
    assert dict(post.received) == {f"s{number}@shop.example": 1 for number in range(7)}


async def test_who_came_later_is_not_told_of_what_was_before(client, arrive, pool, settings):
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, "k1", "investigating", "Slow.", now=now())
    await subscribed(client, arrive)
    await drained(pool, settings)
    assert len(await arrive(ANN)) == 1


async def test_news_that_could_not_be_mailed_for_a_day_are_not_mailed_any_more(client, arrive, pool, settings):
    await subscribed(client, arrive)
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, "k1", "investigating", "Slow.", now=now())
    assert await subscribing.mail(pool, settings, now() + timedelta(days=1, minutes=1)) == 0


async def test_a_mail_has_a_link_to_unsubscribe_that_mail_programs_can_use(client, arrive, pool, settings):
    await subscribed(client, arrive)
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, "k1", "investigating", "Slow.", now=now())
    await drained(pool, settings)
    mail = (await arrive(ANN))[-1]
    assert mail["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    link = mail["list-unsubscribe"].strip("<>").removeprefix(PUBLIC)
    assert link in links(mail)
    assert "Unsubscribe" in (await client.get(link)).text
    assert await subscribers(pool) == [(ANN, True)], "looking at it does nothing"
    for _ in range(2):
        answer = await client.post(link, data={"List-Unsubscribe": "One-Click"})
        assert (answer.status_code, "You are not subscribed" in answer.text) == (200, True)
    assert await subscribers(pool) == []


async def test_the_answer_is_the_same_whether_or_not_an_address_is_known(client, arrive, pool):
    await subscribed(client, arrive)
    known = await client.post("/status/subscribe", data={"email": ANN})
    unknown = await client.post("/status/subscribe", data={"email": "bob@shop.example"})
    assert (known.status_code, known.text.replace(ANN, "X")) == (
        unknown.status_code,
        unknown.text.replace("bob@shop.example", "X"),
    )
    assert set(known.headers) == set(unknown.headers)


async def test_who_is_subscribed_and_asks_again_gets_a_link_to_leave(client, arrive, pool, monkeypatch):
    monkeypatch.setattr(subscribing, "PAUSE", timedelta(0))
    await subscribed(client, arrive)
    await client.post("/status/subscribe", data={"email": ANN})
    mail = (await arrive(ANN))[-1]
    assert mail["subject"] == "Acme status: you are subscribed"
    assert (await client.post(links(mail)[0])).status_code == 200
    assert await subscribers(pool) == []


async def test_an_address_gets_one_mail_however_often_it_is_given(client, arrive):
    for _ in range(5):
        assert (await client.post("/status/subscribe", data={"email": ANN})).status_code == 200
    assert len(await arrive(ANN)) == 1


async def test_all_addresses_together_are_limited(client, arrive, post, monkeypatch):
    monkeypatch.setattr(subscribing, "MOST", 3)
    for number in range(6):
        answer = await client.post("/status/subscribe", data={"email": f"s{number}@shop.example"})
        assert answer.status_code == (200 if number < 3 else 503)
    assert "try again in an hour" in answer.text
    assert answer.headers["retry-after"] == "3600"
    await arrive()
    assert sum(post.received.values()) == 3


@pytest.mark.parametrize("address", NEVER)
async def test_what_is_no_address_is_refused(client, pool, address):
    answer = await client.post("/status/subscribe", data={"email": address})
    assert (answer.status_code, "Not an e-mail address" in answer.text) == (400, True)
    assert await subscribers(pool) == []


async def test_an_endless_form_is_not_read(client):
    answer = await client.post("/status/subscribe", content=b"email=" + b"a" * 100_000)
    assert answer.status_code == 413
    answer = await client.post("/status/subscribe", content=b"&".join(b"a=b" for _ in range(100)))
    assert answer.status_code == 400
    answer = await client.post("/status/subscribe", content=b"email=\xff\xfe")
    assert answer.status_code == 400


async def test_what_is_shown_of_an_address_is_escaped(client):
    answer = await client.post("/status/subscribe", data={"email": "o'a&b@shop.example"})
    assert answer.status_code == 200
    assert "a&amp;b@" in answer.text


async def test_a_link_ends_after_a_day(client, arrive, pool):
    await client.post("/status/subscribe", data={"email": ANN})
    (link,) = links((await arrive(ANN))[0])
    token = link.rpartition("/")[2]
    assert await subscribing.find(pool, "confirm", token, now() + timedelta(hours=23)) is not None
    assert await subscribing.find(pool, "confirm", token, now() + timedelta(hours=25)) is None
    assert await subscribing.confirm(pool, token, now() + timedelta(hours=25)) is False


async def test_addresses_that_nobody_confirmed_are_forgotten(client, pool, settings):
    await client.post("/status/subscribe", data={"email": ANN})
    await subscribing.mail(pool, settings, now() + timedelta(hours=23))
    assert len(await subscribers(pool)) == 1
    await subscribing.mail(pool, settings, now() + timedelta(hours=25))
    assert await subscribers(pool) == []


async def test_a_link_does_one_thing_alone_and_cannot_be_guessed(client, arrive, pool):
    link = await subscribed(client, arrive)
    token = link.rpartition("/")[2]
    handle, _, signature = token.partition(".")
    other = handle + "." + ("0" if signature[0] != "0" else "1") + signature[1:]
    assert (await client.post(f"/status/unsubscribe/{token}")).status_code == 200
    assert await subscribers(pool) == [(ANN, True)], "a link to confirm does not unsubscribe"
    for wrong in (other, handle, f"{handle}.", ".x", "x" * 4000, f"{handle}.ü", f"{handle}.{signature}0"):
        assert (await client.post(f"/status/confirm/{wrong}")).status_code == 410, wrong
        assert (await client.post(f"/status/unsubscribe/{wrong}")).status_code == 200, wrong
    assert await subscribers(pool) == [(ANN, True)]


async def test_with_the_store_away_a_subscription_is_answered_try_later(settings):
    class Away:
        def acquire(self):
            raise OSError("gone")

    app = Starlette(routes=StatusPage(settings, Away(), StatusBoard(settings)).routes)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as client:
        answer = await client.post("/status/subscribe", data={"email": ANN})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def mailboxes(pool):
    return [found.address for found in await merchants.destinations(pool) if found.kind == "contact"]


async def test_the_mailbox_of_who_leaves_is_forgotten(client, arrive, pool, settings):
    await subscribed(client, arrive)
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, "k1", "investigating", "Slow.", now=now())
    await drained(pool, settings)
    link = (await arrive(ANN))[-1]["list-unsubscribe"].strip("<>").removeprefix(PUBLIC)
    assert await mailboxes(pool) == [ANN]
    await client.post(link)
    assert await mailboxes(pool) == []


async def test_the_mailbox_of_who_never_confirmed_is_forgotten(client, arrive, pool, settings):
    await client.post("/status/subscribe", data={"email": ANN})
    await arrive(ANN)
    await subscribing.mail(pool, settings, now() + timedelta(hours=25))
    assert await mailboxes(pool) == []


async def test_retention_forgets_mailboxes_that_nobody_has_any_more(client, arrive, pool, settings):
    await people.put(pool, "ben", "Ben", "Ben@shop.example", "admin")
    await subscribed(client, arrive)
    for address in ("Ben@shop.example", "gone@shop.example", "on-its-way@shop.example"):
        await to_mailboxes(pool, address, "page", "s", "t", None, [(0, address)], now())
        if not address.startswith("on-its-way"):
            await arrive(address)
    before = await merchants.version(pool)
    await retention.prune(pool, 90)
    assert sorted(await mailboxes(pool)) == ["Ben@shop.example", ANN, "on-its-way@shop.example"]
    assert await merchants.version(pool) == before + 1
    await retention.prune(pool, 90)
    assert await merchants.version(pool) == before + 1, "nothing to delete is nothing to read again"


async def test_status_mail_does_not_stand_before_notifications_of_payments(client, arrive, pool, settings):
    await subscribed(client, arrive)
    incident = await opened(pool, now=now())
    await publishing.publish(pool, incident, "k1", "investigating", "Slow.", now=now())
    await drained(pool, settings)
    rows = await deliveries.listing(pool, deliveries.Filter(), limit=9, before=None)
    assert [Lane(row["lane"]) for row in rows] == [Lane.BULK, Lane.BULK]


async def test_a_network_that_asks_for_many_is_asked_to_wait_and_others_are_not(settings, pool, monkeypatch):
    monkeypatch.setattr("holdfast.comms.status_page.MOST_OF_NETWORK", 2)
    app = Starlette(routes=StatusPage(settings, pool, StatusBoard(settings)).routes)

    async def asks(host, number):
        transport = httpx.ASGITransport(app, client=(host, 1))
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC) as client:
            return await client.post("/status/subscribe", data={"email": f"s{number}@shop.example"})

    answers = [await asks(f"203.0.113.{number}", number) for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "3600"
    assert "try again in an hour" in answers[2].text
    assert (await asks("198.51.100.1", 9)).status_code == 200
    assert len(await subscribers(pool)) == 3


async def test_without_a_public_address_nobody_can_subscribe(tmp_path, pool, post, monkeypatch):
    said: list[str] = []
    # Whatever level of logs another test has set.
    monkeypatch.setattr(status_service, "log", SimpleNamespace(warning=lambda event, **_: said.append(event)))
    local = Settings(data_dir=tmp_path, smtp_url=post.url)
    status = PublicStatus(local, pool, asyncio.Event())
    assert said == ["status.no_subscriptions"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=status.routes)), base_url=PUBLIC
    ) as visitor:
        assert (await visitor.post("/status/subscribe", data={"email": ANN})).status_code == 404

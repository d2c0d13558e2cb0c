"""Messages of ours go out as deliveries: once a key, to the team and to mailboxes, over real sockets."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.comms.figures import figures
from holdfast.comms.messages import to_mailboxes, to_team
from holdfast.comms.status_actions import oldest_waiting
from holdfast.config import Settings
from holdfast.delivery import store
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.signals import TO_DELIVERED
from holdfast.delivery.store import Filter
from holdfast.health.probes import queues
from holdfast.inbox import replay
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.model import COMPANY, NewDestination, NewMerchant
from holdfast.payments.router import StripeWebhookRouter
from holdfast.queue import service as queue
from holdfast.queue.channels import DELIVER
from holdfast.queue.model import ClaimPolicy, Lane, Stage
from holdfast.queue.service import Claimer
from holdfast.verify.service import verify
from tests.comms.town import FROM, deliverer, work_off
from tests.processes import running


def now() -> datetime:
    return datetime.now(UTC)


async def states(pool) -> list[str]:
    return [row["state"] for row in await store.listing(pool, Filter(), limit=1000, before=None)]


async def test_the_team_reads_what_was_said(pool, settings, chat):
    assert await to_team(pool, settings, "k", "team_update", "Update 1", "All is *well* <now>.", now()) == 1
    async with deliverer(pool, settings) as sending:
        await work_off(sending)
    [text] = chat.texts
    assert "Update 1" in text
    assert "All is *well* <now>." in text
    assert await states(pool) == ["delivered"]


async def test_what_was_sent_before_counts_as_nothing_sent(pool, settings):
    assert [await to_team(pool, settings, "k", "page", "s", "t", now()) for _ in range(2)] == [1, 0]
    people = [(COMPANY, "ann@example.com"), (COMPANY, "ben@example.com")]
    assert [await to_mailboxes(pool, "m", "page", "s", "t", None, people, now()) for _ in range(2)] == [2, 0]


async def test_the_address_of_a_team_channel_is_not_stored(pool, settings, chat):
    await to_team(pool, settings, "k", "page", "s", "t", now())
    [found] = await merchants.destinations(pool)
    assert (found.merchant_id, found.kind, found.address, found.events, found.secrets) == (
        COMPANY,
        "team",
        "team:1",
        (),
        (),
    )


async def test_with_no_team_channel_nothing_is_sent(pool):
    assert await to_team(pool, Settings(team_channels=""), "k", "page", "s", "t", now()) == 0
    assert await inbox.count(pool, inbox.Filter()) == 0


async def test_a_mail_has_text_html_and_the_headers_given(pool, settings, post):
    merchant = await merchants.insert(pool, NewMerchant("bakery", "Bakery", "owner@bakery.example"))
    headers = {"List-Unsubscribe": "<https://ops.example/u/1>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    mailbox = [(merchant.id, "owner@bakery.example")]
    sent = await to_mailboxes(
        pool,
        "k",
        "merchant_mail",
        "Late\nnews",
        "It is late: 8 €.",
        "<p>It is <b>late</b></p>",
        mailbox,
        now(),
        headers,
    )
    assert sent == 1
    async with deliverer(pool, settings, post) as sending:
        await work_off(sending)
    [mail] = post.messages("owner@bakery.example")
    assert mail["subject"] == "Late news"
    assert mail["list-unsubscribe"] == "<https://ops.example/u/1>"
    assert mail["auto-submitted"] == "auto-generated"
    assert mail.get_body(("plain",)).get_content().strip() == "It is late: 8 €."
    assert mail.get_body(("html",)).get_content().strip() == "<p>It is <b>late</b></p>"


async def test_a_header_that_would_make_another_mail_is_refused(pool):
    for headers in ({"Bcc": "all@example.com"}, {"X": "1\nBcc: all@example.com"}):
        with pytest.raises(ValueError, match="header"):
            await to_mailboxes(pool, "k", "status_mail", "s", "t", None, [(COMPANY, "a@example.com")], now(), headers)
    assert await inbox.count(pool, inbox.Filter()) == 0


async def test_the_same_key_is_sent_once_to_each(pool, settings, chat, post):
    people = [(COMPANY, "ann@example.com"), (COMPANY, "ben@example.com"), (COMPANY, "ann@example.com")]
    for _ in range(3):
        await to_mailboxes(pool, "k", "page", "s", "t", None, people, now())
        await to_team(pool, settings, "k", "page", "s", "t", now())
    async with deliverer(pool, settings, post) as sending:
        await work_off(sending)
    assert dict(post.received) == {"ann@example.com": 1, "ben@example.com": 1}
    assert len(chat.posts) == 1
    await to_mailboxes(pool, "another", "page", "s", "t", None, people, now())
    assert len(await states(pool)) == 5


async def test_two_engines_that_send_the_same_at_once_send_one(pool, settings):
    await asyncio.gather(*(to_team(pool, settings, "k", "page", "s", "t", now()) for _ in range(8)))
    people = [(COMPANY, f"{name}@example.com") for name in "abc"]
    await asyncio.gather(
        *(to_mailboxes(pool, "m", "page", "s", "t", None, people[::way], now()) for way in (1, -1, 1, -1))
    )
    assert len(await states(pool)) == 4


async def test_what_is_sent_in_a_transaction_that_is_given_up_was_not_sent(pool, settings):
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await to_team(connection, settings, "k", "page", "s", "t", now()) == 1
        await transaction.rollback()
    assert await states(pool) == []
    await to_team(pool, settings, "k", "page", "s", "t", now())
    assert len(await states(pool)) == 1


async def test_deliverers_are_told(pool, settings):
    heard = asyncio.Event()

    def hear(*_):
        heard.set()

    async with pool.acquire() as connection:
        await connection.add_listener(DELIVER, hear)
        await to_team(pool, settings, "k", "page", "s", "t", now())
        async with asyncio.timeout(5):
            await heard.wait()
        await connection.remove_listener(DELIVER, hear)


async def test_a_channel_that_is_down_is_tried_again(pool, settings, chat):
    chat.failing = 2
    await to_team(pool, settings, "k", "page", "s", "t", now())
    async with deliverer(pool, settings) as sending:
        await work_off(sending)
    assert (len(chat.posts), chat.tries) == (1, 3)
    rows = await store.attempts(pool, (await store.listing(pool, Filter(), limit=1, before=None))[0]["id"])
    assert [row["outcome"] for row in rows] == ["retry", "retry", "delivered"]
    assert rows[0]["error"] == "team channel 1 did not take it"


async def test_an_unreachable_channel_does_not_show_its_address(pool, settings, chat):
    gone = Settings(team_channels="mmost://127.0.0.1:9/b7rfm0incident4team5chat6")
    await to_team(pool, gone, "k", "page", "s", "t", now())
    async with deliverer(pool, gone, backoff=Backoff(base=0.0, cap=0.0, tries=1)) as sending:
        await work_off(sending)
    [row] = await store.listing(pool, Filter(), limit=9, before=None)
    assert row["state"] == "dead"
    assert "b7rfm0" not in row["note"]


async def test_a_channel_that_the_settings_do_not_have_any_more_is_given_up(pool, settings):
    await to_team(pool, settings, "k", "page", "s", "t", now())
    async with deliverer(pool, Settings(team_channels="")) as sending:
        await work_off(sending)
    [row] = await store.listing(pool, Filter(), limit=9, before=None)
    assert row["note"] == "there is no team channel 1: HOLDFAST_TEAM_CHANNELS names 0"


async def test_a_mail_server_that_is_down_is_tried_again(pool, settings, post):
    post.down = True
    await to_mailboxes(pool, "k", "page", "s", "t", None, [(COMPANY, "ann@example.com")], now())
    async with deliverer(pool, settings, post, Backoff(base=0.3, cap=0.5, tries=9)) as sending:
        await sending.tick()
        while not sending.ended.is_set():
            await asyncio.sleep(0.01)
        await sending.settle()
        post.down = False
        async with asyncio.timeout(10):
            while not post.mails:
                await work_off(sending)
                await asyncio.sleep(0.05)
    assert post.received["ann@example.com"] == 1


async def test_mail_that_waits_for_a_broken_server_is_nobodys_backlog(pool, settings, post):
    long_ago = now() - timedelta(minutes=20)
    for key, lane in (("k", Lane.CRITICAL), ("l", Lane.BULK)):
        await to_mailboxes(pool, key, "page", "s", "t", None, [(COMPANY, "ann@example.com")], long_ago, lane=lane)
    await to_team(pool, settings, "k", "page", "s", "t", long_ago)
    await pool.execute("UPDATE work SET received_at = $1", long_ago)
    await queue.measure(pool)
    for lane in Lane:
        where = ("deliver", lane.label)
        assert (queue.DEPTH.values[where], queue.OLDEST.values[where]) == (0, 0)
    assert queue.MESSAGES.values == {("critical",): 2, ("standard",): 0, ("bulk",): 1}
    assert queue.MESSAGES_OLDEST.values["bulk",] >= 20 * 60
    assert all(found.status == "pass" for found in queues(inbox_is_ready=True))
    assert await oldest_waiting(pool, now()) == timedelta(0)
    assert (await figures(pool, settings, now())).oldest_s == 0


async def test_how_late_messages_are_says_nothing_of_notifications(pool, settings, monkeypatch):
    seen: list[float] = []
    monkeypatch.setattr(TO_DELIVERED, "observe", lambda value, *labels: seen.append(value))
    await to_team(pool, settings, "k", "page", "s", "t", now() - timedelta(minutes=20))
    async with deliverer(pool, settings) as sending:
        await work_off(sending)
    assert await states(pool) == ["delivered"]
    assert seen == []


async def test_a_destination_that_came_with_its_message_is_known_when_it_is_claimed(pool, settings, chat):
    """The catalogue was read before; the message and its destination were committed after."""
    async with deliverer(pool, settings) as sending:
        await sending.tick()
        refresh, sending._catalogue.refresh = sending._catalogue.refresh, None

        async def once(db):
            sending._catalogue.refresh = refresh
            changed = await refresh(db)
            await to_team(pool, settings, "k", "page", "s", "t", now())
            return changed

        sending._catalogue.refresh = once
        await work_off(sending)
    assert await states(pool) == ["delivered"]


async def test_messages_add_up_and_are_no_events_to_route(pool, settings, chat, post):
    """Not even to who subscribes to everything, nor when everything is replayed."""
    await merchants.insert_destination(pool, NewDestination(COMPANY, "application", "https://a.example", (), ("*",)))
    disabled = await merchants.insert_destination(
        pool, NewDestination(COMPANY, "application", "https://b.example", (), ("*",))
    )
    await merchants.set_enabled(pool, disabled.id, False)
    await to_team(pool, settings, "k", "team_update", "s", "t", now())
    await to_mailboxes(pool, "m", "page", "s", "t", None, [(COMPANY, "ann@example.com")], now())
    assert [queued async for _, queued in replay.replay(pool, inbox.Filter())] == []
    router = StripeWebhookRouter(pool, Claimer(pool, Stage.ROUTE, ClaimPolicy()), Catalogue())
    assert await router.tick() == 0
    async with deliverer(pool, settings, post) as sending:
        await work_off(sending)
    found = await verify(pool, now() - timedelta(hours=1), now() + timedelta(seconds=1), now=now())
    assert (found.events.received, found.notifications.planned) == (0, 0), "it is about what providers sent"
    assert (found.adds_up, found.settled, found.needs) == (True, True, ())
    rows = await inbox.listing(pool, inbox.Filter(), limit=9, before=None)
    assert [row["type"] for row in rows] == ["incident.page", "incident.team_update"]
    assert [row["state"] for row in rows] == ["stored", "stored"]


async def test_who_gets_messages_only_is_no_new_version_of_the_catalogue_each_time(pool, settings):
    await to_team(pool, settings, "k", "page", "s", "t", now())
    before = await merchants.version(pool)
    await to_team(pool, settings, "l", "page", "s", "t", now())
    assert await merchants.version(pool) == before


async def test_a_worker_posts_and_mails(pool, database_url, settings, chat, post):
    channels, mail = {"team_channels": chat.url}, {"smtp_url": post.url, "mail_from": FROM}
    async with running("worker", database_url=database_url, **channels, **mail) as worker:
        await worker.says("worker.started")
        await to_team(pool, settings, "k", "page", "Somebody look", "Now.", now())
        await to_mailboxes(pool, "k", "page", "Look", "Now.", None, [(COMPANY, "ann@example.com")], now())
        async with asyncio.timeout(20):
            while not (chat.posts and post.mails):
                await asyncio.sleep(0.05)
    assert not any("b7rfm0" in line for line in worker.log)

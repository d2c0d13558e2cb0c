"""Whom an incident affects: by what happened to their events, each with figures of its own."""

import pytest

from holdfast.comms.messages import to_mailboxes
from holdfast.delivery import store as deliveries
from holdfast.inbox import replay
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, NewDestination
from holdfast.queue import store as queue
from holdfast.queue.model import Lane, NewWork, Stage
from tests.comms.town import MINUTE, incident

pytestmark = pytest.mark.usefixtures("any_server")


async def test_who_was_served_in_time_is_not_affected(town):
    await town.merchant("bakery")
    await town.receive("bakery", 5, ago=10)
    await town.route(ago=10)
    await town.deliver(ago=9.5)
    assert await town.affected() == []


async def test_what_waits_to_be_routed_is_late_after_its_lanes_promise(town):
    bakery = await town.merchant("bakery", "owner@bakery.example")
    await town.merchant("florist")
    await town.receive("bakery", 3, ago=6)
    await town.receive("bakery", 2, ago=0.5)
    await town.receive("florist", 4, ago=6, lane=Lane.BULK)
    [found] = await town.affected()
    assert (found.id, found.key, found.name, found.email) == (bakery, "bakery", "Bakery", "owner@bakery.example")
    assert (found.delayed, found.waiting, found.given_up, found.destinations) == (3, 3, 0, ())
    assert (found.oldest_s, found.longest_s) == (pytest.approx(360, abs=1.0), pytest.approx(360, abs=1.0))


async def test_a_shorter_limit_makes_more_late(town):
    await town.merchant("florist")
    await town.receive("florist", 4, ago=6, lane=Lane.BULK)
    assert [one.delayed for one in await town.affected(most=5 * MINUTE)] == [4]


async def test_what_was_delivered_late_counts_from_receipt_over_both_stages(town):
    """Routed after 40 seconds and sent after 40 more: neither alone is late."""
    await town.merchant("bakery")
    await town.receive("bakery", 2, ago=10)
    await town.route(ago=10 - 40 / 60)
    await town.deliver(ago=10 - 80 / 60)
    [found] = await town.affected()
    assert (found.delayed, found.waiting, found.oldest_s) == (2, 0, 0.0)
    assert found.longest_s == pytest.approx(80, abs=1.0)


async def test_an_event_that_is_late_in_every_way_counts_once(town):
    await town.merchant("bakery")
    await merchants.insert_destination(
        town.pool, NewDestination(COMPANY, "application", "https://app.example", (), ("*",))
    )
    await town.receive("bakery", 1, ago=20)
    await town.route(ago=10)
    await town.deliver(ago=5)
    [found] = await town.affected()
    assert (found.delayed, found.longest_s) == (1, pytest.approx(900, abs=1.0))


async def test_what_was_late_before_the_incident_is_not_its_doing(town):
    await town.merchant("bakery")
    await town.receive("bakery", 1, ago=120)
    await town.route(ago=100)
    await town.deliver(ago=90)
    await town.receive("bakery", 1, ago=80)
    assert await town.affected() == []


async def test_each_merchant_has_figures_of_its_own_the_longest_wait_first(town):
    for key, ago in (("bakery", 5), ("florist", 15)):
        await town.merchant(key)
        await town.receive(key, int(ago), ago=ago)
    found = await town.affected()
    assert [(one.key, one.delayed, round(one.oldest_s)) for one in found] == [("florist", 15, 900), ("bakery", 5, 300)]


async def test_what_was_given_up_is_told_and_not_once_it_was_sent_after_all(town):
    await town.merchant("bakery")
    await town.receive("bakery", 2, ago=5)
    await town.route(ago=5)
    await town.deliver(ago=4.8, outcome="dead")
    [found] = await town.affected()
    assert (found.delayed, found.given_up, found.longest_s) == (0, 2, 0.0)
    rows = await deliveries.matching(town.pool, deliveries.Filter(), after=0, limit=9)
    works = [NewWork(r["id"], r["lane"], r["merchant_id"], r["destination_id"], town.now) for r in rows]
    await queue.enqueue(town.pool, Stage.DELIVER, works, now=None)
    await town.deliver()
    assert [(one.delayed, one.given_up) for one in await town.affected()] == [(2, 0)]


async def test_a_destination_that_takes_nothing_is_named(town):
    await town.merchant("bakery")
    await town.receive("bakery", 2, ago=5)
    await town.route(ago=5)
    await town.fail()
    [found] = await town.affected()
    assert (found.waiting, found.destinations) == (2, ("https://bakery.example",))


async def test_a_destination_that_takes_some_is_not_down(town):
    await town.merchant("bakery")
    await town.receive("bakery", 2, ago=5)
    await town.route(ago=5)
    await town.fail()
    await town.receive("bakery", 1, ago=0.1)
    await town.route(ago=0.1)
    await town.deliver()
    [found] = await town.affected()
    assert (found.waiting, found.destinations) == (2, ())


async def test_a_replay_of_what_was_done_makes_nothing_late(town):
    await town.merchant("bakery")
    await town.receive("bakery", 2, ago=20)
    await town.route(ago=20)
    await town.deliver(ago=19.9)
    async for _ in replay.replay(town.pool, inbox.Filter()):
        pass
    await town.route()
    assert await town.affected() == []


async def test_mails_about_the_incident_are_no_late_events(town):
    bakery = await town.merchant("bakery")
    early = town.now - 20 * MINUTE
    await to_mailboxes(town.pool, "k", "merchant_mail", "s", "t", None, [(bakery, "a@example.com")], early)
    assert await town.affected() == []
    await town.deliver(outcome="dead")
    assert await town.affected() == []


async def test_an_incident_that_is_over_is_looked_at_as_it_was(town):
    await town.merchant("bakery")
    await town.receive("bakery", 1, ago=5)
    town.incident = incident(town.now - 30 * MINUTE, state="resolved", resolved_at=town.now - 4.5 * MINUTE)
    assert await town.affected() == []

"""Figures: times, impact on events, merchants and money, on a real database."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.incidents import store as incidents
from holdfast.incidents.model import StepRow
from holdfast.queue.model import Lane
from holdfast.review import figures
from holdfast.review.figures import impact, times
from holdfast.review.model import AlertFacts, Times, Turn
from holdfast.review.suggestions import derive
from tests import servers
from tests.review import storm
from tests.review.storm import BEGAN, Traffic, at

pytestmark = pytest.mark.usefixtures("any_server")


def alert(opened):
    return AlertFacts(1, "k", "t", "critical", "c", "w", BEGAN, opened, None, ())


async def test_the_times_are_from_the_beginning_and_the_acknowledgement_from_the_detection(pool):
    made = await storm.resolved(pool)
    assert times(made, ()) == Times(180, 120, 540, 2400, 3000)
    assert times(made, (alert(at(1)),)) == Times(60, 240, 540, 2400, 3000)


async def test_what_did_not_happen_has_no_time(pool):
    made = await storm.incident(pool)
    await incidents.set_state(pool, made.id, "resolved", at(10))
    found = await incidents.get(pool, made.id)
    assert found is not None
    assert times(found, ()) == Times(180, None, None, None, 600)


async def test_late_events_are_counted_by_lane_with_how_long_they_waited(pool):
    made = await storm.resolved(pool)
    await storm.traffic(pool)
    found = await impact(pool, made, at(60))
    critical, bulk = found.events
    assert (critical.lane, critical.count, critical.late, critical.promise) == ("critical", 3, 2, 5)
    assert (critical.median, critical.worst) == (420, 600)
    assert critical.p95 == pytest.approx(582)
    assert (bulk.lane, bulk.count, bulk.late, bulk.median) == ("bulk", 1, 0, None)
    assert (found.received, found.late, found.duplicates) == (4, 2, 40)


async def test_what_came_before_or_after_the_incident_is_not_counted(pool):
    made = await storm.resolved(pool)
    traffic = Traffic(pool)
    await traffic.merchant("bakery", "Bakery")
    await traffic.event("bakery", -1, routed=30)
    await traffic.event("bakery", 41, routed=49)
    await traffic.duplicates(3, 41)
    found = await impact(pool, made, at(60))
    assert (found.received, found.duplicates, found.merchants_affected) == (0, 0, 0)


async def test_events_that_still_wait_are_late_by_now_and_those_that_ended_otherwise_are_apart(pool):
    made = await storm.resolved(pool)
    traffic = Traffic(pool)
    await traffic.merchant("bakery", "Bakery")
    await traffic.event("bakery", 10, routed=30, outcome="dead")
    await traffic.event("bakery", 20)
    (critical,) = (await impact(pool, made, at(60))).events
    assert (critical.count, critical.late, critical.waiting, critical.failed) == (2, 1, 1, 1)
    assert critical.worst == 40 * 60


async def test_an_event_that_was_routed_again_was_not_late_for_that(pool):
    made = await storm.resolved(pool)
    traffic = Traffic(pool)
    await traffic.merchant("bakery", "Bakery")
    await traffic.event("bakery", 10, routed=10.01)
    await pool.execute(
        """
        INSERT INTO done SELECT stage, ref, lane, merchant_id, destination_id, received_at, $1, attempts, outcome, note
        FROM done
        """,
        at(39),
    )
    assert (await impact(pool, made, at(60))).late == 0


async def test_affected_merchants_come_with_what_was_late_and_what_was_given_up(pool):
    made = await storm.resolved(pool)
    await storm.traffic(pool)
    found = await impact(pool, made, at(60))
    (bakery,) = found.merchants
    assert (bakery.merchant, bakery.name) == ("bakery", "Bäckerei 漢字 Ωmega")
    assert (bakery.events_late, bakery.notifications_late, bakery.given_up, bakery.worst) == (2, 1, 1, 600)
    (sent,) = found.notifications
    assert (sent.count, sent.late, sent.failed, sent.worst) == (3, 1, 1, 300)


async def test_money_is_that_of_late_critical_payments_by_currency(pool):
    made = await storm.resolved(pool)
    await storm.traffic(pool)
    found = await impact(pool, made, at(60))
    assert [(one.currency, one.payments, one.amount) for one in found.money] == [("jpy", 1, 250_000), ("usd", 1, 1099)]


async def test_an_intent_and_its_charge_are_the_same_money(pool):
    made = await storm.resolved(pool)
    traffic = Traffic(pool)
    merchant = await traffic.merchant("bakery", "Bakery")
    intent = await traffic.event("bakery", 10, routed=20, amount=1000)
    charge = await traffic.event("bakery", 11, routed=21)
    refund = await traffic.event("bakery", 12, routed=22)
    await traffic.payment(charge, 1000, "usd", merchant, kind="charge", belongs_to=intent)
    await traffic.payment(refund, 400, "usd", merchant, kind="refund", belongs_to=charge)
    (money,) = (await impact(pool, made, at(60))).money
    assert (money.payments, money.amount) == (1, 1000)


RENEWALS = {
    "old": {"in": "pi", "pi": "in", "ch": "pi", "cs": "in"},  # up to 2025-02-24: both name each other
    "new, payments expanded": {"in": "pi", "ch": "pi", "cs": "in"},
    "only the intent says": {"pi": "in", "ch": "pi", "cs": "in"},
}
KINDS = {"in": "invoice", "pi": "payment_intent", "ch": "charge", "cs": "checkout.session", "re": "refund"}


@pytest.mark.parametrize("links", RENEWALS.values(), ids=RENEWALS)
@pytest.mark.parametrize(
    "late",
    [
        ("in", "pi"),
        ("in", "pi", "ch", "cs"),
        ("in", "cs"),
        ("cs", "ch"),
        ("ch", "in", "re"),
        ("cs",),
        ("pi",),
    ],
    ids="-".join,
)
async def test_a_renewal_counts_once_whichever_of_its_events_are_late(pool, links, late):
    made = await storm.resolved(pool)
    traffic = Traffic(pool)
    merchant = await traffic.merchant("bakery", "Bakery")
    # Invoices, intents and charges are in the ledger by then; a session only if it is late.
    ids = {
        key: await traffic.event("bakery", 10, routed=20 if key in late else 10.01)
        for key in KINDS
        if key in late or key in ("in", "pi", "ch")
    }
    for key, object_id in ids.items():
        amount = 700 if key == "re" else 5000
        parent = ids.get((links | {"re": "ch"}).get(key, ""))
        await traffic.payment(object_id, amount, "usd", merchant, kind=KINDS[key], belongs_to=parent)
    (money,) = (await impact(pool, made, at(60))).money
    assert (money.payments, money.amount) == (1, 5000)


async def test_two_refunds_of_a_payment_that_was_not_late_are_two_amounts(pool):
    made = await storm.resolved(pool)
    traffic = Traffic(pool)
    merchant = await traffic.merchant("bakery", "Bakery")
    for amount in (300, 400):
        refund = await traffic.event("bakery", 10, routed=20)
        await traffic.payment(refund, amount, "usd", merchant, kind="refund", belongs_to="ch_before")
    (money,) = (await impact(pool, made, at(60))).money
    assert (money.payments, money.amount) == (2, 700)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12), st.sampled_from(("usd", "jpy", "kwd")), st.booleans(), st.sampled_from(list(Lane))
        ),
        max_size=6,
    )
)
async def test_money_adds_up(pool, made):
    await servers.clear(pool)
    incident = await storm.resolved(pool)
    traffic = Traffic(pool)
    await traffic.merchant("bakery", "Bakery")
    expected: dict[str, int] = {}
    for amount, currency, late, lane in made:
        await traffic.event("bakery", 5, lane=lane, routed=25 if late else 5.01, amount=amount, currency=currency)
        if late and lane is Lane.CRITICAL:
            expected[currency] = expected.get(currency, 0) + amount
    found = await impact(pool, incident, at(60))
    assert {one.currency: one.amount for one in found.money} == expected
    assert found.received == len(made)


async def test_when_counting_takes_too_long_the_review_says_so(pool):
    made = await storm.resolved(pool)
    await storm.traffic(pool)
    async with pool.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
        found = await impact(pool, made, at(60), patience=0.2)
    assert found.failed == "counting took longer than 0 s"
    assert (await impact(pool, made, at(60))).received == 4


async def test_when_there_is_too_much_only_the_first_part_is_counted_and_said_so(pool):
    made = await storm.resolved(pool)
    await storm.traffic(pool)
    found = await impact(pool, made, at(60), most_events=2)
    assert (found.received, found.counted_to) == (2, at(10))


async def test_a_lever_is_a_steps_if_the_log_says_so_and_else_by_hand(pool):
    made = await storm.worked(pool)
    entries = await incidents.entries(pool, made.id)
    reduced, helped, cleared = await figures.turns(pool, made, entries, at(60))
    assert (reduced.step, reduced.by_hand, reduced.moved) == ("queue.reduce", False, "its default → 2")
    assert (helped.step, helped.by_hand, helped.actor) == (None, True, "ada")
    assert (cleared.what, cleared.by_hand) == ("cleared", False)


def step(key="reduce", kind="do", state="done", took=10.0, **changes):
    fields: dict[str, Any] = {"said": "", "tries": 1, "began_at": BEGAN, "ended_at": BEGAN + timedelta(seconds=took)}
    fields |= changes
    return StepRow(1, key, 0, "immediate", "1", kind, "Reduce", None, {}, "responder", None, state, **fields)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (step(state="failed", said="no access"), "“Reduce” failed: no access"),
        (step(state="skipped", said="not now"), "“Reduce” was skipped: not now"),
        (step(state="asking"), "“Reduce” was never finished (asking)"),
        (step(tries=3), "“Reduce” took several tries"),
        (step(kind="ask", took=600), "“Reduce” was answered only after 10 min"),
    ],
)
def test_a_step_that_went_badly_is_a_suggestion(row, said):
    (found,) = derive([row], [], {})
    assert (found.step, found.what) == ("reduce", said)
    assert found.consider


def test_a_step_is_slow_compared_to_what_is_usual():
    (found,) = derive([step(took=200)], [], {"reduce": (5, 20.0)})
    assert found.what == "“Reduce” took 3 min; usually 20 s"
    assert derive([step(took=200)], [], {"reduce": (2, 20.0)}) == ()
    assert derive([step(took=1200)], [], {"reduce": (5, 1000.0)}) == ()


@pytest.mark.parametrize(
    "row",
    [
        step(),
        step(kind="ask", took=30),
        step(state="not applicable"),
        step(kind="person", took=9000),
        step(kind="every", state="waiting"),
        step(tries=2),
    ],
)
def test_a_step_that_went_well_is_none(row):
    assert derive([row], [], {}) == ()


def test_what_is_to_be_done_after_the_draft_is_no_fault_of_the_run():
    draft = replace(step("draft", state="running"), position=1, action="review.draft")
    assert derive([step(), draft, replace(step("root-cause", "person", "pending"), position=2)], [], {}) == ()


def test_what_was_turned_by_hand_is_suggested_as_a_step_once_a_lever():
    def turn(value, **changes):
        fields = {"what": "set", "actor": "ada", "step": None} | changes
        return Turn(BEGAN, name="processes.workers", target="", before="4", value=value, reason="help", **fields)

    by_step, by_engine, ramp = turn("5", step="x"), turn("5", actor="holdfast"), turn("5", what="ramp set")
    (found,) = derive([], [turn("6"), turn("8"), by_step, by_engine, ramp], {})
    assert found.what == "ada turned processes.workers from 4 to 6 by hand, 2 times in all (help)"
    assert found.consider == "Consider adding a step that sets processes.workers."

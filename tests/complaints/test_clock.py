"""The hour in which a person is answered: who owes it, who is called before it is over, and what meets it."""

import pytest

from holdfast.complaints import actions, service, store
from holdfast.complaints.impact import impact
from holdfast.complaints.model import ComplaintError, RefusedError, UnknownError
from holdfast.consent.keys import PhoneKey
from holdfast.incidents import people_store
from holdfast.incidents import service as incidents_service
from holdfast.incidents import store as incidents
from holdfast.incidents.model import RefusedError as NotOfTheTeamError
from holdfast.messaging import erasing
from holdfast.review.complaint_impact import complaint_summary
from holdfast.runbooks import chasing
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Run
from holdfast.runbooks.model import Step
from tests.complaints.people import MINUTE, SETTINGS, Calls, adopt, complain, incident, owed
from tests.messaging.texts import ANN, BOB, NOON, town

ASK = Step(service.REPLY, "ask", "communication", "1", "Answer the person", 1, service.REPLY)


async def team(pool):
    for key in ("ann", "bob"):
        await people_store.put(pool, key, key.title(), f"{key}@example.com", "responder")


async def test_each_complaint_without_an_incident_is_taken_in_with_its_hour(pool):
    await town(pool)
    first, second = await complain(pool), await complain(pool, BOB, now=NOON + MINUTE)
    found = await incident(pool)
    joined = await adopt(pool, found, NOON + 2 * MINUTE)
    assert [one.id for one in joined] == [first.complaint.id, second.complaint.id]
    assert [(one.step, one.due_at) for one in await owed(pool, found)] == [
        (one.complaint.owes, one.complaint.due_at) for one in (first, second)
    ]
    assert await adopt(pool, found) == []
    other = await incident(pool, scope="elsewhere")
    assert await adopt(pool, other) == []


async def test_one_that_was_answered_before_owes_nothing(pool):
    await town(pool)
    filed = await complain(pool)
    await service.answer(pool, filed.complaint.id, how="phone", text="Sorry.", actor="sue", now=NOON)
    found = await incident(pool)
    assert len(await adopt(pool, found)) == 1
    assert await owed(pool, found) == []


async def test_an_incident_that_is_over_takes_in_nothing(pool):
    await town(pool)
    await complain(pool)
    found = await incident(pool)
    await incidents.set_state(pool, found.id, "resolved", NOON)
    assert await adopt(pool, found) == []


async def told(pool, found, at):
    """Who is called at this time, and with what words first."""
    calls = Calls([])
    await chasing.chase(pool, calls, found, at)
    return [(who, text.splitlines()[0].partition(", ")[2].partition(":")[0]) for who, text in calls.said]


async def test_the_commander_is_warned_at_half_time_and_shortly_before_and_everybody_when_it_is_late(pool):
    await town(pool)
    await team(pool)
    await complain(pool)
    found = await incident(pool, commander="ann")
    await incidents.set_state(pool, found.id, "acknowledged", NOON)
    await adopt(pool, found)
    heard = {}
    for minute in range(0, 100, 1):
        said = await told(pool, found, NOON + minute * MINUTE)
        if said:
            heard[minute] = said
    assert heard == {
        30: [(("ann",), "due in 30 min")],
        50: [(("ann",), "due in 10 min")],
        60: [(("ann", "bob"), "overdue by 0 s")],
        75: [(("ann", "bob"), "overdue by 15 min")],
        90: [(("ann", "bob"), "overdue by 30 min")],
    }
    entries = [one.text for one in await incidents.entries(pool, found.id) if one.kind == "obligation"]
    assert len(entries) == 5


async def test_whoever_looks_late_is_warned_once(pool):
    await town(pool)
    await complain(pool)
    found = await incident(pool)
    await adopt(pool, found)
    assert len(await told(pool, found, NOON + 55 * MINUTE)) == 1
    assert await told(pool, found, NOON + 56 * MINUTE) == []


async def test_an_answer_meets_what_is_owed_and_nobody_is_called_any_more(pool):
    await town(pool)
    await team(pool)
    filed = await complain(pool)
    found = await incident(pool, commander="ann")
    await adopt(pool, found)
    with pytest.raises(NotOfTheTeamError):
        await service.answer(pool, filed.complaint.id, how="phone", text="Sorry.", actor="eve", now=NOON)
    answered = await service.answer(
        pool, filed.complaint.id, how="phone", text="We apologised.", actor="bob", now=NOON + 20 * MINUTE
    )
    assert (answered.answered_by, answered.answer_how, answered.answer) == ("bob", "phone", "We apologised.")
    assert await owed(pool, found) == []
    assert await told(pool, found, NOON + 70 * MINUTE) == []
    with pytest.raises(RefusedError, match="was answered by bob by phone"):
        await service.answer(pool, filed.complaint.id, how="email", text="Again.", actor="ann", now=NOON)


async def test_what_is_owed_goes_with_command_and_with_a_merge(pool):
    await town(pool)
    await team(pool)
    filed = await complain(pool)
    found, other = await incident(pool, commander="ann", scope="one"), await incident(pool, scope="two")
    await adopt(pool, found)
    await incidents_service.assign(pool, found.id, "bob", actor="bob", now=NOON)
    assert [one.owner for one in await owed(pool, found)] == ["bob"]
    await incidents_service.merge(pool, found.id, other.id, actor="bob", now=NOON)
    assert [one.step for one in await owed(pool, other)] == [filed.complaint.owes]
    assert await store.incident_of(pool, filed.complaint.id) == other.id
    await service.answer(pool, filed.complaint.id, how="letter", text="Sorry.", actor="bob", now=NOON)
    assert await owed(pool, other) == []


async def test_who_was_asked_for_an_answer_is_asked_again_when_another_joins(pool):
    await town(pool)
    await complain(pool)
    found = await incident(pool)
    await steps.add(pool, found.id, [ASK])
    await adopt(pool, found)
    await steps.put(pool, found.id, ASK.key, "done", said="mailed", now=NOON, actor="ann", answer="Dear Ann", tries=1)
    await complain(pool, BOB)
    await adopt(pool, found)
    step = await steps.step(pool, found.id, ASK.key)
    assert step is not None
    assert (step.state, step.actor, step.answer) == ("pending", None, None)


async def test_a_complaint_is_the_open_incidents_as_it_is_filed_and_else_with_the_next_tick(pool):
    await town(pool)
    early = await complain(pool)
    assert await service.join_open(pool, NOON) == 0
    found = await incident(pool)
    assert await service.join_open(pool, NOON) == 1
    assert await service.join_open(pool, NOON) == 0
    late = await complain(pool, BOB)
    assert [one.step for one in await owed(pool, found)] == [early.complaint.owes, late.complaint.owes]


async def asking(pool, *phones):
    """An incident whose question, how they are answered, waits for somebody."""
    await town(pool)
    found = await incident(pool)
    filed = [(await complain(pool, phone)).complaint for phone in phones]
    await steps.add(pool, found.id, [ASK])
    await steps.put(pool, found.id, ASK.key, "asking", said="waits for somebody", now=NOON, draft="Dear Ann")
    return found, filed


async def test_a_question_about_an_answer_that_was_given_meanwhile_is_asked_anew(pool):
    found, (first, second) = await asking(pool, ANN, BOB)
    await service.answer(pool, first.id, how="phone", text="Sorry.", actor="sue", now=NOON)
    step = await steps.step(pool, found.id, ASK.key)
    assert step is not None
    assert (step.state, step.said) == ("pending", f"complaint {first.id} was answered meanwhile")
    await steps.put(pool, found.id, ASK.key, "done", said="mailed", now=NOON, actor="ann")
    await service.answer(pool, second.id, how="phone", text="Sorry.", actor="sue", now=NOON)
    step = await steps.step(pool, found.id, ASK.key)
    assert step is not None
    assert (step.state, step.actor) == ("done", "ann"), "what somebody decided stands"


async def test_a_complaint_of_somebody_who_was_erased_is_closed_and_owes_nothing(pool):
    found, (first, second) = await asking(pool, ANN, BOB)
    await erasing.erase(pool, ANN, PhoneKey(b"key"), actor="sue", why="they asked", now=NOON + MINUTE)
    assert [await service.close_erased(pool, NOON + 2 * MINUTE) for _ in range(2)] == [1, 0]
    closed = await store.get(pool, first.id)
    assert closed is not None
    assert (closed.closed_at, closed.cause, closed.answered_at) == (NOON + 2 * MINUTE, service.ERASED, None)
    assert [one.step for one in await owed(pool, found)] == [second.owes]
    said = [one.text for one in await incidents.entries(pool, found.id)]
    assert said[-1] == f"complaint {first.id} is closed without an answer: {service.ERASED}"
    assert ANN not in "".join(said)
    step = await steps.step(pool, found.id, ASK.key)
    assert step is not None
    assert step.state == "pending"
    assert await store.waiting(pool) == (1, second.due_at)
    run = Run(pool, SETTINGS, found, ASK.key, 1, NOON + 3 * MINUTE)
    outcome = await actions.answered.run(run)
    assert outcome.said.startswith(f"complaint {second.id} to be answered")
    await service.answer(pool, second.id, how="phone", text="Sorry.", actor="sue", now=NOON + 3 * MINUTE)
    outcome = await actions.answered.run(run)
    assert outcome.said.endswith(f"complaint {first.id} closed without an answer: {service.ERASED}")
    figures = await impact(pool, found, NOON + 4 * MINUTE)
    assert (figures.answered, figures.unanswered, figures.erased) == (1, 0, 1)
    assert complaint_summary(figures).endswith("the last after 3 min; 1 had their data erased before.")


async def test_who_complains_though_they_were_erased_is_answered(pool):
    await town(pool)
    key = PhoneKey(b"key")
    await complain(pool)
    await erasing.erase(pool, ANN, key, actor="sue", why="they asked", now=NOON)
    number = await pool.fetchval("SELECT max(id) FROM complaint")
    await pool.execute("UPDATE complaint SET recorded_at = $2 WHERE id = $1", number, NOON + MINUTE)
    assert await service.close_erased(pool, NOON + 2 * MINUTE) == 0


async def test_the_review_says_who_waits_still_and_counts_people(pool):
    await town(pool)
    found = await incident(pool)
    filed = [(await complain(pool, phone)).complaint for phone in (ANN, ANN, BOB)]
    early, late = [await impact(pool, found, NOON + minutes * MINUTE) for minutes in (10, 70)]
    assert complaint_summary(early) == "2 people complained 3 times, none were answered; 3 wait for an answer still."
    assert complaint_summary(late).endswith("none were answered; 3 wait for an answer still, 3 beyond the hour.")
    await service.answer(pool, filed[0].id, how="phone", text="Sorry.", actor="sue", now=NOON + 9 * MINUTE)
    said = complaint_summary(await impact(pool, found, NOON + 70 * MINUTE))
    assert "1 was answered, the last after 9 min; 2 wait for an answer still, 2 beyond the hour." in said
    assert "within the hour" not in said
    for one in filed[1:]:
        await service.answer(pool, one.id, how="phone", text="Sorry.", actor="sue", now=NOON + 80 * MINUTE)
    said = complaint_summary(await impact(pool, found, NOON + 90 * MINUTE))
    assert "3 were answered, 2 of them later than the hour, the last after 80 min." in said


async def test_it_is_closed_with_its_cause_once_the_person_was_answered(pool):
    await town(pool)
    filed = await complain(pool, ANN)
    number = filed.complaint.id
    with pytest.raises(RefusedError, match="nobody has answered"):
        await service.close(pool, number, cause="An old list.", actor="sue", now=NOON)
    await service.answer(pool, number, how="phone", text="Sorry.", actor="sue", now=NOON)
    closed = await service.close(pool, number, cause="An old list.", actor="sue", now=NOON + MINUTE)
    assert (closed.cause, closed.closed_by) == ("An old list.", "sue")
    again = await service.close(pool, number, cause="A list that was bought.", actor="bob", now=NOON + 2 * MINUTE)
    assert (again.cause, again.closed_at) == ("A list that was bought.", NOON + MINUTE)
    with pytest.raises(UnknownError):
        await service.close(pool, 99, cause="Nothing.", actor="sue", now=NOON)
    with pytest.raises(ComplaintError, match="no way to answer"):
        await service.answer(pool, number, how="fax", text="Sorry.", actor="sue", now=NOON)

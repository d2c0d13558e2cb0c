"""Reviews: drafted once an incident has resolved, written and closed by people."""

from datetime import timedelta

import pytest

from holdfast.config import Settings
from holdfast.incidents import store as incidents
from holdfast.incidents.model import StepState
from holdfast.review import actions, service, store
from holdfast.review.measured import points, resolution
from holdfast.review.model import ReviewError
from holdfast.review.service import NotYetError
from holdfast.review.trends import trends
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Done, Run, Waiting
from holdfast.runbooks.model import RunbookError, Step
from holdfast.signals import store as signals
from holdfast.signals.rollup import roll_up
from tests.review import storm
from tests.review.storm import RUNBOOK, TEXT, at

pytestmark = pytest.mark.usefixtures("any_server")
NEW_TEXT = TEXT + "- [ ] Add workers `ask: workers.add`\n"


def accept(_text):
    """Every runbook is fine."""


async def written(pool, number):
    """With everything that closing asks for."""
    await service.write(pool, number, root_cause="A bad deploy.", actor="ada", now=at(70))
    await service.verdict(pool, number, "unchanged", "it did what it should", actor="ada", now=at(70))


async def log_of(pool, number, kind=None):
    return [one.text for one in await incidents.entries(pool, number) if kind in (None, one.kind)]


async def test_before_the_incident_has_resolved_there_is_no_review(pool):
    made = await storm.incident(pool)
    with pytest.raises(NotYetError, match="is detected: it is reviewed when it has resolved"):
        await service.draft(pool, made.id, at(5))


async def test_an_incident_that_is_not_there_or_was_merged_has_none(pool):
    with pytest.raises(ReviewError, match="there is no incident 99"):
        await service.draft(pool, 99, at(5))
    first, second = await storm.incident(pool), await storm.incident(pool, scope="x")
    await incidents.merge(pool, second.id, first.id)
    with pytest.raises(ReviewError, match=f"was merged into {first.id}: review that one"):
        await service.draft(pool, second.id, at(5))


async def test_drafting_twice_changes_nothing(pool):
    await storm.traffic(pool)
    made = await storm.worked(pool)
    first = await service.draft(pool, made.id, at(70))
    assert first.figures.settled
    assert first.figures.impact.late == 2
    log = await log_of(pool, made.id)
    assert await service.draft(pool, made.id, at(90)) == first
    assert await log_of(pool, made.id) == log
    (due,) = await incidents.obligations(pool, incident_id=made.id, kind="review")
    assert (due.owner, due.due_at) == ("ada", at(50) + service.DUE)


async def test_what_the_time_after_the_incident_shows_comes_in_with_the_next_draft(pool):
    made = await storm.worked(pool)
    await storm.signals_of(pool)
    first = await service.draft(pool, made.id, at(51))
    await service.write(pool, made.id, root_cause="Known early.", actor="ada", now=at(52))
    later = await service.draft(pool, made.id, at(70))
    assert (first.figures.settled, later.figures.settled) == (False, True)
    assert first.figures.plots is not None
    assert later.figures.plots is not None
    assert (first.figures.plots.until, later.figures.plots.until) == (at(51), at(65))
    assert later.root_cause == "Known early."


async def test_the_points_are_there_after_the_signals_are_gone(pool):
    made = await storm.worked(pool)
    await storm.signals_of(pool)
    await service.draft(pool, made.id, at(70))
    await pool.execute("DELETE FROM signal_bucket")
    case = await service.case(pool, made.id, at(70) + timedelta(days=30))
    plots = case.review.figures.plots
    assert plots is not None
    duplicates = next(one for one in plots.panels[0].series if one.name == "duplicates")
    assert max(value for value in duplicates.values if value is not None) == pytest.approx(150, rel=0.05)


async def test_a_later_draft_from_coarser_signals_keeps_the_finer_points(pool):
    made = await storm.worked(pool)
    await storm.signals_of(pool)
    first = await service.draft(pool, made.id, at(51))
    later = await service.draft(pool, made.id, at(51) + timedelta(days=20))
    assert first.figures.plots == later.figures.plots


def test_the_finest_buckets_that_are_still_kept_are_read():
    assert resolution(at(-30), at(65), at(65)) == 5
    assert resolution(at(-30), at(65), at(65) + timedelta(days=2)) == 60
    assert resolution(at(-30), at(65), at(65) + timedelta(days=30)) == 3600
    assert resolution(at(-30), at(400), at(320)) == 60


async def test_minutes_tell_the_same_as_seconds(pool):
    made = await storm.worked(pool)
    await storm.signals_of(pool)
    for minute in range(-32, 72, 5):
        await roll_up(pool, at(minute))
    await signals.prune(pool, 5, at(1000))
    found = await points(pool, made, (), at(70) + timedelta(days=1))
    assert found.step == 60
    events = found.panels[0].series[0].values
    assert events[40] == pytest.approx(52.5, rel=0.1)
    assert [one.name for one in found.panels[2].series] == ["critical events", "bulk events", "critical notifications"]


async def test_what_people_write_is_kept_and_logged(pool):
    made = await storm.resolved(pool)
    await service.write(pool, made.id, root_cause="A bad deploy.", actor="ada", now=at(60))
    review = await service.write(pool, made.id, lessons="Canary first.", actor="bob", now=at(61))
    assert (review.root_cause, review.lessons) == ("A bad deploy.", "Canary first.")
    assert await log_of(pool, made.id, "note") == ["Review: wrote the root cause", "Review: wrote the lessons"]


async def test_what_people_do_in_the_review_does_the_runbooks_steps_for_people(pool):
    made = await storm.resolved(pool)
    keys = ("root-cause", "prevention", "runbook-verdict")
    await steps.add(pool, made.id, [Step(key, "person", "recovery", "9", key.title(), 1) for key in keys])
    await written(pool, made.id)
    assert [one.state for one in await steps.steps(pool, made.id)] == ["done", "pending", "done"]
    await service.add_item(pool, made.id, "x", owner=None, due_at=None, actor="ada", now=at(71))
    found = await steps.step(pool, made.id, "prevention")
    assert found is not None
    assert (found.state, found.actor, found.ended_at) == ("done", "ada", at(71))
    assert "Runbook-Verdict: unchanged: it did what it should" in await log_of(pool, made.id, "step")


async def test_a_review_is_not_closed_without_root_cause_and_verdict(pool):
    made = await storm.resolved(pool)
    with pytest.raises(
        ReviewError, match="lacks the root cause and the verdict on the runbook: `holdfast reviews write"
    ):
        await service.close(pool, made.id, actor="ada", now=at(60))
    await written(pool, made.id)
    review = await service.close(pool, made.id, actor="ada", now=at(70))
    assert (review.closed_by, review.closed_at) == ("ada", at(70))
    found = await incidents.get(pool, made.id)
    assert found is not None
    assert (found.state, found.reviewed_at) == ("reviewed", at(70))
    assert (await log_of(pool, made.id, "state"))[-1] == "resolved → reviewed"
    assert await incidents.obligations(pool, incident_id=made.id, kind="review") == []


async def test_a_closed_review_stays_as_it_is(pool):
    made = await storm.resolved(pool)
    await written(pool, made.id)
    await service.close(pool, made.id, actor="ada", now=at(70))
    for change in (
        service.write(pool, made.id, root_cause="other", actor="bob", now=at(80)),
        service.verdict(pool, made.id, "unchanged", "other", actor="bob", now=at(80)),
        service.propose(pool, made.id, NEW_TEXT, check=accept, actor="bob", now=at(80)),
        service.close(pool, made.id, actor="bob", now=at(80)),
    ):
        with pytest.raises(ReviewError, match="was closed by ada on 2026-03-04: it stays as it is"):
            await change


async def test_an_incident_that_comes_back_is_reviewed_again(pool):
    made = await storm.resolved(pool)
    await written(pool, made.id)
    await service.close(pool, made.id, actor="ada", now=at(70))
    await incidents.reopen(pool, made.id, at(75))
    with pytest.raises(NotYetError):
        await service.draft(pool, made.id, at(75))
    await incidents.set_state(pool, made.id, "resolved", at(80))
    again = await service.draft(pool, made.id, at(100))
    assert (again.is_closed, again.root_cause, again.figures.resolved_at) == (False, "A bad deploy.", at(80))


async def test_action_items_have_an_owner_and_a_day_and_are_done_once(pool):
    made = await storm.worked(pool)
    item = await service.add_item(pool, made.id, " Alert  sooner ", owner=None, due_at=None, actor="ada", now=at(60))
    assert (item.text, item.owner, item.due_at) == ("Alert sooner", "ada", at(60) + service.ITEM_DUE)
    assert await incidents.obligations(pool, kind="action") == [item]
    done = await service.item_done(pool, item.id, actor="ada", now=at(70))
    assert done.met_at == at(70)
    with pytest.raises(ReviewError, match="is done already: Alert sooner"):
        await service.item_done(pool, item.id, actor="ada", now=at(70))
    assert any(f"Action item {item.id} is done: Alert sooner" in one for one in await log_of(pool, made.id))


async def test_an_action_item_of_nobody_or_of_no_words_is_refused(pool):
    made = await storm.worked(pool)
    with pytest.raises(ReviewError, match="there is nobody called 'eve'; there are ada"):
        await service.add_item(pool, made.id, "x", owner="eve", due_at=None, actor="ada", now=at(60))
    with pytest.raises(ReviewError, match="a sentence of 1 to 500 characters"):
        await service.add_item(pool, made.id, "  ", owner=None, due_at=None, actor="ada", now=at(60))
    await service.draft(pool, made.id, at(60))
    (due,) = await incidents.obligations(pool, kind="review")
    with pytest.raises(ReviewError, match=f"there is no action item {due.id}"):
        await service.item_done(pool, due.id, actor="ada", now=at(60))


async def test_a_proposal_is_checked_and_becomes_a_patch(pool):
    made = await storm.resolved(pool)

    def refuse(_text):
        raise RunbookError(["storm.md:3: no such action; write …"])

    with pytest.raises(RunbookError, match="no such action"):
        await service.propose(pool, made.id, NEW_TEXT, check=refuse, actor="ada", now=at(60))
    with pytest.raises(ReviewError, match="this is the runbook as the incident ran it"):
        await service.propose(pool, made.id, TEXT, check=accept, actor="ada", now=at(60))
    with pytest.raises(ReviewError, match="nobody has proposed a change"):
        await service.verdict(pool, made.id, "changed", "workers", actor="ada", now=at(60))
    await service.propose(pool, made.id, NEW_TEXT, check=accept, actor="ada", now=at(60))
    review = await service.verdict(pool, made.id, "changed", "workers", actor="ada", now=at(60))
    case = await service.case(pool, made.id, at(60))
    assert review.verdict == "changed"
    assert "+- [ ] Add workers `ask: workers.add`" in case.patch
    assert case.patch.startswith(f"--- a/{RUNBOOK}.md\n+++ b/{RUNBOOK}.md\n")


async def test_a_verdict_says_why(pool):
    made = await storm.resolved(pool)
    with pytest.raises(ReviewError, match="say why it is unchanged"):
        await service.verdict(pool, made.id, "unchanged", " ", actor="ada", now=at(60))


async def test_the_run_says_where_the_runbook_might_be_better(pool):
    made = await storm.worked(pool)
    found = (await service.draft(pool, made.id, at(70))).figures.suggestions
    assert [one.step for one in found] == ["queue.paused", "merchants.mail", "verify.critical", "look", None]
    assert "answered only after 13 min" in found[0].what
    assert "processes.workers" in found[-1].what


async def test_the_step_of_a_runbook_waits_until_the_incident_has_resolved(pool):
    open_, over = await storm.incident(pool, scope="x"), await storm.resolved(pool)
    assert isinstance(await actions.draft.run(Run(pool, Settings(), open_, "review", 1, at(5))), Waiting)
    done = await actions.draft.run(Run(pool, Settings(), over, "review", 1, at(60)))
    assert isinstance(done, Done)
    assert f"holdfast reviews show {over.id}" in done.said
    assert await store.get(pool, over.id) is not None


async def test_trends_tell_by_runbook_how_long_it_takes_and_which_steps_fare_badly(pool):
    states: tuple[StepState, ...] = ("done", "failed", "skipped", "skipped")
    for days, state in enumerate(states):
        began = storm.BEGAN - timedelta(days=10 * days)
        made = await storm.resolved(pool, began=began)
        await steps.add(pool, made.id, storm.STEPS[:2])
        await steps.begin(pool, made.id, "queue.reduce", runs=1, now=began)
        await steps.put(pool, made.id, "queue.reduce", state, said="", now=began + timedelta(minutes=30))
    await service.add_item(pool, made.id, "x", owner=None, due_at=at(0), actor="ada", now=at(0))
    await storm.incident(pool, runbook="webhook-backlog")
    storms, backlog = await trends(pool, storm.BEGAN - timedelta(days=100), at(60))
    assert (storms.runbook, storms.count, storms.open) == (RUNBOOK, 4, 0)
    assert (storms.detect, storms.acknowledge, storms.mitigate, storms.recover, storms.resolve) == (
        180,
        120,
        540,
        2400,
        3000,
    )
    assert (storms.items_open, storms.items_overdue) == (1, 1)
    reduce = storms.steps[0]
    assert (reduce.count, reduce.done, reduce.failed, reduce.skipped, reduce.median) == (4, 1, 1, 2, 1800)
    assert [one.partition(" (")[0] for one in reduce.remarks] == ["fails", "is skipped", "is slow"]
    assert storms.steps[1].remarks == ()
    assert (backlog.count, backlog.open, backlog.resolve, backlog.steps) == (1, 1, None, ())
    assert len(await trends(pool, storm.BEGAN - timedelta(days=1), at(60))) == 2
    assert (await trends(pool, storm.BEGAN - timedelta(days=1), at(60)))[0].count == 1

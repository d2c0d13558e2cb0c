"""What people do with incidents and their steps."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from holdfast.incidents import people, service, store
from holdfast.incidents.model import IncidentError, RefusedError, UnknownError
from holdfast.runbooks import page
from holdfast.runbooks import store as steps_store
from holdfast.watch import store as watch
from holdfast.watch.model import Alert
from tests.incidents.shop import Shop, desk_of, opened, run_on

NOW = datetime(2026, 11, 25, 3, tzinfo=UTC)
LATER = NOW + timedelta(minutes=20)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def desk(pool, shop):
    for key, role in (("ana", "responder"), ("ben", "responder"), ("caro", "admin")):
        await people.add(pool, key, role=role)
    return desk_of(pool, shop)


@pytest.fixture
async def incident(desk):
    made = await opened(desk, now=NOW)
    return await service.acknowledge(desk.pool, made.id, actor="ana", now=NOW)


async def said(pool, number) -> list[str]:
    return [one.text for one in await store.entries(pool, number)]


async def state(pool, number, key) -> str:
    step = await steps_store.step(pool, number, key)
    assert step is not None
    return step.state


async def alert(pool, number, key="shop-slow/pages") -> None:
    """An open alert of the incident."""
    made, _ = await watch.keep(pool, Alert(key, "shop-slow", "ours", "warning", "Slow", "It is.", NOW, NOW), {}, NOW)
    await store.join(pool, number, made, NOW)


# Who does what


async def test_who_acknowledges_becomes_commander_where_there_is_none(desk, incident):
    assert (incident.state, incident.commander) == ("acknowledged", "ana")
    with pytest.raises(RefusedError, match="is acknowledged already"):
        await service.acknowledge(desk.pool, incident.id, actor="ben", now=NOW)


async def test_somebody_else_takes_over_and_with_it_what_is_due(desk, incident):
    found = await service.assign(desk.pool, incident.id, "ben", actor="ben", now=LATER)
    assert found.commander == "ben"
    assert (await said(desk.pool, incident.id))[-1] == "ben takes command (was ana)"
    owners = {one.owner for one in await store.obligations(desk.pool, incident_id=incident.id)}
    assert owners == {"ben"}
    with pytest.raises(RefusedError, match="ben commands incident 1 already"):
        await service.assign(desk.pool, incident.id, "ben", actor="ana", now=LATER)


async def test_once_there_is_a_team_only_its_members_act(desk, incident):
    with pytest.raises(RefusedError, match=r"'mallory' is not on the team \(ana, ben, caro\)"):
        await service.note(desk.pool, incident.id, "hello", actor="mallory", now=NOW)
    with pytest.raises(RefusedError, match="'mallory' is not on the team"):
        await service.assign(desk.pool, incident.id, "mallory", actor="ana", now=NOW)


async def test_a_step_for_the_commander_is_for_the_commander_and_admins(desk, incident):
    with pytest.raises(RefusedError, match=r"for the commander \(ana\); take over with `holdfast incidents take 1`"):
        await desk.approve(incident.id, "close", actor="ben", now=NOW)
    assert (await desk.approve(incident.id, "close", actor="caro", now=NOW)).actor == "caro"
    await service.assign(desk.pool, incident.id, "ben", actor="ben", now=NOW)
    await run_on(desk, NOW)
    assert (await desk.retry(incident.id, "look", actor="ana", now=NOW)).state == "pending"
    assert await state(desk.pool, incident.id, "close") == "done"


# The log


async def test_the_log_cannot_be_changed_or_deleted(desk, incident):
    for statement in ("UPDATE incident_log SET text = 'nothing happened'", "DELETE FROM incident_log"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await desk.pool.execute(statement)
    assert (await said(desk.pool, incident.id))[0].startswith("Pages take 9 s")


async def test_notes_are_bounded_and_kept_with_their_author(desk, incident):
    await service.note(desk.pool, incident.id, "the supplier says 4 h", actor="ben", now=LATER)
    (entry,) = await store.last_entries(desk.pool, incident.id, 1)
    assert (entry.kind, entry.actor, entry.text, entry.at) == ("note", "ben", "the supplier says 4 h", LATER)
    for text in ("", " ", "x" * 10_001, "a\0b"):
        with pytest.raises(IncidentError, match="1 to 10000 characters"):
            await service.note(desk.pool, incident.id, text, actor="ben", now=LATER)


# Steps


async def test_of_two_who_approve_at_once_one_is_told_that_the_other_was_first(desk, incident, shop):
    answers = await asyncio.gather(
        *(desk.approve(incident.id, "tell", actor=who, text=f"{who} says", now=NOW) for who in ("ana", "ben")),
        return_exceptions=True,
    )
    (approved,) = [one for one in answers if not isinstance(one, BaseException)]
    (refused,) = [one for one in answers if isinstance(one, RefusedError)]
    assert str(refused).startswith(f"{approved.actor} has answered step tell already")
    await run_on(desk, NOW)
    assert shop.told == [f"{approved.actor} says"]
    with pytest.raises(RefusedError, match="has answered step tell already: it is done"):
        await desk.approve(incident.id, "tell", actor="caro", now=NOW)


async def test_without_another_text_the_draft_goes_out(desk, incident, shop):
    assert (await desk.approve(incident.id, "tell", actor="ana", now=NOW)).draft == "The shop is slow."
    await run_on(desk, NOW)
    assert shop.told == ["The shop is slow."]


async def test_only_what_asks_is_approved(desk, incident):
    with pytest.raises(RefusedError, match="step look asks for no approval"):
        await desk.approve(incident.id, "look", actor="ana", now=NOW)
    with pytest.raises(UnknownError, match="has no step 'nothing'"):
        await desk.approve(incident.id, "nothing", actor="ana", now=NOW)
    with pytest.raises(UnknownError, match="there is no incident 99"):
        await desk.approve(99, "look", actor="ana", now=NOW)


async def test_what_failed_is_tried_again_or_done_by_hand(desk, incident, shop):
    assert await state(desk.pool, incident.id, "warm") == "failed"
    shop.is_broken = False
    await desk.retry(incident.id, "warm", actor="ben", now=LATER)
    await run_on(desk, LATER)
    assert await state(desk.pool, incident.id, "warm") == "done"
    done = await desk.done(incident.id, "ask-supplier", actor="ben", note="they look into it", now=LATER)
    assert (done.state, done.said, done.actor) == ("done", "they look into it", "ben")
    with pytest.raises(RefusedError, match="is done already"):
        await desk.done(incident.id, "ask-supplier", actor="ana", note="", now=LATER)


async def test_what_is_skipped_says_why_and_is_asked_again_after_all(desk, incident, shop):
    skipped = await desk.skip(incident.id, "tell", actor="ben", reason="nobody noticed", now=NOW)
    assert (skipped.state, skipped.said) == ("skipped", "nobody noticed")
    with pytest.raises(RefusedError, match="step tell is skipped already"):
        await desk.skip(incident.id, "tell", actor="ana", reason="again", now=NOW)
    assert (await desk.retry(incident.id, "tell", actor="ana", now=NOW)).state == "pending"
    await run_on(desk, NOW)
    assert (await state(desk.pool, incident.id, "tell"), shop.told) == ("asking", [])
    await desk.approve(incident.id, "tell", actor="ana", now=NOW)
    await run_on(desk, NOW)
    assert shop.told == ["The shop is slow."]


@pytest.mark.parametrize("how", ["done", "skip"])
async def test_nobody_is_chased_for_updates_that_somebody_ended(desk, incident, how):
    assert [one.step for one in await store.obligations(desk.pool, kind="update")] == ["update"]
    if how == "done":
        await desk.done(incident.id, "update", actor="ana", note="by telephone from now on", now=LATER)
    else:
        await desk.skip(incident.id, "update", actor="ana", reason="all are in one room", now=LATER)
    assert await store.obligations(desk.pool, kind="update") == []


async def test_what_a_step_changed_is_undone(desk, incident, shop):
    assert shop.is_read_only
    with pytest.raises(RefusedError, match="step look is done and has nothing to undo"):
        await desk.undo(incident.id, "look", actor="ana", reason="x", now=LATER)
    undone = await desk.undo(incident.id, "read-only", actor="ana", reason="too many complaints", now=LATER)
    assert (undone.state, shop.is_read_only) == ("undone", False)
    assert undone.said == "undone: people can buy again (too many complaints)"
    assert await desk.ledger(incident, LATER) == []


# The end


async def finished(desk, incident, shop) -> None:
    """Nothing waits for anybody any more, but what was changed is still changed."""
    shop.is_broken = False
    await service.calm(desk.pool, incident.id, actor="ana", reason="pages take 1 s", now=LATER)
    await desk.retry(incident.id, "warm", actor="ana", now=LATER)
    await desk.done(incident.id, "ask-supplier", actor="ana", note="", now=LATER)
    await run_on(desk, LATER)
    assert await state(desk.pool, incident.id, "count") == "done"


async def test_it_does_not_resolve_over_what_is_still_changed_and_names_it(desk, incident, shop):
    await finished(desk, incident, shop)
    with pytest.raises(RefusedError) as refused:
        await desk.resolve(incident.id, actor="ana", now=LATER)
    assert "still in force: Nobody can buy for a while" in str(refused.value)
    assert "holdfast incidents undo 1 read-only" in str(refused.value)
    await desk.undo(incident.id, "read-only", actor="ana", reason="over", now=LATER)
    assert (await desk.resolve(incident.id, actor="ana", now=LATER)).state == "resolved"
    assert [one.kind for one in await store.obligations(desk.pool, incident_id=incident.id)] == ["review"]


async def test_with_a_reason_it_does_and_both_are_in_the_log(desk, incident):
    for reason in (" ", "x" * 10_001):
        with pytest.raises(IncidentError, match="a reason"):
            await desk.resolve(incident.id, actor="ana", reason=reason, now=LATER)
    resolved = await desk.resolve(incident.id, actor="ana", reason="the shop is sold", now=LATER)
    assert (resolved.state, resolved.resolved_at) == ("resolved", LATER)
    (entry,) = await store.last_entries(desk.pool, incident.id, 1)
    assert entry.text.endswith("→ resolved: the shop is sold")
    assert any("Nobody can buy for a while" in one for one in entry.evidence["in the way"])
    assert "not shown that nothing was lost: step count is pending" in entry.evidence["in the way"]


async def test_it_is_over_when_its_alerts_are_and_not_when_somebody_says_so(desk, incident):
    await alert(desk.pool, incident.id)
    with pytest.raises(RefusedError, match="incident 1 has alerts that are open: it is over when they are"):
        await service.calm(desk.pool, incident.id, actor="ana", reason="I say so", now=LATER)


async def test_what_was_over_goes_on_and_is_proved_again(desk, incident, shop):
    await finished(desk, incident, shop)
    await desk.resolve(incident.id, actor="ana", reason="fine", now=LATER)
    await run_on(desk, LATER)
    assert await state(desk.pool, incident.id, "update") == "done"
    again = LATER + timedelta(hours=1)
    reopened = await desk.reopen(incident.id, actor="ben", reason="slow again", now=again)
    assert (reopened.is_open, reopened.resolved_at, reopened.calm_at) == (True, None, None)
    assert (await said(desk.pool, incident.id))[-1] == "re-opened: slow again"
    assert await state(desk.pool, incident.id, "count") == "pending"
    assert await state(desk.pool, incident.id, "read-only") == "done"
    assert await store.obligations(desk.pool, incident_id=incident.id, kind="review") == []
    await run_on(desk, again)
    step = await steps_store.step(desk.pool, incident.id, "update")
    assert step is not None
    assert (step.state, step.said) == ("waiting", f"update {step.runs} is out")
    assert [one.step for one in await store.obligations(desk.pool, kind="update")] == ["update"]
    with pytest.raises(RefusedError, match="there is nothing to re-open"):
        await desk.reopen(incident.id, actor="ben", reason="slow again", now=again)


async def test_it_is_not_reopened_while_another_one_of_the_same_is_open(desk, incident):
    await desk.resolve(incident.id, actor="ana", reason="fine", now=LATER)
    other = await desk.open("shop-slow", "Slow again", actor="ana", now=LATER)
    with pytest.raises(RefusedError, match=f"incident {other.id} is open for the same; work on that one"):
        await desk.reopen(incident.id, actor="ana", reason="slow again", now=LATER)
    with pytest.raises(RefusedError, match=f"incident {other.id} of shop-slow is open; work on that one"):
        await desk.open("shop-slow", "And again", actor="ana", now=LATER)


# Two that are one


async def test_merged_its_alerts_and_what_it_changed_are_the_others(desk, incident, shop):
    await alert(desk.pool, incident.id)
    other = await desk.open("shop-down", "The shop is down", severity="warning", actor="ben", now=LATER)
    whole = await service.merge(desk.pool, incident.id, other.id, actor="ben", now=LATER)
    assert await store.alert_ids(desk.pool, incident.id) == []
    assert len(await store.alert_ids(desk.pool, other.id)) == 1
    assert [one.id for one in await store.merged(desk.pool, other.id)] == [incident.id]
    assert [one.undo for one in await desk.ledger(whole, LATER)] == ["holdfast incidents undo 1 read-only"]
    with pytest.raises(RefusedError, match="still in force: Nobody can buy"):
        await desk.resolve(other.id, actor="ben", now=LATER)
    with pytest.raises(RefusedError, match=f"incident 1 was merged into {other.id}; work on that one"):
        await desk.approve(incident.id, "tell", actor="ana", now=LATER)
    await desk.undo(incident.id, "read-only", actor="ana", reason="over", now=LATER)
    assert (shop.is_read_only, await desk.ledger(whole, LATER)) == (False, [])


async def test_who_merges_into_nothing_itself_or_what_is_over_is_told(desk, incident):
    with pytest.raises(RefusedError, match="merged into itself"):
        await service.merge(desk.pool, incident.id, incident.id, actor="ana", now=NOW)
    with pytest.raises(UnknownError, match="there is no incident 99"):
        await service.merge(desk.pool, incident.id, 99, actor="ana", now=NOW)
    await desk.resolve(incident.id, actor="ana", reason="fine", now=NOW)
    other = await desk.open("shop-down", "The shop is down", actor="ana", now=NOW)
    with pytest.raises(RefusedError, match="incident 1 is resolved"):
        await service.merge(desk.pool, other.id, incident.id, actor="ana", now=NOW)


async def test_a_worse_one_makes_what_it_is_merged_into_as_bad(desk, incident):
    other = await desk.open("shop-down", "The shop is down", severity="critical", actor="ana", now=NOW)
    assert incident.severity == "warning"
    assert (await service.merge(desk.pool, other.id, incident.id, actor="ana", now=NOW)).severity == "critical"


# What it needs


async def test_the_page_names_what_needs_people_the_most_pressing_first(desk, shop):
    made = await opened(desk, now=NOW)
    found = await page.read(desk, made.id, NOW + timedelta(hours=1))
    assert [(need.what, need.step) for need in found.needs] == [
        ("acknowledge", None),
        ("failed", "warm"),
        ("decide", "close"),
        ("decide", "tell"),
        ("overdue", "update"),
        ("do", "ask-supplier"),
    ]
    assert found.needs[0].commands == ("holdfast incidents ack 1",)
    assert found.needs[1].said == "the cache is away"
    assert found.needs[3].commands[:2] == (
        "holdfast incidents approve 1 tell",
        "holdfast incidents approve 1 tell --edit",
    )
    (line,) = await page.listing(desk.pool, NOW + timedelta(hours=1))
    assert (line.waiting, line.failed, line.overdue) == (3, 1, 2)


async def test_at_its_end_the_page_says_that_nothing_is_in_the_way(desk, incident, shop):
    await run_on(desk, NOW)
    assert (await page.read(desk, incident.id, NOW)).needs[-1].what == "calm"
    await finished(desk, incident, shop)
    await desk.undo(incident.id, "read-only", actor="ana", reason="over", now=LATER)
    found = await page.read(desk, incident.id, LATER)
    assert ([need.what for need in found.needs], found.obstacles) == (["resolve"], ())
    await desk.resolve(incident.id, actor="ana", now=LATER)
    assert (await page.read(desk, incident.id, LATER)).needs == ()


async def test_a_step_is_found_by_its_key_or_its_number(desk, incident):
    assert (await page.step_named(desk.pool, incident.id, "2")).key == "read-only"
    assert (await page.step_named(desk.pool, incident.id, "tell")).position == 3
    for name in ("0", "99", "-1", "nothing", "9" * 40):
        with pytest.raises(UnknownError, match="its steps are 1 to 9: look, read-only"):
            await page.step_named(desk.pool, incident.id, name)

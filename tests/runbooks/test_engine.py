"""The engine: alerts become incidents, steps run in their order, people are asked, nothing is done twice."""

import asyncio
from datetime import timedelta

import pytest

from holdfast.incidents import people_store, service, store
from holdfast.incidents.model import RefusedError
from holdfast.watch import store as watch
from tests.runbooks.worlds import START, Done, Failed, NotApplicable, Waiting, World, book, step

MINUTE = timedelta(minutes=1)


async def opened(world):
    await world.fire()
    await world.engine().tick(world.now)
    return await world.incident()


async def test_an_alert_opens_one_incident_and_related_ones_join_it(pool):
    world = World(pool, (book(step("check", "look")),))
    world.action("look")
    await world.fire()
    await world.engine().tick(world.now)
    await world.fire(key="webhook-backlog/deliver", severity="critical")
    await world.engine().tick(world.now)
    found = await world.incident()
    assert (found.state, found.severity, found.opened_at) == ("detected", "critical", START)
    assert len(await world.said("alert")) == 2
    assert (await world.states())["look"] == "done"


async def test_an_incident_is_called_what_is_worst_of_it_however_bad_its_runbook_is(pool):
    world = World(pool, (book(step("check", "look"), severity="critical"),))
    world.action("look")
    await world.fire(key="webhook-backlog/debugger", title="Some errors", cause="debugger")
    await world.engine().tick(world.now)
    await world.fire(severity="critical", title="A region fails", cause="regions")
    await world.engine().tick(world.now)
    await world.fire(key="webhook-backlog/third", severity="critical", title="A target fails", cause="targets")
    await world.engine().tick(world.now)
    found = await world.incident()
    assert (found.title, found.cause) == ("A region fails", "regions")


async def test_of_alerts_that_come_together_the_worst_opens_the_incident(pool):
    world = World(pool, (book(step("check", "look")),))
    world.action("look")
    await world.fire(key="webhook-backlog/debugger", title="Some errors")
    await world.fire(severity="critical", title="A region fails")
    await world.engine().tick(world.now)
    assert (await world.incident()).title == "A region fails"


async def test_no_incident_for_what_is_silenced_or_has_no_runbook(pool):
    world = World(pool, (book(step("person", "look")),))
    await world.fire(key="something-else/x")
    await watch.silence(pool, "webhook-backlog", timedelta(hours=1), actor="a", reason="we know", now=world.now)
    await world.fire()
    await world.engine().tick(world.now)
    assert await store.listing(pool) == []


async def test_automatic_steps_run_in_order_and_people_do_not_hold_them_up(pool):
    world = World(pool, (book(step("do", "one"), step("ask", "two"), step("person", "three"), step("check", "four")),))
    for key in ("one", "two", "four"):
        world.action(key)
    incident = await opened(world)
    assert world.calls == ["one/1", "four/1"]
    assert await world.states() == {"one": "done", "two": "asking", "three": "asking", "four": "done"}
    await world.desk.approve(incident.id, "two", actor="ann", now=world.now)
    await world.desk.done(incident.id, "three", actor="ann", note="looked at it", now=world.now)
    await world.engine().tick(world.now)
    assert world.calls[-1] == "two/1"
    assert set((await world.states()).values()) == {"done"}
    assert "three: looked at it" in await world.said()


async def test_recovery_waits_for_each_step_before_it(pool):
    steps = [step("check", "calm", phase="recovery"), step("person", "look", phase="recovery")]
    world = World(pool, (book(*steps, step("do", "last", phase="recovery")),))
    world.action("calm", Waiting("not yet", timedelta(seconds=30)), Done("calm now"))
    world.action("last")
    incident = await opened(world)
    assert await world.states() == {"calm": "waiting", "look": "pending", "last": "pending"}
    await world.pass_time(MINUTE)
    assert await world.states() == {"calm": "done", "look": "asking", "last": "pending"}
    await world.desk.done(incident.id, "look", actor="ann", note="", now=world.now)
    await world.pass_time(MINUTE)
    assert (await world.states())["last"] == "done"


async def test_a_question_is_moot_once_the_trouble_is_over(pool):
    world = World(pool, (book(step("ask", "slow-down"), step("do", "note")),))
    world.action("slow-down")
    world.action("note")
    await opened(world)
    await world.quiet()
    await world.pass_time(MINUTE)
    slow = (await world.steps())["slow-down"]
    assert (slow.state, slow.said) == ("not applicable", "the trouble was over before anybody answered")


async def test_an_offer_settles_a_question_that_need_not_be_asked(pool):
    world = World(pool, (book(step("ask", "tell")),))
    action = world.action("tell")

    @action.offer
    async def _(run):
        return NotApplicable("nobody is affected")

    await opened(world)
    assert await world.states() == {"tell": "not applicable"}
    assert world.calls == []


async def test_what_is_edited_before_approval_is_what_the_action_gets(pool):
    world = World(pool, (book(step("ask", "tell")),))
    got = []

    async def tell(run):
        """Tell."""
        got.append((run.text, run.actor))
        return Done("told")

    action = world.registry.action("test.tell")(tell)

    @action.draft
    async def _(run):
        return "We are late."

    incident = await opened(world)
    assert (await world.steps())["tell"].draft == "We are late."
    assert any("We are late." in text for text in await world.said("message"))
    await world.desk.approve(incident.id, "tell", actor="ann", text="We are sorry.", now=world.now)
    await world.engine().tick(world.now)
    assert got == [("We are sorry.", "ann")]


async def test_updates_keep_their_cadence_until_the_incident_is_over(pool):
    world = World(pool, (book(step("every", "update", phase="communication", every=15 * MINUTE)),))
    world.action("update", owed=True)
    incident = await opened(world)
    await world.pass_time(46 * MINUTE, by=MINUTE)
    assert world.calls == ["update/1", "update/2", "update/3", "update/4"]
    await service.acknowledge(pool, incident.id, actor="ann", now=world.now)
    await world.quiet()
    await world.desk.resolve(incident.id, actor="ann", reason="enough", now=world.now)
    await world.pass_time(46 * MINUTE, by=MINUTE)
    assert world.calls[4:] == ["update/5"], "a last one says that it is over"
    assert await world.states() == {"update": "done"}
    assert [one.kind for one in await store.obligations(pool, incident_id=incident.id)] == ["review"]


async def test_an_update_that_does_not_go_out_is_overdue_and_nags_and_is_tried_at_its_next_time(pool):
    world = World(pool, (book(step("every", "update", phase="communication", every=15 * MINUTE)),))
    world.action("update", Done("sent"), Failed("no"), Failed("no"), Failed("no"), Done("sent"), owed=True)
    incident = await opened(world)
    await service.acknowledge(pool, incident.id, actor="ann", now=world.now)
    await world.pass_time(29 * MINUTE)
    assert world.calls == ["update/1", "update/2", "update/2", "update/2"]
    (nag,) = await world.said("obligation")
    assert nag.startswith("overdue by")
    await world.pass_time(5 * MINUTE)
    assert (await world.steps())["update"].said == "sent"
    (update,) = await store.obligations(pool, incident_id=incident.id, kind="update")
    assert update.due_at > world.now


async def test_a_failing_step_is_tried_three_times_and_then_waits_for_a_person(pool):
    world = World(pool, (book(step("do", "fix"), step("do", "next")),))
    world.action("fix", Failed("no disk"), Failed("no disk"), Failed("no disk"), Done("fixed"))
    world.action("next")
    incident = await opened(world)
    await world.pass_time(2 * MINUTE)
    assert world.calls.count("fix/1") == 3
    assert await world.states() == {"fix": "failed", "next": "done"}
    assert sum("Try again: holdfast incidents retry" in text for text in await world.said("message")) == 1
    await world.desk.retry(incident.id, "fix", actor="ann", now=world.now)
    await world.engine().tick(world.now)
    assert (await world.states())["fix"] == "done"


async def test_an_action_that_raises_or_is_unknown_fails_its_step_alone(pool):
    world = World(pool, (book(step("do", "bad"), step("do", "gone"), step("do", "good")),))

    async def bad(run):
        """Bad."""
        raise ValueError("a mistake in it")

    world.registry.action("test.bad")(bad)
    world.action("good")
    incident = await opened(world)
    await world.pass_time(2 * MINUTE)
    steps = await world.steps()
    assert (steps["bad"].state, steps["bad"].said) == ("failed", "ValueError: a mistake in it")
    assert steps["gone"].state == "failed"
    assert "there is no action 'test.gone'" in steps["gone"].said
    assert steps["good"].state == "done"
    await world.desk.skip(incident.id, "gone", actor="ann", reason="not in this version", now=world.now)
    assert (await world.states())["gone"] == "skipped"


async def test_who_does_not_acknowledge_is_passed_over_along_the_rota_then_everybody_is_called(pool):
    for key in ("ann", "ben", "cem"):
        await people_store.put(pool, key, key, None, "responder")
    await people_store.set_rota(pool, ["ann", "ben"], START - timedelta(days=1))
    world = World(pool, (book(step("person", "look"), acknowledge=5 * MINUTE),))
    incident = await opened(world)
    assert incident.commander == "ann"
    await world.pass_time(50 * MINUTE, by=MINUTE)
    calls = [text.partition("\n")[0] for text in await world.said("message")]
    assert calls[:3] == ["to ann", "to ben", "to ann, ben, cem"]
    assert len(calls) == 11, "every five minutes"
    with pytest.raises(RefusedError, match="not on the team"):
        await service.acknowledge(pool, incident.id, actor="mallory", now=world.now)
    await service.acknowledge(pool, incident.id, actor="ben", now=world.now)
    await world.pass_time(30 * MINUTE, by=MINUTE)
    assert len(await world.said("message")) == len(calls)


async def test_the_state_follows_acknowledgement_change_calm_and_a_relapse(pool):
    world = World(pool, (book(step("do", "slow-down")),))
    world.change("slow-down")
    incident = await opened(world)
    assert (await world.incident()).state == "detected"
    await service.acknowledge(pool, incident.id, actor="ann", now=world.now)
    await world.pass_time(MINUTE)
    assert (await world.incident()).state == "mitigating"
    await world.quiet()
    await world.pass_time(MINUTE)
    assert (await world.incident()).state == "monitoring"
    await world.fire()
    await world.pass_time(MINUTE)
    assert (await world.incident()).state == "mitigating"


async def test_an_incident_does_not_resolve_over_a_forgotten_change_nor_without_proof(pool):
    world = World(pool, (book(step("do", "slow-down"), step("check", "prove", phase="recovery")),))
    world.change("slow-down")
    world.action("prove", Waiting("not yet"), Waiting("not yet"), Done("all there"), proof=True)
    incident = await opened(world)
    await service.acknowledge(pool, incident.id, actor="ann", now=world.now)
    await world.quiet()
    await world.engine().tick(world.now)
    with pytest.raises(RefusedError, match=r"slow down.*not shown that nothing was lost: step prove"):
        await world.desk.resolve(incident.id, actor="ann", now=world.now)
    await world.desk.undo(incident.id, "slow-down", actor="ann", reason="it is over", now=world.now)
    await world.pass_time(MINUTE)
    resolved = await world.desk.resolve(incident.id, actor="ann", now=world.now)
    assert (resolved.state, resolved.resolved_at) == ("resolved", world.now)


async def test_two_engines_do_each_thing_once(pool):
    world = World(pool, (book(*(step("do", f"s{number}") for number in range(6))),))
    for number in range(6):
        world.action(f"s{number}")
    await world.fire()
    await asyncio.gather(*(world.engine().tick(world.now) for _ in range(4)))
    await asyncio.gather(*(world.engine().tick(world.now) for _ in range(4)))
    assert world.calls == [f"s{number}/1" for number in range(6)]


async def test_steps_go_on_as_they_were_pinned_when_the_runbook_changes(pool):
    world = World(pool, (book(step("do", "one"), step("person", "two"), version="a" * 12),))
    world.action("one")
    await opened(world)
    world.books = (book(step("do", "other"), version="b" * 12),)
    await world.pass_time(MINUTE)
    assert list(await world.states()) == ["one", "two"]
    assert (await world.incident()).version == "a" * 12


async def test_an_alert_that_stays_open_after_its_incident_was_resolved_gets_another_one(pool):
    world = World(pool, (book(step("person", "look")),))
    incident = await opened(world)
    await service.acknowledge(pool, incident.id, actor="ann", now=world.now)
    await world.desk.resolve(incident.id, actor="ann", reason="it is nothing", now=world.now)
    await world.pass_time(29 * MINUTE, by=MINUTE)
    assert [one.id for one in await store.listing(pool)] == [incident.id]
    await world.pass_time(2 * MINUTE, by=MINUTE)
    assert [one.state for one in await store.listing(pool)] == ["detected", "resolved"]


async def test_many_unfinished_incidents_do_not_keep_a_new_one_from_its_turn(pool):
    books = tuple(book(step("check", "look"), step("person", "wait"), runbook=f"book-{number}") for number in range(12))
    world = World(pool, books)
    world.action("look")
    for number in range(12):
        await world.fire(key=f"book-{number}/x")
    await world.pass_time(timedelta(seconds=30))
    looked = await pool.fetchval("SELECT count(*) FROM step WHERE key = 'look' AND state = 'done'")
    assert looked == 12
    await pool.execute("UPDATE incident SET state = 'resolved' WHERE runbook <> 'book-11'")
    for _ in range(3):
        world.now += timedelta(seconds=10)
        claimed = await store.claim(pool, timedelta(seconds=5), world.now, 8)
        assert "book-11" in {one.runbook for one, _ in claimed}


async def test_what_a_person_does_while_the_engine_prepares_a_question_stands(pool):
    world = World(pool, (book(step("ask", "tell")),))
    action = world.action("tell")
    number: list[int] = []

    @action.offer
    async def _(run):
        if not number:
            number.append(1)
            await world.desk.skip(run.incident.id, "tell", actor="ann", reason="told by telephone", now=world.now)

    await opened(world)
    assert (await world.states())["tell"] == "skipped"
    await world.pass_time(MINUTE)
    assert ((await world.states())["tell"], world.calls) == ("skipped", [])


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("shop"), TimeoutError(), FileNotFoundError("x"), KeyError("y")]
)
async def test_whatever_an_action_raises_fails_it_and_nothing_else(pool, error):
    world = World(pool, (book(step("do", "bad"), step("do", "good")),))

    async def bad(run):
        """Bad."""
        raise error

    world.registry.action("test.bad")(bad)
    world.action("good")
    await opened(world)
    await world.pass_time(2 * MINUTE)
    assert await world.states() == {"bad": "failed", "good": "done"}


@pytest.mark.parametrize(
    "outcome",
    [None, "done", Done("x", {"ratio": float("nan"), "a\0b": "c\0d"}), Done("a\0b"), Done("x", {"object": object()})],
)
async def test_whatever_an_action_returns_its_step_comes_to_an_end(pool, outcome):
    world = World(pool, (book(step("do", "odd"), step("do", "good")),))

    async def odd(run):
        """Odd."""
        return outcome

    world.registry.action("test.odd")(odd)
    world.action("good")
    await opened(world)
    await world.pass_time(2 * MINUTE)
    states = await world.states()
    assert states == {"odd": "done" if isinstance(outcome, Done) else "failed", "good": "done"}


async def test_an_offer_that_fails_is_told_to_a_person_once(pool):
    world = World(pool, (book(step("ask", "tell")),))
    action = world.action("tell")

    @action.offer
    async def _(run):
        return Failed("mail is not set up")

    await opened(world)
    await world.pass_time(5 * MINUTE)
    assert (await world.states())["tell"] == "failed"
    assert len([text for text in await world.said("message") if "mail is not set up" in text]) == 1


async def test_a_slow_step_keeps_no_other_incident_waiting(pool):
    world = World(pool, (book(step("do", "slow")), book(step("do", "quick"), runbook="other")))
    go_on = asyncio.Event()

    async def slow(run):
        """Slow."""
        await go_on.wait()
        return Done("at last")

    world.registry.action("test.slow")(slow)
    world.action("quick")
    await world.fire()
    engine = world.engine()
    await engine.tick(world.now, patience=0.3)
    await world.fire(key="other/x")
    await engine.tick(world.now, patience=2.0)
    assert world.calls == ["quick/1"]
    go_on.set()
    await engine.tick(world.now)
    assert await pool.fetchval("SELECT said FROM step WHERE key = 'slow'") == "at last"


async def test_a_reopened_incident_is_not_over_until_somebody_says_so(pool):
    world = World(pool, (book(step("person", "look")),))
    incident = await opened(world)
    await service.acknowledge(pool, incident.id, actor="ann", now=world.now)
    await world.quiet()
    await world.pass_time(MINUTE)
    await world.desk.resolve(incident.id, actor="ann", now=world.now)
    await world.pass_time(MINUTE)
    await world.desk.reopen(incident.id, actor="ann", reason="merchants still complain", now=world.now)
    await world.pass_time(5 * MINUTE)
    again = await world.incident()
    assert (again.state, again.calm_at) == ("mitigating", None)
    await service.calm(pool, incident.id, actor="ann", reason="now it is", now=world.now)
    await world.pass_time(MINUTE)
    assert (await world.incident()).state == "monitoring"

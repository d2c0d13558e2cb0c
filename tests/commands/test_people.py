"""`holdfast people …` and `holdfast rota …`."""

import json
from datetime import UTC, datetime

import pytest

from holdfast.incidents import people, people_store, service, store
from holdfast.incidents.model import WEEK
from tests.incidents.shop import Shop, desk_of

NOW = datetime.now(UTC)


async def test_before_anybody_is_added_it_says_what_that_means_and_what_to_do(run):
    status, out, _ = await run("people", "list")
    assert (status, "anybody may do anything" in out, "holdfast people add" in out) == (0, True, True)
    status, out, _ = await run("rota", "show")
    assert (status, "There is no rota. Set one: holdfast rota set" in out) == (0, True)
    assert json.loads((await run("people", "list", "--json"))[1]) == {"people": []}
    assert json.loads((await run("rota", "show", "--json"))[1])["on_call"] is None


async def test_people_are_added_listed_changed_and_removed(run):
    status, out, err = await run("people", "add", "ana", "--name", "Ana Lima", "--email", "ana@example.com")
    assert status == 0, err
    assert out.strip() == "ana (Ana Lima) is on the team: responder, called by mail at ana@example.com."
    _, out, _ = await run("people", "add", "ana", "--role", "admin", "--json")
    changed = json.loads(out)
    assert (changed["name"], changed["email"], changed["role"]) == ("Ana Lima", "ana@example.com", "admin")
    _, out, _ = await run("people", "add", "ben")
    assert "no --email is known" in out
    _, out, _ = await run("people", "list")
    assert [line.split()[0] for line in out.splitlines()] == ["KEY", "ana", "ben"]
    assert (await run("people", "remove", "ben"))[1].strip() == "ben is no longer on the team."
    status, _, err = await run("people", "remove", "ben")
    assert (status, "there is nobody called 'ben'; see `holdfast people list`" in err) == (1, True)


async def test_the_rota_is_set_and_shown_with_who_is_on_call_now(run, pool):
    for key in ("ana", "ben", "caro"):
        await people.add(pool, key)
    begins = (NOW - WEEK).astimezone().isoformat(sep=" ", timespec="minutes")
    status, out, err = await run("rota", "set", "caro", "ana", "ben", "--handover", begins)
    assert status == 0, err
    assert "On call now: ana" in out
    _, out, _ = await run("rota", "show", "--weeks", "4", "--json")
    shown = json.loads(out)
    assert (shown["on_call"], shown["people"]) == ("ana", ["caro", "ana", "ben"])
    assert [week["person"] for week in shown["weeks"]] == ["ana", "ben", "caro", "ana"]
    _, out, _ = await run("rota", "show")
    assert NOW.astimezone().strftime("%Z") in out
    _, out, _ = await run("people", "list")
    assert "2, on call now" in out


async def test_who_has_weeks_in_the_rota_or_commands_an_incident_is_not_removed(run, pool):
    await people.add(pool, "ana")
    await people.set_rota(pool, ["ana"], NOW)
    status, _, err = await run("people", "remove", "ana")
    assert (status, "ana has weeks in the rota; set it without them first" in err) == (1, True)
    await people.add(pool, "ben")
    desk = desk_of(pool, Shop())
    incident = await desk.open("shop-slow", "Slow", actor="ben", now=NOW)
    await service.assign(pool, incident.id, "ben", actor="ben", now=NOW)
    status, _, err = await run("people", "remove", "ben")
    assert (status, f"holdfast incidents take {incident.id}" in err) == (1, True)
    await store.set_state(pool, incident.id, "resolved", NOW)
    assert (await run("people", "remove", "ben"))[0] == 0
    assert [one.key for one in await people_store.people(pool)] == ["ana"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("people", "add", "Ana"), 1, "'Ana' is not a person's key: write 1 to 63 lower-case letters"),
        (("people", "add", "ana", "--name", "\x07"), 1, "a name of 1 to 200 printable characters"),
        (("people", "add", "ana", "--email", "nowhere"), 1, "'nowhere' is not an e-mail address"),
        (("people", "add", "ana", "--role", "king"), 1, "'king' is no role; there are responder, admin"),
        (("rota", "set", "nobody", "--handover", "2026-11-30 09:00"), 1, "there is nobody called 'nobody'"),
        (("rota", "set", "a", "a", "--handover", "2026-11-30 09:00"), 1, "a is named twice"),
        (("rota", "set", "a", "--handover", "monday"), 2, "write 2026-11-30 09:00"),
        (("rota", "set", "a"), 2, "Missing option '--handover'"),
    ],
)
async def test_mistakes_are_explained(run, arguments, status, said):
    found, _, err = await run(*arguments)
    assert found == status, err
    assert said in " ".join(err.replace("│", " ").split())

"""`holdfast calls …` and `holdfast voicemails …`"""

import json

from tests.voice.stored import two_calls
from tests.voice.twilio import BAKERY, CALLER, DESK


async def sids(run, *arguments: str) -> list[str]:
    status, out, err = await run(*arguments, "--json")
    assert status == 0, err
    (found,) = json.loads(out).values()
    return [one["sid"] for one in found]


async def test_calls_are_listed_newest_first_and_filtered(run, pool):
    first, _, other = await two_calls(pool)
    assert await sids(run, "calls", "list") == [other, first]
    assert await sids(run, "calls", "list", "--limit", "1") == [other]
    assert await sids(run, "calls", "list", "--before", other) == [first]
    for chosen in (
        ("--merchant", "bakery"),
        ("--number", BAKERY),
        ("--outcome", "voicemail"),
        ("--caller", CALLER[-4:]),
        ("--until", "30s"),
    ):
        assert await sids(run, "calls", "list", *chosen) == [first], chosen
    assert await sids(run, "calls", "list", "--since", "30s") == [other]


async def test_a_call_is_shown_with_all_that_is_known_of_it(run, pool):
    first, left, _ = await two_calls(pool)
    status, out, err = await run("calls", "show", first)
    assert status == 0, err
    for said in (first, CALLER, BAKERY, "bakery", DESK, "no-answer", left, "13224", "Two loaves", "call.status"):
        assert said in out, said
    shown = json.loads((await run("calls", "show", first, "--json"))[1])
    assert [one["kind"] for one in shown["callbacks"]] == [
        "call.incoming",
        "call.dialed",
        "debugger",
        "call.recording",
        "call.status",
        "call.transcription",
    ]
    assert shown["callbacks"][0]["answered"] == f"dial {DESK}"
    assert shown["outcome"] == "voicemail"


async def test_voicemails_are_listed_and_shown(run, pool):
    _, left, _ = await two_calls(pool)
    assert await sids(run, "voicemails", "list", "--merchant", "bakery") == [left]
    assert await sids(run, "voicemails", "list", "--caller", "999") == []
    status, out, _ = await run("voicemails", "show", left)
    assert (status, "Two loaves, please." in out, "https://api.twilio.com" in out) == (0, True, True)


async def test_what_is_not_there_says_so(run, pool):
    for what, named in (("calls", "no call CA1"), ("voicemails", "no voicemail CA1")):
        status, _, err = await run(what, "show", "CA1")
        assert (status, named in err) == (1, True)
    assert "No calls." in (await run("calls", "list"))[1]
    status, _, err = await run("calls", "list", "--outcome", "great")
    assert (status, "abandoned" in err) == (2, True)

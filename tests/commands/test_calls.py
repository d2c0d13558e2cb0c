"""`holdfast numbers …`, `holdfast plans …`, `holdfast twilio accounts …`, and the levers of calls."""

import json

import pytest

from holdfast.twilio import store as accounts
from tests.processes import command
from tests.voice.lines import BAKERY, DESK, MOBILE

SUB = "AC" + "1" * 32
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def bakery(done) -> None:
    await done("merchants", "add", "bakery", "--name", "The Bakery", "--time-zone", "UTC")


@pytest.fixture
def refused(run):
    async def runner(*arguments: str, **settings: str) -> str:
        status, out, err = await run(*arguments, **settings)
        assert (status, out) == (1, "")
        return str(err)

    return runner


async def test_without_numbers_it_is_said_how_to_add_one(done):
    assert "No numbers yet. Add one: holdfast numbers add" in await done("numbers", "list")
    assert json.loads(await done("numbers", "list", "--json")) == {"numbers": []}


async def test_a_number_is_added_changed_shown_listed_and_removed(done, bakery):
    out = await done("numbers", "add", "+1 415 555 0100", "-m", "bakery", "-t", DESK, "-t", "sip:desk@example.com")
    assert out == f"{BAKERY} of bakery added; rings {DESK}, sip:desk@example.com.\n"
    out = await done("numbers", "add", "+442079460100")
    assert "of the company added; calls are asked for a message." in out
    assert "Say whom to ring: holdfast plans set +442079460100 --target" in out
    await done("numbers", "set", BAKERY, "--region", "US-west", "--stands-in")
    found = json.loads(await done("numbers", "show", BAKERY, "--json"))["number"]
    assert (found["merchant"], found["region"], found["stands_in"]) == ("bakery", "US-west", True)
    assert found["plan"] == {"targets": [DESK, "sip:desk@example.com"]}
    shown = await done("numbers", "show", BAKERY)
    for part in ("US-west", "rings +14155550111", "always", "not looked up yet", "main"):
        assert part in shown
    listed = json.loads(await done("numbers", "list", "--merchant", "bakery", "--json"))["numbers"]
    assert [one["phone"] for one in listed] == [BAKERY]
    assert "the company" in await done("numbers", "list", "--region", "GB")
    assert "No such numbers." in await done("numbers", "list", "--region", "FR")
    assert await done("numbers", "remove", BAKERY, "--yes") == f"{BAKERY} removed.\n"


async def test_what_cannot_be_done_with_a_number_is_said_with_what_to_do(done, refused, bakery):
    await done("numbers", "add", BAKERY, "-m", "bakery")
    assert "is there already; change it with `holdfast numbers set" in await refused("numbers", "add", BAKERY)
    assert "is not a phone number: write it with its country's code" in await refused("numbers", "add", "0415")
    assert "there is no merchant 'gym'" in await refused("numbers", "add", "+14155550101", "-m", "gym")
    assert "there is no merchant 'gym'" in await refused("numbers", "list", "-m", "gym")
    assert "add it with `holdfast twilio accounts add" in await refused("numbers", "set", BAKERY, "--account", SUB)
    for arguments in (("numbers", "show"), ("numbers", "set"), ("plans", "show"), ("plans", "remove")):
        assert "is none of our numbers; `holdfast numbers list`" in await refused(*arguments, "+14155550199")
    assert "is none of our numbers" in await refused("numbers", "remove", "+14155550199", "--yes")
    assert "give a plan file, or --target" in await refused("plans", "set", BAKERY)
    assert "target 1: 'desk' is not a phone number" in await refused("plans", "set", BAKERY, "-t", "desk")
    assert "cannot read nothing.yaml" in await refused("plans", "set", BAKERY, "nothing.yaml")


async def test_numbers_are_imported_whole_or_not_at_all(done, run, bakery, tmp_path):
    file = tmp_path / "numbers.csv"
    file.write_text(f"phone,merchant,targets\n{BAKERY},bakery,{DESK}\n+14155550101,gym,\n")
    status, out, err = await run("numbers", "import", str(file))
    assert (status, out) == (1, "")
    assert "line 3: there is no merchant 'gym'" in err
    assert "1 of 2 rows cannot be taken; nothing was changed" in err
    file.write_text(f"phone,merchant,targets\n{BAKERY},bakery,{DESK}\n")
    assert "1 numbers, all of them as they should be." in await done("numbers", "import", str(file), "--dry-run")
    assert "No numbers yet" in await done("numbers", "list")
    out = await done("numbers", "import", str(file))
    assert out == "1 numbers: 1 added, 0 changed, 0 as they were; 1 call plans set.\n"
    result = json.loads(await done("numbers", "import", str(file), "--json"))
    assert (result["rows"], result["added"], result["changed"], result["plans"]) == (1, 0, 0, 0)
    status, _, err = await run("numbers", "import", str(tmp_path / "none.csv"))
    assert (status, "cannot read" in err) == (1, True)


PLAN = f"""\
targets: [{DESK}, {MOBILE}]
hours: mon-fri 09:00-17:00
greeting: Welcome
"""


async def test_a_plan_is_set_explained_and_taken_away(done, bakery, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    await done("numbers", "add", BAKERY, "-m", "bakery")
    assert await done("plans", "set", BAKERY, str(file)) == f"{BAKERY} rings {DESK}, {MOBILE}.\n"
    out = await done("plans", "show", BAKERY, "--at", "2026-05-04T12:00+00:00")
    for part in (
        "The Bakery (bakery)",
        "mon-fri 09:00-17:00 (UTC)",
        "open; closes Mon 2026-05-04 17:00",
        f"1. rings {DESK} for 20 s (in its plan)",
        f"2. rings {MOBILE}",
        "3. takes a message (nobody answered): You have reached The Bakery.",
    ):
        assert part in out
    out = await done("plans", "show", BAKERY, "--at", "2026-05-03T12:00+00:00")
    assert "closed; opens Mon 2026-05-04 09:00" in out
    assert "1. takes a message (closed)" in out
    await done("levers", "set", "voice.avoid", "100", "--target", f"target:{DESK}")
    told = json.loads(await done("plans", "show", BAKERY, "--at", "2126-05-06T12:00+00:00", "--json"))
    assert [one["what"] for one in told["steps"]] == ["dial", "voicemail"]
    assert told["steps"][0]["target"] == MOBILE
    assert told["levers"] == [f"voice.avoid of target:{DESK}: 100 %"]
    out = await done("plans", "show", BAKERY, "--at", "2126-05-06T12:00+00:00")
    assert f"{DESK} is not rung: avoided" in out
    assert "Levers: voice.avoid of target:" in out
    assert "are asked for a message." in await done("plans", "remove", BAKERY)
    assert "are asked for a message, as before." in await done("plans", "remove", BAKERY)
    assert "takes a message (no plan)" in await done("plans", "show", BAKERY)


async def test_where_the_clock_of_a_plan_is_not_certain_it_is_said(run, done, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    status, _, err = await run("numbers", "add", "+18005550100", "--plan", str(file))
    assert (status, "is not certain: UTC is taken" in err) == (0, True)
    status, _, err = await run("plans", "set", "+18005550100", str(file))
    assert (status, "is not certain: UTC is taken" in err) == (0, True)


async def test_a_lever_of_calls_shows_whom_it_touches_before_it_is_turned(done, bakery):
    await done("numbers", "add", BAKERY, "-m", "bakery", "-t", DESK)
    out = await done("levers", "set", "voice.voicemail_only", "100", "--target", "merchant:bakery", "--dry-run")
    assert out == (
        "It would touch 1 number of The Bakery; 0 calls in the last hour.\n"
        "voice.voicemail_only of merchant:bakery would be 100. Nothing was changed (--dry-run).\n"
    )
    assert "Every lever is at its default." in await done("levers", "list")
    out = await done("levers", "set", "voice.voicemail_only", "100", "--target", "merchant:bakery")
    assert out.splitlines() == [
        "It touches 1 number of The Bakery; 0 calls in the last hour.",
        "voice.voicemail_only of merchant:bakery is 100, until it is cleared.",
    ]
    turned = json.loads(await done("levers", "set", "voice.avoid", "50", "-t", "region:FR", "--json"))
    assert (turned["value"], turned["reach"]) == (50, {"numbers": 0, "merchants": 0, "calls": 0, "first": []})
    would = json.loads(await done("levers", "set", "queue.paused", "on", "-t", "lane:bulk", "--json", "--dry-run"))
    assert would == {"name": "queue.paused", "target": "lane:bulk", "value": True, "dry_run": True}
    assert "voice.caller_id_pool" in await done("levers", "list", "--all")


async def test_a_subaccount_is_added_from_stdin_listed_and_removed_and_its_token_never_shown(
    database_url, pool, done, run, bakery
):
    status, out, err = await command(
        "twilio",
        "accounts",
        "add",
        SUB,
        "-m",
        "bakery",
        "--signing-key",
        "k1",
        database_url=database_url,
        stdin=f"{TOKEN}\nsecret-of-k1\n",
    )
    assert status == 0, err
    assert out == f"Account {SUB} added; what it signs is accepted within a second.\n"
    (kept,) = await accounts.accounts(pool)
    assert (kept.auth_token, kept.signing, kept.name) == (TOKEN, {"k1": "secret-of-k1"}, "The Bakery")
    shown = [out, err]
    for arguments in (("list",), ("list", "--json"), ("add", SUB, "--name", "Bakery's own", "--json")):
        status, out, err = await run("twilio", "accounts", *arguments, account_token=TOKEN[::-1])
        assert status == 0, err
        shown += [out, err]
    assert not any(secret in text for text in shown for secret in (TOKEN, TOKEN[::-1], "secret-of-k1"))
    (kept,) = await accounts.accounts(pool)
    assert (kept.auth_token, kept.signing, kept.name) == (TOKEN[::-1], {"k1": "secret-of-k1"}, "Bakery's own")
    listed = json.loads(await done("twilio", "accounts", "list", "--json"))
    assert listed == {
        "main": None,
        "accounts": [{"sid": SUB, "name": "Bakery's own", "merchant": "bakery", "signing_keys": 1, "old_tokens": 0}],
    }
    assert await done("twilio", "accounts", "remove", SUB, "-y") == f"Account {SUB} removed.\n"
    status, _, err = await run("twilio", "accounts", "remove", SUB, "-y")
    assert (status, f"there is no account {SUB}" in err) == (1, True)


async def test_a_token_is_rotated_with_the_old_one_kept_until_it_is_dropped(pool, done, refused):
    tokens = [letter * 32 for letter in "abc"]

    async def kept() -> tuple[str, tuple[str, ...]]:
        (account,) = await accounts.accounts(pool)
        return account.auth_token, account.former_tokens

    add = ("twilio", "accounts", "add", SUB)
    assert "no old token" in await refused(*add, "--keep-old", account_token=tokens[0])
    assert "no old token" in await refused(*add, "--drop-old")
    assert "give one of them" in await refused(*add, "--drop-old", "--keep-old", account_token=tokens[0])
    await done(*add, account_token=tokens[0])
    await done(*add, "--keep-old", account_token=tokens[0])
    assert await kept() == (tokens[0], ())
    shown = await done(*add, "--keep-old", account_token=tokens[1])
    assert await kept() == (tokens[1], (tokens[0],))
    await done(*add, "--keep-old", account_token=tokens[2])
    await done(*add, "--name", "Sub", account_token=tokens[2])
    assert await kept() == (tokens[2], (tokens[0], tokens[1]))
    shown += await done("twilio", "accounts", "list")
    (listed,) = json.loads(await done("twilio", "accounts", "list", "--json"))["accounts"]
    assert (listed["name"], listed["old_tokens"]) == ("Sub", 2)
    await done(*add, "--drop-old")
    assert await kept() == (tokens[2], ())
    assert not any(token in shown for token in tokens)


async def test_an_account_does_not_become_a_merchants_while_it_has_anothers_numbers(pool, done, refused, bakery):
    await done("merchants", "add", "gym", "--name", "The Gym")
    await done("twilio", "accounts", "add", SUB, account_token=TOKEN)
    for phone, key in ((BAKERY, "bakery"), ("+14155550101", "gym"), ("+14155550102", "")):
        await done("numbers", "add", phone, "-m", key, "--account", SUB)
    err = await refused("twilio", "accounts", "add", SUB, "-m", "gym", account_token=TOKEN)
    assert f"2 of its numbers are not that merchant's, and their calls would be refused: {BAKERY}, +14155550102." in err
    assert (await accounts.accounts(pool))[0].merchant_id == 0
    await done("numbers", "set", BAKERY, "-m", "gym")
    await done("numbers", "remove", "+14155550102", "--yes")
    await done("twilio", "accounts", "add", SUB, "-m", "gym", account_token=TOKEN)
    assert "which is another merchant's" in await refused("numbers", "set", BAKERY, "-m", "bakery")
    await done("twilio", "accounts", "add", SUB, "-m", "", account_token=TOKEN)
    await done("numbers", "set", BAKERY, "-m", "bakery")


async def test_an_account_that_cannot_be_is_refused_without_telling_its_token(refused, done):
    main = "AC" + "0" * 32
    options = {"twilio_account_sid": main, "twilio_auth_token": TOKEN}
    assert "is not an account's SID" in await refused("twilio", "accounts", "add", "AC1", account_token=TOKEN)
    err = await refused("twilio", "accounts", "add", SUB, account_token="short-secret")
    assert "this is not an auth token" in err
    assert "short-secret" not in err
    err = await refused("twilio", "accounts", "add", main, account_token=TOKEN, **options)
    assert "is the account of the settings" in err
    assert "stdin has none" in await refused("twilio", "accounts", "add", SUB)
    out = await done("twilio", "accounts", "list", **options)
    assert f"{main}  (main, of the settings)" in out
    assert TOKEN not in out
    assert "No accounts." in await done("twilio", "accounts", "list")

"""The audit by hand: what it prints, what it leaves, and when it fails."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio
from tests.drills.twilio_sdk import async_sdk
from tests.messaging.sent import text
from tests.messaging.texts import ANN, BAKERY, grant, town


@pytest.fixture
async def bad(pool):
    """A text of the bakery that no row of the ledger allowed."""
    merchant = (await town(pool)).bakery
    now = datetime.now(UTC)
    await grant(pool, merchant, ANN)
    number = await text(pool, merchant, ANN, now - timedelta(minutes=5))
    await pool.execute("UPDATE message SET consent_seq = NULL WHERE id = $1", number)
    return number


async def test_an_audit_of_nothing_says_so_and_is_well(done):
    said = await done("audit", "texts")
    assert "0 texts went out" in said
    assert "no account is set" in said
    assert "Nothing new was found" in said
    assert "Nothing is open" in await done("audit", "findings", "list")


async def test_what_is_found_fails_once_and_is_listed_until_it_is_settled(run, done, bad):
    status, out, _ = await run("audit", "texts", "--since", "2h")
    assert status == 1
    assert "New: 1 without a consent" in out
    again = json.loads(await done("audit", "texts", "--json"))
    assert (again["ok"], again["messages"], again["compared"]) == (True, 1, False)
    listed = json.loads(await done("audit", "findings", "list", "--merchant", "bakery", "--json"))["findings"]
    assert [(one["kind"], one["subject"], one["merchant"]) for one in listed] == [
        ("no_consent", f"message:{bad}", "bakery")
    ]
    number = str(listed[0]["id"])
    assert "is settled" in await done("audit", "findings", "settle", number, "--reason", "a test")
    assert "Nothing is open" in await done("audit", "findings", "list")
    assert "a test" in await done("audit", "findings", "list", "--all")
    status, _, err = await run("audit", "findings", "settle", number, "--reason", "again")
    assert (status, "was settled by" in err) == (1, True)


async def test_many_findings_are_settled_at_once_and_which_has_to_be_said(run, done, bad):
    await run("audit", "texts", "--since", "2h")
    for arguments in ((), ("1", "--all"), ("--kind", "odd")):
        status, _, err = await run("audit", "findings", "settle", *arguments, "--reason", "known")
        assert (status, "kind" in err) == (2, True)
    assert (await run("audit", "findings", "settle", "--all"))[0] == 2
    assert "None of these" in await done("audit", "findings", "settle", "--merchant", "garage", "--reason", "known")
    said = await done("audit", "findings", "settle", "--kind", "no_consent", "--reason", "known", "--json")
    assert json.loads(said)["settled"] == 1
    assert "Nothing is open" in await done("audit", "findings", "list")


async def test_twilios_list_is_compared_too(run, pool):
    await town(pool)
    async with EmulatedTwilio(speed=200) as twilio:
        twilio.add_number(BAKERY)
        async with async_sdk(twilio) as sdk:
            await sdk.messages.create_async(to=ANN, from_=BAKERY, body="Sale!")
        await twilio.settled()
        status, out, _ = await run(
            "audit",
            "texts",
            "--json",
            twilio_account_sid=DEFAULT_ACCOUNT_SID,
            twilio_auth_token=DEFAULT_AUTH_TOKEN,
            twilio_api_url=twilio.url,
        )
    report = json.loads(out)
    assert (status, report["compared"], report["ok"]) == (1, True, False)
    assert len(report["found"]["bypassed"]) == 1


@pytest.mark.parametrize(
    "arguments", [("texts", "--since", "60d"), ("findings", "list", "--kind", "odd"), ("texts", "--since", "soon")]
)
async def test_wrong_usage_is_said(run, arguments):
    status, _, err = await run("audit", *arguments)
    assert status == 2
    assert "since" in err or "kind" in err or "not a time" in err

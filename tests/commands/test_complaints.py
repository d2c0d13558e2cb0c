"""`holdfast complaints …`: a complaint worked from a terminal."""

import json

import pytest

from tests.messaging.texts import ANN, ask, grant, town


@pytest.fixture
async def place(pool):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, origin="spring", detail={"ip": "192.0.2.7"})
    return found


async def test_a_complaint_from_the_first_word_to_its_cause(pool, done, place, tmp_path):
    assert await done("complaints", "list") == "No complaint is open.\n"
    await ask(pool, place.bakery, ANN)
    said = await done("complaints", "file", ANN, "--said", "Never again!", "--merchant", "bakery", "--as", "sue")
    assert said.startswith("Complaint 1 is filed: no merchant texts them any more; 1 waiting texts cancelled.")
    shown = await done("complaints", "show", "1")
    for part in (
        "answer due in",
        "“Never again!”",
        f"person     {ANN}",
        "for every merchant since",
        "bakery, marketing",
        "ip 192.0.2.7",
        "They had not said stop before.",
        "cancelled (suppressed)",
        "The same way (form spring of bakery): 1 people",
        "holdfast complaints answer 1 --how phone",
    ):
        assert part in shown, part
    document = json.loads(await done("complaints", "show", "1", "--json"))
    assert (document["id"], document["cohorts"][0]["way"]) == (1, "form spring")
    assert "We are sorry" in await done("complaints", "reply", "1")
    assert "answered in time: the person was told by phone" in await done(
        "complaints", "answer", "1", "--how", "phone", "--text", "Sorry.", "--as", "sue"
    )
    assert "is closed" in await done("complaints", "close", "1", "--cause", "An old list.", "--as", "sue")
    assert await done("complaints", "list") == "No complaint is open.\n"
    listed = json.loads(await done("complaints", "list", "--all", "--json"))
    assert [one["cause"] for one in listed["complaints"]] == ["An old list."]
    file = tmp_path / "complaint.zip"
    assert "SHA-256" in await done("complaints", "export", "1", "--out", str(file))
    assert "as it was written" in await done("complaints", "check", str(file))
    assert file.stat().st_mode & 0o777 == 0o600


async def test_mail_is_only_suggested_where_it_is_set_up(run, done, place):
    await done("complaints", "file", ANN, "--answer-to", "ann@example.com")
    shown = await done("complaints", "show", "1")
    assert "--how email --text" in shown
    assert "mail is not set up (HOLDFAST_SMTP_URL): mail it yourself" in shown
    _, shown, _ = await run("complaints", "show", "1", smtp_url="smtp://127.0.0.1:9")
    assert "answer 1 --how email --send" in shown
    assert "not set up" not in shown


async def test_what_is_not_proved_is_exit_1_and_says_why(run, done, place):
    await done("complaints", "file", ANN, "--key", "t-1")
    assert "was filed before" in await done("complaints", "file", ANN, "--key", "t-1")
    status, out, _ = await run("complaints", "prove", "1")
    assert (status, "Not proved" in out, "HOLDFAST_TWILIO_ACCOUNT_SID" in out) == (1, True, True)
    status, out, _ = await run("complaints", "prove", "1", "--json")
    assert (status, json.loads(out)["sent_since"]) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("file",), 2, "give the person's number, or --text SID"),
        (("file", ANN, "--text", "SM1"), 2, "or --text SID"),
        (("file", "--text", "SM1", "--said", "x"), 2, "says all of it"),
        (("file", "--text", "SM1"), 1, "no text 'SM1'"),
        (("file", ANN, "--merchant", "nobody"), 1, "no merchant 'nobody'"),
        (("show", "9"), 1, "no complaint 9"),
        (("answer", "9", "--how", "fax", "--text", "x"), 2, "no way to answer"),
        (("answer", "9", "--how", "phone"), 2, "say what they were told"),
        (("check", "/nowhere.zip"), 1, "cannot be read"),
    ],
)
async def test_a_mistake_says_what_to_write(run, place, arguments, status, said):
    found, out, err = await run("complaints", *arguments)
    assert found == status
    assert said in " ".join((out + err).replace("│", " ").split())

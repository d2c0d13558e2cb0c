"""`holdfast status …`"""

import json
from xml.etree import ElementTree

import pytest

from holdfast.comms import status_store, subscribing
from tests.comms.incidents import NOON, moved, opened
from tests.processes import command_here


@pytest.fixture
def run(database_url, pool):
    async def runner(*arguments: str) -> tuple[int, str, str]:
        return await command_here(
            "status", *arguments, database_url=database_url, public_url="https://status.example", status_name="Acme"
        )

    return runner


async def test_what_is_published_is_shown(run, pool):
    status, out, err = await run("show")
    assert (status, "All Systems Operational" in out, "100.00 %" in out) == (0, True, True), err
    incident = await opened(pool)
    status, out, err = await run(
        "publish", str(incident.id), "investigating", "We look.", "-c", "api=partial_outage", "--impact", "major"
    )
    assert (status, out.strip()) == (0, "Published: Payment events are delayed"), err
    status, out, _ = await run("show")
    for words in ("Partial System Outage", "Partial outage", "Degraded performance", "Investigating: We look."):
        assert words in out
    status, out, _ = await run("show", "--json")
    shown = json.loads(out)
    assert shown["indicator"] == "major"
    assert {one["key"]: one["state"] for one in shown["components"]} == {
        "calls": "operational",
        "payments": "degraded_performance",
        "notifications": "operational",
        "api": "partial_outage",
    }
    assert shown["open"][0]["updates"][0]["body"] == "We look."


async def test_under_a_key_it_is_published_once(run, pool):
    incident = await opened(pool)
    published = [
        json.loads((await run("publish", str(incident.id), "investigating", "x", "--key", "k", "--json"))[1])[
            "published"
        ]
        for _ in range(2)
    ]
    assert published == [True, False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("99", "investigating", "x"), "there is no incident 99"),
        (("1", "fine", "x"), "write investigating, identified, monitoring, resolved"),
        (("1", "investigating", " "), "an update has 1 to 4000 characters"),
        (("1", "investigating", "x", "-c", "api"), "write NAME=STATE"),
        (("1", "investigating", "x", "-c", "fax=operational"), "there are calls, payments, notifications, api"),
        (("1", "investigating", "x", "--impact", "huge"), "write none, minor, major, critical"),
    ],
)
async def test_mistakes_are_answered_with_what_to_write(run, pool, arguments, said):
    await opened(pool)
    status, out, err = await run("publish", *arguments)
    assert (status, out, said in err) == (1, "", True), err


async def test_a_merged_incident_points_to_the_whole(run, pool):
    part, whole = await opened(pool, scope="a"), await opened(pool, scope="b")
    await pool.execute("UPDATE incident SET merged_into = $2 WHERE id = $1", part.id, whole.id)
    status, _, err = await run("publish", str(part.id), "investigating", "x")
    assert (status, "publish of that one" in err) == (1, True)


async def test_subscribers_are_listed_without_what_signs_their_links(run, pool):
    status, out, _ = await run("subscribers")
    assert (status, out.strip()) == (0, "Nobody is subscribed.")
    async with pool.acquire() as connection:
        await status_store.ask(
            connection,
            "ann@shop.example",
            "handle",
            "very-secret",
            pause=subscribing.PAUSE,
            window=subscribing.WINDOW,
            most=10,
            now=NOON,
        )
    status, out, _ = await run("subscribers")
    assert "ann@shop.example" in out
    assert "not yet" in out
    status, out, _ = await run("subscribers", "--json")
    (found,) = json.loads(out)["subscribers"]
    assert (found["email"], found["confirmed_at"]) == ("ann@shop.example", None)
    assert "very-secret" not in out


async def test_the_page_is_exported_as_files(run, pool, tmp_path):
    await run("publish", str((await opened(pool)).id), "investigating", "We look.")
    status, out, err = await run("export", str(tmp_path / "site"), "--json")
    assert status == 0, err
    assert str(tmp_path / "site" / "index.html") in json.loads(out)["files"]
    assert "We look." in (tmp_path / "site" / "index.html").read_text()
    assert json.loads((tmp_path / "site" / "api/v2/summary.json").read_text())["page"]["name"] == "Acme"
    assert ElementTree.fromstring((tmp_path / "site" / "feed.atom").read_bytes()).tag.endswith("feed")
    (tmp_path / "file").write_text("")
    status, _, err = await run("export", str(tmp_path / "file"))
    assert (status, "cannot write to" in err) == (1, True)


async def test_a_resolved_incident_is_not_open_any_more(run, pool):
    incident = await moved(pool, await opened(pool), "resolved")
    await run("publish", str(incident.id), "investigating", "We look.")
    await run("publish", str(incident.id), "resolved", "Over.")
    shown = json.loads((await run("show", "--json"))[1])
    assert (shown["open"], shown["past"], shown["indicator"]) == ([], 1, "none")

"""`holdfast reviews …`"""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.review import service
from tests.processes import command_here
from tests.review import storm


@pytest.fixture
def run(database_url, pool):
    async def runner(*arguments: str, **settings: str) -> tuple[int, str, str]:
        return await command_here("reviews", *arguments, database_url=database_url, **{"person": "ada"} | settings)

    return runner


@pytest.fixture
async def number(pool) -> str:
    await storm.traffic(pool)
    return str((await storm.worked(pool)).id)


async def test_before_anything_has_happened_every_list_says_so(run):
    assert (await run("list"))[1].strip() == "No incident has resolved yet."
    assert (await run("list", "--open"))[1].strip() == "No incident waits for its review."
    assert (await run("item", "list"))[1].strip() == "No action items."
    assert "No incident was opened since" in (await run("trends"))[1]
    for arguments, key in ((("list",), "reviews"), (("item", "list"), "items"), (("trends",), "runbooks")):
        assert json.loads((await run(*arguments, "--json"))[1])[key] == []


async def test_a_review_is_worked_from_the_terminal_from_draft_to_closed(run, database_url, number, tmp_path):
    assert "not drafted" in (await run("list"))[1]
    _, out, _ = await run("show", number)
    for said in (
        "Of 4 events received meanwhile 2 were routed late",
        "lacks",
        "the root cause and the verdict",
        "by hand",
    ):
        assert said in out, out
    status, _, err = await run("close", number)
    assert (status, "lacks the root cause and the verdict on the runbook" in err) == (1, True)

    _, out, err = await run("write", number, "--root-cause", "A bad deploy.", "--as", "ada")
    assert (out.strip(), "it needs the verdict" in err) == (f"Written into the review of incident {number}.", True)
    _, out, _ = await run("item", "add", number, "Alert sooner", "--owner", "ada", "--due", "3d")
    assert "for ada, due" in out
    _, out, _ = await run("item", "list", "--json")
    (item,) = json.loads(out)["items"]
    assert (item["text"], item["state"]) == ("Alert sooner", "open")
    assert (await run("item", "done", str(item["id"])))[1].strip() == "Done: Alert sooner"
    assert (await run("item", "list"))[1].strip() == "No action items."
    assert "done" in (await run("item", "list", number, "--all"))[1]

    better = tmp_path / "better.md"
    better.write_text(storm.TEXT + "   - [ ] Add workers\n")
    assert "holdfast reviews diff" in (await run("propose", number, "--file", str(better)))[1]
    _, out, _ = await run("diff", number)
    runbooks = ("runbooks", "diff", "stripe-retry-storm", "--review", number)
    assert (await command_here(*runbooks, database_url=database_url))[1] == out
    (tmp_path / "stripe-retry-storm.md").write_text(storm.TEXT)
    subprocess.run(["git", "apply", "-"], input=out.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "stripe-retry-storm.md").read_text() == better.read_text()

    assert (await run("verdict", number, "changed", "--because", "workers"))[0] == 0
    assert "is reviewed" in (await run("close", number))[1]
    assert "closed by ada" in (await run("list"))[1]
    assert (await run("list", "--open"))[1].strip() == "No incident waits for its review."
    status, _, err = await run("write", number, "--lessons", "late")
    assert (status, "it stays as it is" in err) == (1, True)


async def test_a_proposal_that_is_no_runbook_or_another_one_is_refused(run, number, tmp_path):
    file = tmp_path / "worse.md"
    file.write_text(storm.TEXT + "   - [ ] Add workers `do: no.such`\n")
    status, _, err = await run("propose", number, "--file", str(file))
    assert (status, "stripe-retry-storm.md:13: there is no action 'no.such'" in err) == (1, True), err
    file.write_text(storm.TEXT.replace("id: stripe-retry-storm", "id: other"))
    status, _, err = await run("propose", number, "--file", str(file))
    assert (status, "id: 'other' is not the file's name; write `id: stripe-retry-storm`" in err) == (1, True), err


async def test_only_the_team_writes_in_a_review(run, number):
    status, _, err = await run("write", number, "--lessons", "x", "--as", "eve")
    assert (status, "'eve' is not on the team (ada)" in err) == (1, True)


async def test_root_cause_and_lessons_come_from_a_file(run, number, tmp_path):
    file = tmp_path / "review.md"
    file.write_text("intro\n\n## Root cause\nA bad\ndeploy.\n\n# Lessons\n- Canary first.\n")
    _, out, _ = await run("write", number, "--file", str(file), "--json")
    made = json.loads(out)
    assert (made["root_cause"], made["lessons"]) == ("A bad\ndeploy.", "- Canary first.")
    file.write_text("nothing")
    assert "neither a heading `# Root cause` nor `# Lessons`" in (await run("write", number, "--file", str(file)))[2]


@pytest.mark.parametrize(
    ("name", "begins"), [("r.md", b"# Review"), ("r.html", b"<!doctype html>"), ("r.pdf", b"%PDF")]
)
async def test_a_review_is_exported_in_the_form_that_the_file_is_named_for(run, number, tmp_path, name, begins):
    file = tmp_path / name
    status, out, err = await run("export", number, "--out", str(file), "--json")
    assert status == 0, err
    assert json.loads(out)["bytes"] == file.stat().st_size
    assert file.read_bytes().startswith(begins)


async def test_everything_of_a_review_is_one_json_document(run, number):
    found = json.loads((await run("show", number, "--json"))[1])
    assert found["figures"]["impact"]["duplicates"] == 40
    assert found["figures"]["times"]["recover"] == 2400
    assert found["missing"] == ["the root cause", "the verdict on the runbook"]
    assert len(found["timeline"]) < sum(len(line["entries"]) for line in found["timeline"])


async def test_trends_are_shown_by_runbook(run, pool):
    began = datetime.now(UTC) - timedelta(days=2)
    made = await storm.resolved(pool, began=began)
    await service.draft(pool, made.id, began + timedelta(hours=2))
    _, out, _ = await run("trends", "--since", "30d")
    assert "stripe-retry-storm" in out
    assert "40 min" in out
    assert "No step failed" in out
    assert json.loads((await run("trends", "--json"))[1])["runbooks"][0]["recover"] == 2400


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("show", "99"), 1, "there is no incident 99; see `holdfast reviews list`"),
        (("write", "1"), 2, "give --root-cause, --lessons or --file"),
        (("write", "1", "--file", "/nowhere"), 1, "/nowhere cannot be read"),
        (("propose", "1", "--file", "/nowhere"), 1, "/nowhere cannot be read"),
        (("verdict", "1", "perhaps", "--because", "x"), 2, "write unchanged or changed"),
        (("export", "1", "--out", "review.doc"), 2, "--format takes md, html, pdf"),
        (("export", "1", "--out", "-", "-f", "md", "--json"), 2, "with --json the review goes to a file"),
        (("item", "add", "1", "x", "--due", "soon"), 2, "is not a time"),
        (("item", "done", "7"), 1, "there is no action item 7"),
    ],
)
async def test_a_mistake_is_told(run, arguments, status, said):
    found, _, err = await run(*arguments)
    assert found == status, err
    assert said in " ".join(err.replace("│", " ").split())

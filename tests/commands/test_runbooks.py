"""`holdfast runbooks …`"""

import json
import subprocess
from datetime import timedelta

import pytest

from holdfast import actions, durations
from holdfast.incidents import service
from holdfast.runbooks import library
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Outcome, Run
from tests.processes import command_here
from tests.runbooks.written import registry, runbook

BODY = """
Read *this* first.

## Immediate actions
1. **Look** at it
   - [ ] How slow is it? `check: shop.look pages=7`
   - [ ] Nobody buys for now `ask: shop.read_only role=commander`
## Communication
- [ ] Say so `every 45m: shop.tell text='still slow'`
- [ ] Say it once `do: shop.tell id=once`
## Recovery
- [ ] Thank everybody
"""


@pytest.fixture
def directories(monkeypatch, tmp_path):
    """The product's and the user's."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir()
    own.mkdir()
    monkeypatch.setattr(library, "SHIPPED", shipped)
    return shipped, own


@pytest.fixture
def known(monkeypatch):
    """The actions that there are."""
    made = registry()
    monkeypatch.setattr(actions, "registry", lambda: made)
    monkeypatch.setattr(actions, "missing", lambda: ())
    return made


@pytest.fixture
def run(directories, known):
    async def runner(*arguments: str, **settings: str) -> tuple[int, str, str]:
        return await command_here("runbooks", *arguments, runbooks_dir=str(directories[1]), **settings)

    return runner


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


async def test_without_a_runbook_the_list_says_how_to_get_one(run):
    status, out, _ = await run("list")
    assert (status, words(out).startswith("There is no runbook. Write one into a directory")) == (0, True)
    assert json.loads((await run("list", "--json"))[1]) == {"runbooks": [], "mistakes": []}


async def test_runbooks_are_listed_with_their_steps_by_kind_and_whose_they_are(run, directories):
    shipped, own = directories
    (shipped / "shop-slow.md").write_text(runbook(BODY))
    (own / "shop-fast.md").write_text(runbook(BODY, id="shop-fast").replace("[shop-slow]", "[]"))
    (own / "broken.md").write_text("x")
    status, out, err = await run("list")
    assert status == 0
    fast, slow = out.splitlines()[1:]
    assert "1 check, 1 ask, 1 every, 1 do, 1 person" in fast
    assert "yours" in fast
    assert "shop-slow  " in slow
    assert "shipped" in slow
    assert "mistakes in other files; see `holdfast runbooks check`" in err
    listed = json.loads((await run("list", "--json"))[1])
    assert [one["id"] for one in listed["runbooks"]] == ["shop-fast", "shop-slow"]
    assert listed["runbooks"][1]["version"] in slow
    assert listed["runbooks"][1]["clocks"] == {"acknowledge": 300.0, "update": 1800.0}
    assert listed["mistakes"]


async def test_a_runbook_is_shown_as_people_read_it_and_with_what_its_steps_run(run, directories):
    (directories[1] / "shop-slow.md").write_text(runbook(BODY))
    status, out, err = await run("show", "shop-slow")
    assert status == 0, err
    for said in (
        "within 5m",
        "Read this first.",
        "shop.look pages=7",
        "See how slow it is.",
        "shop.tell text='still slow'",
        "commander",
        "thank-everybody",
    ):
        assert said in out
    assert "severity: critical" not in out
    shown = json.loads((await run("show", "shop-slow", "--json"))[1])
    assert shown["text"] == runbook(BODY)
    assert shown["steps"][2]["every"] == 2700.0


async def test_every_action_is_shown_with_its_parameters(run):
    _, out, _ = await run("show", "--actions")
    shown = words(out)
    for said in (
        "shop.look pages=whole number, 100 if left out - See how slow it is.",
        "to=team or all, team if left out",
        "per_page=mapping, needed",
        "within=time such as 30m, 5m if left out",
        "shop.read_only - after 2h Nobody can buy for a while.",
    ):
        assert said in shown
    found = json.loads((await run("show", "--actions", "--json"))[1])["actions"]
    assert {one["name"]: one["expires"] for one in found}["shop.read_only"] == 7200.0


async def test_a_check_tells_every_mistake_and_fails(run, directories):
    own = directories[1]
    (own / "shop-slow.md").write_text(runbook("## Recovery\n- [ ] a `do: shop.lok`\n- [ ] b `do: shop.look pages=x`\n"))
    status, out, err = await run("check")
    assert status == 1
    assert [line.partition("shop-slow.md")[2][:28] for line in out.splitlines()] == [
        ":12: there is no action 'sho",
        ":13: shop.look pages: Input ",
    ]
    assert err.strip() == "2 mistakes."
    status, out, _ = await run("check", "--json")
    assert (status, len(json.loads(out)["mistakes"])) == (1, 2)


async def test_a_check_says_that_all_is_well(run, directories):
    assert (await run("check"))[:2] == (0, "There is no runbook to check.\n")
    (directories[1] / "shop-slow.md").write_text(runbook(BODY))
    assert (await run("check"))[:2] == (0, "1 runbook with 5 steps is right.\n")
    assert json.loads((await run("check", "--json"))[1]) == {"right": ["shop-slow"], "mistakes": []}


async def test_files_and_directories_are_checked_wherever_they_are(run, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    status, out, _ = await run("check", str(elsewhere))
    assert (status, "there is no runbook in it; its files end in .md" in out) == (1, True)
    (elsewhere / "one.md").write_text(runbook(BODY, id="one"))
    (elsewhere / "two.md").write_text(runbook(BODY, id="two"))
    assert (await run("check", str(elsewhere / "one.md")))[0] == 0
    status, out, _ = await run("check", str(elsewhere), str(elsewhere / "three.md"))
    assert status == 1
    assert "three.md:1: it cannot be read: No such file or directory" in out
    assert "two.md:4: trigger 'shop-slow' is that of one; remove it from one" in out


async def test_actions_that_a_package_lacks_are_a_mistake(run, monkeypatch):
    monkeypatch.setattr(actions, "missing", lambda: ("ours (ours.actions): ImportError: no",))
    status, out, _ = await run("check")
    assert (status, out) == (1, "missing actions: ours (ours.actions): ImportError: no\n")
    assert "Some actions are missing: ours" in (await run("list"))[2]


async def test_what_the_user_changed_is_a_patch_that_applies(run, directories, tmp_path):
    shipped, own = directories
    (shipped / "shop-slow.md").write_text(runbook(BODY))
    assert (await run("diff", "shop-slow")) == (0, "", "shop-slow is as shipped.\n")
    changed = runbook(BODY).replace("Read *this* first.", "Read [that] " + "very " * 60 + "carefully")
    (own / "shop-slow.md").write_text(changed)
    status, out, err = await run("diff", "shop-slow")
    assert (status, err) == (0, "")
    for program in (("patch", "-p1", "-s"), ("git", "apply")):
        where = tmp_path / program[0]
        where.mkdir()
        (where / "shop-slow.md").write_text(runbook(BODY))
        subprocess.run(program, input=out.encode(), cwd=where, check=True)
        assert (where / "shop-slow.md").read_text() == changed
    document = json.loads((await run("diff", "shop-slow", "--json"))[1])
    assert document == {"id": "shop-slow", "differs": True, "patch": out}


async def test_a_dry_run_tells_what_would_happen_in_order_and_runs_nothing(run, directories, known):
    @known.action("shop.explode")
    async def explode(run: Run) -> Outcome:
        """Must not run."""
        raise AssertionError

    (directories[1] / "shop-slow.md").write_text(
        runbook(BODY + "- [ ] Boom `do: shop.explode`\n- [ ] `x` `check: shop.explode id=y`")
    )
    status, out, err = await run("test", "shop-slow")
    assert status == 0, err
    told = [
        "Immediate actions 1. Look: How slow is it? check: shop.look pages=7 - looks by itself",
        "2. Look: Nobody buys for now ask: shop.read_only - the commander is asked first",
        "changes something: it is verified, can be undone, and expires after 2h",
        "Communication 3. Say so every: shop.tell text='still slow' - runs by itself every 45m while",
        "4. Say it once do: shop.tell",
        "Recovery 5. Thank everybody person: id=thank-everybody - a responder does it and ticks it off",
        "7 steps: 2 check, 1 ask, 1 every, 2 do, 1 person; nothing was run.",
    ]
    places = [words(out).index(one) for one in told]
    assert places == sorted(places)
    document = json.loads((await run("test", "shop-slow", "--json"))[1])
    assert [one["key"] for one in document["steps"]][:2] == ["shop.look", "shop.read_only"]
    assert (document["steps"][0]["outcome"], document["failed"]) == (None, [])


async def test_with_checks_a_dry_run_looks_for_real_and_stores_nothing(run, directories, known, database_url, pool):
    @known.action("shop.incidents")
    async def incidents(run: Run) -> Outcome:
        """Count incidents."""
        number = await run.pool.fetchval("SELECT count(*) FROM incident")
        return NotApplicable(f"{number} incidents, this is {run.incident.id} at {run.key}", {"number": number})

    @known.action("shop.log", proof=True)
    async def log(run: Run) -> Outcome:
        """Look at the incident itself."""
        return Done((await service.get(run.pool, run.incident.id)).title)

    more = "- [ ] Any? `check: shop.incidents`\n- [ ] Which? `check: shop.log`\n"
    (directories[1] / "shop-slow.md").write_text(runbook(BODY + more))
    status, out, err = await run("test", "shop-slow", "--checks", database_url=database_url)
    assert status == 0, err
    assert "-> done: looked at 7 pages for shop.look pages: 7" in words(out)
    assert "-> not applicable: 0 incidents, this is 0 at incident-0/shop.incidents/1 number: 0" in words(out)
    assert "shop.log - looks by itself; the incident does not resolve before it is done" in words(out)
    assert "-> not applicable: it wants what a dry run has not: there is no incident 0" in words(out)
    assert "3 checks ran, 0 failed." in out
    assert await pool.fetchval("SELECT count(*) FROM incident") == 0


async def test_a_check_that_fails_breaks_or_returns_nothing_fails_the_dry_run(
    run, directories, known, database_url, pool
):
    @known.action("shop.fails")
    async def fails(run: Run) -> Outcome:
        """Fails."""
        return Failed("it is closed")

    @known.action("shop.breaks")
    async def breaks(run: Run) -> Outcome:
        """Breaks."""
        raise OSError("no route")

    @known.action("shop.nothing")
    async def nothing(run: Run) -> Outcome:
        """Returns nothing."""
        return None  # type: ignore[return-value]

    @known.action("shop.works")
    async def works(run: Run, *, after: timedelta = timedelta(seconds=1)) -> Outcome:
        """Works."""
        return Done("fine")

    steps = [f"- [ ] x `check: shop.{name}`" for name in ("fails", "breaks", "nothing", "works")]
    (directories[1] / "shop-slow.md").write_text(runbook("## Recovery\n" + "\n".join(steps)))
    status, out, _ = await run("test", "shop-slow", "--checks", "--json", database_url=database_url)
    document = json.loads(out)
    assert (status, document["failed"]) == (1, ["shop.fails", "shop.breaks", "shop.nothing"])
    assert [one["outcome"]["said"] for one in document["steps"]] == [
        "it is closed",
        "OSError: no route",
        "it returned None, not Done, NotApplicable, Waiting or Failed",
        "fine",
    ]


async def test_a_broken_file_is_not_rehearsed_in_place_of_the_shipped_one(run, directories):
    shipped, own = directories
    (shipped / "shop-slow.md").write_text(runbook(BODY))
    (own / "shop-slow.md").write_text(runbook("## Recovery\n"))
    status, out, err = await run("test", "shop-slow")
    assert (status, out) == (1, "")
    assert "own/shop-slow.md:1: there is no step" in err
    status, _, err = await run("show", "shop-slow")
    assert status == 0
    assert "The file as it is now has mistakes, and is not what is shown" in err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("show", "none"), 1, "holdfast: there is no runbook 'none'; there are: none"),
        (("test", "none"), 1, "there is no runbook 'none'"),
        (("diff", "none"), 1, "there is no runbook 'none'"),
        (("show",), 2, "name a runbook (see `holdfast runbooks list`), or write --actions"),
        (("show", "x", "--actions"), 2, "name a runbook"),
    ],
)
async def test_a_mistake_is_told(run, arguments, status, said):
    found, _, err = await run(*arguments)
    assert found == status
    assert said in words(err)


@pytest.mark.parametrize("text", ["90s", "30m", "2h", "1d", "3w", "90m"])
def test_a_length_of_time_is_written_as_it_is_read(text):
    assert durations.write(durations.read(text)) == text

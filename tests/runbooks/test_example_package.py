"""A package of the user's own brings actions; a runbook in the user's directory uses them."""

import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest

from holdfast.inbox import store as inbox
from holdfast.queue.model import Lane
from tests.inbox.events import event, new
from tests.processes import REPO, command

PACKAGE = Path(__file__).parent / "example_package"
RUNBOOK = """\
---
id: bakery-quiet
title: No orders come in
triggers: []
severity: warning
---
## Immediate actions
- [ ] Do payments still come in? `check: bakery.orders at_least=2`
- [ ] Call the shop
"""


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package as installers leave it: its module, and beside it what it says of itself."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    place = tmp_path / "site"
    about = place / f"bakery_actions-{project['version']}.dist-info"
    about.mkdir(parents=True)
    shutil.copy(PACKAGE / "bakery_actions.py", place)
    about.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {module}\n" for name, module in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    about.joinpath("entry_points.txt").write_text("\n".join(lines))
    there = os.environ.get("PYTHONPATH", str(REPO / "src"))
    monkeypatch.setenv("PYTHONPATH", f"{place}{os.pathsep}{there}")
    return place


@pytest.fixture
def own(tmp_path) -> str:
    directory = tmp_path / "own"
    directory.mkdir()
    directory.joinpath("bakery-quiet.md").write_text(RUNBOOK)
    return str(directory)


async def test_without_the_package_its_action_is_a_mistake(own):
    status, out, _ = await command("runbooks", "check", runbooks_dir=own)
    assert status == 1
    assert "bakery-quiet.md:8: there is no action 'bakery.orders'" in out


async def test_with_the_package_the_runbook_is_right_and_the_action_is_shown(installed, own):
    status, out, err = await command("runbooks", "check", f"{own}/bakery-quiet.md")
    assert (status, out) == (0, "1 runbook with 2 steps is right.\n"), err
    _, out, _ = await command("runbooks", "show", "--actions")
    assert "at_least=whole number, 1 if left out" in out
    status, out, err = await command("runbooks", "check", "--json", runbooks_dir=own)
    assert (status, "bakery-quiet" in json.loads(out)["right"]) == (0, True), out


async def test_its_action_runs_on_the_database(installed, own, database_url, pool):
    said = ("runbooks", "test", "bakery-quiet", "--checks")
    status, out, err = await command(*said, runbooks_dir=own, database_url=database_url)
    assert (status, "-> failed: only 0 events since" in out) == (1, True), out + err
    await inbox.append(pool, [new(event()), new(event())], [Lane.CRITICAL] * 2, [0] * 2)
    status, out, err = await command(*said, "--json", runbooks_dir=own, database_url=database_url)
    assert status == 0, err
    outcome = json.loads(out)["steps"][0]["outcome"]
    assert (outcome["outcome"], outcome["evidence"]) == ("done", {"events": 2})


async def test_a_package_that_cannot_be_imported_is_told_and_stops_nothing_else(installed, own):
    (installed / "bakery_actions.py").write_text("import no_such_module\n")
    status, out, _ = await command("runbooks", "check", runbooks_dir=own)
    assert status == 1
    assert "missing actions: bakery (bakery_actions): ModuleNotFoundError: No module named 'no_such_module'" in out
    status, _, err = await command("runbooks", "list", "--json", runbooks_dir=own)
    assert status == 0
    assert "Some actions are missing: bakery" in err

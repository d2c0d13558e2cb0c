"""Which runbooks there are, which answers an alert, and that an edit never takes a working one away."""

import subprocess
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import LogCapture

from holdfast import config
from holdfast.config import SettingsError
from holdfast.runbooks import library
from holdfast.runbooks.library import Library, patch
from holdfast.runbooks.model import Runbook, RunbookError
from tests.runbooks.written import registry, runbook

REGISTRY = registry()
BODY = "## Recovery\n- [ ] Look `check: shop.look`\n- [ ] Rest\n"


class Directories:
    """The product's and the user's."""

    def __init__(self, root: Path) -> None:
        self.shipped, self.own = root / "shipped", root / "own"
        self.shipped.mkdir()
        self.own.mkdir()
        self._clock = 1_000_000_000

    def library(self) -> Library:
        return Library(self.own, REGISTRY, shipped=self.shipped)

    def ship(self, name: str, *triggers: str, body: str = BODY) -> None:
        self._write(self.shipped, name, triggers, body)

    def add(self, name: str, *triggers: str, body: str = BODY) -> None:
        self._write(self.own, name, triggers, body)

    def _write(self, directory: Path, name: str, triggers: tuple[str, ...], body: str) -> None:
        text = runbook(body, id=name).replace("[shop-slow]", f"[{', '.join(triggers)}]")
        (directory / f"{name}.md").write_text(text)


@pytest.fixture
def at(tmp_path) -> Directories:
    return Directories(tmp_path)


@pytest.fixture
def logged(monkeypatch) -> list[MutableMapping[str, Any]]:
    """What the library logs, whatever logging was set up for."""
    kept = LogCapture()
    monkeypatch.setattr(
        library, "log", structlog.wrap_logger(None, processors=[kept], wrapper_class=structlog.stdlib.BoundLogger)
    )
    return kept.entries


def answer(found: Library, runbook: str, key: str) -> str | None:
    answering = found.for_alert(runbook, key)
    return None if answering is None else answering.id


def only(all_: Library) -> Runbook:
    (found,) = all_.all()
    return found


def test_the_users_directory_overrides_by_id_and_adds(at):
    at.ship("slow", "slow")
    at.ship("gone", "gone")
    at.add("slow", "slow", body=BODY + "- [ ] Call us\n")
    at.add("flood", "flood")
    found = at.library()
    assert [(one.id, one.shipped, len(one.steps)) for one in found.all()] == [
        ("flood", False, 2),
        ("gone", True, 2),
        ("slow", False, 3),
    ]
    assert found.get("slow").steps[2].key == "call-us"
    with pytest.raises(RunbookError, match="there is no runbook 'fire'; there are: flood, gone, slow"):
        found.get("fire")


def test_without_a_directory_of_the_users_there_are_the_shipped_ones(at):
    at.ship("slow", "slow")
    assert [one.id for one in Library(None, REGISTRY, shipped=at.shipped).all()] == ["slow"]


def test_an_alert_is_answered_by_the_longest_trigger_that_is_its_runbook_or_begins_its_key(at):
    at.ship("backlog", "backlog")
    at.ship("backlog-route", "backlog/route")
    at.ship("by-hand")
    found = at.library()
    assert answer(found, "backlog", "backlog/deliver") == "backlog"
    assert answer(found, "backlog", "backlog/route.critical") == "backlog-route"
    assert answer(found, "backlog", "elsewhere/route") == "backlog"
    assert answer(found, "storm", "storm") is None


def test_of_equal_triggers_the_users_wins(at):
    at.ship("backlog", "backlog")
    at.add("a-backlog-of-ours", "backlog")
    at.add("z-catch-all", "b")
    assert answer(at.library(), "backlog", "backlog/route") == "a-backlog-of-ours"


def test_the_triggers_of_a_shipped_runbook_are_gone_with_it(at):
    at.ship("slow", "slow", "late")
    at.add("slow", "slow")
    assert answer(at.library(), "late", "late") is None


def test_a_changed_file_is_read_again_and_a_removed_one_is_gone(at):
    at.ship("slow", "slow")
    found = at.library()
    at.add("slow", "slow", body=BODY + "- [ ] More\n")
    assert len(only(found).steps) == 3
    at.add("slow", "slow", body=BODY + "- [ ] More\n- [ ] And more\n")
    assert len(only(found).steps) == 4
    (at.own / "slow.md").unlink()
    assert (only(found).shipped, len(only(found).steps)) == (True, 2)


def test_a_bad_edit_takes_no_working_runbook_away_and_is_logged_once(at, logged):
    at.add("slow", "slow")
    found = at.library()
    good = found.get("slow")
    at.add("slow", "slow", body="## Recovery\n- [ ] Look `check: shop.lok`\n")
    assert found.get("slow") == good
    assert found.all() == [good]
    (line,) = logged
    assert (line["event"], line["runbook"], line["in_force"]) == ("runbook.broken", "slow", good.version)
    (mistake,) = found.mistakes()
    assert "slow.md:12: there is no action 'shop.lok'" in mistake
    at.add("slow", "slow", body="## Recovery\n- [ ] Look again `check: shop.look`\n")
    assert found.get("slow").steps[0].text == "Look again"
    assert found.mistakes() == []


def test_what_is_broken_from_the_start_leaves_the_shipped_one_in_force(at):
    at.ship("slow", "slow")
    (at.own / "slow.md").write_text("nothing")
    found = at.library()
    assert only(found).shipped
    assert any("slow.md:1: there is no front matter" in one for one in found.mistakes())


def test_a_trigger_that_two_share_stays_with_the_one_that_had_it(at):
    at.add("slow", "slow")
    found = at.library()
    assert found.mistakes() == []
    at.add("also-slow", "slow")
    assert [one.id for one in found.all()] == ["slow"]
    (mistake,) = found.mistakes()
    assert mistake.endswith("also-slow.md:4: trigger 'slow' is that of slow; remove it from one")
    at.add("slow", "slower")
    assert [one.id for one in found.all()] == ["also-slow", "slow"]
    assert found.mistakes() == []


def test_two_runbooks_can_swap_their_triggers(at):
    at.add("one", "first")
    at.add("two", "second")
    found = at.library()
    assert len(found.all()) == 2
    at.add("one", "second")
    at.add("two", "first")
    assert (answer(found, "first", ""), answer(found, "second", "")) == ("two", "one")


def test_a_directory_that_is_away_for_a_moment_takes_nothing_away(at, logged):
    at.add("slow", "slow")
    found = at.library()
    assert only(found).id == "slow"
    at.own.rename(at.own.with_name("away"))
    assert [one.id for one in found.all()] == ["slow"]
    assert "own:1: it cannot be read" in found.mistakes()[0]
    assert [one["event"] for one in logged] == ["runbooks.unreadable"]
    at.own.with_name("away").rename(at.own)
    assert found.mistakes() == []


def test_only_runbooks_are_read(at):
    at.add("slow", "slow")
    (at.own / "README.md").write_text("# Ours")
    (at.own / ".draft.md").write_text("x")
    (at.own / "slow.md~").write_text("x")
    (at.own / "folder.md").mkdir()
    found = at.library()
    assert [one.id for one in found.all()] == ["slow"]
    assert found.mistakes() == []


def test_the_shipped_runbooks_are_found():
    assert all(one.shipped for one in Library(None, REGISTRY).all())


def test_the_users_changes_are_a_patch(at):
    at.ship("slow", "slow")
    found = at.library()
    assert found.diff("slow") == ""
    at.add("slow", "slow", body=BODY + "- [ ] More\n")
    assert found.diff("slow").splitlines()[:2] == ["--- a/slow.md", "+++ b/slow.md"]
    assert "+- [ ] More\n" in found.diff("slow")
    (at.own / "slow.md").write_text("broken\n")
    assert "+broken\n" in found.diff("slow")
    at.add("ours", "ours")
    assert found.diff("ours").startswith("--- /dev/null\n+++ b/ours.md\n")
    with pytest.raises(RunbookError, match="there is no runbook 'fire'"):
        found.diff("fire")


TEXTS = st.text(st.sampled_from("ab\n\r\t \x0b\x0c\x85\u2028é"), max_size=20).filter(bool)


@settings(max_examples=25, deadline=None)
@given(st.one_of(st.none(), TEXTS), TEXTS, st.sampled_from([("patch", "-p1", "--binary", "-s"), ("git", "apply")]))
def test_patch_and_git_take_a_patch_whatever_the_texts(tmp_path_factory, before, after, program):
    if before == after:
        assert patch("slow", before, after) == ""
        return
    where = tmp_path_factory.mktemp("patched")
    if before is not None:
        (where / "slow.md").write_bytes(before.encode())
    subprocess.run(program, input=patch("slow", before, after).encode(), cwd=where, check=True)
    assert (where / "slow.md").read_bytes() == after.encode()


def test_the_setting_must_name_a_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDFAST_RUNBOOKS_DIR", str(tmp_path))
    assert config.load().runbooks_dir == tmp_path
    monkeypatch.setenv("HOLDFAST_RUNBOOKS_DIR", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"HOLDFAST_RUNBOOKS_DIR: there is no directory .*; make it, or leave"):
        config.load()

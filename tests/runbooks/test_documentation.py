"""docs/writing-runbooks.md is true: its runbooks are right, and its actions are what they use."""

import re
from datetime import timedelta

import pytest

from holdfast.runbooks import actions, parser
from holdfast.runbooks.actions import Done, Outcome, Registry, Run
from tests.processes import REPO

TEXT = (REPO / "docs" / "writing-runbooks.md").read_text()
HEAD = "---\nid: example\ntitle: Example\ntriggers: []\nseverity: warning\n---\n"


def blocks(language: str) -> list[str]:
    return [found[2] for found in re.finditer(rf"^(```+){language}\n(.*?)^\1$", TEXT, re.MULTILINE | re.DOTALL)]


@pytest.fixture
def registry(monkeypatch) -> Registry:
    """The actions of the document's own code, and those that only its runbooks name."""
    made = Registry()
    monkeypatch.setattr(actions, "action", made.action)
    (code,) = blocks("python")
    exec(compile(code, "writing-runbooks.md", "exec"), {"__name__": "written"})

    @made.action("shop.warm")
    async def warm(run: Run, *, pages: int) -> Outcome:
        return Done("")

    @made.action("shop.tell")
    async def tell(run: Run, *, text: str) -> Outcome:
        return Done("")

    @made.action("shop.limits")
    async def limits(run: Run, *, per_page: dict[str, int], within: timedelta) -> Outcome:
        return Done("")

    return made


def test_its_runbooks_are_right(registry):
    whole, *parts = blocks("markdown")
    assert len(parser.parse(whole, "shop-slow.md", registry, shipped=False).steps) == 3
    assert whole.count("\n") == 10
    for part in parts:
        text = HEAD + (part if part.startswith("## ") else f"## Recovery\n{part}")
        assert parser.parse(text, "example.md", registry, shipped=False).steps


def test_every_form_of_a_step_in_it_is_one(registry):
    forms = re.findall(r"^\|.*?`` `(.+?)` ``", TEXT, re.MULTILINE)
    assert [re.split(r"\W", form)[0] for form in forms] == ["do", "check", "ask", "every", "person"]
    for form in forms:
        text = f"{HEAD}## Recovery\n- [ ] Step `{form}`\n"
        (step,) = parser.parse(text, "example.md", registry, shipped=False).steps
        assert form.startswith(step.kind)

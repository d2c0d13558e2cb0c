"""A runbook as it was read: its phases and steps, and what each step runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from holdfast.watch.model import Severity

Kind = Literal["do", "check", "ask", "every", "person"]
"""`do` and `check` run by themselves, `ask` after one click, `every` again and again; `person` is for people."""
Phase = Literal["immediate", "communication", "investigation", "recovery"]
PHASES: Mapping[Phase, str] = {
    "immediate": "Immediate actions",
    "communication": "Communication",
    "investigation": "Investigation",
    "recovery": "Recovery",
}
"""The phases and the headings (level 2) they have in a file. Other headings are prose."""
Role = Literal["responder", "commander"]
"""Who may answer an `ask`: anybody on the team, or the incident's commander."""


class RunbookError(Exception):
    """A runbook cannot be used. `mistakes`: one line each, `file:line: what is wrong; what to write instead`."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Step:
    """One task-list item.

    `key` is its identity within the runbook: `id=` if it is written, else the action's name, else made of the text;
    it stays when the text around it changes. `group` is the numbered item it is under. `parameters` are as written, in
    values that JSON knows; the action took them when the runbook was read, and takes them anew at each run. `role` is
    who may answer, `every` the interval of an `every` step.
    """

    key: str
    kind: Kind
    phase: Phase
    group: str
    text: str
    line: int
    action: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    role: Role = "responder"
    every: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Clocks:
    """How soon things must happen: an acknowledgement after an incident opened, and updates to the team."""

    acknowledge: timedelta = timedelta(minutes=5)
    update: timedelta = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Runbook:
    """`triggers`: runbook names or beginnings of alert keys that it answers. `text` is the file, unchanged.

    `version` is made from the text: twelve hexadecimal digits.
    """

    id: str
    title: str
    triggers: tuple[str, ...]
    severity: Severity
    clocks: Clocks
    steps: tuple[Step, ...]
    text: str
    version: str
    path: str
    """Where it was read, for people."""
    shipped: bool = True
    """Whether it is the product's own, rather than the user's."""

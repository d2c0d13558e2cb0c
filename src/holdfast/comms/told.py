"""Who was told of an incident already, by our own events: under its number, and those of what was merged into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.comms.messages import TYPES
from holdfast.inbox import store as inbox
from holdfast.incidents import store as incidents
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Run

PARAGRAPH = "paragraph"
"""In the evidence of a step that mailed merchants: what a person approved for all of them; null is the usual text."""
_MERCHANT = "/merchant-"


@dataclass(frozen=True, slots=True)
class Told:
    """When each merchant, by id, last got a mail about the trouble, and an all-clear. This very run does not count."""

    mailed: Mapping[int, datetime]
    cleared: Mapping[int, datetime]
    elsewhere: frozenset[int]
    """Those with mails of other steps or other incidents than the asking one."""

    @property
    def waiting(self) -> Mapping[int, datetime]:
        """Those who were told and have had no all-clear since, and when they were last written to."""
        return {
            number: at for number, at in self.mailed.items() if number not in self.cleared or self.cleared[number] < at
        }


@dataclass(frozen=True, slots=True)
class Approval:
    """That a person let merchants be told. `paragraph` None: in the usual words. `by_hand`: told by people."""

    paragraph: str | None
    by_hand: frozenset[str]


def key(run: Run, merchant_id: int) -> str:
    """Under which a merchant is mailed in this run, once."""
    return f"{run.key}{_MERCHANT}{merchant_id}"


def of(incident_id: int) -> str:
    """How the keys of all that is sent about an incident begin; see `Run.key`."""
    return f"incident-{incident_id}/"


async def told(run: Run) -> Told:
    """As of now. What this run has sent already, before it was interrupted, is left out: it goes out once anyway."""
    mailed: dict[int, datetime] = {}
    cleared: dict[int, datetime] = {}
    elsewhere: set[int] = set()
    own = f"{of(run.incident.id)}{run.step}/"
    for number in await _numbers(run):
        for kind, last in (("merchant_mail", mailed), ("all_clear", cleared)):
            for name, at in await inbox.own_events(run.pool, of(number), TYPES[kind]):
                merchant = _merchant_in(name)
                if merchant is None or name.startswith(f"{run.key}/"):
                    continue
                last[merchant] = max(at, last.get(merchant, at))
                if kind == "merchant_mail" and not name.startswith(own):
                    elsewhere.add(merchant)
    return Told(mailed, cleared, frozenset(elsewhere))


async def approval(run: Run, actions: Sequence[str]) -> Approval | None:
    """What was approved for these actions, of this incident before those that were merged into it; None: nothing was.

    A step that somebody called done by hand approves nothing: it sent nothing.
    """
    found: list[str | None] = []
    by_hand: set[str] = set()
    for number in await _numbers(run):
        for step in await steps.steps(run.pool, number):
            if step.action in actions:
                by_hand |= set(step.evidence.get("by_hand", ()))
                if PARAGRAPH in step.evidence:
                    found.append(step.evidence[PARAGRAPH])
    return Approval(found[0], frozenset(by_hand)) if found else None


async def _numbers(run: Run) -> list[int]:
    return [run.incident.id, *(one.id for one in await incidents.merged(run.pool, run.incident.id))]


def _merchant_in(name: str) -> int | None:
    number = name.rpartition(_MERCHANT)[2]
    return int(number) if number.isdigit() else None

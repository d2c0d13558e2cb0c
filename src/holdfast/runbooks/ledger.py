"""What is not as usual because of an incident, and what keeps it from being resolved."""

from collections.abc import Sequence

from holdfast.db.pool import AWAY, Pool
from holdfast.incidents.model import Incident, StepRow
from holdfast.runbooks.actions import Action, ActionError, Mitigation, Registry, Run


async def in_force(
    pool: Pool, registry: Registry, incident: Incident, steps: Sequence[tuple[StepRow, Run]]
) -> list[Mitigation]:
    """The mitigation ledger: what steps changed that still holds, and what else is off its default for the incident."""
    found = [one for ledger in registry.ledgers for one in await ledger(pool, incident.id)]
    for step, run in steps:
        action = _changing(step, registry)
        if action is None or action.is_listed or step.state != "done" or not await holds(action, step, run):
            continue
        expires_at = step.ended_at + action.expires if step.ended_at and action.expires else None
        undo = f"holdfast incidents undo {incident.id} {step.key}"
        found.append(Mitigation(f"{step.text}: {step.said}", step.actor or "holdfast", step.ended_at, expires_at, undo))
    return found


async def holds(action: Action, step: StepRow, run: Run) -> bool:
    """Whether what the step changed is in force. Raises what `AWAY` lists."""
    if action.verifies is None:
        return False
    try:
        return await action.verifies(run, **action.read(step.parameters))
    except AWAY:
        raise
    except Exception:  # noqa: BLE001 - of an action: what cannot be seen counts as still there
        return True


def missing_proofs(steps: Sequence[StepRow], registry: Registry) -> list[StepRow]:
    """Steps that would prove that nothing was lost, and have not."""
    return [
        step
        for step in steps
        if step.action in registry.actions and registry.actions[step.action].is_proof and step.state != "done"
    ]


def _changing(step: StepRow, registry: Registry) -> Action | None:
    if step.action is None:
        return None
    try:
        action = registry.get(step.action)
    except ActionError:
        return None
    return action if action.changes else None

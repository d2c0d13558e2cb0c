"""The shipped runbooks with their real actions, by an engine that is killed at every boundary of every step."""

import pytest

from tests import servers
from tests.e2e.company import KEYS, Company, Killer


@pytest.mark.parametrize("runbook", KEYS)
async def test_an_engine_killed_at_every_boundary_of_every_step_changes_nothing(pool, monkeypatch, runbook):
    undisturbed = Company(pool, runbook)
    await undisturbed.play()
    expected = await undisturbed.outcome()
    state, states, sent, turned, off = expected
    assert (state, off) == ("resolved", 0), await undisturbed.told()
    assert set(states.values()) <= {"done", "not applicable"}
    assert states["comms.notify_merchants"] == states["comms.all_clear"] == "done"
    assert set(sent.values()) == set(turned.values()) == {1}

    await servers.clear(pool)
    disturbed = Company(pool, runbook)
    with monkeypatch.context() as patched:
        killer = Killer(patched)
        await disturbed.play()
    for found, wanted in zip(await disturbed.outcome(), expected, strict=True):
        assert found == wanted, await disturbed.told()
    ran = {key for key, found in states.items() if found == "done"} - {"root-cause", "prevention", "runbook-verdict"}
    assert {key for name, key in killer.struck if name == "acted"} >= ran
    assert len(killer.struck) > 2 * len(states)

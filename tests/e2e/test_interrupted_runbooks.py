"""The shipped runbooks with their real actions, by an engine that is killed at every boundary of every step."""

import pytest

from tests import servers
from tests.e2e.company import KEYS, Company, killed_everywhere


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
    await killed_everywhere(Company(pool, runbook), expected, monkeypatch)

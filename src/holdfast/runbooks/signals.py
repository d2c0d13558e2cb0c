"""What the engine counts."""

from holdfast.signals.registry import REGISTRY, Counter

ENDED = REGISTRY.add(Counter("runbook_step_runs", "Runs of steps of runbooks, by what came of them.", ("outcome",)))

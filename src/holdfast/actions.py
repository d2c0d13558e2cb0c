"""All actions: those of every domain, and those of packages that the user installed."""

from functools import cache
from importlib import import_module

from holdfast.runbooks.actions import REGISTRY, Registry, load_entry_points

MODULES: tuple[str, ...] = (
    "holdfast.runbooks.incident_actions",
    "holdfast.levers.actions",
    "holdfast.payments.actions",
    "holdfast.voice.actions",
    "holdfast.voice.trial_actions",
    "holdfast.health.actions",
    "holdfast.health.restoration",
    "holdfast.verify.actions",
    "holdfast.comms.actions",
    "holdfast.comms.status_actions",
    "holdfast.complaints.actions",
    "holdfast.complaints.investigation",
    "holdfast.review.actions",
)
"""The domains' modules of actions; each registers its own as it is imported."""


def registry() -> Registry:
    """Every action there is."""
    _load()
    return REGISTRY


def missing() -> tuple[str, ...]:
    """What installed packages name as their actions and cannot be imported, and why: one line each."""
    return _load()


@cache
def _load() -> tuple[str, ...]:
    for module in MODULES:
        import_module(module)
    return tuple(load_entry_points())

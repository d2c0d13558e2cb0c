"""Where people work on incidents, with every action and runbook there is."""

from holdfast import actions
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.runbooks.library import Library
from holdfast.runbooks.working import Desk


def open_desk(pool: Pool, settings: Settings) -> Desk:
    """No runbook is read before one is asked for."""
    registry = actions.registry()
    return Desk(pool, settings, registry, Library(settings.runbooks_dir, registry))

"""What levers are when nobody has turned them: as this process's settings say."""

from holdfast.config import Settings
from holdfast.levers.model import (
    BACKOFF,
    DELIVERY_CONCURRENCY,
    DESTINATION_CONCURRENCY,
    MESSAGING,
    PER_ROUTER,
    POOL,
    POOLS,
    PROCESSES,
    ROUTER_CONCURRENCY,
    VOICE,
    WEIGHT,
    Lever,
    LeverError,
    Target,
    Value,
)
from holdfast.queue.model import ClaimPolicy


def default(lever: Lever, target: Target, settings: Settings) -> Value:
    """The lever's default for this target.

    A lane has no concurrency of its own: it may take all there is, so that is where a ramp brings it.
    """
    if lever.switch:
        return False
    if lever in VOICE:
        return 0
    if lever is WEIGHT:
        return next(weight for lane, weight in ClaimPolicy().weights.items() if lane.label == target.key)
    if lever is POOL:
        return default_pool(target.key, settings.router_concurrency)
    values: dict[str, Value] = {
        BACKOFF.name: "normal",
        MESSAGING.name: "normal",
        PROCESSES.name: settings.workers,
        ROUTER_CONCURRENCY.name: settings.router_concurrency,
        DELIVERY_CONCURRENCY.name: settings.delivery_concurrency,
        DESTINATION_CONCURRENCY.name: settings.destination_concurrency,
    }
    if lever.name not in values:
        raise LeverError(f"{lever.name} has no default that is known here")
    return values[lever.name]


def default_pool(name: str, routers: int) -> int:
    """A pool's size where nobody has set one; the router's is as large as its routers need."""
    return PER_ROUTER * max(1, routers) if name == "worker/router" else POOLS[name]

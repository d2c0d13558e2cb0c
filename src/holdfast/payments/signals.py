"""What the router counts."""

from holdfast.signals.registry import REGISTRY, Counter, Distribution, Gauge

ROUTED = REGISTRY.add(
    Counter("events_routed", "Events that left the router, by lane and outcome.", ("lane", "outcome"))
)
TO_ROUTED = REGISTRY.add(Distribution("event_to_routed_seconds", "From an event's receipt to routed.", ("lane",)))
ROUTERS = REGISTRY.add(Gauge("routers_at_work", "Batches that workers may route at the same time now.", over="sum"))
ERRORS = REGISTRY.add(Counter("router_errors", "Batches and events that failed in the router.", ("kind",)))
PLANNED = REGISTRY.add(Counter("deliveries_planned", "Notifications planned by the router."))

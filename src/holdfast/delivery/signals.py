"""What the senders count."""

from holdfast.signals.registry import REGISTRY, Counter, Distribution

ATTEMPTS = REGISTRY.add(Counter("delivery_attempts", "Tries to deliver, by kind and outcome.", ("kind", "outcome")))
SECONDS = REGISTRY.add(Distribution("delivery_attempt_seconds", "How long a try took.", ("kind",)))
SETTLED = REGISTRY.add(
    Counter("deliveries_settled", "Deliveries that ended, by lane and outcome.", ("lane", "outcome"))
)
TO_DELIVERED = REGISTRY.add(
    Distribution("event_to_delivered_seconds", "From an event's receipt to its delivery, but for our own.", ("lane",))
)

"""What the front doors count."""

from holdfast.signals.registry import REGISTRY, Counter, Distribution

RECEIVED = REGISTRY.add(Counter("webhooks_received", "Webhooks by provider and answer.", ("provider", "answer")))
REFUSED = REGISTRY.add(
    Counter("requests_refused", "Requests other than of calls, refused since too many connections are open.")
)
SECONDS = REGISTRY.add(Distribution("webhook_seconds", "From a webhook's arrival to its answer.", ("provider",)))

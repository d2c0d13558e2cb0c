"""What is counted of complaints. The gauges are what health_watch raises alerts by."""

from holdfast.signals.registry import REGISTRY, Counter, Gauge

FILED = REGISTRY.add(Counter("complaints_filed", "Complaints of unwanted texts, by where they came from.", ("source",)))
OPEN = REGISTRY.add(Gauge("complaints_open", "Complaints that nobody has answered yet."))
DUE_SECONDS = REGISTRY.add(
    Gauge(
        "complaints_due_seconds",
        "Seconds left until the first of the unanswered complaints is due; below 0: overdue. Not there without any.",
        over="min",
    )
)

"""All detectors, with their settings: what `health_watch` runs."""

from pathlib import Path

from holdfast.health.detectors import Degradation, SystemSettings
from holdfast.payments.detectors import RetryStorm, StormSettings
from holdfast.queue.detectors import BacklogSettings, DeliverBacklog, RouteBacklog
from holdfast.watch.settings import Sections, WatchSettings
from holdfast.watch.watcher import Watcher


def watcher(file: Path | None = None) -> Watcher:
    """The watcher with the shipped settings, or those that the user's file overrides. Raises WatchError."""
    sections = Sections(file)
    backlog = sections.section("webhook-backlog", BacklogSettings)
    return Watcher(
        (
            Degradation(sections.section("performance-degradation", SystemSettings)),
            RetryStorm(sections.section("stripe-retry-storm", StormSettings)),
            RouteBacklog(backlog),
            DeliverBacklog(backlog),
        ),
        sections.section("watch", WatchSettings),
    )

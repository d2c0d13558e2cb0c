"""All detectors, with their settings, and whom their alerts affect: what `health_watch` runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.complaints import store as complaints
from holdfast.consent import import_store as imports
from holdfast.db.pool import Pool
from holdfast.health.detectors import Degradation, SystemSettings
from holdfast.inbox import store as inbox
from holdfast.merchants import store as merchants
from holdfast.messaging import auditing_store as auditing
from holdfast.messaging import detectors as messaging
from holdfast.messaging import standing
from holdfast.payments.detectors import RetryStorm, StormSettings
from holdfast.queue import service as queue
from holdfast.queue.detectors import BacklogSettings, DeliverBacklog, RouteBacklog
from holdfast.queue.model import Stage
from holdfast.voice import detectors as voice
from holdfast.voice import health_store as voice_health
from holdfast.voice.health import WINDOW, health
from holdfast.watch.model import Alert
from holdfast.watch.settings import Sections, WatchSettings
from holdfast.watch.watcher import Watcher

_NAMED = 10
"""Merchants and destinations that an alert names."""


def watch_settings(file: Path | None = None) -> WatchSettings:
    """Raises WatchError."""
    return Sections(file).section("watch", WatchSettings)


def consent_settings(file: Path | None = None) -> standing.ConsentSettings:
    """Raises WatchError."""
    return Sections(file).section(messaging.RUNBOOK, standing.ConsentSettings)


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
            *voice.detectors(sections.section(voice.RUNBOOK, voice.TwilioSettings)),
            *messaging.detectors(sections.section(messaging.RUNBOOK, standing.ConsentSettings)),
        ),
        sections.section("watch", WatchSettings),
    )


async def affected(pool: Pool, alert: Alert) -> Mapping[str, Any]:
    """Whom an alert affects as it opens: lanes, merchants and destinations, the worst first."""
    if alert.runbook == "performance-degradation":
        return {}
    if alert.runbook == "stripe-retry-storm":
        repeated = await inbox.repeated(pool, queue.WINDOW, _NAMED)
        owners = await merchants.accounts(pool, [account for account, _ in repeated if account is not None])
        return {
            "merchants": [
                {"merchant": owners.get(account, account) if account else "the platform", "duplicates": count}
                for account, count in repeated
            ]
        }
    if alert.runbook == voice.RUNBOOK:
        return await _silent(pool, alert)
    if alert.runbook == messaging.RUNBOOK:
        return await _texted(pool, alert)
    keys = {merchant.id: merchant.key for merchant in await merchants.merchants(pool)}
    stage = Stage.DELIVER if alert.key == DeliverBacklog.key else Stage.ROUTE
    lanes = [one for one in await queue.lane_stats(pool) if one.stage is stage and one.depth]
    waiting = [one for one in await queue.bucket_stats(pool, "merchant_id") if one.stage is stage and one.depth]
    found: dict[str, Any] = {
        "lanes": [
            {
                "lane": one.lane.label,
                "waiting": one.depth,
                "oldest_s": round(one.oldest_age),
                "drained_in_s": None if one.drain_seconds is None else round(one.drain_seconds),
            }
            for one in lanes
        ],
        "merchants": [
            {"merchant": keys.get(one.key, "unknown"), "waiting": one.depth, "oldest_s": round(one.oldest_age)}
            for one in waiting[:_NAMED]
        ],
    }
    if stage is Stage.DELIVER:
        addresses = {one.id: one.address for one in await merchants.destinations(pool)}
        found["destinations"] = [
            {
                "destination": one.key,
                "address": addresses.get(one.key, "unknown"),
                "waiting": one.depth,
                "oldest_s": round(one.oldest_age),
            }
            for one in (await queue.bucket_stats(pool, "destination_id"))[:_NAMED]
            if one.depth
        ]
    return found


async def _silent(pool: Pool, alert: Alert) -> Mapping[str, Any]:
    """Merchants whose calls failed or were missed, and what is ill; of the time since it began, the worst first."""
    now = alert.opened_at
    since = min(alert.since, now - WINDOW)
    keys = {merchant.id: merchant.key for merchant in await merchants.merchants(pool)}
    harmed = await voice_health.harmed(pool, since, now, _NAMED)
    ill = [line for line in await health(pool, now) if line.verdict == "ill"]
    found: dict[str, Any] = {
        "merchants": [
            {
                "merchant": keys.get(one.merchant_id, "unknown"),
                "region": one.region,
                "calls": one.calls,
                "unheard": one.unheard,
                "failed_legs": one.failed_legs,
            }
            for one in harmed
        ]
    }
    for kind in ("region", "number", "target"):
        lines = [line for line in ill if line.kind == kind][:_NAMED]
        if lines:
            found[f"{kind}s"] = [
                {kind: line.key, "tried": line.tried, "failed": line.failed, "at_least": round(line.low, 3)}
                for line in lines
            ]
    return found


async def _texted(pool: Pool, alert: Alert) -> Mapping[str, Any]:
    """Merchants, imports and forms behind it, and how many people; never who."""
    keys = {merchant.id: merchant.key for merchant in await merchants.merchants(pool)}
    if alert.key in (messaging.FILED, messaging.REPLY_DUE):
        return {
            "merchants": [
                {"merchant": keys.get(merchant_id, "not said"), "complaints": count}
                for merchant_id, count in await complaints.by_merchant(pool, _NAMED)
            ]
        }
    about, _, of = alert.key.partition(":")
    if about == messaging.AUDIT:
        return {
            "merchants": [
                {"merchant": keys.get(merchant_id, "unknown"), "texts": count, "people": people}
                for merchant_id, count, people in await auditing.by_merchant(pool, of, _NAMED)
            ]
        }
    people = next((round(one.observed) for one in alert.evidence if one.what.startswith("people")), None)
    row = {"people": people} if people is not None else {}
    if of.startswith("batch:"):
        number = int(of.removeprefix("batch:"))
        batch = await imports.batch(pool, number)
        owner = keys.get(batch.merchant_id, "unknown") if batch is not None else "unknown"
        return {"batches": [{"batch": number, "merchant": owner} | row]}
    if of.startswith("form:"):
        _, merchant, form = of.split(":", 2)
        return {"forms": [{"form": form, "merchant": merchant} | row]}
    return {"merchants": [{"merchant": of} | row]}

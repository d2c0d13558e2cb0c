"""Which events Stripe sends to us: those that its endpoints leading to our door ask for. No other can be missing.

Sources: https://docs.stripe.com/api/webhook_endpoints/object, https://docs.stripe.com/api/v2/core/event-destinations/object
and, for endpoints of connected accounts, https://docs.stripe.com/connect/webhooks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.config import Settings
from holdfast.payments.model import StripeApiError
from holdfast.payments.stripe import Endpoint, StripeReader

DOOR = "/hooks/stripe"
ALL = ("*",)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Event types, exact or `*`, of the platform's `own` events and of `connected` accounts'; thin ones apart."""

    own: tuple[str, ...] = ALL
    connected: tuple[str, ...] = ALL
    own_thin: tuple[str, ...] = ()
    connected_thin: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What a report must say about it."""

    def snapshot(self, account: str | None) -> tuple[str, ...]:
        return self.own if account is None else self.connected

    def thin(self, account: str | None) -> tuple[str, ...]:
        return self.own_thin if account is None else self.connected_thin


def our_addresses(settings: Settings) -> tuple[str, ...]:
    """Where our door is, as far as the settings say; none: wherever a path like its own leads."""
    return (settings.public_url, *settings.former_public_urls) if settings.public_url else ()


async def subscription(stripe: StripeReader, addresses: Sequence[str]) -> Subscription:
    """What Stripe sends to our door at these addresses. All snapshot events count where that cannot be told."""
    notes: list[str] = []
    ours: list[Endpoint] = []
    unread = None
    try:
        ours += _leading_here(await stripe.webhook_endpoints(), addresses)
    except StripeApiError as error:
        unread = f"its webhook endpoints could not be read: {error}"
    try:
        ours += _leading_here(await stripe.event_destinations(), addresses)
    except StripeApiError as error:
        notes.append(f"thin events are not compared, for Stripe's event destinations could not be read: {error}")
    thin = [one for one in ours if one.thin and one.enabled]
    own_thin = _events(one for one in thin if one.own)
    connected_thin = _events(one for one in thin if one.connected)
    own = [one for one in ours if one.own and not one.thin]
    connected = [one for one in ours if one.connected and not one.thin]
    if not ours or (unread and not own and not connected):
        where = " or ".join(address + DOOR for address in addresses) or f"a path {DOOR}"
        why = unread or f"none of its webhook endpoints leads to {where}"
        notes.append(f"events of every type count as sent to us, for Stripe does not say which are: {why}")
        return Subscription(ALL, ALL, own_thin, connected_thin, tuple(notes))
    if not own:
        notes.append("the platform's own snapshot events are not compared: no endpoint at Stripe sends them here")
    if not connected:
        notes.append("connected accounts' snapshot events are not compared: no endpoint at Stripe sends them here")
    own_events, connected_events = _events(_at_work(own, notes)), _events(_at_work(connected, notes))
    # An endpoint may be for both, and then be noted twice.
    return Subscription(own_events, connected_events, own_thin, connected_thin, tuple(dict.fromkeys(notes)))


def _at_work(endpoints: Sequence[Endpoint], notes: list[str]) -> Sequence[Endpoint]:
    """Those that are enabled. If none is, as when Stripe disabled one that kept failing, all: that is why some miss."""
    enabled = [one for one in endpoints if one.enabled]
    if not enabled:
        notes += [
            f"endpoint {one.id} ({one.url}) is disabled at Stripe, which sends nothing there: enable or delete it"
            for one in endpoints
        ]
    return enabled or endpoints


def _events(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    asked = {event for one in endpoints for event in one.events}
    return ALL if "*" in asked else tuple(sorted(asked))


def _leading_here(endpoints: Iterable[Endpoint], addresses: Sequence[str]) -> list[Endpoint]:
    hosts = {urlsplit(address).netloc.lower() for address in addresses}
    found = []
    for one in endpoints:
        parts = urlsplit(one.url)
        if parts.path.rstrip("/").endswith(DOOR) and (not hosts or parts.netloc.lower() in hosts):
            found.append(one)
    return found

"""The emulated Stripe's endpoints as its API shows them: v1 webhook endpoints, and v2 event destinations.

Sources: https://docs.stripe.com/api/webhook_endpoints/object, https://docs.stripe.com/api/v2/core/event-destinations/object
"""

from holdfast.drills.stripe_objects import Json
from holdfast.drills.stripe_webhooks import WebhookEndpoint


def as_webhook_endpoint(endpoint: WebhookEndpoint, livemode: bool) -> Json:
    """One that receives the events of connected accounts names the Connect application; `connect` is never shown."""
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": "ca_Emulated" if endpoint.connect else None,
        "created": 0,
        "description": None,
        "enabled_events": list(endpoint.enabled_events),
        "livemode": livemode,
        "metadata": {},
        "status": _status(endpoint),
        "url": endpoint.url,
    }


def as_event_destination(endpoint: WebhookEndpoint, livemode: bool, *, with_url: bool) -> Json:
    """The address is shown only to those who ask for it."""
    return {
        "id": "ed_" + endpoint.id.removeprefix("we_"),
        "object": "v2.core.event_destination",
        "created": "1970-01-01T00:00:00.000Z",
        "description": "",
        "enabled_events": list(endpoint.enabled_events),
        "event_payload": "thin",
        "events_from": ["@accounts" if endpoint.connect else "@self"],
        "livemode": livemode,
        "metadata": {},
        "name": endpoint.id,
        "snapshot_api_version": None,
        "status": _status(endpoint),
        "type": "webhook_endpoint",
        "updated": "1970-01-01T00:00:00.000Z",
        "webhook_endpoint": {"signing_secret": None, "url": endpoint.url if with_url else None},
    }


def _status(endpoint: WebhookEndpoint) -> str:
    return "enabled" if endpoint.enabled else "disabled"

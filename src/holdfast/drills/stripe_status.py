"""The status page of the emulated Stripe, whose own is https://www.stripestatus.com/api/v2/summary.json."""

from typing import Final

from holdfast.drills import status_page
from holdfast.drills.status_page import ComponentStatus, Indicator

__all__ = ["ComponentStatus", "Indicator", "StatusPage"]

_COMPONENTS: Final = ("API", "Dashboard", "Stripe.js", "Checkout", "Connect", "Webhooks")


class StatusPage(status_page.StatusPage):
    """What Stripe's status page says now."""

    def __init__(self) -> None:
        super().__init__(
            page_id="stripe-emulated", name="Stripe", url="https://www.stripestatus.com", components=_COMPONENTS
        )

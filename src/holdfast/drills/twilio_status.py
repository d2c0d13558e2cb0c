"""The status page of the emulated Twilio, whose own is https://status.twilio.com/api/v2/summary.json.

Twilio lists its products, and under some of them the countries or carriers that they reach.
"""

from typing import Final

from holdfast.drills import status_page

_COMPONENTS: Final = ("REST API", "TwiML", "Debugger", "Console", "Call Recordings")
_GROUPS: Final = {
    "Programmable Voice": ("Voice, United States", "Voice, Canada", "Voice, United Kingdom", "Voice, Germany"),
    "Programmable Messaging": ("SMS, United States", "SMS, Canada", "SMS, United Kingdom", "SMS, Germany"),
    "Phone Numbers": ("Phone Number Provisioning", "Phone Number Configuration"),
}


class StatusPage(status_page.StatusPage):
    """What Twilio's status page says now."""

    def __init__(self) -> None:
        super().__init__(
            page_id="twilio-emulated",
            name="Twilio",
            url="https://status.twilio.com",
            components=_COMPONENTS,
            groups=_GROUPS,
        )

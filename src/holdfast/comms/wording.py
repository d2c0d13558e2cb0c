"""What a trouble is called to those whom it hits: by whether it is about events, calls or texts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from holdfast.comms.affected import AffectedMerchant, about_calls, about_consent
from holdfast.comms.call_wording import CallWording
from holdfast.comms.consent_wording import ConsentWording
from holdfast.comms.event_wording import EventWording
from holdfast.incidents.model import Incident


class Wording(Protocol):
    """The parts of mails and updates that differ. No merchant's name is in any of them, but for `affected`."""

    first: str
    again: str
    calm: str
    clear: str
    """Subjects of mails: at first, to who knows of it, once the cause is gone, once it is over."""
    figures: tuple[str, ...]
    """How lines of a merchant's own figures begin."""
    nobody: str
    """That nobody is hit."""
    notice: str
    """The template of what merchants forward to their customers."""

    def paragraph(self, incident: Incident) -> str:
        """What is affected, since when, and what we do; the same for all, and with nobody's name or figures."""

    def ending(self, incident: Incident, calm_at: datetime) -> str:
        """That the cause is gone, and what is still done."""

    def own(self, merchant: AffectedMerchant, now: datetime) -> list[str]:
        """The merchant's own figures, a line each."""

    def over(self, incident: Incident, merchant: AffectedMerchant, ended: datetime) -> str:
        """That it is over, and what became of what is the merchant's; honest about what is not well yet."""

    def closing(self, merchant: AffectedMerchant) -> str:
        """The last words of the all-clear."""

    def affected(self, found: Sequence[AffectedMerchant]) -> str:
        """For the team: who is hit, and by how much."""


_EVENTS, _CALLS, _CONSENT = EventWording(), CallWording(), ConsentWording()


def wording(incident: Incident) -> Wording:
    if about_consent(incident):
        return _CONSENT
    return _CALLS if about_calls(incident) else _EVENTS

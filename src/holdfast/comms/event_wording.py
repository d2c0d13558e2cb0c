"""What is said of events and notifications that are late."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from holdfast.comms.affected import AffectedMerchant
from holdfast.comms.words import clock, day_and_clock, length, listed, many
from holdfast.incidents.model import Incident


class EventWording:
    """See `wording.Wording`."""

    first = "Your payment notifications are delayed"
    again = "Your payment notifications are still delayed"
    calm = "Your payment notifications are catching up"
    clear = "Your payment notifications are in time again"
    figures: tuple[str, ...] = ("Late:", "Still waiting:", "Longest:", "Given up:", "Does not answer:")
    nobody = "no merchant has anything late or given up"
    notice = "customer_notice.txt.j2"

    def paragraph(self, incident: Incident) -> str:
        return (
            f"since {day_and_clock(incident.since)} our notifications about your payments have been reaching you later "
            "than usual. The payments themselves are made at Stripe and go on; late is what we tell you of them.\n\n"
            "Every event that reached us is stored, and none of them is lost. We are working through what waits, "
            "payments first."
        )

    def ending(self, incident: Incident, calm_at: datetime) -> str:
        return (
            "what made our notifications about your payments late is gone: it lasted from "
            f"{day_and_clock(incident.since)} to {day_and_clock(calm_at)}. We are working through what has waited "
            "meanwhile, payments first, and check that nothing is missing. Until that is done, some of it may still "
            "reach you late.\n\nEvery event that reached us is stored, and none of them is lost."
        )

    def own(self, merchant: AffectedMerchant, now: datetime) -> list[str]:
        lines = []
        if merchant.delayed:
            lines.append(f"Late: {many(merchant.delayed, 'event')} of yours")
        if merchant.waiting:
            oldest = clock(now - timedelta(seconds=merchant.oldest_s))
            lines.append(f"Still waiting: {merchant.waiting:,} of them, the oldest since {oldest}")
        if merchant.longest_s:
            lines.append(f"Longest: {length(merchant.longest_s)} from when we received the event")
        if merchant.given_up:
            lines.append(f"Given up: {many(merchant.given_up, 'notification')}; we keep them, to send them again")
        lines += [f"Does not answer: {address}" for address in merchant.destinations]
        return lines

    def over(self, incident: Incident, merchant: AffectedMerchant, ended: datetime) -> str:
        said = (
            "our notifications about your payments go out in time again. They were late between "
            f"{day_and_clock(incident.since)} and {day_and_clock(ended)}.\n\n"
        )
        return said + (
            "All that were late are with you by now." if merchant.is_whole else "Not all of yours are with you yet:"
        )

    def closing(self, merchant: AffectedMerchant) -> str:
        if merchant.given_up:
            sorry = "we then send them again. We are sorry for the delay."
            return f"Please see that your endpoint answers, and tell us: {sorry}"
        return "You need not do anything. We are sorry for the delay."

    def affected(self, found: Sequence[AffectedMerchant]) -> str:
        delayed, longest = sum(one.delayed for one in found), max(one.longest_s for one in found)
        given_up = sum(one.given_up for one in found)
        lost = f"; {many(given_up, 'notification')} given up" if given_up else ""
        return (
            f"{many(len(found), 'merchant')} ({listed([one.key for one in found])}), "
            f"{many(delayed, 'event')} late by up to {length(longest)}{lost}."
        )

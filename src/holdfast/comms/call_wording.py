"""What is said of calls that fail, are missed or go to voicemail."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.comms.affected import AffectedMerchant, CallFigures
from holdfast.comms.words import day_and_clock, listed, many
from holdfast.incidents.model import Incident

_NOTHING = CallFigures(0, 0, 0, 0, 0, 0)


class CallWording:
    """See `wording.Wording`."""

    first = "Calls to your numbers are disturbed"
    again = "Calls to your numbers are still disturbed"
    calm = "Calls to your numbers are put through again"
    clear = "Calls to your numbers work as usual again"
    figures: tuple[str, ...] = ("Calls:", "Answered:", "To voicemail:", "Missed:", "Failed:", "Messages:")
    nobody = "no merchant's calls failed, were missed or were sent to voicemail"
    notice = "customer_notice_calls.txt.j2"

    def paragraph(self, incident: Incident) -> str:
        return (
            f"since {day_and_clock(incident.since)} some calls to your numbers have not been put through as usual: our "
            "telephone provider has trouble. We lead calls round what fails, and where nothing else works, callers can "
            "leave a message.\n\n"
            "Every message that is left is kept, and reaches you as always."
        )

    def ending(self, incident: Incident, calm_at: datetime) -> str:
        return (
            "the trouble with calls to your numbers is over at our telephone provider: it lasted from "
            f"{day_and_clock(incident.since)} to {day_and_clock(calm_at)}. We test that calls come through, and bring "
            "everything back step by step. Until that is done, some callers may still be asked for a message.\n\n"
            "Every message that was left is kept, and reaches you as always."
        )

    def own(self, merchant: AffectedMerchant, now: datetime) -> list[str]:
        own = merchant.calls or _NOTHING
        if not own.calls:
            return []
        lines = [f"Calls: {own.calls:,} to your numbers since it began", f"Answered: {own.answered:,} of them"]
        lines += [f"To voicemail: {own.to_voicemail:,} that would have rung otherwise"] if own.to_voicemail else []
        lines += [f"Missed: {own.missed:,} that rang out"] if own.missed else []
        lines += [f"Failed: {own.failed:,} that broke off with an error"] if own.failed else []
        lines += [f"Messages: {own.messages:,} left for you by these callers"] if own.messages else []
        return lines

    def over(self, incident: Incident, merchant: AffectedMerchant, ended: datetime) -> str:
        return (
            "calls to your numbers are put through as usual again. They were disturbed between "
            f"{day_and_clock(incident.since)} and {day_and_clock(ended)}. What became of yours is below."
        )

    def closing(self, merchant: AffectedMerchant) -> str:
        messages = (merchant.calls or _NOTHING).messages
        wait = "Please listen to the messages that were left. " if messages else "You need not do anything. "
        return f"{wait}We are sorry for the trouble."

    def affected(self, found: Sequence[AffectedMerchant]) -> str:
        all_calls = [one.calls or _NOTHING for one in found]
        return (
            f"{many(len(found), 'merchant')} ({listed([one.key for one in found])}), of "
            f"{many(sum(one.calls for one in all_calls), 'call')} {sum(one.failed for one in all_calls):,} failed, "
            f"{sum(one.missed for one in all_calls):,} missed, "
            f"{sum(one.to_voicemail for one in all_calls):,} sent to voicemail."
        )


def now_words(seen: CallFigures) -> str:
    """`of 120 calls in the last 15 minutes 80 were answered, 30 sent to voicemail, 4 missed, 6 failed.`"""
    if not seen.calls:
        return "no calls came in the last 15 minutes."
    return (
        f"of {many(seen.calls, 'call')} in the last 15 minutes {seen.answered:,} were answered, "
        f"{seen.to_voicemail:,} sent to voicemail, {seen.missed:,} missed, {seen.failed:,} failed."
    )

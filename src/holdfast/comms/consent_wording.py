"""What is said of complaints about texts, and of texts that should not have gone out."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.comms.affected import AffectedMerchant, ConsentFigures
from holdfast.comms.words import clock, day_and_clock, listed, many, people
from holdfast.incidents.model import Incident


class ConsentWording:
    """See `wording.Wording`."""

    first = "People complain about texts in your name"
    again = "We are still looking into complaints about your texts"
    calm = "The complaints about your texts are answered"
    clear = "The matter of the complaints about your texts is closed"
    figures: tuple[str, ...] = ("Complaints:", "Findings:")
    nobody = "no complaint or finding is about a merchant's texts"
    notice = "customer_notice_texts.txt.j2"

    def paragraph(self, incident: Incident) -> str:
        return (
            f"since {day_and_clock(incident.since)} people have told us that they get texts that they did not want, or "
            "texts went out that no consent covers. Whoever complained is blocked for every merchant. We look into how "
            "they came to be texted.\n\n"
            "Please send nobody anything that their own consent does not cover."
        )

    def ending(self, incident: Incident, calm_at: datetime) -> str:
        return (
            f"the people who complained of texts since {day_and_clock(incident.since)} have been answered by "
            f"{day_and_clock(calm_at)}, and stay blocked. We finish looking into how they came to be texted."
        )

    def own(self, merchant: AffectedMerchant, now: datetime) -> list[str]:
        lines = [f"Complaints: {merchant.complaints:,} about texts of yours"] if merchant.complaints else []
        lines += [f"Findings: {merchant.findings:,} of our audit are not settled"] if merchant.findings else []
        return lines

    def over(self, incident: Incident, merchant: AffectedMerchant, ended: datetime) -> str:
        return (
            f"the matter of the complaints about texts since {day_and_clock(incident.since)} is closed. Whoever "
            "complained stays blocked, unless they come back by themselves."
        )

    def closing(self, merchant: AffectedMerchant) -> str:
        return "Please collect consent in writing before you text somebody, and keep what proves it."

    def affected(self, found: Sequence[AffectedMerchant]) -> str:
        complaints, findings = sum(one.complaints for one in found), sum(one.findings for one in found)
        return (
            f"{many(len(found), 'merchant')} ({listed([one.key for one in found])}), "
            f"{many(complaints, 'complaint')} about them, {many(findings, 'finding')} of the audit."
        )


def now_words(seen: ConsentFigures) -> str:
    """`3 complaints, 1 answered; the next answer is due by 14:05 UTC; 12 people blocked; 4 texts held; …`."""
    said = [f"{many(seen.complaints, 'complaint')}, {seen.answered:,} answered"]
    if seen.late:
        said.append(f"{many(seen.late, 'answer')} overdue")
    if seen.due_at is not None:
        due = "the first was due" if seen.late else "the next answer is due"
        said.append(f"{due} by {clock(seen.due_at)}")
    said.append(f"{people(seen.blocked)} blocked")
    said.append(f"{many(seen.held, 'text')} held")
    critical = f" ({seen.critical:,} critical)" if seen.critical else ""
    said.append(f"{many(seen.findings, 'finding')} of the audit open{critical}")
    return f"{'; '.join(said)}."

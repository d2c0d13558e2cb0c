"""What somebody who complained is told: that we are sorry, that it is over, and how they may come back. And to whom.

The drafts of one incident are one text, a part for each complaint, so that whoever approves reads every word that goes
out, and may change it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.comms.words import clock, day_and_clock
from holdfast.complaints.model import Complaint, Source

SUBJECT = "Your complaint about our text messages"
_TOLD = "you told us on {at} about text messages{whose} that you did not want."
_OPENINGS: dict[Source, str] = {
    "api": _TOLD,
    "cli": _TOLD,
    "text": "you answered text messages{whose} on {at} in a way that says that you did not want them.",
    "audit": "on {at} we found that you got text messages{whose} that should not have been sent to you.",
}
_LINK = re.compile(r"\[link to ([a-z0-9][a-z0-9_-]*)\]")
_HEAD = re.compile(r"^=== Complaint (\d+)\b.*===\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Texter:
    """A merchant who texted the person: its name, the numbers to which a START goes.

    `offers_link`: the mail has a link to a page on which they may consent again, made as it goes out.
    """

    key: str
    name: str
    numbers: tuple[str, ...] = ()
    offers_link: bool = False


def reply(complaint: Complaint, texters: Sequence[Texter], company: str) -> str:
    """The whole answer to one person. `texters`: those that it is about; none where nobody texted them of late."""
    names = _listed([one.name for one in texters])
    whose = f" from {names}" if names else ""
    said = [
        "Hello,",
        f"{_OPENINGS[complaint.source].format(at=day_and_clock(complaint.received_at), whose=whose)} "
        "We are sorry that you got them. Nobody should be texted who does not want to be.",
        f"Since {day_and_clock(complaint.recorded_at)} your number is blocked for every business that sends through "
        "us, not only for the one that texted you. "
        + (f"{_waited(complaint.cancelled)} " if complaint.cancelled else "")
        + "You need not do anything. We are looking into how your number came to be used.",
    ]
    back = _ways_back(texters)
    if back:
        said.append(f"Should you want texts again one day, {back}. Until then you will get none.")
    said.append("If you get another one all the same, please tell us: we want to know.")
    said.append(f"With our apologies,\n{company}")
    return "\n\n".join(said)


def draft(parts: Sequence[tuple[Complaint, str]]) -> str:
    """The answers to several, each under a heading that says how it goes out."""
    return "\n\n".join(f"{heading(one)}\n{text}" for one, text in parts)


def heading(complaint: Complaint) -> str:
    if complaint.mailbox is not None:
        how = f"mailed to {masked(complaint.mailbox)}"
    elif complaint.answer_to:
        how = f"to be told by a person ({masked(complaint.answer_to)})"
    else:
        how = "to be told by a person: they left no address"
    return f"=== Complaint {complaint.id}, due {clock(complaint.due_at)}, {how} ==="


def parts(text: str) -> dict[int, str]:
    """What a person made of the drafts: the text for each complaint. One whose part was taken out is missing."""
    heads = list(_HEAD.finditer(text))
    if not heads:
        return {}
    ends = [head.start() for head in heads[1:]] + [len(text)]
    found = {int(head[1]): text[head.end() : end].strip() for head, end in zip(heads, ends, strict=True)}
    return {number: said for number, said in found.items() if said}


def placeholder(key: str) -> str:
    """Where in a draft the link to a merchant's page stands: the link itself is a secret, and only the mail has it."""
    return f"[link to {key}]"


def placeholders(text: str) -> list[str]:
    """The merchants, by key, whose links a text wants."""
    return list(dict.fromkeys(_LINK.findall(text)))


def masked(address: str) -> str:
    """Enough of a mailbox or number to know it again: drafts are read in the team's channel."""
    name, at, domain = address.partition("@")
    return f"{name[:1]}…@{domain}" if at else f"…{address[-4:]}"


def _waited(count: int) -> str:
    if count == 1:
        return "One text that was still to go out to you was cancelled."
    return f"{count} texts that were still to go out to you were cancelled."


def _ways_back(texters: Sequence[Texter]) -> str:
    ways = []
    for one in texters:
        start = f"text START to {_listed(list(one.numbers), 'or')}" if one.numbers else ""
        page = f"say so at {placeholder(one.key)}" if one.offers_link else ""
        both = " or ".join(part for part in (start, page) if part)
        if both:
            ways.append(f"{both} for those of {one.name}")
    return "; ".join(ways)


def _listed(items: Sequence[str], last: str = "and") -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"

"""The review as Markdown, for a wiki or a repository. Plots are left to the other forms."""

import re

from holdfast.review.blocks import Block, Diff, Document, Facts, Paragraph, Plot, Prose, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")
_LEADING = re.compile(r"^(\s*)([#+\-=]|\d+[.)])")
_FENCE = re.compile(r"`{3,}")


def render(document: Document) -> str:
    lines = [f"# {escaped(document.title)}", "", escaped(document.subtitle), "", f"*{escaped(document.status)}*"]
    for section in document.sections:
        lines += ["", f"## {escaped(section.title)}"]
        for block in section.blocks:
            lines += ["", *_block(block)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """As it is read, whatever stands in it: on one line, and no markup."""
    text = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return _LEADING.sub(lambda found: f"{found[1]}{_not_leading(found[2])}", text)


def _not_leading(mark: str) -> str:
    return f"{mark[:-1]}\\{mark[-1]}"


def _block(block: Block) -> list[str]:
    match block:
        case Paragraph(text, quiet):
            return [f"*{escaped(text)}*" if quiet else escaped(text)]
        case Prose(text):
            return [text]  # a person's own Markdown
        case Facts(rows):
            return [f"- **{escaped(label)}**: {escaped(value)}" for label, value in rows]
        case Table():
            return _table(block)
        case Plot(caption):
            return [f"*Plots are in the HTML and PDF forms. {escaped(caption)}*"]
        case Diff(text, more):
            fence = "`" * max((len(run) + 1 for run in _FENCE.findall(text)), default=3)
            return [f"{fence}diff", text.removesuffix("\n"), fence, *(["", f"*… {escaped(more)}*"] if more else [])]


def _table(table: Table) -> list[str]:
    rule = ["---:" if place in table.right else "---" for place in range(len(table.columns))]
    rows = [_row(table.columns), f"| {' | '.join(rule)} |", *map(_row, table.rows)]
    return [*rows, *(["", f"*… {escaped(table.more)}*"] if table.more else [])]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"

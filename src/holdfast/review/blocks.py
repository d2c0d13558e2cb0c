"""The plain parts of a review, which Markdown, HTML and PDF are made of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paragraph:
    """`quiet`: a remark, rather than what it is about."""

    text: str
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Prose:
    """What a person wrote, with its own lines."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """`widths` are relative. Columns in `right` are numbers. `more`: what is left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[int, ...]
    right: frozenset[int] = frozenset()
    more: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and values."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """Where the plots stand; `caption` is below them."""

    caption: str


@dataclass(frozen=True, slots=True)
class Diff:
    """A patch."""

    text: str
    more: str = ""


Block = Paragraph | Prose | Table | Facts | Plot | Diff


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """`status`: draft, or by whom it was closed."""

    title: str
    subtitle: str
    status: str
    sections: tuple[Section, ...]

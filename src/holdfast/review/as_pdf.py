"""The review as a PDF. Imported only when one is made; the fonts are those that matplotlib brings."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
from fpdf import FPDF, FontFace
from fpdf.enums import TableBordersLayout, WrapMode, XPos, YPos

from holdfast.review.blocks import Block, Diff, Document, Facts, Paragraph, Plot, Prose, Table

_SANS, _MONO = "DejaVu", "DejaVuMono"
_QUIET, _INK = 95, 20
_LONGEST = 20_000
"""Characters of one text: what a person wrote may be long, a review is no book."""
_UNKNOWN = "□"
"""Stands for what the fonts cannot draw."""


def render(
    document: Document, plots: bytes | None, *, made: datetime, drawn: Callable[[], None] = lambda: None
) -> bytes:
    """`plots`: the PNG of the signals. `drawn` is called after each section."""
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    paper = _Paper(document, made)
    paper.heading()
    for section in document.sections:
        paper.section(section.title)
        for block in section.blocks:
            paper.block(block, plots)
        drawn()
    return bytes(paper.output())


class _Paper(FPDF):
    """A4 with the title above and the page's number below."""

    def __init__(self, document: Document, made: datetime) -> None:
        super().__init__(format="A4")
        self._document = document
        fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
        self.add_font(_SANS, "", fonts / "DejaVuSans.ttf")
        self.add_font(_SANS, "B", fonts / "DejaVuSans-Bold.ttf")
        self.add_font(_MONO, "", fonts / "DejaVuSansMono.ttf")
        self.set_title(self.drawable(document.title))
        self.set_creator("Holdfast")
        self.set_creation_date(made)
        self.set_margins(15, 16, 15)
        self.set_auto_page_break(True, margin=16)
        self.alias_nb_pages()
        self.add_page()

    def header(self) -> None:
        if self.page_no() > 1:
            self._font(7.5, grey=_QUIET)
            self.set_y(8)
            self._line(self._document.title[:120])
            self.set_y(16)

    def footer(self) -> None:
        self.set_y(-11)
        self._font(7.5, grey=_QUIET)
        self.cell(0, 4, f"{self.page_no()} / {{nb}}", align="R")

    def heading(self) -> None:
        self._font(17, bold=True)
        self._text(self._document.title, 7.5)
        self.ln(1)
        self._font(9, grey=_QUIET)
        self._text(f"{self._document.subtitle} · {self._document.status}", 4.5)

    def section(self, title: str) -> None:
        if self.will_page_break(28):
            self.add_page()
        self.ln(5)
        self._font(12, bold=True)
        self._text(title, 6)
        self.set_draw_color(200)
        self.line(self.l_margin, self.get_y() + 0.5, self.w - self.r_margin, self.get_y() + 0.5)
        self.ln(2.5)

    def block(self, block: Block, plots: bytes | None) -> None:
        match block:
            case Paragraph(text, quiet):
                self._font(9, grey=_QUIET if quiet else _INK)
                self._text(text, 4.5)
            case Prose(text):
                self._font(9)
                self._text(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …", 4.5)
            case Facts(rows):
                self._facts(rows)
            case Table():
                self._table(block)
            case Plot(caption):
                self._plot(plots, caption)
            case Diff(text, more):
                self._diff(text, more)
        self.ln(1.5)

    def drawable(self, text: str) -> str:
        """The text with what no font can draw replaced, so that nothing vanishes unseen."""
        known = self.fonts[_SANS.lower()].cmap  # type: ignore[union-attr]
        return "".join(one if one in "\n\t" or ord(one) in known else _UNKNOWN for one in text).replace("\t", "    ")

    def _font(self, size: float, *, bold: bool = False, grey: int = _INK, family: str = _SANS) -> None:
        self.set_font(family, "B" if bold else "", size)
        self.set_text_color(grey)

    def _text(self, text: str, height: float) -> None:
        self.multi_cell(0, height, self.drawable(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _line(self, text: str) -> None:
        self.cell(0, 4, self.drawable(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _facts(self, rows: Sequence[tuple[str, str]]) -> None:
        for label, value in rows:
            self._font(9, grey=_QUIET)
            self.cell(58, 4.8, self.drawable(label))
            self._font(9)
            self._text(value, 4.8)

    def _table(self, table: Table) -> None:
        self._font(7.5)
        self.set_draw_color(210)
        aligned = tuple("RIGHT" if place in table.right else "LEFT" for place in range(len(table.columns)))
        with self.table(
            col_widths=table.widths,
            text_align=aligned,
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="BOLD", fill_color=(240, 242, 244)),
            line_height=3.7,
            padding=(0.7, 1.4),
            wrapmode=WrapMode.WORD,
        ) as drawn:
            for cells in (table.columns, *table.rows):
                row = drawn.row()
                for cell in cells:
                    row.cell(self.drawable(cell))
        if table.more:
            self._font(8, grey=_QUIET)
            self._text(f"… {table.more}", 4.5)

    def _plot(self, plots: bytes | None, caption: str) -> None:
        if plots is not None:
            width = self.epw
            height = self._height(plots, width)
            most = self.eph - 22
            if height > most:
                width, height = width * most / height, most
            if self.will_page_break(height + 6):
                self.add_page()
            self.image(BytesIO(plots), w=width, alt_text="Plots of the signals around the incident")
        self._font(8, grey=_QUIET)
        self._text(caption, 4.5)

    def _height(self, png: bytes, width: float) -> float:
        """The size of a PNG is in its first chunk (https://www.w3.org/TR/png-3/#11IHDR)."""
        across, down = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
        return width * down / across

    def _diff(self, text: str, more: str) -> None:
        lines = text.removesuffix("\n").split("\n")
        if self.will_page_break(3.5 * min(len(lines), 12)):
            self.add_page()
        for line in lines:
            self._font(7, family=_MONO)
            fill = {"+": (227, 244, 231), "-": (251, 230, 228)}.get(line[:1])
            if line.startswith(("---", "+++", "@@")):
                self.set_text_color(_QUIET)
                fill = None
            if fill is not None:
                self.set_fill_color(*fill)
            self.multi_cell(
                0,
                3.5,
                self.drawable(line) or " ",
                align="L",
                fill=fill is not None,
                new_x=XPos.LMARGIN,
                new_y=YPos.NEXT,
                wrapmode=WrapMode.CHAR,
            )
        if more:
            self._font(8, grey=_QUIET)
            self._text(f"… {more}", 4.5)

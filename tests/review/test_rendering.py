"""What a review looks like: Markdown, HTML and PDF say the same, whatever people and merchants are called."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import cast
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from holdfast.review import as_markdown, as_pdf, plots, rendering, service
from holdfast.review.blocks import Document, Paragraph, Section, Table
from holdfast.review.document import build
from holdfast.review.model import Plots, ReviewError
from holdfast.review.timeline import marks
from tests.review import storm
from tests.review.storm import at

SAID = (
    "Stripe sends everything again",
    "Stripe replayed a day of events.",
    "Alert on duplicates sooner",
    "10.99 USD",
    "250,000 JPY",
    "Redeliveries of events that were held already: 40.",
    "router.concurrency",
    "by hand",
    "Consider adding a step that sets processes.workers.",
    "Verdict: changed, because workers were missing.",
)


@pytest.fixture
async def case(pool):
    await storm.traffic(pool)
    await storm.signals_of(pool)
    made = await storm.worked(pool)
    now = at(70)
    await service.write(
        pool, made.id, root_cause="Stripe replayed a day of events.", lessons="<b>Répétez</b>", actor="ada", now=now
    )
    await service.add_item(pool, made.id, "Alert on duplicates sooner", owner=None, due_at=None, actor="ada", now=now)
    await service.propose(
        pool, made.id, storm.TEXT + "- [ ] Add <workers>\n", check=lambda _text: None, actor="ada", now=now
    )
    await service.verdict(pool, made.id, "changed", "workers were missing", actor="ada", now=now)
    return await service.case(pool, made.id, now)


class Words(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(page)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


async def test_markdown_says_what_happened(case):
    text = rendering.render(case, "md", at(70)).decode()
    page = Words(MarkdownIt("commonmark").enable("table").render(text))
    flat = " ".join(page.text.split())
    for said in (*SAID, "Bäckerei 漢字 Ωmega", "<script>alert(1)</script> | Grüße 漢字 👋", "Add <workers>"):
        assert said in flat, said
    assert not any(tag == "script" for tag, _ in page.tags)


async def test_html_is_one_page_that_needs_and_runs_nothing_else(case):
    page = Words(rendering.render(case, "html", at(70)).decode())
    flat = " ".join(page.text.split())
    for said in (*SAID, "Bäckerei 漢字 Ωmega", "<b>Répétez</b>", "Receipt to routed, seconds", "Add <workers>"):
        assert said in flat, said
    tags = {tag for tag, _ in page.tags}
    assert "svg" in tags
    assert not tags & {"script", "link", "img", "iframe", "b"}
    outside = [
        value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")
    ]
    assert all(value.startswith("#") for value in outside)


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")
async def test_pdf_says_the_same_on_a_few_pages(case, tmp_path):
    file = tmp_path / "review.pdf"
    file.write_bytes(rendering.render(case, "pdf", at(70)))
    found = subprocess.run(["pdftotext", "-raw", file, "-"], capture_output=True, check=True).stdout.decode()
    flat = " ".join(found.split())
    for said in (*SAID, "Bäckerei □□ Ωmega", "<script>alert(1)</script> | Grüße □□ □", "Add <workers>"):
        assert said in flat, said
    assert found.count("\f") <= 6
    images = subprocess.run(["pdfimages", "-list", file], capture_output=True, check=True).stdout.decode()
    assert len(images.splitlines()) >= 3


async def test_parts_of_a_pdf_are_told_as_they_are_drawn(case):
    drawn = []
    rendering.render(case, "pdf", at(70), lambda: drawn.append(1))
    assert len(drawn) == len(build(case, at(70)).sections) + 1


async def test_an_unknown_form_is_refused(case):
    with pytest.raises(ReviewError, match="there is no form 'doc'; there are md, html, pdf"):
        rendering.render(case, cast(rendering.Form, "doc"), at(70))


async def test_the_same_review_draws_the_same_svg_with_its_marks(case):
    drawn = plots.svg(case.review.figures.plots, marks(case.lines))
    assert drawn == plots.svg(case.review.figures.plots, marks(case.lines))
    words = " ".join(ElementTree.fromstring(drawn).itertext())
    for said in ("Webhooks received, per second", "critical p99", "processes.workers", "Failures, share"):
        assert said in words
    assert b"currentColor" in drawn
    assert len(marks(case.lines)) >= 8


def test_plots_without_any_signal_say_so():
    nothing = Plots(at(0), 60, 10, 60)
    assert b"No signal of this time is kept." in plots.svg(nothing, [])
    assert plots.png(nothing, []).startswith(b"\x89PNG")


@example("&lt;b&gt; <b> [a](b) *c* 1. #")
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_whatever_stands_in_a_cell_is_read_as_it_is_in_markdown(text):
    table = Table(("What", "Who"), ((text, "x"),), (1, 1))
    made = as_markdown.render(Document("t", "s", "d", (Section("S", (table,)),)))
    page = Words(MarkdownIt("commonmark").enable("table").render(made))
    cells = [tag for tag, _ in page.tags if tag == "td"]
    assert len(cells) == 2
    assert " ".join(page.text.split()).find(" ".join(text.split())) >= 0


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_whatever_a_text_is_a_pdf_is_made_of_it(text):
    document = Document(
        text or "t", text, "draft", (Section("S", (Paragraph(text), Table((text,), ((text,),), (1,)))),)
    )
    assert as_pdf.render(document, None, made=at(0)).startswith(b"%PDF")


def test_a_very_long_review_has_bounded_pages():
    rows = tuple((str(number), "word " * 120) for number in range(100))
    made = as_pdf.render(
        Document("t" * 300, "s", "draft", (Section("S", (Table(("#", "What"), rows, (1, 9)),)),)), None, made=at(0)
    )
    assert len(re.findall(rb"/Type /Page\b", made)) < 30

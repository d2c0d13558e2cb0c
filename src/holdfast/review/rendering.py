"""A review as Markdown, HTML or PDF. What draws is imported only for the form that needs it."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from holdfast.review.document import build
from holdfast.review.model import ReviewError
from holdfast.review.service import Case
from holdfast.review.timeline import marks

Form = Literal["md", "html", "pdf"]
FORMS: tuple[Form, ...] = ("md", "html", "pdf")


def render(case: Case, form: Form, now: datetime, drawn: Callable[[], None] = lambda: None) -> bytes:
    """The whole file. Takes a second or more: call it in a thread. `drawn` is called as parts of a PDF are done.

    Raises ReviewError if there is no such form.
    """
    document = build(case, now)
    plots = case.review.figures.plots
    match form:
        case "md":
            from holdfast.review import as_markdown

            return as_markdown.render(document).encode()
        case "html":
            from holdfast.review import as_html
            from holdfast.review.plots import svg

            return as_html.render(document, svg(plots, marks(case.lines)) if plots else None).encode()
        case "pdf":
            from holdfast.review import as_pdf
            from holdfast.review.plots import png

            image = png(plots, marks(case.lines)) if plots else None
            drawn()
            return as_pdf.render(document, image, made=now, drawn=drawn)
    raise ReviewError(f"there is no form {form!r}; there are {', '.join(FORMS)}")

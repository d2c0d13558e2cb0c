"""The review as one HTML page that needs nothing else, light or dark as its reader likes, and that prints well."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from holdfast.review.blocks import Document

_pages = Environment(
    loader=PackageLoader("holdfast.review"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_pages.filters["kind"] = lambda block: type(block).__name__.lower()


def render(document: Document, plots: bytes | None) -> str:
    """`plots`: the SVG of the signals, as `plots.svg` draws it."""
    drawn = Markup(plots.decode()) if plots is not None else None  # noqa: S704 - our own drawing, of our own words
    return _pages.get_template("review.html.j2").render(document=document, plots=drawn)

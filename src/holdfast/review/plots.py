"""Draws a review's plots. Imported only when one is drawn: matplotlib takes a second and 60 MB."""

from collections.abc import Sequence
from datetime import UTC, timedelta
from io import BytesIO
from threading import Lock
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from holdfast.review.model import Panel, Plots
from holdfast.review.timeline import Line

INK = "#1c2833"
"""Text and axes: in the SVG it becomes the text's colour of the page that it is in."""
_COLOURS = ("#2f7fd1", "#e0762f", "#3a9d5d", "#b05fc4", "#c9453b", "#8a8f98")
"""Apart for the colour-blind, and seen on white as on black."""
_MARKS = "#8a8f98"
_WIDTH, _PANEL_HEIGHT, _TOP, _BOTTOM = 10.5, 1.7, 0.6, 0.5
"""Inches."""
_one_at_a_time = Lock()
"""Settings of matplotlib are the whole process's."""


def svg(plots: Plots, marks: Sequence[Line]) -> bytes:
    """For a page: no background, and ink in the page's own colour. The same input makes the same bytes."""
    made = _drawn(plots, marks, "svg")
    return made[made.index(b"<svg") :].replace(INK.encode(), b"currentColor")


def png(plots: Plots, marks: Sequence[Line]) -> bytes:
    """For paper: on white."""
    return _drawn(plots, marks, "png")


def _drawn(plots: Plots, marks: Sequence[Line], form: Literal["svg", "png"]) -> bytes:
    panels = [panel for panel in plots.panels if _measured(panel)]
    out = BytesIO()
    with _one_at_a_time, mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "holdfast", "font.size": 9}):
        height = _TOP + _BOTTOM + _PANEL_HEIGHT * max(len(panels), 1)
        figure = Figure(figsize=(_WIDTH, height))
        # Fixed margins: to have them found takes longer than to draw.
        figure.subplots_adjust(
            left=0.062, right=0.845, top=1 - (_TOP + 0.15) / height, bottom=_BOTTOM / height, hspace=0.28
        )
        axes: list[Axes] = list(figure.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False)[:, 0])
        if not panels:
            axes[0].text(
                0.5, 0.5, "No signal of this time is kept.", ha="center", color=INK, transform=axes[0].transAxes
            )
        for place, panel in zip(axes, panels, strict=False):
            _draw(place, panel, plots)
        for place in axes:
            _style(place)
        _mark(axes, marks, plots)
        _dates(axes[-1])
        if form == "svg":
            FigureCanvasSVG(figure)
            figure.savefig(out, format="svg", metadata={"Date": None}, facecolor="none")
        else:
            FigureCanvasAgg(figure)
            figure.savefig(out, format="png", dpi=150, facecolor="white")
    return out.getvalue()


def _measured(panel: Panel) -> bool:
    return any(value is not None for series in panel.series for value in series.values)


def _draw(axes: Axes, panel: Panel, plots: Plots) -> None:
    start, day = date2num(plots.start), timedelta(days=1).total_seconds()
    at = [start + plots.step * number / day for number in range(plots.count)]
    shown = [series for series in panel.series if any(value is not None for value in series.values)]
    for number, series in enumerate(shown):
        values = [float("nan") if value is None else value for value in series.values]
        axes.plot(
            at,
            values,
            label=series.name,
            color=_COLOURS[number % len(_COLOURS)],
            linewidth=1.3,
            linestyle="--" if series.style == "dashed" else "-",
            drawstyle="steps-post" if series.style == "steps" else "default",
        )
    axes.set_title(f"{panel.title}{_unit(panel.unit)}", loc="left", fontsize=9.5, color=INK)
    highest = max((value for series in shown for value in series.values if value is not None), default=0.0)
    lowest = min((value for series in shown for value in series.values if value), default=0.0)
    if panel.unit == "s" and lowest > 0 and highest / lowest > 50:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, highest * 1.08 or 1)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=panel.unit == ""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: _tick(value, panel.unit)))
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), fontsize=8, frameon=False, borderaxespad=0.3)
    for text in legend.get_texts():
        text.set_color(INK)


def _style(axes: Axes) -> None:
    axes.patch.set_alpha(0)
    axes.grid(True, color=_MARKS, alpha=0.22, linewidth=0.6)
    axes.tick_params(colors=INK, labelsize=8)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_MARKS)


def _mark(axes: Sequence[Axes], marks: Sequence[Line], plots: Plots) -> None:
    """A thin line for each, with its number above the first plot; numbers that would overlap stand in two rows."""
    start, end = date2num(plots.start), date2num(plots.until)
    axes[0].set_xlim(start, max(end, start + 1e-4))
    previous, row = float("-inf"), 0
    for line in marks:
        at = date2num(line.at)
        if not start <= at <= end:
            continue
        for place in axes:
            place.axvline(at, color=_MARKS, linewidth=0.8, linestyle=":", alpha=0.9)
        row = (row + 1) % 3 if at - previous < (end - start) / 45 else 0
        previous = at
        axes[0].annotate(
            str(line.mark),
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 17 + 9 * row),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=INK,
        )


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(tz=UTC, minticks=5, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.xaxis.get_offset_text().set_color(INK)
    axes.set_xlabel("UTC", fontsize=8, color=INK)


def _unit(unit: str) -> str:
    return {"s": ", seconds", "1/s": ", per second", "share": ", share"}.get(unit, "")


def _tick(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value * 100:g} %"
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"

"""What the pictures share: their form, and strokes that more than one of them draws."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from lead_propensity.reporting.canvas import INK, MODEL

Card = Mapping[str, Any]
LABEL_CHARACTERS = 44


@dataclass(frozen=True)
class Picture:
    """An SVG file's text and its alternative text."""

    svg: str
    alt: str


def whiskers(axes: Axes, rows: Iterable[Card], places: Iterable[float]) -> None:
    for row, place in zip(rows, places, strict=True):
        axes.plot([place] * 2, [row["lower"], row["upper"]], color=MODEL, linewidth=5, alpha=0.35)


def label_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")


def beside(axes: Axes, place: float, text: str) -> None:
    """Words beside a vertical line, on the side where there is room."""
    left = place > 0.5
    axes.annotate(
        text, (place, 0.04), xytext=(-6 if left else 6, 0), textcoords="offset points"
    ).set_horizontalalignment("right" if left else "left")


def percent_axes(axes: Axes, which: str) -> None:
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PercentFormatter(1, decimals=None))


def column(rows: Iterable[Card], name: str) -> list[float]:
    return [row[name] for row in rows]


def known(figure: Card | None) -> bool:
    return figure is not None and None not in (figure["value"], figure["lower"], figure["upper"])


def interval(row: Card, form: str = "{:.1%}") -> str:
    return f"95% interval {form.format(row['lower'])} to {form.format(row['upper'])}"


def one_line(text: str) -> str:
    """One line that XML can hold."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return (
        line
        if len(line) <= LABEL_CHARACTERS
        else line[: LABEL_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )

"""The picture of the time line: which part covers which days, or which rows."""

from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from matplotlib.ticker import FuncFormatter, MaxNLocator

from lead_propensity.reporting.canvas import COLD, GRID, MODEL, WARM, Canvas
from lead_propensity.reporting.drawing import Card, Picture, label_rows

COLOURS = {"fit": COLD, "calibrate": WARM, "test": MODEL}


@dataclass(frozen=True)
class Span:
    """A stretch of the time line, in days since year 1 or in rows."""

    name: str
    first: int
    last: int


def spans(card: Card) -> list[Span]:
    """fit, purge, calibrate, purge, test and, of an event history, the wait for the last outcomes."""
    parts = {row["part"]: row for row in card["parts"] or [] if row["population"] == "training"}
    found = [
        Span(name, _place(parts[name]["from"]), _place(parts[name]["to"]))
        for name in COLOURS
        if name in parts
    ]
    lined: list[Span] = found[:1]
    for before, after in pairwise(found):
        lined += [Span("purge", before.last, after.first), after]
    if card["exported_at"] and found:
        lined.append(Span("outcomes", found[-1].last, _place(card["exported_at"])))
    return lined


def parts(card: Card) -> Picture | None:
    lined = spans(card)
    if len(lined) < 2:
        return None
    dated = card["shape"] != "as exported"
    rows = lined[::-1]
    with Canvas("parts", 0.8 + 0.34 * len(rows)) as canvas:
        axes = canvas.axes
        for place, span in enumerate(rows):
            length = max(span.last - span.first, 1)
            axes.barh(
                place, length, left=span.first, color=COLOURS.get(span.name, GRID), height=0.6
            )
        label_rows(axes, [span.name for span in rows])
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _tick(x, dated)))
        axes.set_xlabel("" if dated else "Row")
        svg = canvas.svg()
    words = "; ".join(f"{s.name} {_word(s.first, dated)} to {_word(s.last, dated)}" for s in lined)
    return Picture(svg, f"The time line: {words}.")


def _place(moment: str | float) -> int:
    return date.fromisoformat(moment[:10]).toordinal() if isinstance(moment, str) else int(moment)


def _tick(place: float, dated: bool) -> str:
    if not dated:
        return f"{place:,.0f}"
    return f"{date.fromordinal(max(1, round(place))):%Y-%m-%d}"


def _word(place: int, dated: bool) -> str:
    return _tick(place, dated) if dated else f"row {place:,}"

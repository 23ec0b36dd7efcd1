"""Pictures of whom to call: the bands, newly hot leads by week, and what the model looks at."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lead_propensity.reporting.canvas import BAND_COLOURS, GRID, INK, MODEL, MUTED, Canvas
from lead_propensity.reporting.drawing import (
    Card,
    Picture,
    column,
    interval,
    label_rows,
    one_line,
    percent_axes,
)

FEATURES_SHOWN = 8


def bands(card: Card) -> Picture | None:
    rows = [row for row in reversed(card["bands"]["stock"]) if row["observed"] is not None]
    if not rows:
        return None
    with Canvas("bands", 1.2 + 0.62 * len(rows)) as canvas:
        axes = canvas.axes
        for place, row in enumerate(rows):
            _band(axes, place, row)
        axes.plot([], [], "o", color=MUTED, label="observed")
        axes.plot([], [], "d", color=INK, markerfacecolor="none", label="expected")
        axes.plot(
            [], [], "|", color=INK, markersize=11, markeredgewidth=2, label="promised at least"
        )
        label_rows(axes, [row["band"] for row in rows])
        axes.set_xlim(left=0)
        axes.set_xlabel("Share that became deals")
        percent_axes(axes, "x")
        canvas.legend(3)
        svg = canvas.svg()
    words = "; ".join(f"{row['band']} {row['observed']:.1%}, {interval(row)}" for row in rows[::-1])
    return Picture(svg, f"Bands, share that became deals: {words}.")


def _band(axes: Axes, place: int, row: Card) -> None:
    colour, promised = BAND_COLOURS[row["band"]], row["promised_lower"]
    axes.plot([row["lower"], row["upper"]], [place] * 2, color=colour, linewidth=7, alpha=0.35)
    axes.plot(row["observed"], place, "o", color=colour, markersize=9)
    axes.plot(row["expected"], place, "d", color=INK, markersize=6, markerfacecolor="none")
    if promised is not None:
        axes.plot([promised] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=2)


def weekly(card: Card) -> Picture | None:
    weekly = card["weekly"]
    if weekly is None or not any(week["newly_hot"] for week in weekly["weeks"]):
        return None
    weeks = weekly["weeks"]
    with Canvas("weekly", 2.9) as canvas:
        axes = canvas.axes
        colours = [GRID if week["backlog"] else BAND_COLOURS["hot"] for week in weeks]
        axes.bar(range(len(weeks)), column(weeks, "newly_hot"), color=colours, width=0.72)
        if weekly["plan"] is not None:
            axes.axhline(
                weekly["plan"], color=INK, linewidth=1.4, linestyle=(0, (4, 3)), label="plan"
            )
            canvas.legend()
        step = -(-len(weeks) // 5)
        axes.set_xticks(range(0, len(weeks), step), [week["week"][5:] for week in weeks[::step]])
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="Week from (grey: backlog of the first week)", ylabel="Newly hot leads")
        svg = canvas.svg()
    words = ", ".join(f"{week['week']} {week['newly_hot']}" for week in weeks)
    return Picture(svg, f"Newly hot leads by week: {words}.")


def importance(card: Card) -> Picture | None:
    sides = {"fit": "Fit: who the lead is", "interest": "Interest: what the lead does"}
    shown = [
        (row, colour)
        for side, colour in (("interest", MODEL), ("fit", BAND_COLOURS["cold"]))
        for row in card["importance"][side]["features"][:FEATURES_SHOWN][::-1]
    ]
    if not shown:
        return None
    with Canvas("importance", 0.9 + 0.42 * len(shown)) as canvas:
        axes = canvas.axes
        for place, (row, colour) in enumerate(shown):
            axes.barh(place, row["share"], color=colour, height=0.3)
            axes.text(0, place + 0.24, one_line(row["meaning"]), va="bottom", fontsize=9.5)
        for side, colour in (("fit", BAND_COLOURS["cold"]), ("interest", MODEL)):
            axes.barh(
                [0],
                [0],
                color=colour,
                label=f"{sides[side]} ({card['importance'][side]['share']:.0%})",
            )
        axes.set(yticks=[], ylim=(-0.4, len(shown) - 0.1), xlabel="Share of what the model uses")
        axes.spines["left"].set_visible(False)
        percent_axes(axes, "x")
        canvas.legend(1)
        svg = canvas.svg()
    words = "; ".join(f"{one_line(row['meaning'])} {row['share']:.1%}" for row, _ in shown[::-1])
    return Picture(svg, f"Feature importance: {words}.")

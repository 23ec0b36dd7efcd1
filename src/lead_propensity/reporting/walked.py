"""The picture of the walk forward: whether the level was right, period by period."""

from matplotlib.axes import Axes

from lead_propensity.reporting.canvas import MODEL, MUTED, Canvas
from lead_propensity.reporting.drawing import Card, Picture, known

TRACKED, UNTRACKED = "expected_to_observed", "expected_to_observed_untracked"
ASIDE = 0.13
"""Of a period's width: how far both dots stand from its middle."""


def backtest(card: Card) -> Picture | None:
    walked = card["backtest"]
    rows = [row for row in walked["periods"] if known(row[TRACKED])] if walked else []
    if len(rows) < 2:  # the test part alone is no walk
        return None
    both = any(row[TRACKED]["value"] != row[UNTRACKED]["value"] for row in rows)
    with Canvas("backtest", 3.1) as canvas:
        axes = canvas.axes
        axes.axhline(1, color=MUTED, linestyle=(0, (4, 3)))
        if both:
            _series(axes, [row[UNTRACKED] for row in rows], MUTED, -ASIDE, "level as fitted")
        _series(axes, [row[TRACKED] for row in rows], MODEL, ASIDE * both, "level tracked")
        axes.set_xticks(range(len(rows)), [_short(row) for row in rows])
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="Expected to observed")
        if both:
            canvas.legend()
        svg = canvas.svg()
    return Picture(svg, f"Expected to observed deals, walking forward: {_words(rows, both)}.")


def _series(axes: Axes, ratios: list[Card], colour: str, aside: float, label: str) -> None:
    for place, ratio in enumerate(ratios):
        ends = [ratio["lower"], ratio["upper"]]
        axes.plot([place + aside] * 2, ends, color=colour, linewidth=6, alpha=0.35)
    middles = [place + aside for place in range(len(ratios))]
    axes.plot(middles, [r["value"] for r in ratios], "o", color=colour, markersize=6.5, label=label)


def _words(rows: list[Card], both: bool) -> str:
    def said(row: Card) -> str:
        tracked = f"from {row['from']} {row[TRACKED]['value']:.2f}"
        return f"{tracked} (untracked {row[UNTRACKED]['value']:.2f})" if both else tracked

    return "; ".join(said(row) for row in rows)


def _short(row: Card) -> str:
    """`2025-03` of a day, the rank of a row; the test part says so."""
    start = row["from"].removeprefix("row ")
    start = start[:7] if "-" in start else start
    return f"{start}\n(test)" if row["part"] == "test" else start

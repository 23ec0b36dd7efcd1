"""Pictures of whether the percentages are true: by size, over time, by segment and by group of people."""

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from lead_propensity.reporting.canvas import GRID, HOT, INK, MODEL, MUTED, Canvas
from lead_propensity.reporting.drawing import (
    Card,
    Picture,
    column,
    one_line,
    percent_axes,
    whiskers,
)

ROWS_SHOWN = 16
FURTHEST = 4.0
"""Expected to observed beyond this, or its inverse, is drawn at the edge."""


def reliability(card: Card) -> Picture | None:
    bins, bars = card["reliability"], card["calibration"]["histogram"]
    if not bins:
        return None
    tops = [max(row["expected"], row["upper"], row["band_upper"]) for row in bins]
    reach = min(1.0, 1.05 * max(tops))
    with Canvas("reliability", 4.6) as canvas:
        canvas.figure.clear()
        canvas.axes, below = canvas.figure.subplots(2, 1, sharex=True, height_ratios=[4.2, 1])
        _diagram(canvas.axes, bins, reach)
        _histogram(below, bars)
        below.set_xlim(0, reach)
        percent_axes(below, "x")
        canvas.legend(1)
        svg = canvas.svg()
    pairs = ", ".join(f"{row['expected']:.1%} to {row['observed']:.1%}" for row in bins)
    inside = sum(row["band_lower"] <= row["observed"] <= row["band_upper"] for row in bins)
    return Picture(
        svg,
        f"Reliability: expected rate to observed rate by bin: {pairs}. {inside} of {len(bins)} lie in the "
        "band where true percentages would put 95% of them.",
    )


def _diagram(axes: Axes, bins: list[Card], reach: float) -> None:
    expected = column(bins, "expected")
    axes.plot([0, reach], [0, reach], color=MUTED, linestyle=(0, (4, 3)))
    ends = column(bins, "band_lower"), column(bins, "band_upper")
    axes.fill_between(
        expected, *ends, color=GRID, label="where true percentages would put 95 of 100 dots"
    )
    if len(bins) == 1:  # an area of one point is invisible
        axes.plot(expected * 2, [ends[0][0], ends[1][0]], color=GRID, linewidth=14)
    whiskers(axes, bins, expected)
    observed = column(bins, "observed")
    axes.plot(expected, observed, "o", color=MODEL, markersize=6, label="observed, 95% interval")
    axes.set(ylim=(0, reach), ylabel="Observed rate")
    percent_axes(axes, "y")


def _histogram(axes: Axes, bars: list[Card]) -> None:
    left, right = column(bars, "from"), column(bars, "to")
    widths = [end - start for start, end in zip(left, right, strict=True)]
    axes.bar(left, column(bars, "n"), width=widths, align="edge", color=MODEL, alpha=0.45)
    axes.set(xlabel="Expected rate", ylabel="Snapshots")
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))


def level(card: Card) -> Picture | None:
    rows = [row for row in card["periods"] if _has_ratio(row["expected_to_observed"])]
    if not rows:
        return None
    ratios = [row["expected_to_observed"] for row in rows]
    ends = [one[end] for one in ratios for end in ("value", "upper") if one[end] is not None]
    top = 1.08 * max(1.0, *ends)
    with Canvas("level", 2.9) as canvas:
        axes = canvas.axes
        axes.axhline(1, color=MUTED, linestyle=(0, (4, 3)))
        for place, ratio in enumerate(ratios):
            span = [ratio["lower"], top if ratio["upper"] is None else ratio["upper"]]
            axes.plot(
                [place] * 2, span, color=MODEL, linewidth=7, alpha=0.35, solid_capstyle="round"
            )
        axes.plot(range(len(rows)), column(ratios, "value"), "o", color=MODEL, markersize=7)
        step = -(-len(rows) // 6)
        axes.set_xticks(range(0, len(rows), step), [_short(row["period"]) for row in rows[::step]])
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.set_ylim(0, top)
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="Expected to observed")
        svg = canvas.svg()
    words = "; ".join(f"{row['period']} {row['expected_to_observed']['value']:.2f}" for row in rows)
    return Picture(
        svg, f"Expected to observed deals by period: {words}. 1 means as many came as expected."
    )


def segments(card: Card) -> Picture | None:
    found = [("band", row) for row in card["segments"]["bands"]]
    found += [(one["column"], row) for one in card["segments"]["columns"] for row in one["rows"]]
    named = [(f"{name}: {row['level']}", row) for name, row in found]
    return _ratios("segments", named, "Expected to observed deals by band and segment")


def fairness(card: Card) -> Picture | None:
    named = [
        (f"{one['column']}: {row['level']}, {row['hot_share']:.0%} hot", row)
        for one in card["fairness"]
        for row in one["rows"]
        if row["hot_share"] is not None
    ]
    whole = card["fairness"][0]["whole"] if card["fairness"] else None
    return _ratios("fairness", named, "Expected to observed deals by group of people", whole)


def _ratios(
    name: str, named: list[tuple[str, Card]], what: str, whole: float | None = None
) -> Picture | None:
    """A dot with its interval for each row, 1 in the middle; rows that are off stand out.

    `whole`: the ratio of all rows together, to be drawn as a line.
    """
    drawn = [(label, row) for label, row in named if _has_ratio(row["expected_to_observed"])]
    if not drawn:
        return None
    drawn = _most_telling(drawn)[::-1]
    with Canvas(name, 0.9 + 0.36 * len(drawn)) as canvas:
        axes = canvas.axes
        axes.axvline(1, color=MUTED, linestyle=(0, (4, 3)))
        if whole is not None:
            axes.axvline(_within(whole), color=INK, linestyle=(0, (1, 2)), label="all together")
            canvas.legend()
        for place, (label, row) in enumerate(drawn):
            _ratio(axes, place, row["expected_to_observed"], HOT if row["off"] else MODEL)
            across = axes.get_yaxis_transform()
            axes.text(0, place + 0.22, one_line(label), va="bottom", fontsize=9.5, transform=across)
        axes.set_xscale("log")
        axes.set(yticks=[], ylim=(-0.5, len(drawn) - 0.1), xlabel="Expected to observed")
        axes.set_xlim(1 / (1.1 * FURTHEST), 1.1 * FURTHEST)
        axes.xaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.spines["left"].set_visible(False)
        svg = canvas.svg()
    words = "; ".join(f"{label} {_said(row)}" for label, row in drawn[::-1])
    return Picture(svg, f"{what}: {words}. 1 means as many came as expected.")


def _has_ratio(ratio: Card | None) -> bool:
    """A cell without a deal has none; one of few deals has no upper end."""
    return ratio is not None and ratio["value"] is not None and ratio["lower"] is not None


def _most_telling(drawn: list[tuple[str, Card]]) -> list[tuple[str, Card]]:
    """The rows that are off, then those of the most leads; in the order given."""
    rank = sorted(
        range(len(drawn)), key=lambda k: (drawn[k][1]["off"] is None, -drawn[k][1]["leads"], k)
    )
    return [drawn[k] for k in sorted(rank[:ROWS_SHOWN])]


def _ratio(axes: Axes, place: float, ratio: Card, colour: str) -> None:
    ends = [_within(ratio["lower"]), _within(ratio["upper"] or FURTHEST)]
    value = _within(ratio["value"])
    axes.plot(ends, [place] * 2, color=colour, linewidth=6, alpha=0.35)
    axes.plot(value, place, "o", color=colour, markersize=6.5)


def _within(ratio: float) -> float:
    return min(max(ratio, 1 / FURTHEST), FURTHEST)


def _said(row: Card) -> str:
    ratio = f"{row['expected_to_observed']['value']:.2f}"
    return f"{ratio} ({row['off']})" if row["off"] else ratio


def _short(period: str) -> str:
    return period.removeprefix("part ").split(" of ")[0].split(" to ")[0]

"""The pictures of a scorecard, each with the words for those who cannot see it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from lead_propensity.reporting.canvas import BAND_COLOURS, GRID, INK, MODEL, MUTED, RULES, Canvas

Card = Mapping[str, Any]
LABEL_CHARACTERS = 44
FEATURES_SHOWN = 8
COMPARED = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "capture": "Deals found",
    "conversion": "Conversion",
    "log_loss": "Log loss",
    "brier": "Brier",
}


@dataclass(frozen=True)
class Picture:
    """An SVG file's text and its alternative text."""

    svg: str
    alt: str


def pictures(scorecard: Card) -> dict[str, Picture]:
    """By name; a picture for which the scorecard holds no figures is left out."""
    drawn = {name: draw(scorecard) for name, draw in _PICTURES.items()}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def svg_files(scorecard: Card) -> dict[str, str]:
    """The same as SVG texts by file name, e.g. for a tracking server."""
    return {f"{name}.svg": picture.svg for name, picture in pictures(scorecard).items()}


def _reliability(card: Card) -> Picture | None:
    bins = card["reliability"]
    if not bins:
        return None
    reach = min(1.0, 1.05 * max(max(row["expected"], row["upper"]) for row in bins))
    with Canvas("reliability", 3.7) as canvas:
        axes = canvas.axes
        axes.plot([0, reach], [0, reach], color=MUTED, linestyle=(0, (4, 3)), label="as promised")
        expected, observed = _column(bins, "expected"), _column(bins, "observed")
        _whiskers(axes, bins, expected)
        axes.plot(
            expected, observed, "o", color=MODEL, markersize=6, label="observed, 95% interval"
        )
        axes.set(xlim=(0, reach), ylim=(0, reach), xlabel="Expected rate", ylabel="Observed rate")
        _percent_axes(axes, "xy")
        canvas.legend()
        svg = canvas.svg()
    pairs = ", ".join(f"{row['expected']:.1%} to {row['observed']:.1%}" for row in bins)
    return Picture(svg, f"Reliability: expected rate to observed rate by bin: {pairs}.")


def _gain(card: Card) -> Picture | None:
    gain, volume = card["gain"], card["comparison"]["volume"]
    if gain["model"] is None:
        return None
    with Canvas("gain", 3.7) as canvas:
        axes = canvas.axes
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), label="by chance")
        axes.plot(gain["share"], gain["model"], color=MODEL, linewidth=2.4, label="model")
        if gain["rules"] is not None:
            axes.plot(gain["share"], gain["rules"], color=RULES, linewidth=2.4, label="rules")
        if volume["n"]:
            axes.axvline(volume["share"], color=INK, linewidth=1.2, linestyle=(0, (1, 2)))
            whose = "rules' hot volume" if volume["source"] == "rules" else "model's hot volume"
            _beside(axes, volume["share"], f"{whose}: {volume['share']:.1%}")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Leads called", ylabel="Deals found")
        _percent_axes(axes, "xy")
        canvas.legend(3)
        svg = canvas.svg()
    return Picture(svg, _gain_words(gain))


def _gain_words(gain: Card) -> str:
    fifth = min(range(len(gain["share"])), key=lambda k: abs(gain["share"][k] - 0.2))
    rules = "" if gain["rules"] is None else f", the rules' first fifth {gain['rules'][fifth]:.0%}"
    model = f"the model's first fifth of the leads holds {gain['model'][fifth]:.0%} of the deals"
    return f"Gain: {model}{rules}."


def _bands(card: Card) -> Picture | None:
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
        _rows(axes, [row["band"] for row in rows])
        axes.set_xlim(left=0)
        axes.set_xlabel("Share that became deals")
        _percent_axes(axes, "x")
        canvas.legend(3)
        svg = canvas.svg()
    words = "; ".join(
        f"{row['band']} {row['observed']:.1%}, {_interval(row)}" for row in rows[::-1]
    )
    return Picture(svg, f"Bands, share that became deals: {words}.")


def _band(axes: Axes, place: int, row: Card) -> None:
    colour, promised = BAND_COLOURS[row["band"]], row["promised_lower"]
    axes.plot([row["lower"], row["upper"]], [place] * 2, color=colour, linewidth=7, alpha=0.35)
    axes.plot(row["observed"], place, "o", color=colour, markersize=9)
    axes.plot(row["expected"], place, "d", color=INK, markersize=6, markerfacecolor="none")
    if promised is not None:
        axes.plot([promised] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=2)


def _rules(card: Card) -> Picture | None:
    gaps = card["comparison"]["differences"].get("rules", {})
    gaps = {name: gaps[name] for name in COMPARED if _known(gaps.get(name))}
    if not gaps:
        return None
    names = list(gaps)[::-1]
    with Canvas("rules", 1.0 + 0.42 * len(names)) as canvas:
        axes = canvas.axes
        axes.axvline(0, color=INK, linewidth=1.2)
        for place, name in enumerate(names):
            value, ends = _advantage(name, gaps[name])
            colour = MODEL if min(ends) > 0 else RULES if max(ends) < 0 else MUTED
            axes.plot(ends, [place] * 2, color=colour, linewidth=7, alpha=0.35)
            axes.plot(value, place, "o", color=colour, markersize=8)
        _rows(axes, [COMPARED[name] for name in names])
        axes.set_xlabel(
            "rules better    \N{LEFTWARDS ARROW}  0  \N{RIGHTWARDS ARROW}    model better"
        )
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.2g}" if x else "0"))
        svg = canvas.svg()
    words = "; ".join(
        f"{COMPARED[name]} {gaps[name]['value']:+.3f}, {_interval(gaps[name], '{:+.3f}')}"
        for name in gaps
    )
    return Picture(svg, f"Model minus rules: {words}.")


def _advantage(name: str, gap: Card) -> tuple[float, list[float]]:
    """Right of zero is good for the model: losses change their sign."""
    sign = -1 if name in ("log_loss", "brier") else 1
    return sign * gap["value"], [sign * gap["lower"], sign * gap["upper"]]


def _weekly(card: Card) -> Picture | None:
    weekly = card["weekly"]
    if weekly is None or not any(week["newly_hot"] for week in weekly["weeks"]):
        return None
    weeks = weekly["weeks"]
    with Canvas("weekly", 2.9) as canvas:
        axes = canvas.axes
        colours = [GRID if week["backlog"] else BAND_COLOURS["hot"] for week in weeks]
        axes.bar(range(len(weeks)), _column(weeks, "newly_hot"), color=colours, width=0.72)
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


def _level(card: Card) -> Picture | None:
    rows = [row for row in card["periods"] if _known(row["expected_to_observed"])]
    if not rows:
        return None
    ratios = [row["expected_to_observed"] for row in rows]
    with Canvas("level", 2.9) as canvas:
        axes = canvas.axes
        axes.axhline(1, color=MUTED, linestyle=(0, (4, 3)))
        for place, ratio in enumerate(ratios):
            ends = [ratio["lower"], ratio["upper"]]
            axes.plot(
                [place] * 2, ends, color=MODEL, linewidth=7, alpha=0.35, solid_capstyle="round"
            )
        axes.plot(range(len(rows)), _column(ratios, "value"), "o", color=MODEL, markersize=7)
        step = -(-len(rows) // 6)
        axes.set_xticks(range(0, len(rows), step), [_short(row["period"]) for row in rows[::step]])
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.set_ylim(0, 1.08 * max(1.0, *_column(ratios, "upper")))
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="Expected to observed")
        svg = canvas.svg()
    words = "; ".join(f"{row['period']} {row['expected_to_observed']['value']:.2f}" for row in rows)
    return Picture(
        svg, f"Expected to observed deals by period: {words}. 1 means as many came as expected."
    )


def _importance(card: Card) -> Picture | None:
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
            axes.text(0, place + 0.24, _label(row["meaning"]), va="bottom", fontsize=9.5)
        for side, colour in (("fit", BAND_COLOURS["cold"]), ("interest", MODEL)):
            axes.barh(
                [0],
                [0],
                color=colour,
                label=f"{sides[side]} ({card['importance'][side]['share']:.0%})",
            )
        axes.set(yticks=[], ylim=(-0.4, len(shown) - 0.1), xlabel="Share of what the model uses")
        axes.spines["left"].set_visible(False)
        _percent_axes(axes, "x")
        canvas.legend(1)
        svg = canvas.svg()
    words = "; ".join(f"{_label(row['meaning'])} {row['share']:.1%}" for row, _ in shown[::-1])
    return Picture(svg, f"Feature importance: {words}.")


_PICTURES: dict[str, Callable[[Card], Picture | None]] = {
    "reliability": _reliability,
    "gain": _gain,
    "bands": _bands,
    "weekly": _weekly,
    "rules": _rules,
    "level": _level,
    "importance": _importance,
}


def _whiskers(axes: Axes, rows: Iterable[Card], places: Iterable[float]) -> None:
    for row, place in zip(rows, places, strict=True):
        axes.plot([place] * 2, [row["lower"], row["upper"]], color=MODEL, linewidth=5, alpha=0.35)


def _rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")


def _beside(axes: Axes, place: float, text: str) -> None:
    """Words beside a vertical line, on the side where there is room."""
    left = place > 0.5
    axes.annotate(
        text, (place, 0.04), xytext=(-6 if left else 6, 0), textcoords="offset points"
    ).set_horizontalalignment("right" if left else "left")


def _percent_axes(axes: Axes, which: str) -> None:
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(PercentFormatter(1, decimals=None))


def _column(rows: Iterable[Card], name: str) -> list[float]:
    return [row[name] for row in rows]


def _known(figure: Card | None) -> bool:
    return figure is not None and None not in (figure["value"], figure["lower"], figure["upper"])


def _interval(row: Card, form: str = "{:.1%}") -> str:
    return f"95% interval {form.format(row['lower'])} to {form.format(row['upper'])}"


def _short(period: str) -> str:
    return period.removeprefix("part ").split(" of ")[0]


def _label(text: str) -> str:
    """One line that XML can hold."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return (
        line
        if len(line) <= LABEL_CHARACTERS
        else line[: LABEL_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )

"""Pictures of how good the scores are: against the rules, and against what came."""

from matplotlib.ticker import FuncFormatter, MaxNLocator

from lead_propensity.reporting.canvas import INK, MODEL, MUTED, RULES, Canvas
from lead_propensity.reporting.drawing import (
    Card,
    Picture,
    beside,
    column,
    interval,
    known,
    label_rows,
    percent_axes,
    whiskers,
)

COMPARED = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "capture": "Deals found",
    "conversion": "Conversion",
    "log_loss": "Log loss",
    "brier": "Brier",
}


def reliability(card: Card) -> Picture | None:
    bins = card["reliability"]
    if not bins:
        return None
    reach = min(1.0, 1.05 * max(max(row["expected"], row["upper"]) for row in bins))
    with Canvas("reliability", 3.7) as canvas:
        axes = canvas.axes
        axes.plot([0, reach], [0, reach], color=MUTED, linestyle=(0, (4, 3)), label="as promised")
        expected, observed = column(bins, "expected"), column(bins, "observed")
        whiskers(axes, bins, expected)
        axes.plot(
            expected, observed, "o", color=MODEL, markersize=6, label="observed, 95% interval"
        )
        axes.set(xlim=(0, reach), ylim=(0, reach), xlabel="Expected rate", ylabel="Observed rate")
        percent_axes(axes, "xy")
        canvas.legend()
        svg = canvas.svg()
    pairs = ", ".join(f"{row['expected']:.1%} to {row['observed']:.1%}" for row in bins)
    return Picture(svg, f"Reliability: expected rate to observed rate by bin: {pairs}.")


def gain(card: Card) -> Picture | None:
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
            beside(axes, volume["share"], f"{whose}: {volume['share']:.1%}")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Leads called", ylabel="Deals found")
        percent_axes(axes, "xy")
        canvas.legend(3)
        svg = canvas.svg()
    return Picture(svg, _gain_words(gain))


def _gain_words(gain: Card) -> str:
    fifth = min(range(len(gain["share"])), key=lambda k: abs(gain["share"][k] - 0.2))
    rules = "" if gain["rules"] is None else f", the rules' first fifth {gain['rules'][fifth]:.0%}"
    model = f"the model's first fifth of the leads holds {gain['model'][fifth]:.0%} of the deals"
    return f"Gain: {model}{rules}."


def rules(card: Card) -> Picture | None:
    gaps = card["comparison"]["differences"].get("rules", {})
    gaps = {name: gaps[name] for name in COMPARED if known(gaps.get(name))}
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
        label_rows(axes, [COMPARED[name] for name in names])
        axes.set_xlabel(
            "rules better    \N{LEFTWARDS ARROW}  0  \N{RIGHTWARDS ARROW}    model better"
        )
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.2g}" if x else "0"))
        svg = canvas.svg()
    words = "; ".join(
        f"{COMPARED[name]} {gaps[name]['value']:+.3f}, {interval(gaps[name], '{:+.3f}')}"
        for name in gaps
    )
    return Picture(svg, f"Model minus rules: {words}.")


def _advantage(name: str, gap: Card) -> tuple[float, list[float]]:
    """Right of zero is good for the model: losses change their sign."""
    sign = -1 if name in ("log_loss", "brier") else 1
    return sign * gap["value"], [sign * gap["lower"], sign * gap["upper"]]


def level(card: Card) -> Picture | None:
    rows = [row for row in card["periods"] if known(row["expected_to_observed"])]
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
        axes.plot(range(len(rows)), column(ratios, "value"), "o", color=MODEL, markersize=7)
        step = -(-len(rows) // 6)
        axes.set_xticks(range(0, len(rows), step), [_short(row["period"]) for row in rows[::step]])
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.set_ylim(0, 1.08 * max(1.0, *column(ratios, "upper")))
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="Expected to observed")
        svg = canvas.svg()
    words = "; ".join(f"{row['period']} {row['expected_to_observed']['value']:.2f}" for row in rows)
    return Picture(
        svg, f"Expected to observed deals by period: {words}. 1 means as many came as expected."
    )


def _short(period: str) -> str:
    return period.removeprefix("part ").split(" of ")[0]

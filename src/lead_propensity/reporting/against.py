"""Pictures of the model beside the rules of today and others: over all volumes, in money, period by period."""

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lead_propensity.reporting.canvas import COLD, INK, MODEL, MUTED, RULES, WARM, Canvas
from lead_propensity.reporting.drawing import (
    Card,
    Picture,
    beside,
    interval,
    known,
    label_rows,
    percent_axes,
)

COMPARED = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "capture": "Deals found",
    "conversion": "Conversion",
    "log_loss": "Log loss",
    "brier": "Brier",
}
LINES: dict[str, tuple[str, dict[str, object]]] = {
    "odoo": ("Odoo", {"color": WARM, "linewidth": 1.6, "linestyle": (0, (1, 1.5))}),
    "odoo_calibrated": ("Odoo", {"color": WARM, "linewidth": 1.6, "linestyle": (0, (1, 1.5))}),
    "logistic": ("logistic", {"color": COLD, "linewidth": 1.6, "linestyle": (0, (6, 2))}),
    "everybody": ("everybody", {"color": MUTED, "linewidth": 1.6, "linestyle": (0, (4, 3))}),
    "hybrid": ("rules, then model", {"color": INK, "linewidth": 1.6, "linestyle": (0, (3, 1.5))}),
    "rules": ("rules", {"color": RULES, "linewidth": 2.4}),
    "model": ("model", {"color": MODEL, "linewidth": 2.4}),
}
"""What each line is called and looks like; drawn in this order, the model on top."""
ASIDE = 0.16
"""Of a period's width: how far both dots stand from its middle."""


def gain(card: Card) -> Picture | None:
    gain, volume = card["gain"], card["comparison"]["volume"]
    if gain["model"] is None:
        return None
    with Canvas("gain", 4.0) as canvas:
        axes = canvas.axes
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), label="by chance")
        _lines(axes, gain["share"], gain)
        if volume["n"]:
            _mark(axes, volume["share"], f"{_whose(volume)}: {volume['share']:.1%}")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Leads called", ylabel="Deals found")
        percent_axes(axes, "xy")
        canvas.legend(3)
        svg = canvas.svg()
    share = volume["share"] if volume["n"] else 0.2
    place = min(range(len(gain["share"])), key=lambda k: abs(gain["share"][k] - share))
    found = "; ".join(f"{name} {gain[key][place]:.0%}" for key, (name, _) in _drawn(gain))
    return Picture(
        svg, f"Deals found in the first {gain['share'][place]:.0%} of the calls: {found}."
    )


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


def money(card: Card) -> Picture | None:
    """Value of the deals found less the cost of the calls, over the share of the leads called."""
    money = card["money"]
    if money is None:
        return None
    with Canvas("money", 3.8) as canvas:
        axes = canvas.axes
        axes.axhline(0, color=MUTED, linewidth=1.0)
        _lines(axes, money["share"], money["curves"])
        if money["at"] is not None:
            volume = card["comparison"]["volume"]
            _mark(axes, money["at"]["share"], f"{_whose(volume)}: {money['at']['share']:.1%}")
        label = "Net value" if money["cost_per_contact"] else "Value of deals found"
        axes.set(xlim=(0, 1), xlabel="Leads called", ylabel=label)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short_number(y)))
        percent_axes(axes, "x")
        canvas.legend(3)
        svg = canvas.svg()
    curves, half = money["curves"], len(money["share"]) // 5
    words = "; ".join(f"{name} {curves[key][half]:,.0f}" for key, (name, _) in _drawn(curves))
    return Picture(svg, f"{label} in the first fifth of the calls: {words}.")


def net_benefit(card: Card) -> Picture | None:
    """The decision curve."""
    curve = card["net_benefit"]
    places, at = curve["thresholds"], curve["at"]
    with Canvas("net_benefit", 3.8) as canvas:
        axes = canvas.axes
        axes.axhline(0, color=MUTED, linewidth=1.0)
        _lines(axes, places, curve)
        if at["threshold"] <= places[-1]:
            axes.axvline(at["threshold"], color=INK, linewidth=1.2, linestyle=(0, (1, 2)))
        top = max(curve["model"])
        axes.set(xlim=(0, places[-1]), ylim=(-0.25 * top, 1.08 * top) if top > 0 else None)
        axes.set(xlabel="Called from this probability on", ylabel="Net deals per 100 snapshots")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.3g}"))
        percent_axes(axes, "x")
        canvas.legend(2)
        svg = canvas.svg()
    found = "; ".join(
        f"{LINES[name][0]} {100 * figure['value']:.2f}"
        for name, figure in at["models"].items()
        if name in LINES and figure["value"] is not None
    )
    return Picture(
        svg,
        f"Net deals per 100 snapshots, called from {at['threshold']:.1%} on: {found}; nobody 0.",
    )


def replay(card: Card) -> Picture | None:
    """Deals found by the rules and by the model, period by period."""
    told = card["replay"]
    if told is None:
        return None
    rows = [row for row in told["periods"] if row["model"]["value"] is not None]
    if not rows:
        return None
    with Canvas("replay", 3.1) as canvas:
        axes = canvas.axes
        for name, aside in (("rules", -ASIDE), ("model", ASIDE)):
            _dots(axes, [row[name] for row in rows], name, aside)
        axes.set_xticks(range(len(rows)), [_start(row) for row in rows])
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="Deals found")
        percent_axes(axes, "y")
        canvas.legend()
        svg = canvas.svg()
    words = "; ".join(
        f"from {row['from']} model {row['model']['value']:.0%}, rules {row['rules']['value']:.0%}"
        for row in rows
    )
    return Picture(svg, f"Deals found in as many calls, by period: {words}.")


def _dots(axes: Axes, figures: list[Card], name: str, aside: float) -> None:
    colour, sign = (MODEL, "o") if name == "model" else (RULES, "s")
    for place, figure in enumerate(figures):
        if known(figure):
            ends = [figure["lower"], figure["upper"]]
            axes.plot([place + aside] * 2, ends, color=colour, linewidth=6, alpha=0.35)
    places = [place + aside for place in range(len(figures))]
    values = [figure["value"] for figure in figures]
    axes.plot(places, values, sign, color=colour, markersize=6.5, label=name)


def _start(row: Card) -> str:
    """`2025-03` of a day, the rank of a row; the test part says so."""
    start = str(row["from"]).removeprefix("row ")
    start = start[:7] if "-" in start else start
    return f"{start}\n(test)" if row["part"] == "test" else start


def _drawn(curves: Card) -> list[tuple[str, tuple[str, dict[str, object]]]]:
    """The lines that there are, the model first; of Odoo's two the one that lies higher on average."""
    there = [key for key in reversed(LINES) if curves.get(key) is not None]
    odoo = sorted((key for key in there if key.startswith("odoo")), key=lambda k: sum(curves[k]))
    return [(key, LINES[key]) for key in there if key not in odoo[:-1]]


def _lines(axes: Axes, places: list[float], curves: Card) -> None:
    for key, (name, style) in reversed(_drawn(curves)):
        axes.plot(places, curves[key], label=name, **style)  # type: ignore[arg-type]


def _mark(axes: Axes, place: float, text: str) -> None:
    axes.axvline(place, color=INK, linewidth=1.2, linestyle=(0, (1, 2)))
    beside(axes, place, text)


def _whose(volume: Card) -> str:
    return "rules' hot volume" if volume["source"] == "rules" else "model's hot volume"


def _short_number(value: float) -> str:
    """1.5M, 20k, 300."""
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"

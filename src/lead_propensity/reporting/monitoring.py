"""What `monitor` found, as a page: what to do, what happened, what has moved."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from lead_propensity.reporting.canvas import COLD, HOT, INK, MODEL, MUTED, RULES, Canvas, inline
from lead_propensity.reporting.drawing import Card, Picture, percent_axes
from lead_propensity.reporting.report import asset, page_environment

ADVICE = {
    "ok": "No reason to act",
    "early": "No reason to act yet: too few outcomes to judge",
    "recalibrate": "Recalibration is advised",
    "retrain": "Retraining is advised",
}
LABELS = {"raw_score": "raw score", "probability": "probability", "band": "band"}
COLOURS = {"raw_score": MODEL, "probability": RULES, "band": COLD}
TICKS = 4
"""Dates on an axis."""


def render(found: Mapping[str, Any]) -> str:
    """The page; the same findings, the same bytes."""
    drawn = {"outcomes": outcomes(found), "drift": drift(found)}
    told = found["advice"]
    early = told["advice"] == "ok" and not told["enough"]
    return (
        page_environment()
        .get_template("monitor.html")
        .render(
            found=found,
            advice=ADVICE["early" if early else told["advice"]],
            labels=LABELS,
            style=asset("report.css"),
            script=asset("report.js"),
            pictures={
                name: inline(one.svg, name, one.alt)
                for name, one in drawn.items()
                if one is not None
            },
        )
    )


def outcomes(found: Card) -> Picture | None:
    """Expected and observed share of deals at each moment whose outcomes are final."""
    rows = [one for one in found["moments"] if one["figures"] and one["figures"]["n"]]
    if not rows:
        return None
    observed = [one["figures"]["observed_rate"] for one in rows]
    expected = [one["figures"]["expected_rate"] for one in rows]
    with Canvas("outcomes", 3.0) as canvas:
        axes = canvas.axes
        for place, one in enumerate(observed):
            axes.plot(
                [place] * 2, [one["lower"], one["upper"]], color=MODEL, linewidth=6, alpha=0.35
            )
        middle = [one["value"] for one in observed]
        axes.plot(range(len(rows)), middle, "o", color=MODEL, label="observed, 95% interval")
        axes.plot(
            range(len(rows)), expected, "d", color=INK, markerfacecolor="none", label="expected"
        )
        _dates(axes, [one["as_of"] for one in rows])
        axes.set_ylim(bottom=0)
        axes.set_ylabel("Share that became deals")
        percent_axes(axes, "y")
        canvas.legend()
        svg = canvas.svg()
    told = "; ".join(
        f"{one['as_of'][:10]} expected {e:.1%}, observed {m:.1%}"
        for one, e, m in zip(rows, expected, middle, strict=True)
    )
    return Picture(svg, f"Expected and observed share of deals by moment of scoring: {told}.")


def drift(found: Card) -> Picture | None:
    """How far scores and bands have moved, moment by moment."""
    rows = [one for one in found["moments"] if one["drift"]]
    if not rows:
        return None
    with Canvas("drift", 3.0) as canvas:
        axes = canvas.axes
        for name, label in LABELS.items():
            moved = [one["drift"]["scores"][name]["psi"] for one in rows]
            axes.plot(range(len(rows)), moved, "o-", color=COLOURS[name], label=label, markersize=5)
        share = [one["drift"]["called_share"] for one in rows]
        if any(share):
            axes.plot(range(len(rows)), share, "s--", color=HOT, label="share of drifted features")
        axes.axhline(0.1, color=MUTED, linestyle=(0, (4, 3)))
        _dates(axes, [one["as_of"] for one in rows])
        axes.set_ylim(bottom=0)
        axes.set_ylabel("Stability index (PSI)")
        canvas.legend(2)
        svg = canvas.svg()
    told = "; ".join(
        f"{one['as_of'][:10]} raw score {one['drift']['scores']['raw_score']['psi']:.2f}, "
        f"{one['drift']['called']} features drifted"
        for one in rows
    )
    return Picture(svg, f"Drift by moment of scoring: {told}.")


def _dates(axes: Axes, moments: list[str]) -> None:
    step = -(-len(moments) // TICKS)
    axes.set_xticks(range(0, len(moments), step), [one[:10] for one in moments[::step]])
    axes.set_xlim(-0.6, len(moments) - 0.4)
    axes.grid(visible=False, axis="x")

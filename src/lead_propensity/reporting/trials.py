"""Pictures of the search for settings: how the trials went, and which settings mattered."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lead_propensity.model.tuning import setting_importance
from lead_propensity.reporting.canvas import MODEL, MUTED, Canvas
from lead_propensity.reporting.drawing import Picture, label_rows, percent_axes

QUANTILE_SHOWN = 0.9
"""Losses beyond this quantile are drawn at the upper edge: one bad trial would flatten all others."""


def history(trials: pd.DataFrame) -> Picture | None:
    """Each trial's mean fold loss and the best so far; `trials` as in TunedTrees."""
    if trials.empty:
        return None
    pruned = trials["pruned"].astype(bool)
    finished = trials[~pruned]
    with Canvas("tuning_history", 2.9) as canvas:
        axes = canvas.axes
        lower, upper = _limits(finished["loss"])
        shown = finished["loss"].clip(upper=upper)
        axes.plot(finished["trial"], shown, "o", color=MODEL, markersize=5, label="trial")
        axes.step(
            finished["trial"],
            finished["loss"].cummin(),
            where="post",
            color=MODEL,
            label="best so far",
        )
        _pruned(axes, trials.loc[pruned, "trial"], upper)
        axes.set_ylim(lower, upper + 0.03 * (upper - lower))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set(xlabel="Trial", ylabel="Mean log loss of the folds")
        canvas.legend(3)
        svg = canvas.svg()
    best = finished.sort_values("loss", kind="stable").iloc[0]
    words = f"the best is trial {best['trial']} with a mean log loss of {best['loss']:.4f}"
    return Picture(svg, f"{len(trials)} trials, {int(pruned.sum())} of them pruned: {words}.")


def settings(trials: pd.DataFrame) -> Picture | None:
    """How much of the difference between finished trials each setting explains."""
    shares = setting_importance(trials)
    if not shares:
        return None
    rows = list(shares.items())[::-1]
    with Canvas("tuning_importance", 1.0 + 0.34 * len(rows)) as canvas:
        canvas.axes.barh(range(len(rows)), [share for _, share in rows], color=MODEL, height=0.5)
        label_rows(canvas.axes, [name for name, _ in rows])
        canvas.axes.set_xlabel("Share of the differences between trials")
        percent_axes(canvas.axes, "x")
        svg = canvas.svg()
    words = "; ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return Picture(svg, f"Importance of the settings: {words}.")


def _limits(losses: pd.Series) -> tuple[float, float]:
    lower, upper = float(losses.min()), float(losses.quantile(QUANTILE_SHOWN))
    room = max(0.05 * (upper - lower), 1e-6)
    return lower - room, upper + room


def _pruned(axes: Axes, numbers: pd.Series, height: float) -> None:
    """At the edge: their losses are of fewer folds and cannot be compared."""
    if len(numbers):
        places = np.full(len(numbers), height)
        axes.plot(numbers, places, "x", color=MUTED, markersize=4, label="pruned")

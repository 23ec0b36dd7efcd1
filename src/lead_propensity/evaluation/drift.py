"""Whether features, scores and bands look as they did when the bands were made.

The population stability index, sum of (q - p) ln(q / p) over the cells, is (1/n + 1/m) times a chi-square
variable where nothing has changed (Yurdakul, "Statistical properties of population stability index", 2018):
what sampling alone brings, (cells - 1) (1/n + 1/m), is taken off. Beside it stands Pearson's test of two
samples on the same cells. n and m are effective numbers of rows: leads come back and groups are alike (Rao and
Scott, "On chi-squared tests for multiway contingency tables with cell proportions estimated from survey
data", 1984). P values are Holm's over all features, scores and bands. Drift is *called* where both say so: a
test alone would call the smallest change of a million leads, an index alone the noise of two hundred.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from lead_propensity.config import MonitorConfig
from lead_propensity.evaluation.segments import holm
from lead_propensity.model.cells import Cells

FEWEST = 5.0
"""Rows that the smaller sample must be expected to have in a cell (Cochran 1954); smaller ones are put together."""
SHOWN = 10
MIN_ROWS = 30
"""Effective rows of the smaller sample; with fewer nothing is said."""


@dataclass(frozen=True)
class Compared:
    """One column then and now; `p_value` is not yet adjusted."""

    name: str
    psi: float
    expected: float
    """What sampling alone would bring."""
    statistic: float
    p_value: float
    change: str
    """The cell that moved most, in words."""

    @property
    def excess(self) -> float:
        return self.psi - self.expected


def drift(
    then: Sequence[Cells],
    now: Sequence[Cells],
    features: int,
    weights: Mapping[str, float],
    limits: MonitorConfig,
) -> dict[str, Any]:
    """Plain JSON: `rows`, how many `features` there are, how many are `called`, `called_share` (of the
    importance, by `weights`), the `top` features, and `scores` by name.

    `then` and `now` are the same columns in one order: `features` of these, then scores and bands.
    """
    pairs = [compared(a, b) for a, b in zip(then, now, strict=True)]
    adjusted = holm([one.p_value for one in pairs])
    rows = [
        {
            "name": one.name,
            "psi": _number(one.psi),
            "expected": _number(one.expected),
            "p_value": _number(p_value),
            "called": bool(p_value < limits.error and one.excess >= limits.min_psi),
            "change": one.change,
        }
        for one, p_value in zip(pairs, adjusted, strict=True)
    ]
    called = [one.name for one, row in zip(pairs[:features], rows, strict=False) if row["called"]]
    order = sorted(
        range(features), key=lambda place: (not rows[place]["called"], -pairs[place].excess)
    )
    return {
        "rows": max((one.rows for one in now), default=0),
        "features": features,
        "called": len(called),
        "called_share": _number(sum(weights.get(name, 0.0) for name in called)),
        "top": [rows[place] for place in order[:SHOWN]],
        "scores": {row["name"]: row for row in rows[features:]},
    }


def compared(then: Cells, now: Cells) -> Compared:
    """Both counts of the same cells. Too few rows, or one cell alone: PSI 0 and p value 1."""
    n, m = then.effective, now.effective
    if min(n, m) < MIN_ROWS:
        return Compared(now.name, 0.0, 0.0, 0.0, 1.0, "")
    before, after = (np.array(one.counts, np.float64) / one.rows for one in (then, now))
    change = _change(now, before, after)
    p, q = _joined(before, after, n, m)
    if len(p) < 2:
        return Compared(now.name, 0.0, 0.0, 0.0, 1.0, change)
    noise = 1 / n + 1 / m
    pooled = (p * n + q * m) / (n + m)
    statistic = float(np.sum((p - q) ** 2 / pooled) / noise)
    return Compared(
        now.name,
        psi(p, q, n, m),
        (len(p) - 1) * noise,
        statistic,
        float(chi2.sf(statistic, len(p) - 1)),
        change,
    )


def psi(p: np.ndarray, q: np.ndarray, n: float, m: float) -> float:
    """Of shares seen in n and m rows; half a row more in each cell keeps it finite.

    >>> round(psi(np.array([.5, .5]), np.array([.2, .8]), 1e6, 1e6), 3)
    0.416
    """
    a, b = (p * n + 0.5) / (n + len(p) / 2), (q * m + 0.5) / (m + len(q) / 2)
    return float(np.sum((b - a) * np.log(b / a)))


def _joined(p: np.ndarray, q: np.ndarray, n: float, m: float) -> tuple[np.ndarray, np.ndarray]:
    """Empty cells left out; those of too few rows put together, with the smallest other one if need be."""
    due = min(n, m) * (p * n + q * m) / (n + m)
    order = np.argsort(due, kind="stable")
    order = order[due[order] > 0]
    small = int(np.sum(due[order] < FEWEST))
    if 0 < small < len(order) and due[order[:small]].sum() < FEWEST:
        small += 1
    if small < 2:
        return p[order], q[order]
    together, alone = order[:small], order[small:]
    return np.append(p[alone], p[together].sum()), np.append(q[alone], q[together].sum())


def _change(cells: Cells, before: np.ndarray, after: np.ndarray) -> str:
    place = int(np.argmax(np.abs(after - before)))
    return f"{cells.words(place)}: {before[place]:.1%} before, {after[place]:.1%} now"


def _number(value: float) -> float:
    return float(f"{value:.6g}")

"""Are the percentages true? Calibration figures of the test part, each with its 95% interval.

Arrays have one entry a snapshot; groups (companies, households, else leads) are codes 0..g-1. Outcomes
of one group go together, so everything that is drawn or summed here is drawn or summed by group.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.fft import dct, idct
from scipy.special import expit, logit

from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.compare import Contender, Field, Interval, group_codes
from lead_propensity.evaluation.metrics import EPSILON, Floats, bin_places, losses, reliability
from lead_propensity.model.intervals import Z_95

CELLS = 2000
"""Probabilities are rounded to so many steps for the smooth error."""
HALVINGS = 22
NEWTON_STEPS = 50
SHOWN_CELLS = 20
"""Bars of the histogram of probabilities."""
NO_INTERVAL = Interval(np.nan, np.nan, np.nan)


def bins(test: pd.DataFrame, seed: int, resamples: int) -> list[dict[str, Any]]:
    """The rows of the reliability diagram: what was expected and came, and the consistency band.

    `band_lower` to `band_upper`: where 95% of the observed rates would lie if the percentages were true
    (Broecker and Smith, "Increasing the Reliability of Reliability Diagrams", 2007): outcomes are drawn
    from the probabilities, as alike within a group as those that came.
    """
    p, won, codes = _arrays(test)
    rows = reliability(p, won, test["group_id"].to_numpy(object))
    place = np.unique(bin_places(p), return_inverse=True)[1]
    size = np.bincount(place)
    drawn = [np.bincount(place, weights=y) / size for y in _redrawn(p, won, codes, seed, resamples)]
    lower, upper = np.quantile(drawn, [0.025, 0.975], axis=0, method="inverted_cdf")
    return [
        {**asdict(row), "band_lower": float(low), "band_upper": float(high)}
        for row, low, high in zip(rows, lower, upper, strict=True)
    ]


def calibration(test: pd.DataFrame, base_rate: float, seed: int, resamples: int) -> dict[str, Any]:
    """Slope, intercept, smooth error and skill of the labelled training snapshots in `test`.

    `unseen` holds figures of the groups whose outcomes were not known before the test part, beside those
    of the others; None where nobody noted it. `test` stands in a fixed order.
    """
    p, won, codes = _arrays(test)
    constant = np.full(len(p), base_rate)
    slope, intercept = recalibration(p, won, codes)
    ends = test["group_id"], seed, resamples
    return {
        "population": "training",
        "n": len(test),
        "groups": int(codes.max()) + 1,
        "slope": asdict(slope),
        "intercept": asdict(intercept),
        "smooth_error": smooth_error(p, won, codes, seed, resamples),
        "log_loss_skill": asdict(_skill(losses(p, won), losses(constant, won), *ends)),
        "brier_skill": asdict(_skill((p - won) ** 2, (constant - won) ** 2, *ends)),
        "histogram": _histogram(p, won),
        "unseen": _unseen(test, seed, resamples) if "seen_before" in test else None,
    }


def recalibration(p: Floats, won: Floats, group: npt.NDArray[np.intp]) -> tuple[Interval, Interval]:
    """Slope of the log-odds and, with slope 1, their intercept; true percentages have 1 and 0.

    Logistic recalibration (Cox, "Two further applications of a model for binary regression", 1958), Wald
    intervals with the variance of Liang and Zeger (1986), clustered by `group`. A slope below 1: the
    probabilities are spread too far. NaN where the outcomes or the probabilities are all alike, or where
    no slope is large enough.
    """
    score = logit(np.clip(p, EPSILON, 1 - EPSILON))
    ones, nothing = np.ones((len(p), 1)), np.zeros(len(p))
    both = _logistic(np.column_stack([score, ones]), nothing, won, group)
    level = _logistic(ones, score, won, group)
    return both[0], level[0]


def _logistic(
    columns: Floats, offset: Floats, won: Floats, group: npt.NDArray[np.intp]
) -> list[Interval]:
    """Each coefficient of a logistic regression without a penalty, by Newton's method."""
    unknown = [NO_INTERVAL] * columns.shape[1]
    if len(np.unique(won)) < 2 or (columns.shape[1] > 1 and np.ptp(columns[:, 0]) < 1e-9):
        return unknown
    coefficients = np.zeros(columns.shape[1])
    for _ in range(NEWTON_STEPS):
        chance = expit(offset + np.sum(columns * coefficients, axis=1))
        curvature = np.einsum("ni,nj,n->ij", columns, columns, chance * (1 - chance))
        if np.linalg.cond(curvature) > 1e12:  # the outcomes are told apart without error
            return unknown
        step = np.linalg.solve(curvature, np.sum(columns * (won - chance)[:, None], axis=0))
        coefficients = coefficients + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            error = _sandwich(columns * (won - chance)[:, None], curvature, group)
            ends = zip(coefficients, Z_95 * error, strict=True)
            return [Interval(float(c), float(c - half), float(c + half)) for c, half in ends]
    return unknown


def _sandwich(scores: Floats, curvature: Floats, group: npt.NDArray[np.intp]) -> Floats:
    """Standard errors from the row scores (n, coefficients); NaN where all rows are one group."""
    groups = int(group.max()) + 1
    if groups < 2:
        return np.full(scores.shape[1], np.nan)
    sums = np.column_stack([np.bincount(group, weights=column) for column in scores.T])
    middle = np.einsum("gi,gj->ij", sums, sums) * groups / (groups - 1)
    inverse = np.linalg.inv(curvature)
    return np.sqrt(np.diag(inverse @ middle @ inverse))


def smooth_error(
    p: Floats, won: Floats, group: npt.NDArray[np.intp], seed: int, resamples: int
) -> dict[str, float]:
    """The smooth calibration error: how far the percentages are off on average, without bins.

    Blasiok and Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing" (2023): the
    mean size of the residual, smoothed by a reflected Gaussian kernel as wide as the error itself. The
    interval adds and takes away what the error of the resampled minus the given residuals comes to in 95%
    of the resamples of groups: it is wide, and holds 0 unless the error is shown. `by_chance`: what the
    error of true percentages would stay below in 95 of 100 such samples.
    """
    observed = _mass(p, won - p) / len(p)
    width = _own_width(observed[None])
    random = np.random.default_rng(seed)
    groups, size = int(group.max()) + 1, np.bincount(group)
    noise = np.empty((resamples, CELLS))
    for row in range(resamples):
        weight = np.bincount(random.integers(0, groups, groups), minlength=groups)
        noise[row] = _mass(p, (won - p) * weight[group]) / np.sum(weight * size) - observed
    missed = _quantile(_smoothed_size(dct(noise, norm="ortho"), np.repeat(width, resamples)))
    drawn = np.array([_mass(p, y - p) / len(p) for y in _redrawn(p, won, group, seed, resamples)])
    value = float(width[0])
    lower, upper = max(0.0, value - missed), min(1.0, value + missed)
    by_chance = _quantile(_own_width(drawn))
    return {"value": value, "lower": lower, "upper": upper, "by_chance": by_chance}


def smooth_error_alone(p: Floats, won: Floats) -> float:
    """The smooth calibration error without its interval: quick."""
    return float(_own_width(_mass(p, won - p)[None] / len(p))[0])


def _mass(p: Floats, residual: Floats) -> Floats:
    """(CELLS,) the residuals summed in steps of like probability."""
    cell = np.minimum((p * CELLS).astype(np.intp), CELLS - 1)
    return np.bincount(cell, weights=residual, minlength=CELLS).astype(np.float64)


def _own_width(mass: Floats) -> Floats:
    """The width at which the smoothed residuals (rows, CELLS) are as large as it is wide: (rows,)."""
    spectrum = dct(mass, norm="ortho")
    low, high = np.zeros(len(mass)), np.ones(len(mass))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wider = _smoothed_size(spectrum, middle) > middle
        low, high = np.where(wider, middle, low), np.where(wider, high, middle)
    return (low + high) / 2


def _smoothed_size(spectrum: Floats, width: Floats) -> Floats:
    """Sum of the absolute smoothed residuals; a Gaussian with reflecting ends damps each cosine."""
    waves = np.pi * np.arange(spectrum.shape[1])
    damped = spectrum * np.exp(-0.5 * (waves * width[:, None]) ** 2)
    size: Floats = np.abs(idct(damped, norm="ortho")).sum(axis=1)
    return size


def _quantile(sizes: Floats) -> float:
    return float(np.quantile(sizes, 0.95, method="inverted_cdf"))


def _redrawn(
    p: Floats, won: Floats, group: npt.NDArray[np.intp], seed: int, resamples: int
) -> Iterator[Floats]:
    """Outcomes as they might have come if `p` were true.

    A snapshot takes the draw that its group shares with a chance that makes the outcomes of one group as
    alike as those that came, see `alikeness`.
    """
    random = np.random.default_rng([seed, 1])
    shares = np.sqrt(alikeness(p, won, group))
    for _ in range(resamples):
        drawn = random.random(len(p))
        if shares > 0:
            common = random.random(int(group.max()) + 1)[group]
            drawn = np.where(random.random(len(p)) < shares, common, drawn)
        yield (drawn < p).astype(np.float64)


def alikeness(p: Floats, won: Floats, group: npt.NDArray[np.intp]) -> float:
    """Mean correlation, in [0, 1], of the standardised residuals of two snapshots of a group.

    Pairs of like probability alone count (those in one bin): these meet in the figures. 0 without a pair.
    """
    place = bin_places(p)
    spread = np.sqrt(np.clip(p * (1 - p), EPSILON, None))
    residual = (won - p) / spread
    residual = residual - (np.bincount(place, residual) / np.maximum(np.bincount(place), 1))[place]
    cell = np.unique(group.astype(np.int64) * (place.max() + 1) + place, return_inverse=True)[1]
    size = np.bincount(cell)
    pairs = float(np.sum(size * (size - 1)))
    if pairs == 0 or not np.any(residual):
        return 0.0
    products = np.bincount(cell, residual) ** 2 - np.bincount(cell, residual**2)
    scale = float(np.mean(residual**2))
    return float(np.clip(np.sum(products) / pairs / scale, 0.0, 1.0))


def _skill(
    loss: Floats, of_constant: Floats, group_id: pd.Series, seed: int, resamples: int
) -> Interval:
    """1 - loss / the constant's loss: the share of the loss that the model takes away."""
    ratio = paired.ratio(loss, of_constant, group_id, seed, resamples)
    return Interval(1 - ratio.value, 1 - ratio.upper, 1 - ratio.lower)


def _histogram(p: Floats, won: Floats) -> list[dict[str, float]]:
    """Bars of equal width from 0 to the highest probability: how many snapshots, how many won."""
    edges = np.linspace(0, float(p.max()) or 1.0, SHOWN_CELLS + 1)
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, SHOWN_CELLS - 1)
    n = np.bincount(place, minlength=SHOWN_CELLS)
    wins = np.bincount(place, weights=won, minlength=SHOWN_CELLS)
    return [
        {"from": float(edges[k]), "to": float(edges[k + 1]), "n": int(n[k]), "wins": int(wins[k])}
        for k in range(SHOWN_CELLS)
    ]


def _unseen(test: pd.DataFrame, seed: int, resamples: int) -> dict[str, Any]:
    seen = test["seen_before"].to_numpy(bool)
    return {
        "new": _figures_of(test[~seen], seed, resamples),
        "seen": _figures_of(test[seen], seed, resamples),
    }


def _figures_of(rows: pd.DataFrame, seed: int, resamples: int) -> dict[str, Any]:
    """n, leads, wins, AUC, losses and expected_to_observed of some snapshots."""
    counts = {"n": len(rows), "leads": int(rows["lead_id"].nunique())}
    counts["wins"] = int(rows["won"].sum())
    if rows.empty:
        return counts
    p, won, codes = _arrays(rows)
    field = Field(won, codes, rows["tie"].to_numpy(np.int64), np.zeros(len(rows), bool))
    model = Contender("model", p, rows["raw_score"].to_numpy(np.float64))
    figures = paired.compare([model], field, [], seed, resamples).figures["model"]
    wanted: Mapping[str, Interval] = {
        **{name: figures[name] for name in ("auc", "log_loss", "brier")},
        "expected_to_observed": paired.ratio(p, won, rows["group_id"], seed, resamples),
    }
    return counts | {name: asdict(figure) for name, figure in wanted.items()}


def _arrays(rows: pd.DataFrame) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Probability, outcome and group code of each row."""
    p, won = (rows[name].to_numpy(np.float64) for name in ("probability", "won"))
    return p, won, group_codes(rows["group_id"])

"""How far probabilities lie from true ones. The truth is a mean of simulated futures, with its error."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit, xlogy

BINS = 10
AGES = (0, 14, 30, 60, 120, 365)
"""Edges in days of the groups of lead ages."""
EDGE = 1e-9
REACH = 10.0
"""No level is off by more log-odds than this."""


@dataclass(frozen=True)
class Truth:
    """True probabilities (n,) and their standard errors (n,), both from simulated futures."""

    probability: np.ndarray
    error: np.ndarray

    def __len__(self) -> int:
        return len(self.probability)

    def rows(self, mask: np.ndarray) -> "Truth":
        return Truth(self.probability[mask], self.error[mask])

    def losses(self, probability: np.ndarray) -> np.ndarray:
        """Expected log loss (n,) of these probabilities. Linear in the truth: its error has mean zero."""
        p = np.clip(probability, EDGE, 1 - EDGE)
        return -self.probability * np.log(p) - (1 - self.probability) * np.log1p(-p)

    def least(self) -> np.ndarray:
        """Expected log loss (n,) of the truth itself.

        The entropy of an estimate lies too low by variance / 2 p (1 - p), on average and to second
        order (Miller 1955); that is added.
        """
        p = self.probability
        spread = np.maximum(p * (1 - p), EDGE)
        return -xlogy(p, p) - xlogy(1 - p, 1 - p) + self.error**2 / (2 * spread)


@dataclass(frozen=True)
class Losses:
    """Mean expected log losses of one group of snapshots, in nats."""

    snapshots: int
    constant: float
    truth: float
    model: float

    @classmethod
    def of(cls, true: Truth, probability: np.ndarray, base_rate: float) -> "Losses":
        constant = true.losses(np.full(len(true), base_rate))
        means = [
            float(np.mean(each)) for each in (constant, true.least(), true.losses(probability))
        ]
        return cls(len(true), *means)

    @property
    def excess(self) -> float:
        """What the model loses beyond the truth, as a share of what there is to be known."""
        return (self.model - self.truth) / (self.constant - self.truth)


def by_age(
    true: Truth, probability: np.ndarray, age_days: np.ndarray, base_rate: float
) -> dict[str, Losses]:
    """The same for each group of lead ages that holds a snapshot."""
    group = np.digitize(age_days, AGES[1:-1])
    found = {}
    for place in np.unique(group):
        here = group == place
        name = f"{AGES[place]} to {AGES[place + 1]} days"
        found[name] = Losses.of(true.rows(here), probability[here], base_rate)
    return found


def level_loss(true: Truth, probability: np.ndarray, month: np.ndarray) -> float:
    """The log loss (nats) that the best shift of all log-odds of each month would save.

    What is left of the excess is loss of ranking and of shape.
    """
    score = logit(np.clip(probability, EDGE, 1 - EDGE))
    moved = score.copy()
    for each in np.unique(month):
        here = month == each
        moved[here] += _best_shift(score[here], true.probability[here])
    return float(np.mean(true.losses(probability) - true.losses(expit(moved))))


def _best_shift(score: np.ndarray, truth: np.ndarray) -> float:
    """Where the expected wins are the true ones: there the derivative of the log loss is zero."""
    return float(brentq(lambda shift: np.mean(expit(score + shift) - truth), -REACH, REACH))


def calibration(true: Truth, probability: np.ndarray) -> pd.DataFrame:
    """One row a bin of equally many snapshots: `p`, and `off`, the mean truth less the mean p."""
    place = pd.Series(probability).rank(method="first").to_numpy() - 1
    bins = (place * BINS / len(place)).astype(int)
    frame = pd.DataFrame({"p": probability, "off": true.probability - probability})
    return frame.groupby(bins).mean()

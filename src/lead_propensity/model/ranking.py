"""How well an order of the leads parts won from lost, and how sure that is.

The variance of the AUC by the placements of each row, summed up by group: Obuchowski, "Nonparametric analysis
of clustered ROC curve data" (1997); with one row a group it is that of DeLong et al. (1988).
"""

import math

import numpy as np
import pandas as pd
from scipy.stats import rankdata


def auc_and_error(score: np.ndarray, won: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    """The AUC and its standard error clustered by `group`; NaN where only one class or one group is there."""
    whose, owners = pd.factorize(group)
    if len(owners) < 2 or won.min() == won.max():
        return math.nan, math.nan
    placed = placements(score, won)
    auc = float(placed[won == 1].mean())
    share = np.where(won == 1, 1 / won.sum(), 1 / (len(won) - won.sum()))
    pulls = np.bincount(whose, weights=(placed - auc) * share)
    return auc, float(np.sqrt(len(owners) / (len(owners) - 1) * np.sum(pulls * pulls)))


def placements(score: np.ndarray, won: np.ndarray) -> np.ndarray:
    """Of each won row the share of lost rows below it, of each lost one the share of won rows above; ties half."""
    rank = rankdata(score)
    placed = np.empty(len(score))
    for mask in (won == 1, won == 0):
        below = (rank[mask] - rankdata(score[mask])) / (len(score) - mask.sum())
        placed[mask] = below if won[mask][0] == 1 else 1 - below
    return placed

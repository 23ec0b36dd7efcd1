"""How much better one order of the leads is than another, and how sure that is.

The variance of the AUC by the placements of each row, summed up by group: Obuchowski, "Nonparametric analysis
of clustered ROC curve data" (1997); with one row a group it is that of DeLong et al. (1988).
"""

import math

import numpy as np

from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.metrics import Floats
from lead_propensity.model.ranking import placements


def auc_gap(one: Floats, other: Floats, won: Floats, group: np.ndarray) -> tuple[float, float]:
    """AUC of `one` minus that of `other`, and its standard error clustered by `group` (Obuchowski 1997).

    NaN where only one class or one group is there.
    """
    groups = int(group.max(initial=-1)) + 1
    if groups < 2 or won.min() == won.max():
        return math.nan, math.nan
    first, second = (placements(score, won) for score in (one, other))
    gap = float(first[won == 1].mean() - second[won == 1].mean())
    wins, lost = won.sum(), len(won) - won.sum()
    share = np.where(won == 1, 1 / wins, 1 / lost)
    pulls = paired.by_group((first - second - gap) * share, group)
    return gap, float(np.sqrt(groups / (groups - 1) * np.sum(pulls * pulls)))

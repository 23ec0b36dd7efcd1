"""Where a lead goes next: to sales, to a first call, or back to marketing."""

import numpy as np
import pandas as pd

from lead_propensity.config import CRITERIA, RoutesConfig


def assign(band: np.ndarray, X: pd.DataFrame, config: RoutesConfig) -> np.ndarray:
    """The route of each lead (n texts) from its band and its features as of the snapshot.

    Hot: `follow_up` where the timeline is known and says later, `qualify` where one of the recorded
    criteria is still unknown, else `sales`. Others: `release` where a cold one was silent for
    `release_days`, `re-engage` after `silent_days`, `casual` for cold ones that never did anything,
    else `nurture`. Without an event history among the features nothing is known about silence: nobody
    is casual, re-engaged or released.
    """
    n = len(band)
    hot, cold = band == "hot", band == "cold"
    criteria = {c: X[f"criterion__{c}"].to_numpy() for c in CRITERIA if f"criterion__{c}" in X}
    unknown = sum((np.isnan(value) for value in criteria.values()), np.zeros(n, dtype=bool))
    later = criteria["timeline"] == 0 if "timeline" in criteria else np.zeros(n, dtype=bool)
    recorded = "days_since_event" in X
    silence = X["days_since_event"].to_numpy() if recorded else np.full(n, np.nan)
    never = np.isnan(silence) & recorded
    choices = [
        (hot & later, "follow_up"),
        (hot & unknown, "qualify"),
        (hot, "sales"),
        (cold & never, "casual"),
        (cold & (silence >= config.release_days), "release"),
        (silence >= config.silent_days, "re-engage"),
    ]
    route = np.full(n, "nurture", dtype=object)
    for where, name in reversed(choices):
        route[where] = name
    return route

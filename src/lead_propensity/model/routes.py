"""Where a lead goes next: to sales, to a first call, or back to marketing."""

import numpy as np
import pandas as pd

from lead_propensity.config import CRITERIA, RoutesConfig

ROUTES = ("sales", "qualify", "follow_up", "nurture", "re-engage", "casual", "release")


def assign(band: np.ndarray, X: pd.DataFrame, config: RoutesConfig) -> np.ndarray:
    """The route of each lead (n texts) from its band and its features as of the snapshot.

    Hot: `follow_up` where the timeline is known and says later, `qualify` where one of the recorded
    criteria is still unknown, else `sales`. Others: `release` where a cold one was silent for
    `release_days`, `re-engage` after `silent_days`, `casual` for cold ones that never did anything,
    else `nurture`.
    """
    n = len(band)
    hot, cold = band == "hot", band == "cold"
    criteria = {c: X[f"criterion__{c}"].to_numpy() for c in CRITERIA if f"criterion__{c}" in X}
    unknown = np.zeros(n, dtype=bool)
    for value in criteria.values():
        unknown |= np.isnan(value)
    later = criteria["timeline"] == 0 if "timeline" in criteria else np.zeros(n, dtype=bool)
    silence = X["days_since_event"].to_numpy() if "days_since_event" in X else np.full(n, np.nan)
    never = np.isnan(silence)
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

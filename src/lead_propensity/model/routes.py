"""Where a lead goes next: to sales, to a first call, or back to marketing."""

import numpy as np
import pandas as pd

from lead_propensity.config import Route, RoutesConfig
from lead_propensity.features.windows import DAY_US
from lead_propensity.model import criteria

NO_DATE = -1


def assign(
    band: np.ndarray, X: pd.DataFrame, config: RoutesConfig, timeline: str | None = None
) -> np.ndarray:
    """The route of each lead (n texts of ROUTES) from its band and its features.

    Hot: `follow_up` where the timeline is known and says later, `qualify` where a criterion that is to be
    asked first is recorded and unknown, else `sales`. Others: `release` where a cold one was silent for
    `release_days`, `re-engage` after `silent_days`, `casual` for cold ones that never did anything, else
    `nurture`. Without an event history among the features nothing is known about silence: nobody is
    casual, re-engaged or released. `timeline`: the feature of a timeline that is a date.
    """
    n = len(band)
    hot, cold = band == "hot", band == "cold"
    known = criteria.values(X, timeline)
    asked = [np.isnan(known[criterion]) for criterion in config.qualify_first if criterion in known]
    unknown = np.any(asked, axis=0) if asked else np.zeros(n, dtype=bool)
    later = known["timeline"] == 0 if "timeline" in known else np.zeros(n, dtype=bool)
    recorded = "days_since_event" in X
    silence = X["days_since_event"].to_numpy() if recorded else np.full(n, np.nan)
    never = np.isnan(silence) & recorded
    choices: list[tuple[np.ndarray, Route]] = [
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


def named(route: np.ndarray, config: RoutesConfig) -> np.ndarray:
    """The same routes as the company calls them."""
    return np.array([config.names.get(key, key) for key in route], dtype=object)


def follow_up_on(
    route: np.ndarray,
    X: pd.DataFrame,
    as_of: np.ndarray,
    config: RoutesConfig,
    timeline: str | None = None,
) -> np.ndarray:
    """When to come back to a lead of the route `follow_up`, int64 microseconds UTC; NO_DATE for the others.

    The date of its timeline where that is one, else `follow_up_days` after `as_of` (NO_DATE where rows
    carry no time).
    """
    days = np.full(len(route), float(config.follow_up_days))
    if timeline is not None:
        days = -X[timeline].to_numpy(np.float64)
    waits = (route == "follow_up") & (as_of >= 0) & ~np.isnan(days)
    on = np.full(len(route), NO_DATE, dtype=np.int64)
    on[waits] = as_of[waits] + np.rint(days[waits] * DAY_US).astype(np.int64)
    return on

"""The five criteria of a lead as known at its snapshot: which are missing, and what a hot lead must show."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lead_propensity.config import CRITERIA, Criterion
from lead_propensity.errors import ConfigError
from lead_propensity.features.catalogue import Catalogue


def date_of_timeline(catalogue: Catalogue) -> str | None:
    """The feature that counts the days since the timeline's date; None where it holds no date."""
    attribute = catalogue.definition.get("criteria", {}).get("timeline")
    feature = f"days_since__{attribute}"
    return feature if attribute is not None and feature in catalogue.names else None


def values(X: pd.DataFrame, timeline: str | None = None) -> dict[Criterion, np.ndarray]:
    """Of each recorded criterion 1.0 (met), 0.0 (not met) or NaN (unknown), one a row.

    A timeline that is a date (the feature `timeline`) is met once the date has come.
    """
    found: dict[Criterion, np.ndarray] = {
        criterion: X[f"criterion__{criterion}"].to_numpy(np.float64)
        for criterion in CRITERIA
        if f"criterion__{criterion}" in X
    }
    if timeline is not None:
        days = X[timeline].to_numpy(np.float64)
        found["timeline"] = np.where(np.isnan(days), np.nan, days >= 0)
    return found


def missing(X: pd.DataFrame, timeline: str | None, asked: np.ndarray) -> np.ndarray:
    """(n,) texts such as `budget (unknown), timeline (not met)`; empty where nothing is missing.

    None for those who are not `asked` (n booleans).
    """
    texts = np.full(len(X), "", dtype=object)
    for criterion, value in values(X, timeline).items():
        for rows, word in ((np.isnan(value), "unknown"), (value == 0, "not met")):
            texts[rows] += f", {criterion} ({word})"
    told: np.ndarray = np.array([text[2:] for text in texts], dtype=object)
    told[~asked] = None
    return told


def meets(
    X: pd.DataFrame, required: Mapping[Criterion, str], timeline: str | None = None
) -> np.ndarray:
    """n booleans: whether each lead shows all that is `required` (criterion: `met` or `known`)."""
    shown = np.ones(len(X), dtype=bool)
    found = values(X, timeline) if required else {}
    for criterion, demand in required.items():
        shown &= found[criterion] == 1 if demand == "met" else ~np.isnan(found[criterion])
    return shown


def require_recorded(required: Mapping[Criterion, str], catalogue: Catalogue) -> None:
    """Raises ConfigError where a criterion is demanded that no attribute records."""
    recorded = [c for c in CRITERIA if f"criterion__{c}" in catalogue.names]
    absent = [criterion for criterion in required if criterion not in recorded]
    if absent:
        raise ConfigError(
            f"bands.hot_requires demands {', '.join(absent)}, which no attribute of the fit part records "
            f"(recorded: {', '.join(recorded) or 'none'}). Tell in features.criteria which attribute holds it, "
            "or leave it out."
        )

"""The scorecard's sections on trust: are the percentages true, for every month, band, segment and group?"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lead_propensity.evaluation import calibrated, segments
from lead_propensity.evaluation.compare import ENDS
from lead_propensity.evaluation.fairness import fairness

_SHOWN = {
    "slope": "calibration_slope",
    "intercept": "calibration_intercept",
    "smooth_error": "smooth_calibration_error",
    "log_loss_skill": "log_loss_skill",
    "brier_skill": "brier_skill",
}


def trust(
    test: pd.DataFrame, stock: pd.DataFrame, base_rate: float, seed: int, resamples: int
) -> dict[str, Any]:
    """The sections `reliability`, `calibration`, `periods`, `segments` and `fairness`.

    `test` holds the labelled training snapshots, `stock` what bands speak of; both in a fixed order.
    """
    ends = seed, resamples
    return {
        "reliability": calibrated.bins(test, *ends),
        "calibration": calibrated.calibration(test, base_rate, *ends),
        "periods": segments.periods(test, *ends),
        "segments": {
            "bands": segments.by_band(stock),
            "columns": segments.by_segment(test),
        },
        "fairness": fairness(stock),
    }


def figures(card: Mapping[str, Any]) -> dict[str, float | None]:
    """What of it is worth tracking from run to run, flat."""
    found, unseen = card["calibration"], card["calibration"]["unseen"]
    flat = {
        f"{shown}{end}": found[name][key] for name, shown in _SHOWN.items() for end, key in ENDS
    }
    for name, figure in ((unseen or {}).get("new") or {}).items():
        flat[f"unseen_{name}"] = figure["value"] if isinstance(figure, dict) else figure
    flat["segments_off"] = sum(1 for _ in _off(card["segments"]["columns"]))
    flat["groups_scored_unfairly"] = sum(1 for _ in _off(card["fairness"]))
    return flat


def _off(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for one in found for row in one["rows"] if row["off"])

"""Who is compared with whom on the test part: the model, the rules of today, and what else one might use."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.compare import Comparison, Contender, Field, Interval, group_codes
from lead_propensity.evaluation.metrics import Floats

LABELS = {
    "model": "Model",
    "rules": "Rules of today",
    "hybrid": "Rules first, then the model",
    "rules_reweighted": "These rules, re-weighted",
    "logistic": "Logistic model alone",
    "odoo": "Odoo's algorithm",
    "odoo_generous": "Odoo, all features in tenths",
    "odoo_calibrated": "Odoo, the same, calibrated",
    "constant": "Base rate for everyone",
}
SAYS = {
    "model": "probability",
    "rules": "rules_probability",
    "rules_reweighted": "rules_reweighted_probability",
    "logistic": "logistic_probability",
    "odoo": "odoo_probability",
    "odoo_generous": "odoo_generous_probability",
    "odoo_calibrated": "odoo_calibrated_probability",
}
"""The column of its probability. The hybrid says none."""
RANKS_BY = {"model": "raw_score", "rules": "rules_points", "hybrid": "hybrid_score"}
"""Where it is not the probability: a calibrator may tie leads that the model tells apart."""
DRAWN = ("model", "rules", "hybrid", "odoo", "odoo_calibrated", "logistic")
NEEDS_RULES = ("rules", "hybrid", "rules_reweighted")


def comparison(
    test: pd.DataFrame, context: Mapping[str, Any], has_rules: bool, seed: int, resamples: int
) -> dict[str, Any]:
    """All contenders' figures, and what the model and the hybrid have more than others.

    `test` has one row a labelled snapshot; contenders whose column it lacks are left out.
    """
    listed = contenders(test, float(context["base_rate_calibrate"]), has_rules)
    source, hot = volume(test, has_rules)
    names = [one.name for one in listed]
    others = [name for name in names if name != "model"]
    pairs = [("model", other) for other in others]
    pairs += [("hybrid", "rules")] if "hybrid" in names else []
    result = paired.compare(listed, field(test, hot), pairs, seed, resamples)
    calls = {"source": source, "n": int(hot.sum()), "of": len(test), "share": float(hot.mean())}
    return {
        "population": "training",
        "n": len(test),
        "groups": result.groups,
        "resamples": resamples,
        "volume": calls | {"leads": int(test.loc[hot, "lead_id"].nunique())},
        "labels": {name: LABELS[name] for name in result.figures},
        **_tables(result, others),
    }


def contenders(test: pd.DataFrame, base_rate: float, has_rules: bool) -> list[Contender]:
    """Those that `test` has columns of, in the order of LABELS, then the base rate for everyone."""
    listed = [
        _contender(test, name)
        for name in LABELS
        if (has_rules or name not in NEEDS_RULES) and _score(name) in test
    ]
    return [*listed, Contender("constant", np.full(len(test), base_rate))]


def volume(test: pd.DataFrame, has_rules: bool) -> tuple[str | None, np.ndarray]:
    """How many calls everyone may make: the rules' own hot leads, else the model's."""
    for source, column in (("rules", "rules_band"), ("model", "band")):
        hot = (test[column] == "hot").to_numpy(bool) if has_rules or source == "model" else None
        if hot is not None and hot.any():
            return source, hot
    return None, np.zeros(len(test), bool)


def field(test: pd.DataFrame, hot: np.ndarray) -> Field:
    """What all share; `test` has `tie`, each snapshot's place among equal scores."""
    group = group_codes(test["group_id"])
    return Field(test["won"].to_numpy(np.float64), group, test["tie"].to_numpy(np.int64), hot)


def numbers(test: pd.DataFrame, name: str) -> Floats:
    """A column as floats."""
    return test[name].to_numpy(np.float64)


def ranked(contenders: Sequence[Contender]) -> list[tuple[str, Floats]]:
    """Name and score of those whose curves are drawn, the model first."""
    scores = {one.name: one.score for one in contenders if one.score is not None}
    return [(name, scores[name]) for name in DRAWN if name in scores]


def known(figure: Interval) -> dict[str, float | None]:
    """As JSON, None where a value or bound does not exist."""
    bounds = asdict(figure)
    return {key: None if np.isnan(value) else value for key, value in bounds.items()}


def _contender(test: pd.DataFrame, name: str) -> Contender:
    said = numbers(test, SAYS[name]) if name in SAYS else None
    hot = (test["rules_band"] == "hot").to_numpy(bool) if name == "rules" else None
    called = hot if hot is not None and hot.any() else None
    return Contender(name, said, numbers(test, _score(name)), called)


def _score(name: str) -> str:
    return RANKS_BY.get(name) or SAYS.get(name, "")


def _tables(result: Comparison, others: list[str]) -> dict[str, Any]:
    def plain(figures: Mapping[str, Interval]) -> dict[str, Any]:
        return {metric: asdict(figure) for metric, figure in figures.items()}

    more = result.differences.get(("hybrid", "rules"))
    return {
        "models": {name: plain(figures) for name, figures in result.figures.items()},
        "differences": {other: plain(result.differences["model", other]) for other in others},
        "hybrid_minus_rules": None if more is None else plain(more),
    }

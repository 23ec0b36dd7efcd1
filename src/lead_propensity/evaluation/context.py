"""What the report must know beside the test predictions: data, parts, choices, promises, rules."""

from collections import defaultdict
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from lead_propensity.config import Config
from lead_propensity.data.moments import words
from lead_propensity.data.tables import Check
from lead_propensity.evaluation.backtest import Refit, backtest, day_or_row
from lead_propensity.evaluation.funnel import told
from lead_propensity.evaluation.replay import planned_share, replay
from lead_propensity.evaluation.walking import Walk
from lead_propensity.features.dataset import Plan
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model.propensity import PropensityModel

NO_SETTINGS = {"name", "data", "rules", "engine", "registry", "gate"}
"""Of the config: what says where things are, and not what is done with them."""


def context(
    config: Config, found: Check, made: Plan, data: Dataset, model: PropensityModel, created: str
) -> dict[str, Any]:
    """Plain JSON for `scorecard`; nothing but the counts of `parts` depends on the test part's outcomes."""
    exported = config.data.exported is not None
    return {
        "version": version("lead-propensity"),
        "settings": config.model_dump(mode="json", exclude=NO_SETTINGS),
        "name": config.name,
        "created": created,
        "owner": config.report.owner,
        "oldest_age_days": model.bands.oldest_age_days,
        "model_id": model.model_id,
        "horizon_days": model.horizon_days,
        "shape": "as exported" if exported else "event history",
        "seed": config.model.seed,
        "exported_at": None if exported else words(found.exported_at),
        "test_weeks": None if exported else config.split.test_days / 7,
        "base_rate_calibrate": base_rate(data),
        "parts": _parts(data, exported),
        "data": {"tables": _tables(found)},
        "dropped_snapshots": made.dropped,
        "notes": [*made.notes, *_idle_rules(made.card, data), *model.notes],
        "choices": model.choices,
        "importance": _importance(model),
        "catalogue": [asdict(feature) for feature in model.catalogue.features],
        "bands": {
            **model.bands.to_json(),
            "hot_per_week": config.bands.hot_per_week
            if config.bands.policy == "capacity"
            else None,
            "hot_share": config.bands.hot_share if config.bands.policy == "capacity" else None,
            **told(config.bands),
        },
        "rules": rules_context(made.card),
    }


def walked_context(
    walked: Walk,
    refit: Refit,
    model: PropensityModel,
    deployed: PropensityModel,
    config: Config,
    level: str,
) -> dict[str, Any]:
    """The sections `backtest` and `deployed`, and which id is whose: `model` was judged.

    `level` says in words where the level lies at the end of the test part.
    """
    exported = config.data.exported is not None
    figures_until = day_or_row(model.level.after, exported)
    until = day_or_row(deployed.level.after, exported)
    sentence = f"Figures and deployed model: one and the same, fitted on snapshots until {until}."
    if refit.refitted:
        sentence = (
            f"Figures: the model fitted on snapshots until {figures_until}. "
            f"Deployed: the same settings, fitted again on snapshots until {until}."
        )
    return {
        "model_id": deployed.model_id,
        "evaluated_model_id": model.model_id,
        "backtest": backtest(walked, f"{model.level.note} {level}", exported, config.model.seed),
        "replay": replay(walked, _plan(model), exported, config.model.seed),
        "deployed": {
            **asdict(refit),
            "policy": config.model.refit,
            "figures_until": figures_until,
            "deployed_until": until,
            "sentence": sentence,
        },
    }


def _plan(model: PropensityModel) -> float | None:
    """What the replay plans where the rules call nobody; None: there are no rules."""
    has_rules = any(True for _ in Scorecard.model_validate(model.rules).lines())
    return planned_share(model.bands) if has_rules else None


def base_rate(data: Dataset) -> float:
    """The constant that knows only how many were won: the calibrate part's share, half a win more of n + 1.

    From the same rows as the model's own level, so that the model is not praised for being newer.
    """
    won = data.part("calibrate").won
    known = won[~np.isnan(won)]
    return (float(known.sum()) + 0.5) / (len(known) + 1)


def _idle_rules(card: Scorecard, data: Dataset) -> list[str]:
    """Lines of the rules that no lead of the fit part meets: perhaps a value is misspelt."""
    fit = data.part("fit").rules
    return [
        f"the rule {line.text!r} meets no lead of the fit part: a typing error?"
        for section, column, line in card.lines()
        if section != "disqualify" and not fit[column].any()
    ]


def rules_context(card: Scorecard) -> dict[str, Any]:
    return {
        "name": card.name,
        "warm_from": card.thresholds.warm,
        "hot_from": card.thresholds.hot,
        "lines": [
            {"section": section, "text": line.text, "points": line.points, "why": line.why}
            for section, _, line in card.lines()
        ],
    }


def _parts(data: Dataset, exported: bool) -> list[dict[str, Any]]:
    rows = []
    for (part, population), keys in data.keys.groupby(["part", "population"], sort=True):
        order = keys["order"]
        first, last = int(order.min()), int(order.max())
        won = keys["won"].to_numpy(np.float64)
        rows.append(
            {
                "part": part,
                "population": population,
                "snapshots": len(keys),
                "leads": int(keys["lead_id"].nunique()),
                "won": None if np.isnan(won).all() else int(np.nansum(won)),
                "from": first if exported else words(first),
                "to": last if exported else words(last),
            }
        )
    return rows


def _tables(found: Check) -> list[dict[str, Any]]:
    reasons: dict[str, dict[str, int]] = defaultdict(dict)
    for finding in found.quarantined:
        reasons[finding.table][finding.reason] = finding.count
    return [
        {
            "table": count.table,
            "rows": count.rows,
            "kept": count.kept,
            "quarantined": count.rows - count.kept,
            "reasons": reasons[count.table],
        }
        for count in found.counts
    ]


def _importance(model: PropensityModel) -> list[dict[str, Any]]:
    meaning = {feature.name: feature.meaning for feature in model.catalogue.features}
    frame = model.importance
    return [
        {"feature": name, "kind": kind, "share": float(share), "meaning": meaning[name]}
        for name, kind, share in zip(frame["feature"], frame["kind"], frame["share"], strict=True)
    ]

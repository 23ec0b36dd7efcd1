"""A small world of test predictions and its context, for the tests of evaluation and reporting."""

from typing import Any

import numpy as np
import pandas as pd

DAY = 86_400_000_000
START = 1_700_438_400_000_000  # a Monday, 2023-11-20


def predictions(
    leads: int = 400,
    seed: int = 1,
    *,
    dated: bool = True,
    model_knows: float = 1.0,
    rules_know: float = 0.4,
) -> pd.DataFrame:
    """Leads whose truth is known; the model and the rules see it through more or less noise."""
    random = np.random.default_rng(seed)
    ids = np.array([f"lead-{k:05d}" for k in range(leads)])
    truth = random.normal(-1.5, 1.2, leads)
    wins = (random.random(leads) < _chance(truth)).astype(float)
    rows = {
        "model": _blur(truth, model_knows, random),
        "rules": _blur(truth, rules_know, random),
        "born": random.integers(0, 60, leads),
    }
    training = _rows(ids, wins, rows, np.arange(leads) % 60, "training", dated)
    looks = [np.full(leads, 7 * week) for week in range(9)] if dated else []
    frames = [training]
    for look in looks:
        opened = rows["born"] <= look
        part = {name: values[opened] for name, values in rows.items()}
        frames.append(_rows(ids[opened], wins[opened], part, look[opened], "stock", dated))
    return pd.concat(frames, ignore_index=True)


def context(**changes: Any) -> dict[str, Any]:
    """What training tells the evaluation, with `changes` to its first level."""
    line = {
        "section": "explicit",
        "text": "industry is software",
        "points": 10,
        "why": "They buy more.",
    }
    promise = {"band": "hot", "n": 90, "expected": 0.45, "observed": 0.44, "lower": 0.33}
    warm = {"band": "warm", "n": 300, "expected": 0.2, "observed": 0.21, "lower": 0.16}
    feature = {
        "feature": "page_view_n_30d",
        "kind": "implicit",
        "share": 0.6,
        "meaning": "pages, 30 days",
    }
    other = {
        "feature": "industry",
        "kind": "explicit",
        "share": 0.4,
        "meaning": "industry, as known",
    }
    plain: dict[str, Any] = {
        "name": "acme",
        "created": "2024-03-01T00:00:00Z",
        "model_id": "0123456789abcdef",
        "horizon_days": 90,
        "shape": "event history",
        "seed": 7,
        "base_rate_calibrate": 0.24,
        "parts": [
            {"part": "fit", "population": "training", "snapshots": 900, "leads": 300, "won": 210}
            | {"from": "2023-01-02", "to": "2023-06-01"},
            {"part": "test", "population": "training", "snapshots": 400, "leads": 400, "won": 90}
            | {"from": "2023-11-20", "to": "2024-01-19"},
        ],
        "data": {
            "tables": [
                {
                    "table": "leads",
                    "rows": 405,
                    "kept": 400,
                    "quarantined": 5,
                    "reasons": {"bad time": 5},
                }
            ]
        },
        "dropped_snapshots": {"immature": 12},
        "notes": ["62 won leads in the fit part: logistic model alone"],
        "choices": {"calibrator": "identity"},
        "importance": [feature, other],
        "catalogue": [
            {
                "name": "page_view_n_30d",
                "kind": "implicit",
                "window": "last 30 days",
                "meaning": "pages",
            }
        ],
        "bands": {
            "policy": "capacity",
            "hot_per_week": 10,
            "hot_from": 0.4,
            "warm_from": 0.2,
            "hot_refused": None,
            "promises": [promise, warm],
        },
        "rules": {"name": "acme rules", "warm_from": 20, "hot_from": 50, "lines": [line]},
        "exported_at": "2024-02-01T00:00:00Z",
        "test_weeks": 9.0,
    }
    return plain | changes


def _rows(
    ids: np.ndarray,
    won: np.ndarray,
    seen: dict[str, np.ndarray],
    day: np.ndarray,
    population: str,
    dated: bool,
) -> pd.DataFrame:
    raw, points = seen["model"], np.round(10 * (seen["rules"] + 4))
    probability, by_rules = _chance(raw), _chance(points / 10 - 4)
    as_of = START + day * DAY
    band = np.where(probability >= 0.4, "hot", np.where(probability >= 0.2, "warm", "cold"))
    return pd.DataFrame(
        {
            "lead_id": ids,
            "group_id": [f"group-{text[-5:-1]}" for text in ids],
            "as_of": as_of if dated else np.full(len(ids), -1),
            "order": as_of if dated else np.arange(len(ids)),
            "population": population,
            "age_days": 10.0,
            "won": won,
            "raw_score": raw,
            "probability_untracked": probability,
            "level_shift": 0.0,
            "probability": probability,
            "band": band,
            "fit": raw / 2,
            "interest": raw / 2,
            "fit_grade": np.array(list("DCBA"))[np.digitize(raw, [-2, -1, 0])],
            "interest_grade": np.array(list("4321"))[np.digitize(seen["rules"], [-2, -1, 0])],
            "route": np.where(band == "hot", "sales", "nurture"),
            "missing_criteria": np.where(band == "cold", None, "budget (unknown)"),
            "turned_away": False,
            "amount": np.nan,
            "rules_points": points,
            "rules_probability": by_rules,
            "rules_band": np.where(points >= 45, "hot", np.where(points >= 30, "warm", "cold")),
            "rules_reweighted_probability": by_rules,
            "odoo_probability": np.round(by_rules, 4),
            "odoo_generous_probability": np.round(by_rules, 4),
            "odoo_calibrated_probability": by_rules,
            "hybrid_score": np.where(points >= 45, 100.0 + points, raw),
            "weight": 1.0,
            "seen_before": np.arange(len(ids)) % 3 > 0,
            "logistic_probability": probability,
        }
    )


def _blur(truth: np.ndarray, knows: float, random: np.random.Generator) -> np.ndarray:
    centre = truth.mean()
    return centre + knows * (truth - centre) + (1 - knows) * random.normal(0, 1.2, len(truth))


def _chance(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))

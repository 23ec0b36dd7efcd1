"""The scorecard: every figure of the report as plain JSON, from test predictions and context."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.errors import DataError
from lead_propensity.evaluation import (
    against,
    funnel,
    leakage,
    metrics,
    replay,
    trust,
    volumes,
    watch,
)
from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.backtest import with_test_part
from lead_propensity.evaluation.compare import ENDS
from lead_propensity.evaluation.promises import band_table, fit_interest, outcome, weekly
from lead_propensity.evaluation.verdict import verdict

NO_RULES: dict[str, Any] = {"name": None, "warm_from": None, "hot_from": None, "lines": []}
PASSED_ON = (
    *("name", "created", "model_id", "evaluated_model_id", "horizon_days", "shape", "exported_at"),
    *("test_weeks", "base_rate_calibrate", "deployed", "owner", "oldest_age_days"),
    *("parts", "data", "dropped_snapshots", "notes", "choices", "catalogue", "leaks", "reasons"),
)


def scorecard(
    predictions: pd.DataFrame,
    context: Mapping[str, Any],
    seed: int,
    resamples: int = paired.RESAMPLES,
) -> dict[str, Any]:
    """Plain JSON: no NaN (null instead), ten significant digits, the same whatever the row order.

    `predictions` and `context` are what training leaves. Raises DataError where the test part holds
    no snapshot with a known outcome.
    """
    context = plain(context)  # as it is written: from the files the same figures come out again
    test, stock = _populations(tidy(predictions), context["shape"] == "as exported")
    rules = context.get("rules") or NO_RULES
    card: dict[str, Any] = {key: context.get(key) for key in PASSED_ON}
    card |= {"seed": seed, "rules": dict(rules)}
    card["comparison"] = against.comparison(test, context, bool(rules["lines"]), seed, resamples)
    card["headline"] = _headline(test, card["comparison"], seed, resamples)
    card["bands"] = _bands(test, stock, context["bands"])
    card["bands"] |= watch.watched(stock, card["bands"]) | funnel.agreed(context["bands"])
    card |= funnel.funnel(stock, card["bands"])
    card["weekly"] = weekly(stock, context["bands"].get("hot_per_week"))
    card |= volumes.volumes(test, context, bool(rules["lines"]), (seed, resamples))
    card |= trust.trust(test, stock, float(context["base_rate_calibrate"]), seed, resamples)
    card["backtest"] = _backtest(test, context, seed, resamples)
    card["replay"] = replay.with_test_part(context.get("replay"), card["comparison"], test, context)
    card["matrix"] = fit_interest(stock)
    card["importance"] = _importance(context.get("importance") or [])
    card["context"] = {key: value for key, value in context.items() if key not in PASSED_ON}
    card = plain(card)
    return {"verdict": verdict(card), **card, "figures": _figures(card)}


def _populations(frame: pd.DataFrame, exported: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The labelled training snapshots, and the stock; as exported, the rows serve as both."""
    stock = frame[frame["population"] == "stock"]
    test = frame[(frame["population"] == "training") & frame["won"].notna()]
    if test.empty:
        raise DataError(
            f"the test part holds {len(frame)} snapshots, none with a known outcome. "
            "Lengthen split.test_days, or shorten snapshots.horizon_days."
        )
    return test, frame if stock.empty and exported else stock


def tidy(predictions: pd.DataFrame) -> pd.DataFrame:
    """A fixed row order, `as_of` as UTC times or NaT, and a group for every lead."""
    frame = predictions.sort_values(["order", "lead_id", "population"], ignore_index=True)
    as_of = frame["as_of"]
    if pd.api.types.is_integer_dtype(as_of):
        as_of = pd.to_datetime(as_of.where(as_of >= 0), unit="us", utc=True)
    group = frame["group_id"].fillna(frame["lead_id"])
    return frame.assign(
        as_of=as_of, group_id=group, tie=metrics.tie_break(frame["lead_id"], frame["order"])
    )


def _headline(
    test: pd.DataFrame, comparison: Mapping[str, Any], seed: int, resamples: int
) -> dict[str, Any]:
    model, told = comparison["models"]["model"], outcome(test)
    return {
        "n": len(test),
        "leads": int(test["lead_id"].nunique()),
        "wins": int(test["won"].sum()),
        "base_rate": float(test["won"].mean()),
        **{key: told[key] for key in ("expected", "upper")},
        "auc": model["auc"],
        "average_precision": model["average_precision"],
        "log_loss": model["log_loss"],
        "log_loss_constant": comparison["models"]["constant"]["log_loss"],
        "brier": model["brier"],
        "expected_to_observed": _expected_to_observed(test, seed, resamples),
    }


def _expected_to_observed(frame: pd.DataFrame, seed: int, resamples: int) -> dict[str, float]:
    expected, won = (frame[name].to_numpy(np.float64) for name in ("probability", "won"))
    return asdict(paired.ratio(expected, won, frame["group_id"], seed, resamples))


def _bands(test: pd.DataFrame, stock: pd.DataFrame, bands: Mapping[str, Any]) -> dict[str, Any]:
    promised = {row["band"]: row["lower"] for row in bands.get("promises") or [] if row["n"]}
    if bands.get("hot_refused"):
        promised.pop("hot", None)
    plan = {key: bands.get(key) for key in ("policy", "hot_per_week", "hot_share")}
    limits = {key: bands.get(key) for key in ("hot_from", "warm_from", "hot_refused")}
    tables = {"stock": band_table(stock, promised), "training": band_table(test, {})}
    return {**plan, **limits, "promises": bands.get("promises") or [], **tables}


def _backtest(
    test: pd.DataFrame, context: Mapping[str, Any], seed: int, resamples: int
) -> dict[str, Any] | None:
    """The walk forward, whose last period is the test part; None where training told of none."""
    walked = context.get("backtest")
    return with_test_part(walked, test, context, seed, resamples) if walked else None


def _importance(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Split into fit (explicit) and interest (implicit), strongest first."""
    split = {"fit": "explicit", "interest": "implicit"}
    of_kind = {side: [row for row in rows if row["kind"] == kind] for side, kind in split.items()}
    return {
        side: {
            "share": float(sum(row["share"] for row in listed)),
            "features": sorted(listed, key=lambda row: (-row["share"], row["feature"])),
        }
        for side, listed in of_kind.items()
    }


def _figures(card: Mapping[str, Any]) -> dict[str, float]:
    """The figures worth tracking from run to run, flat; those that do not exist are left out."""
    flat: dict[str, float | None] = {}
    for name, figures in card["comparison"]["models"].items():
        for metric, figure in figures.items():
            flat[metric if name == "model" else f"{name}_{metric}"] = figure["value"]
    for other, figures in card["comparison"]["differences"].items():
        for metric, figure in figures.items():
            flat |= {f"model_minus_{other}_{metric}{end}": figure[key] for end, key in ENDS}
    ratio = card["headline"]["expected_to_observed"]
    flat |= {f"expected_to_observed{end}": ratio[key] for end, key in ENDS}
    flat |= {f"auc{end}": card["headline"]["auc"][key] for end, key in ENDS}
    for row in card["bands"]["stock"]:
        for key in ("n", "expected", "observed", "lower", "upper"):
            flat[f"{row['band']}_{key}"] = row[key]
    flat |= _walked_figures(card["backtest"]) | volumes.figures(card) | replay.figures(card)
    flat |= trust.figures(card) | watch.figures(card["bands"]) | leakage.figures(card["leaks"])
    flat["newly_hot_per_week"] = card["weekly"]["per_week"] if card["weekly"] else None
    return {name: float(value) for name, value in sorted(flat.items()) if value is not None}


def _walked_figures(backtest: Mapping[str, Any] | None) -> dict[str, float | None]:
    if backtest is None:
        return {}
    error, split = backtest["level_error"], backtest["random_split"]
    flat = {
        "backtest_level_error": error["expected_to_observed"],
        "backtest_level_error_untracked": error["expected_to_observed_untracked"],
    }
    if split is not None:
        for metric in ("auc", "log_loss"):
            flat |= {f"backtest_{metric}": split[metric]["walked"]}
            flat |= {f"random_split_{metric}": split[metric]["random"]}
    return flat


def plain(node: Any) -> Any:
    """JSON of the node: numbers rounded to ten significant digits, so that files are stable."""
    if isinstance(node, Mapping):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(value) for value in node]
    if isinstance(node, float | np.floating):
        return float(f"{node:.10g}") if math.isfinite(node) else None
    if isinstance(node, np.integer):
        return int(node)
    return bool(node) if isinstance(node, np.bool_) else node

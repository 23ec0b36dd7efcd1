"""A replay of the past: in each period, what the rules would have found, and what the model of that time.

The periods, and the models that knew only what was known when each began, are those of the walk forward.
Both may make as many calls as the rules call leads hot in the period; where they call nobody, as many as the
model planned. Intervals are paired: both are judged on the same resampled groups.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.against import known
from lead_propensity.evaluation.backtest import RESAMPLES, seen
from lead_propensity.evaluation.compare import Contender, Field, Interval, group_codes
from lead_propensity.evaluation.metrics import best_first, tie_break
from lead_propensity.evaluation.verdict import MODEL, RULES, winner
from lead_propensity.evaluation.walking import Walk
from lead_propensity.model.bands import Bands


def replay(walked: Walk, planned: float | None, exported: bool, seed: int) -> dict[str, Any] | None:
    """Plain JSON, one entry a walked period that has calls; None without rules or where nothing was walked.

    `planned`: the share that the model calls hot; None says that there are no rules.
    """
    if planned is None or len(walked.rows) == 0:
        return None
    told = [
        _period(rows, planned, exported, seed)
        for _, rows in walked.rows.groupby("period", sort=True)
    ]
    return {"resamples": RESAMPLES, "periods": [period for period in told if period is not None]}


def planned_share(bands: Bands) -> float:
    """The share of the leads that was hot in the calibrate part; 0 where hot was refused."""
    held = {promise.band: promise.n for promise in bands.promises}
    total = sum(held.values())
    return 0.0 if bands.hot_from is None or total == 0 else held.get("hot", 0) / total


def with_test_part(
    told: Mapping[str, Any] | None,
    comparison: Mapping[str, Any],
    test: pd.DataFrame,
    context: Mapping[str, Any],
) -> dict[str, Any] | None:
    """`told` as in `replay`, the test part as its last period, and in a sentence how often the model won.

    `comparison` is the scorecard's, of the snapshots `test`. None where no earlier period was replayed.
    """
    earlier = [one for one in (told or {}).get("periods", []) if one["part"] == "walk"]
    if told is None or not earlier:
        return None
    periods = [*earlier, _test_period(comparison, test, context["shape"] == "as exported")]
    judged = [one for one in periods if one is not None]
    return {**told, "periods": judged, **_tally(judged)}


def figures(card: Mapping[str, Any]) -> dict[str, float | None]:
    """In how many periods who was better, flat, for tracking; {} without a replay."""
    told = card["replay"]
    if told is None:
        return {}
    return {
        "replay_periods": told["won"]["of"],
        "replay_model_found_more": told["won"]["model"],
        "replay_rules_found_more": told["won"]["rules"],
        "replay_model_shown_better": told["shown"][MODEL],
        "replay_rules_shown_better": told["shown"][RULES],
    }


def _period(rows: pd.DataFrame, planned: float, exported: bool, seed: int) -> dict[str, Any] | None:
    tie = tie_break(rows["lead_id"], rows["order"])
    score, points = (rows[name].to_numpy(np.float64) for name in ("raw_score", "rules_points"))
    hot = rows["rules_hot"].to_numpy(bool)
    source, calls = ("rules", hot) if hot.any() else ("model", np.zeros(len(rows), bool))
    if source == "model":
        calls[best_first(score, tie)[: round(planned * len(rows))]] = True
    if not calls.any():
        return None
    won = rows["won"].to_numpy(np.float64)
    listed = [
        Contender("model", score=score),
        Contender("rules", score=points, called=hot if source == "rules" else None),
    ]
    field = Field(won, group_codes(rows["group_id"]), tie, calls)
    found = paired.compare(listed, field, [("model", "rules")], seed, RESAMPLES)
    figures = {name: known(one["capture"]) for name, one in found.figures.items()}
    gap = known(found.differences["model", "rules"]["capture"])
    return {
        "part": "walk",
        **seen(rows, exported),
        **_row(len(rows), int(won.sum()), source, int(calls.sum()), figures, gap),
    }


def _test_period(
    comparison: Mapping[str, Any], test: pd.DataFrame, exported: bool
) -> dict[str, Any] | None:
    volume, models = comparison["volume"], comparison["models"]
    if not volume["n"] or "rules" not in models:
        return None
    figures = {name: known(Interval(**models[name]["capture"])) for name in ("model", "rules")}
    gap = known(Interval(**comparison["differences"]["rules"]["capture"]))
    wins = int(test["won"].sum())
    row = _row(len(test), wins, volume["source"], volume["n"], figures, gap)
    return {"part": "test", **seen(test, exported), **row}


def _row(
    n: int,
    wins: int,
    source: str,
    calls: int,
    figures: Mapping[str, Any],
    gap: Mapping[str, Any],
) -> dict[str, Any]:
    """`found`: won snapshots among the calls; shares are of all won snapshots of the period."""
    return {
        "n": n,
        "wins": wins,
        "volume": {"source": source, "n": calls, "share": calls / n},
        "found": {
            name: round(figure["value"] * wins) if wins else 0 for name, figure in figures.items()
        },
        **figures,
        "difference": gap,
        "winner": winner(gap),
    }


def _tally(periods: list[dict[str, Any]]) -> dict[str, Any]:
    more = sum(one["found"]["model"] > one["found"]["rules"] for one in periods)
    fewer = sum(one["found"]["model"] < one["found"]["rules"] for one in periods)
    shown = {who: sum(one["winner"] == who for one in periods) for who in (MODEL, RULES)}
    n = len(periods)
    among = ", the test part among them," * any(one["part"] == "test" for one in periods)
    return {
        "won": {"model": more, "rules": fewer, "of": n},
        "shown": shown,
        "sentence": (
            f"In {more} of {n} periods{among} the model found more deals than the rules in as many calls, in {fewer} "
            f"fewer. A 95% interval without zero shows the model better in {shown[MODEL]}, the "
            f"rules in {shown[RULES]}."
        ),
    }

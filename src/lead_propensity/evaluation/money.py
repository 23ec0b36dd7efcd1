"""What the calls bring in money: the deals found less the cost of the calls, whatever their number.

Each lead counts once, as one call at a moment drawn from its snapshots: one won in 2 of 8 of them brings a quarter of
its deal for a whole call. So the sums speak of leads, where the comparison speaks of snapshots.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
import pandas as pd

from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.against import field, known, numbers, ranked
from lead_propensity.evaluation.compare import Contender, Field
from lead_propensity.evaluation.metrics import Floats, best_first
from lead_propensity.evaluation.verdict import MODEL, NEITHER, RULES, winner

STEPS = 100
UNITS = {
    "amount": "in the unit of the deals' amounts",
    "value_per_win": "in the unit of bands.value_per_win",
}


@dataclass(frozen=True)
class Worth:
    """What each snapshot is worth once called; arrays of one entry a snapshot."""

    value: Floats
    """Of its deal, 0 without one."""
    cost: float
    """Of a call."""
    weight: Floats
    """Calls that it stands for: those of one lead add up to the leads that this lead stands for."""
    source: str
    """`amount` or `value_per_win`: whose unit it is."""
    filled: int
    """Won snapshots without an amount of their own."""

    @classmethod
    def of(cls, test: pd.DataFrame, bands: Mapping[str, Any]) -> Self | None:
        """None where neither an amount nor `value_per_win` is known.

        A deal without an amount is worth `value_per_win`, else the mean of those that have one.
        """
        won, amount = numbers(test, "won") > 0, numbers(test, "amount")
        known, usual = won & ~np.isnan(amount), bands.get("value_per_win")
        if not known.any() and usual is None:
            return None
        source = "amount" if known.any() else "value_per_win"
        usual = float(amount[known].mean()) if usual is None else float(usual)
        value = np.where(known, amount, np.where(won, usual, 0.0))
        looks = test.groupby("lead_id")["lead_id"].transform("size").to_numpy(np.float64)
        weight = numbers(test, "weight") / looks
        cost = float(bands.get("cost_per_contact") or 0.0)
        return cls(value, cost, weight, source, int((won & ~known).sum()))

    @property
    def net(self) -> Floats:
        """Of calling each snapshot."""
        worth: Floats = self.weight * (self.value - self.cost)
        return worth


def money(
    test: pd.DataFrame,
    contenders: Sequence[Contender],
    hot: np.ndarray,
    bands: Mapping[str, Any],
    draws: tuple[int, int],
) -> dict[str, Any] | None:
    """Value of the deals found less the cost of the calls, over the share of the leads called.

    In the unit of `amount` or of `bands.value_per_win`, for all leads of the test part together; `at`: at the
    number of calls that `hot` makes, with what the model brings more than others. `draws`: seed, resamples.
    """
    worth = Worth.of(test, bands)
    if worth is None:
        return None
    common, share = field(test, hot), np.linspace(0, 1, STEPS + 1)
    curves = {name: _net_curve(score, common, worth, share) for name, score in ranked(contenders)}
    told = {
        "source": worth.source,
        "cost_per_contact": bands.get("cost_per_contact"),
        "filled": worth.filled,
        "leads": float(worth.weight.sum()),
        "share": share.tolist(),
        "curves": curves,
        "at": _at(contenders, common, worth, draws) if hot.any() else None,
    }
    return {**told, "sentence": _sentence(told)}


def _sentence(told: Mapping[str, Any]) -> str | None:
    """The model against the rules at the volume of calls; None without either."""
    gap = (told["at"] or {}).get("differences", {}).get("rules")
    if gap is None:
        return None
    who, share = winner(gap), 100 * told["at"]["share"]
    opening = {
        MODEL: "the model's calls are worth more than the rules'",
        RULES: "the rules' calls are worth more than the model's",
        NEITHER: "neither's calls are shown to be worth more",
    }
    if who not in opening:
        return f"With {share:.1f}% of the leads called there is not enough evidence on money."
    return (
        f"With {share:.1f}% of the leads called {opening[who]}: model minus rules {gap['value']:+,.0f}, 95% interval "
        f"{gap['lower']:+,.0f} to {gap['upper']:+,.0f}, {UNITS[told['source']]}."
    )


def _net_curve(score: Floats, common: Field, worth: Worth, share: Floats) -> list[float]:
    order = best_first(score, common.tie)
    calls = np.append(0.0, np.cumsum(worth.weight[order]))
    net = np.append(0.0, np.cumsum(worth.net[order]))
    curve: list[float] = np.interp(share * calls[-1], calls, net).tolist()
    return curve


def _at(
    contenders: Sequence[Contender], common: Field, worth: Worth, draws: tuple[int, int]
) -> dict[str, Any]:
    shown = {name for name, _ in ranked(contenders)}
    runs = {
        one.name: _net_runs(one, common, worth, draws) for one in contenders if one.name in shown
    }
    calls = worth.weight[common.volume].sum()
    others = [name for name in runs if name != "model"]
    gaps = {name: known(paired.interval(runs["model"] - runs[name])) for name in others}
    return {
        "share": float(calls / worth.weight.sum()),
        "calls": float(calls),
        "models": {name: known(paired.interval(run)) for name, run in runs.items()},
        "differences": gaps,
    }


def _net_runs(contender: Contender, common: Field, worth: Worth, draws: tuple[int, int]) -> Floats:
    """The net value at the volume: on all snapshots, then on each resample."""
    assert contender.score is not None, "it is ranked"
    order = best_first(contender.score, common.tie)
    own = contender.called
    parts = []
    for counts in _weightings(common, draws):
        weight = counts[common.group] * worth.weight[:, None]
        if own is not None:
            parts.append(np.einsum("i,ij->j", own * (worth.value - worth.cost), weight))
            continue
        calls = np.einsum("i,ij->j", common.volume.astype(np.float64), weight)
        seen = weight[order]
        net = np.cumsum(seen * (worth.value - worth.cost)[order][:, None], axis=0)
        parts.append(paired.found_at(np.cumsum(seen, axis=0), net, calls))
    return np.concatenate(parts)


def _weightings(common: Field, draws: tuple[int, int]) -> Iterator[Floats]:
    groups, (seed, resamples) = int(common.group.max(initial=-1)) + 1, draws
    resampled = paired.draws(groups, seed, resamples, cells=len(common.won))
    return chain([np.ones((groups, 1))], resampled)

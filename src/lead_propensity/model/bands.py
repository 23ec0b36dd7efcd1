"""Cold, warm and hot: where they begin, and what each promises.

Fitted on the calibrate part's stock population, for the probability that `score` writes.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from lead_propensity.config import BandsConfig
from lead_propensity.model.intervals import Rate, clustered_rate

BANDS = ("cold", "warm", "hot")


@dataclass(frozen=True)
class Stock:
    """Snapshots of open leads as the night job meets them; arrays of one length.

    `won` may be NaN (no label yet): such rows count for capacity and not for promises. `weeks` is
    how many weekly dates they were seen on, None where there is no time. `age_days` may be NaN.
    """

    probability: np.ndarray
    won: np.ndarray
    lead_id: np.ndarray
    group_id: np.ndarray
    age_days: np.ndarray
    weeks: int | None

    @classmethod
    def of(cls, keys: pd.DataFrame, probability: np.ndarray) -> Self:
        """From a Dataset's keys; rows without `as_of` have no weekly dates."""
        order = keys["order"].to_numpy(np.int64)
        timed = len(keys) > 0 and bool((keys["as_of"] >= 0).all())
        weeks = len(np.unique(order)) if timed else None
        return cls(
            probability,
            keys["won"].to_numpy(np.float64),
            keys["lead_id"].to_numpy(),
            keys["group_id"].to_numpy(),
            keys["age_days"].to_numpy(np.float64),
            weeks,
        )


@dataclass(frozen=True)
class Promise:
    """What one band held in the calibrate part; `lower` is what it promises to reach."""

    band: str
    n: int
    expected: float | None
    observed: float | None
    lower: float
    upper: float
    deff: float


@dataclass(frozen=True)
class Bands:
    """`hot_from` None: nothing is hot, and `hot_refused` says why."""

    policy: str
    hot_from: float | None
    warm_from: float
    hot_refused: str | None
    base_rate: float
    oldest_age_days: float | None
    """A lead older than every one in training is never hot."""
    promises: tuple[Promise, ...]

    @classmethod
    def fit(cls, config: BandsConfig, stock: Stock, oldest_age_days: float | None) -> Self:
        """Hot is refused unless its two-sided 95% lower bound exceeds the base rate."""
        labelled = ~np.isnan(stock.won)
        base_rate = float(stock.won[labelled].mean()) if labelled.any() else 0.0
        young = ~_too_old(stock.age_days, oldest_age_days)
        hot_from, refused = _hot_from(config, stock, young)
        if hot_from is not None:
            hot = labelled & young & (stock.probability >= hot_from)
            found = clustered_rate(stock.won[hot], stock.group_id[hot])
            refused = _too_little(found, base_rate)
        hot_from = None if refused else hot_from
        warm_from = config.warm if config.warm is not None else base_rate
        warm_from = warm_from if hot_from is None else min(warm_from, hot_from)
        bands = cls(config.policy, hot_from, warm_from, refused, base_rate, oldest_age_days, ())
        return cls(**{**vars(bands), "promises": bands.promises_on(stock)})

    def assign(self, probability: np.ndarray, age_days: np.ndarray) -> np.ndarray:
        """`cold`, `warm` or `hot` for each; an object array."""
        band = np.where(probability >= self.warm_from, "warm", "cold").astype(object)
        if self.hot_from is not None:
            too_old = _too_old(age_days, self.oldest_age_days)
            band[(probability >= self.hot_from) & ~too_old] = "hot"
        return band

    def promises_on(self, stock: Stock) -> tuple[Promise, ...]:
        """Each band's size, expected and observed rate on labelled rows."""
        labelled = ~np.isnan(stock.won)
        band = self.assign(stock.probability, stock.age_days)
        return tuple(_promise(name, stock, labelled & (band == name)) for name in BANDS)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        promises = tuple(Promise(**row) for row in tree["promises"])
        return cls(**{**tree, "promises": promises})


def threshold_for(probability: np.ndarray, lead_id: np.ndarray, most: int) -> float | None:
    """The lowest probability from which at most `most` leads become hot; None: ties forbid.

    Each lead counts once, with its highest probability.

    >>> threshold_for(np.array([0.9, 0.8, 0.8, 0.1]), np.array(["a", "b", "c", "d"]), most=2)
    0.9
    """
    highest = pd.Series(probability).groupby(lead_id).max().to_numpy()
    highest = np.sort(highest)[::-1]
    taken = highest[:most]
    if most < len(highest):
        taken = taken[taken > highest[most]]
    return float(taken[-1]) if len(taken) else None


def _hot_from(
    config: BandsConfig, stock: Stock, young: np.ndarray
) -> tuple[float | None, str | None]:
    if config.policy == "thresholds":
        return config.hot, None
    if config.policy == "value":
        assert config.cost_per_contact is not None
        assert config.value_per_win is not None
        even = config.cost_per_contact / config.value_per_win
        return (even, None) if even < 1 else (None, "a contact costs more than a win brings.")
    leads = len(pd.unique(stock.lead_id[young]))
    most = int(config.hot_share * leads)
    if config.hot_per_week is not None and stock.weeks is not None:
        most = config.hot_per_week * stock.weeks
    start = threshold_for(stock.probability[young], stock.lead_id[young], most)
    if start is None:
        return None, (
            f"no threshold keeps to {most} of the calibrate part's {leads} leads: "
            "too many share the highest probability."
        )
    return start, None


def _too_little(found: Rate, base_rate: float) -> str | None:
    if found.n == 0:
        return "not enough evidence: no lead of the calibrate part reaches the threshold."
    if found.lower > base_rate:
        return None
    return (
        f"not enough evidence: of {found.n} hot snapshots {found.rate:.1%} were won, which may be "
        f"as few as {found.lower:.1%}; all open leads reach {base_rate:.1%}."
    )


def _promise(name: str, stock: Stock, rows: np.ndarray) -> Promise:
    found = clustered_rate(stock.won[rows], stock.group_id[rows])
    some = found.n > 0
    expected = float(stock.probability[rows].mean()) if some else None
    observed = found.rate if some else None
    return Promise(name, found.n, expected, observed, found.lower, found.upper, found.deff)


def _too_old(age_days: np.ndarray, oldest_age_days: float | None) -> np.ndarray:
    if oldest_age_days is None:
        return np.zeros(len(age_days), dtype=bool)
    older: np.ndarray = age_days > oldest_age_days
    return older

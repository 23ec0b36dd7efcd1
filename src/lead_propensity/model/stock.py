"""Snapshots of open leads as the bands see them."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from lead_propensity.features.matrix import Dataset


@dataclass(frozen=True)
class Candidates:
    """All that decides a band; arrays of one length."""

    probability: np.ndarray
    raw_score: np.ndarray
    """Log-odds before calibration: a calibrator may tie leads that it tells apart."""
    lead_id: np.ndarray
    age_days: np.ndarray
    """May be NaN."""
    meets: np.ndarray
    """Booleans: the lead shows what the company demands of a hot one (`bands.hot_requires`)."""

    @classmethod
    def of(
        cls, data: Dataset, probability: np.ndarray, raw_score: np.ndarray, meets: np.ndarray
    ) -> Self:
        lead_id, age_days = (data.keys[name].to_numpy() for name in ("lead_id", "age_days"))
        return cls(probability, raw_score, lead_id, age_days, meets)

    def rows(self, mask: np.ndarray) -> "Candidates":
        """Those where `mask` (n booleans) holds."""
        columns = (self.probability, self.raw_score, self.lead_id, self.age_days, self.meets)
        return Candidates(*(column[mask] for column in columns))


@dataclass(frozen=True)
class Stock:
    """Open leads as the night job meets them, with what became of them; arrays of one length.

    `won` may be NaN (no label): such rows count for capacity and not for promises. `order` is the place
    on the time line. `weeks` is how many weekly dates the leads were seen on, None where there is no
    time; rows of the date before these are `earlier`: who is hot there already is not newly hot. Each
    lead stands for `weight` leads of the world, for which capacity is planned.
    """

    leads: Candidates
    won: np.ndarray
    group_id: np.ndarray
    order: np.ndarray
    earlier: np.ndarray
    weeks: int | None
    weight: float = 1.0

    @classmethod
    def of(cls, data: Dataset, leads: Candidates) -> Self:
        """Rows without `as_of` have no weekly dates."""
        keys = data.keys
        earlier = (keys["part"] == "burn_in").to_numpy()
        timed = len(keys) > 0 and bool((keys["as_of"] >= 0).all())
        return cls(
            leads,
            keys["won"].to_numpy(np.float64),
            keys["group_id"].to_numpy(),
            keys["order"].to_numpy(np.int64),
            earlier,
            keys.loc[~earlier, "order"].nunique() if timed else None,
            data.weight,
        )

    @property
    def labelled(self) -> np.ndarray:
        """n booleans."""
        known: np.ndarray = ~np.isnan(self.won)
        return known


def stock_of(data: Dataset) -> Dataset:
    """The stock that the bands are made on, with the date before it; as exported the calibrate part itself."""
    stock = data.part("burn_in", "calibrate", population="stock")
    return stock if len(stock) else data.part("calibrate")

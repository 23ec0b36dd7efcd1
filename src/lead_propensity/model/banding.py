"""From the config and the parts to the bands: what is left open there, the earlier parts tell."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lead_propensity.config import BandsConfig, Criterion
from lead_propensity.errors import DataError
from lead_propensity.features.matrix import Dataset
from lead_propensity.model import criteria
from lead_propensity.model.bands import Bands
from lead_propensity.model.calibration import Calibrator
from lead_propensity.model.fitting import Members
from lead_propensity.model.precision import Foretold
from lead_propensity.model.stock import Candidates, Stock


@dataclass(frozen=True)
class Agreed:
    """The bands' config with nothing left open, and what was filled in, in words."""

    config: BandsConfig
    notes: tuple[str, ...] = ()


def agreed(config: BandsConfig, train: Dataset, calibrate: Dataset) -> Agreed:
    """Fills in `value_per_win` from the won deals of the fit and calibrate parts.

    Raises ConfigError where hot demands what nobody records, DataError where no amount is known.
    """
    criteria.require_recorded(config.hot_requires, train.catalogue)
    if config.policy != "value" or config.value_per_win is not None:
        return Agreed(config)
    keys = pd.concat([train.keys, calibrate.keys])
    won = keys[keys["won"] == 1.0].drop_duplicates("lead_id")
    amounts = np.sort(won["amount"].dropna().to_numpy(np.float64))
    if len(amounts) == 0 or amounts[-1] <= 0:
        raise DataError(
            f"The policy `value` must know what a win is worth: bands.value_per_win is not given, and of the "
            f"{len(won)} won deals of the fit and calibrate parts none has an amount above 0. Give "
            "bands.value_per_win, or name the column in data.deals.columns.amount."
        )
    mean = float(np.sum(amounts) / len(amounts))
    note = (
        f"bands.value_per_win is not given: a win counts {mean:,.2f}, the mean amount of {len(amounts)} of the "
        f"{len(won)} won deals of the fit and calibrate parts."
    )
    return Agreed(config.model_copy(update={"value_per_win": mean}), (note,))


def fit_bands(
    config: BandsConfig,
    members: Members,
    calibrator: Calibrator,
    train: Dataset,
    stock: Dataset,
    oldest_age_days: float | None,
) -> Bands:
    """The bands of the calibrate part's `stock`; an order of limits comes from the fit part, `train`."""
    leads = _at_stored_level(stock, members, calibrator, config.hot_requires)
    return Bands.fit(config, Stock.of(stock, leads), oldest_age_days, _foretold(members, train))


def _at_stored_level(
    stock: Dataset, members: Members, calibrator: Calibrator, required: Mapping[Criterion, str]
) -> Candidates:
    raw_score = members.main.raw_score(stock.X)
    timeline = criteria.date_of_timeline(stock.catalogue)
    shown = criteria.meets(stock.X, required, timeline)
    return Candidates.of(stock, calibrator.predict(raw_score), raw_score, shown)


def _foretold(members: Members, train: Dataset) -> Foretold:
    """By out-of-time scores; where there are no folds, by the scores of the rows that were learned from."""
    judged = members.out_of_time
    if len(judged.score):
        return Foretold.of(judged.score, judged.keys["won"].to_numpy(np.float64))
    return Foretold.of(members.main.raw_score(train.X), train.won)

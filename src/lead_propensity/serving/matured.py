"""What matured after all that a model learned from, cut by time: to fit on, and to judge by."""

from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pandas as pd

from lead_propensity.config import Config, GateConfig, RoutesConfig
from lead_propensity.data.moments import words
from lead_propensity.data.workroom import IN_MEMORY, Allowance
from lead_propensity.errors import Refused
from lead_propensity.evaluation.waiting import Pace, of_two_parts
from lead_propensity.features import dataset, matrix
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.windows import DAY_US
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.recalibrating import Newer
from lead_propensity.progress import Progress, silent
from lead_propensity.serving import night, scoring
from lead_propensity.serving.fresh import Span, make_snapshots

PART_DAYS = 15
"""The shortest part: three weekly dates."""


@dataclass(frozen=True)
class Cut:
    """Two parts of equal length in units of `order`, with a purge of one label delay between them.

    So every label of the earlier part was known when the later one began. By time alone: an edge that
    looked at outcomes would sort by them.
    """

    earlier_from: int
    earlier_until: int
    """Not included."""
    later_from: int
    until: int
    """Included: the last moment of which labels are known."""

    @classmethod
    def of(cls, labels_until: int, mature_until: int, label_delay: int) -> "Cut":
        """Where there is no time for two parts, both hold nothing."""
        half = max(0, mature_until - labels_until - label_delay) // 2
        middle = labels_until + half
        return cls(labels_until, middle, middle + label_delay, mature_until)

    def earlier(self, order: np.ndarray) -> np.ndarray:
        """Booleans: the snapshots of the earlier part."""
        mask: np.ndarray = (order >= self.earlier_from) & (order < self.earlier_until)
        return mask

    def later(self, order: np.ndarray) -> np.ndarray:
        """Booleans: those of the later one."""
        mask: np.ndarray = order >= self.later_from
        return mask


@dataclass(frozen=True)
class Matured:
    """The mature snapshots that a model has not learned from, with its features and what it told their leads."""

    data: Dataset
    """Also the cohorts before them that may tell the level, part `cohort`."""
    told: pd.DataFrame
    """One row for each of `data`, as `scoring.scored` gives it."""
    cut: Cut

    @property
    def earlier(self) -> Newer:
        """What is fitted on where the later part judges."""
        return self._newer(self._earlier)

    @property
    def all(self) -> Newer:
        """What is fitted on once the figures are made."""
        return self._newer(self._order >= self.cut.earlier_from)

    @property
    def later(self) -> np.ndarray:
        """Booleans: the rows that judge, both populations."""
        return self.cut.later(self._order)

    def said_by(self, model: PropensityModel, routes: RoutesConfig) -> pd.DataFrame:
        """What `model` would have told the leads of the later part, its level known as it was at the time."""
        return said(model, self.data, self.later, routes)

    @property
    def told_earlier(self) -> pd.DataFrame:
        """What the model itself told the leads of the earlier part."""
        return self.told[self._earlier].reset_index(drop=True)

    @property
    def told_later(self) -> pd.DataFrame:
        """What it told those of the later part."""
        return self.told[self.later].reset_index(drop=True)

    @property
    def _earlier(self) -> np.ndarray:
        return self.cut.earlier(self._order)

    @property
    def _order(self) -> np.ndarray:
        return self.data.keys["order"].to_numpy(np.int64)

    def _newer(self, rows: np.ndarray) -> Newer:
        keys, probability = self.data.keys, self.told["probability"].to_numpy(np.float64)
        training = (keys["population"] == "training").to_numpy()
        labelled = rows & training & keys["won"].notna().to_numpy()
        stock = rows & ~training
        if not stock.any():  # as exported
            stock = labelled
        looks = self.data.rows(stock)
        return Newer(
            self.data.rows(labelled),
            probability[labelled],
            _first_look_apart(looks),
            probability[stock],
        )


def matured(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    exported_at: int,
    model: PropensityModel,
    progress: Progress = silent,
    allowance: Allowance = IN_MEMORY,
) -> Matured:
    """The snapshots from the moment on at which the last label was known that `model` learned.

    `con` holds the checked tables. Raises Refused before a feature is computed where too few have matured, and
    DataError where the tables lack what the model is made of.
    """
    card, span = night.card_of(model), Span.of([model])
    dataset.require_tables(config, model.catalogue, card)
    made = make_snapshots(con, config, exported_at, model.horizon_days, span)
    cut, pace = Cut.of(span.judged_from, made.until, span.label_delay), made.pace
    if pace is not None:  # two parts need a purge between them, too
        ready = exported_at + max(0, span.judged_from + span.label_delay - made.until)
        pace = replace(pace, ready_from=ready)
    _require_weeks(cut, pace)
    _require_evidence(con, cut, pace, config.gate)
    data = matrix.build(con, model.catalogue, card, progress, allowance)
    data = replace(data, weight=made.weight)
    told = said(model, data, np.ones(len(data), dtype=bool), config.bands.routes)
    return Matured(data, told, cut)


def _require_weeks(cut: Cut, pace: Pace | None) -> None:
    """Bands are planned by the week: each part needs weekly dates, and the one before them. Raises Refused."""
    days = (cut.earlier_until - cut.earlier_from) / DAY_US
    if pace is None or days >= PART_DAYS:
        return
    late = pace.ready_from + 2 * (PART_DAYS - days) * DAY_US
    raise Refused(
        f"Not enough evidence until about {words(int(late))[:10]}: what matured after the last label that was "
        f"learned makes two parts of {days:.0f} days, {PART_DAYS} are needed in each."
    )


def _require_evidence(
    con: duckdb.DuckDBPyConnection, cut: Cut, pace: Pace | None, limits: GateConfig
) -> None:
    """Raises Refused where one of the parts holds too few won leads or leads, with a date if there is one."""
    labelled = con.sql("""
        SELECT lead_id, place, won FROM snapshots WHERE population = 'training' AND won IS NOT NULL""").df()
    order = labelled["place"].to_numpy(np.int64)
    found = of_two_parts(labelled[cut.earlier(order)], labelled[cut.later(order)], pace, limits)
    if not found.enough:
        raise Refused(found.sentence)


def said(
    model: PropensityModel, data: Dataset, rows: np.ndarray, routes: RoutesConfig
) -> pd.DataFrame:
    """What `model` tells the leads of these rows; the level comes from all of `data` that was known by then."""
    asked = data.rows(rows)
    shift, until = scoring.level(model, asked.keys["order"].to_numpy(np.int64), data)
    frame = scoring.scored(model, asked, shift, until, routes)
    return frame.assign(weight=data.weight)


def _first_look_apart(stock: Dataset) -> Dataset:
    """Who is hot on the first weekly date is not newly hot: it counts as the date before the part."""
    keys = stock.keys
    first = (keys["population"] == "stock") & (keys["order"] == keys["order"].min())
    keys = keys.assign(part=keys["part"].mask(first, "burn_in"), won=keys["won"].mask(first))
    return replace(stock, keys=keys)

"""The reference: what a model's features, scores and bands looked like on the stock that its bands were made on.

The night job meets the stock, so drift is told against the stock. A model that is fitted again keeps the
rows of its reference, as it keeps its bands: those of the calibrate part. Its features so look the same; its
scores and bands are told anew, for the scale of the scores is another one. They have learned from these rows,
so that they lie a little further apart than those of new leads. The AUC stays that of the scores before.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from lead_propensity.features.matrix import Dataset
from lead_propensity.model import criteria
from lead_propensity.model.bands import BANDS, Bands
from lead_propensity.model.calibration import Calibrator
from lead_propensity.model.cells import Cells
from lead_propensity.model.encoding import numbers_of
from lead_propensity.model.fitting import Main
from lead_propensity.model.folds import sample_of_leads
from lead_propensity.model.ranking import auc_and_error
from lead_propensity.model.stock import Candidates

MOST_ROWS = 50_000
"""Of the stock, chosen by a hash of the lead: more would show no drift that matters."""
SCORES = ("raw_score", "probability", "band")


@dataclass(frozen=True)
class Reference:
    """Counts alone, no row and no value of a single lead."""

    features: tuple[Cells, ...]
    """In the order of the catalogue."""
    scores: tuple[Cells, ...]
    """Of SCORES; the probability is that of the stored level."""
    rows: int
    leads: int
    auc: float | None
    """Of the raw score on the labelled rows, which it had not seen; None where it cannot be told."""
    auc_error: float | None
    """Its standard error, clustered by group."""

    @classmethod
    def of(cls, stock: Dataset, main: Main, calibrator: Calibrator, bands: Bands) -> Self:
        """Of the rows of the part `calibrate`, or of a sample of their leads."""
        stock = stock.rows((stock.keys["part"] == "calibrate").to_numpy())
        stock = stock.rows(sample_of_leads(stock.keys["lead_id"], MOST_ROWS))
        group, lead_id = (stock.keys[name].to_numpy(object) for name in ("group_id", "lead_id"))
        raw_score = main.raw_score(stock.X)
        said = scores_of(stock, raw_score, calibrator.predict(raw_score), bands)
        auc, error = _auc(raw_score, stock)
        return cls(
            features=tuple(
                Cells.of_texts(one.name, stock.X[one.name], lead_id, group)
                if one.column_type == "category"
                else Cells.of_numbers(one.name, numbers_of(stock.X[one.name]), group)
                for one in stock.catalogue.features
            ),
            scores=(
                Cells.of_numbers("raw_score", said["raw_score"], group),
                Cells.of_numbers("probability", said["probability"], group),
                Cells.of_words("band", BANDS, said["band"], group),
            ),
            rows=len(stock),
            leads=int(stock.keys["lead_id"].nunique()),
            auc=auc,
            auc_error=error,
        )

    def again(self, stock: Dataset, main: Main, calibrator: Calibrator, bands: Bands) -> Self:
        """That of a model that was fitted again, also on these rows: the AUC stays that of unseen ones."""
        told = type(self).of(stock, main, calibrator, bands)
        return replace(told, auc=self.auc, auc_error=self.auc_error)

    def rescored(self, stock: Dataset, main: Main, calibrator: Calibrator, bands: Bands) -> Self:
        """That of the same members with another calibrator and bands, made on newer stock.

        Features stay those of what the members learned from, and so does the AUC: drift from it is still told.
        """
        return replace(self, scores=type(self).of(stock, main, calibrator, bands).scores)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError where counts do not fit."""
        cells = {name: tuple(_cells(row) for row in tree[name]) for name in ("features", "scores")}
        for one in (*cells["features"], *cells["scores"]):
            one.require_whole()
        if tuple(one.name for one in cells["scores"]) != SCORES:
            raise ValueError(f"reference.json tells of other scores than {', '.join(SCORES)}")
        return cls(**{**tree, **cells})


def scores_of(
    data: Dataset, raw_score: np.ndarray, probability: np.ndarray, bands: Bands
) -> dict[str, np.ndarray]:
    """What is watched beside the features: the arrays of SCORES."""
    timeline = criteria.date_of_timeline(data.catalogue)
    shown = criteria.meets(data.X, bands.hot_requires, timeline)
    band = bands.assign(Candidates.of(data, probability, raw_score, shown))
    return {"raw_score": raw_score, "probability": probability, "band": band}


def _cells(row: dict[str, Any]) -> Cells:
    edges = None if row["edges"] is None else tuple(row["edges"])
    return Cells(
        **{**row, "edges": edges, "levels": tuple(row["levels"]), "counts": tuple(row["counts"])}
    )


def _auc(score: np.ndarray, stock: Dataset) -> tuple[float | None, float | None]:
    labelled = ~np.isnan(stock.won)
    if not labelled.any():
        return None, None
    groups = stock.keys["group_id"].to_numpy(object)[labelled]
    found = auc_and_error(score[labelled], stock.won[labelled], groups)
    return (None, None) if any(math.isnan(one) for one in found) else found

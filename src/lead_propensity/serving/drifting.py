"""What a scoring run sees of drift: a sample of its leads, counted in the cells of the model's reference."""

from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import MonitorConfig
from lead_propensity.evaluation import drift
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.reference import MOST_ROWS

_ALL = np.uint64(np.iinfo(np.uint64).max)


class Watched:
    """Pieces of scored leads as they pass; of more than `most` those with the lowest hashes stay.

    Which leads stay does not depend on the pieces.
    """

    def __init__(self, model: PropensityModel, most: int = MOST_ROWS) -> None:
        self._model, self._most = model, most
        self._features = len(model.reference.features)
        self._cells = (*model.reference.features, *model.reference.scores)
        self._limit = _ALL
        self._hashes = np.empty(0, np.uint64)
        self._groups = np.empty(0, np.uint64)
        self._codes = np.empty((0, len(self._cells)), np.int8)

    def see(self, data: Dataset, frame: pd.DataFrame) -> None:
        """A piece: its features, and what `scoring.scored` made of it, row by row."""
        hashes = _hashes(data.keys["lead_id"])
        while np.sum(self._hashes <= self._limit) + np.sum(hashes <= self._limit) > self._most:
            self._limit = self._limit >> np.uint64(1)
        self._keep(self._hashes <= self._limit)
        rows = np.flatnonzero(hashes <= self._limit)
        X, said = data.X.iloc[rows], frame.iloc[rows]
        codes = np.empty((len(rows), len(self._cells)), np.int8)
        for place, cells in enumerate(self._cells):
            codes[:, place] = cells.codes((X if place < self._features else said)[cells.name])
        self._hashes = np.append(self._hashes, hashes[rows])
        self._groups = np.append(self._groups, _hashes(data.keys["group_id"].iloc[rows]))
        self._codes = np.concatenate([self._codes, codes])

    def _keep(self, mask: np.ndarray) -> None:
        self._hashes, self._groups = self._hashes[mask], self._groups[mask]
        self._codes = self._codes[mask]

    def figures(self, limits: MonitorConfig) -> dict[str, Any] | None:
        """See `drift.drift`; None where no lead was scored."""
        if not len(self._hashes):
            return None
        now = [
            cells.counted(self._codes[:, place], self._groups)
            for place, cells in enumerate(self._cells)
        ]
        shares = self._model.importance
        weights = dict(zip(shares["feature"], shares["share"], strict=True))
        return drift.drift(self._cells, now, self._features, weights, limits)


def _hashes(ids: pd.Series) -> np.ndarray:
    """The same for a lead in every run and on every machine."""
    return pd.util.hash_array(ids.to_numpy(object), categorize=False)

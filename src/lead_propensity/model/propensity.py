"""PropensityModel: fit, predict, explain, save, load."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from lead_propensity.config import Config
from lead_propensity.errors import DataError, ModelError
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.model import storage
from lead_propensity.model.banding import agreed, fit_bands
from lead_propensity.model.bands import Bands
from lead_propensity.model.calibration import (
    Calibrator,
    CalibratorChoice,
    Identity,
    choose_calibrator,
    fit_calibrator,
)
from lead_propensity.model.encoding import factorized
from lead_propensity.model.evidence import Evidence, Ladder, examine
from lead_propensity.model.fitting import Members, fit_members
from lead_propensity.model.grades import Grades
from lead_propensity.model.learned import Learned
from lead_propensity.model.learners import Blend, in_batches
from lead_propensity.model.level import Calendar, Earlier, LevelTracker, Scored, decide
from lead_propensity.model.reasons import Reasons, explain
from lead_propensity.model.reference import Reference
from lead_propensity.model.stock import stock_of
from lead_propensity.model.wording import Wording
from lead_propensity.progress import Progress, silent


@dataclass(frozen=True)
class Prediction:
    """Arrays of one length; `raw_score`, `fit` and `interest` are log-odds."""

    raw_score: np.ndarray
    probability_untracked: np.ndarray
    fit: np.ndarray
    interest: np.ndarray
    fit_grade: np.ndarray
    """`A` (best) to `D`."""
    interest_grade: np.ndarray
    """`1` (best) to `4`."""
    logistic_probability: np.ndarray
    """Of the logistic member alone, calibrated the same way."""


@dataclass(frozen=True)
class Parts:
    """What a model may learn from: labelled rows, and the stock that the bands are for.

    Where leads were sampled the learners are not told: a weight that is the same for all tells no row
    from another. It reaches the plan of calls a week alone.
    """

    train: Dataset
    calibrate: Dataset
    stock: Dataset

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """Raises DataError where one is missing or holds one class only."""
        train, calibrate = _labelled(data.part("fit")), _labelled(data.part("calibrate"))
        wins = int(train.won.sum())
        if min(wins, len(train) - wins) == 0:
            raise DataError(
                f"The fit part holds {len(train)} labelled snapshots, {wins} of them won. At least "
                f"one won and one not won are needed. {_more_leads(data)}Give more history, or shorten "
                "snapshots.horizon_days, split.calibrate_days or split.test_days."
            )
        if calibrate.won.sum() == 0:
            raise DataError(
                f"The calibrate part holds {len(calibrate)} labelled snapshots, none of them won: no "
                f"percentage can be checked against it. {_more_leads(data)}Give more history, or lengthen "
                "split.calibrate_days (as exported: split.calibrate_share)."
            )
        return cls(train, calibrate, stock_of(data))

    @property
    def labels_until(self) -> int:
        parts = (self.train, self.calibrate, _labelled(self.stock))
        return max(int(part.keys["label_known_at"].max()) for part in parts if len(part))

    @property
    def fitted_until(self) -> int:
        return int(self.train.keys["order"].max())

    @property
    def label_delay(self) -> int:
        """From a snapshot until its label is known, in units of `order`; the same for all."""
        return int((self.train.keys["label_known_at"] - self.train.keys["order"]).max())

    @property
    def oldest_age_days(self) -> float | None:
        oldest = float(np.fmax(*(p.keys["age_days"].max() for p in (self.train, self.calibrate))))
        return None if np.isnan(oldest) else oldest


@dataclass(frozen=True)
class Calibrated:
    """The calibrators of the blend and of its logistic member, and how they were chosen."""

    main: Calibrator
    logistic: Calibrator
    choice: CalibratorChoice

    @classmethod
    def fit(cls, members: Members, calibrate: Dataset) -> Self:
        """The kinds from out-of-time scores of the fit part, the parameters from `calibrate`."""
        judged = members.out_of_time
        won, groups = judged.keys["won"].to_numpy(np.float64), judged.keys["group_id"]
        choice = choose_calibrator(judged.score, won, groups)
        line = choose_calibrator(judged.logistic_score, won, groups)
        logistic = members.main.line if isinstance(members.main, Blend) else members.main
        leads = calibrate.keys["group_id"]
        return cls(
            fit_calibrator(choice.kind, members.main.raw_score(calibrate.X), calibrate.won, leads),
            fit_calibrator(line.kind, logistic.raw_score(calibrate.X), calibrate.won, leads),
            choice,
        )


class PropensityModel(Learned):
    """A calibrated, banded model of how likely a lead is to be won."""

    @classmethod
    def fit(
        cls,
        data: Dataset,
        config: Config,
        progress: Progress = silent,
        storage: Path | None = None,
    ) -> Self:
        """Learns from the parts `fit` and `calibrate` alone; `test` is not looked at.

        A search for settings keeps its finished trials in the folder `storage`, and goes on from there.
        Raises DataError where the fit part has no or one class, or the calibrate part no win.
        """
        # One BLAS thread: the order of a sum, and so its last bit, may not depend on the machine.
        with threadpool_limits(limits=1, user_api="blas"):
            return cls._fitted(Parts.of(data), data.catalogue, config, progress, storage)

    @classmethod
    def _fitted(
        cls,
        parts: Parts,
        catalogue: Catalogue,
        config: Config,
        progress: Progress,
        storage: Path | None,
    ) -> Self:
        as_exported = config.data.exported is not None
        banding = agreed(config.bands, parts.train, parts.calibrate)
        members = fit_members(parts.train, config, progress, storage)
        evidence = _evidence(members, parts)
        progress("calibrating", 0, 1)
        calibrated = Calibrated.fit(members, parts.calibrate)
        level = _level(members, parts, as_exported)
        bands = fit_bands(
            banding.config,
            members,
            calibrated.main,
            parts.train,
            parts.stock,
            parts.oldest_age_days,
        )
        sides = [side.raw_score(parts.calibrate.X) for side in (members.fit, members.interest)]
        progress("calibrating", 1, 1)
        return cls(
            catalogue=catalogue,
            main=members.main,
            fit_side=members.fit,
            interest_side=members.interest,
            calibrator=calibrated.main,
            logistic_calibrator=calibrated.logistic,
            grades=Grades.fit(*sides),
            level=level,
            bands=bands,
            reference=Reference.of(parts.stock, members.main, calibrated.main, bands),
            horizon_days=None if as_exported else config.snapshots.horizon_days,
            labels_until=parts.labels_until,
            oldest_age_days=parts.oldest_age_days,
            notes=(
                *evidence.notes(),
                *banding.notes,
                *_notes(members, calibrated, level, bands),
            ),
            choices={
                **members.choices,
                **_choices(calibrated, level),
                "evidence": evidence.to_json(),
            },
            trials=members.trials,
        )

    def predict(self, X: pd.DataFrame, catalogue_fingerprint: str) -> Prediction:
        """Scores at the stored level. Raises ModelError for features of another definition."""
        if catalogue_fingerprint != self.catalogue.fingerprint:
            raise ModelError(
                f"The features are defined as {catalogue_fingerprint}, the model was trained on "
                f"{self.catalogue.fingerprint}. Compute them with the model's features.json."
            )
        missing = [name for name in self.catalogue.names if name not in X.columns]
        if missing:
            raise ModelError(
                f"{len(missing)} features of the model are missing, the first is {missing[0]!r}. "
                "Compute them with the model's features.json."
            )
        score, line, fit, interest = in_batches(self._log_odds, X).T
        return Prediction(
            raw_score=score,
            probability_untracked=self.calibrator.predict(score),
            fit=fit,
            interest=interest,
            fit_grade=self.grades.of_fit(fit),
            interest_grade=self.grades.of_interest(interest),
            logistic_probability=self.logistic_calibrator.predict(line),
        )

    def _log_odds(self, X: pd.DataFrame) -> np.ndarray:
        """(n, 4): of the main learner, its line, the fit and the interest side."""
        texts = [f.name for f in self.catalogue.features if f.column_type == "category"]
        X = X.assign(**{name: factorized(X[name]) for name in texts})
        if isinstance(self.main, Blend):
            score, line = self.main.with_line(X)
        else:
            score = line = self.main.raw_score(X)
        sides = (self.fit_side.raw_score(X), self.interest_side.raw_score(X))
        return np.column_stack([score, line, *sides])

    def reasons(self, X: pd.DataFrame, rows: np.ndarray, wording: Wording | None = None) -> Reasons:
        """Of each row position in `rows`, in the model's own words unless others are given."""
        return explain(self.main, self.catalogue, wording or self.wording, X, rows)

    @cached_property
    def model_id(self) -> str:
        """Twelve hex digits: the same data, config and seed give the same."""
        return storage.model_id(self.to_files())

    def save(self, folder: Path) -> None:
        """Write the model folder: plain text only."""
        storage.write(folder, self.to_files())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model folder; nothing in it is executed.

        Raises ModelError where a file is missing, changed since it was saved, or malformed.
        """
        return cls.from_files(storage.read(folder))


def _labelled(data: Dataset) -> Dataset:
    labelled = ~np.isnan(data.won)
    return data if labelled.all() else data.rows(labelled)


def _more_leads(data: Dataset) -> str:
    return "" if data.weight == 1 else "Raise snapshots.max_leads: leads were sampled. "


def _evidence(members: Members, parts: Parts) -> Evidence:
    line = members.main.line if isinstance(members.main, Blend) else None
    parameters = len(line.encoding.linear_owners) if line else 0
    ladder = Ladder(members.choices["learner"], parameters)
    return examine(parts.train, parts.calibrate, ladder)


def _level(members: Members, parts: Parts, as_exported: bool) -> LevelTracker:
    """What the folds and the calibrate part tell of how levels move, each after its own fit."""
    judged, calibrate = members.out_of_time, parts.calibrate
    earlier = []
    for fold in np.unique(judged.fold[judged.fold >= 0]):
        rows = judged.fold == fold
        keys = judged.keys[rows]
        scored = Scored.of(keys, Identity().predict(judged.score[rows]))
        earlier.append(Earlier(int(keys["order"].min()), scored))
    # The identity: a calibrator fitted on these rows would hide how far their level lies off.
    probability = Identity().predict(members.main.raw_score(calibrate.X))
    earlier.append(Earlier(parts.fitted_until, Scored.of(calibrate.keys, probability)))
    calendar = Calendar.of(as_exported, len(parts.train) + len(calibrate))
    return decide(earlier, calendar, parts.fitted_until, parts.label_delay)


def _notes(
    members: Members, calibrated: Calibrated, level: LevelTracker, bands: Bands
) -> tuple[str, ...]:
    chosen, used = calibrated.choice.kind, calibrated.main.kind
    calibration = f"Calibrator: {used}."
    if chosen != used:
        calibration = (
            f"Calibrator: {used}; too few leads won in the calibrate part to fit {chosen}."
        )
    hot = () if bands.hot_refused is None else (f"Nobody is hot: {bands.hot_refused}",)
    return (*members.notes, calibration, level.note, *hot)


def _choices(calibrated: Calibrated, level: LevelTracker) -> dict[str, Any]:
    return {
        "calibrator": calibrated.main.kind,
        "calibrator_losses": calibrated.choice.losses,
        "level_tracker": level.to_json(),
    }

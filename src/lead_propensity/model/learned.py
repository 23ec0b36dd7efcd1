"""All that a model learned, as fields and as the plain files of its folder."""

from dataclasses import dataclass, field
from typing import Any, Self

import lightgbm
import pandas as pd

from lead_propensity.errors import ModelError
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.model import storage
from lead_propensity.model.bands import Bands
from lead_propensity.model.calibration import Calibrator
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.fitting import Main, Side
from lead_propensity.model.grades import Grades
from lead_propensity.model.learners import BaseRate, Blend, BoostedTrees, Logistic
from lead_propensity.model.level import LevelTracker

FORMAT = 1


@dataclass(frozen=True)
class Learned:
    """Learners, calibrators, level tracker and bands, with what they were learned from."""

    catalogue: Catalogue
    main: Main
    fit_side: Side
    interest_side: Side
    calibrator: Calibrator
    logistic_calibrator: Calibrator
    grades: Grades
    level: LevelTracker
    bands: Bands
    horizon_days: int | None
    """None: as exported."""
    labels_until: int
    """When the last label used for learning was known, in units of `order`."""
    oldest_age_days: float | None
    notes: tuple[str, ...]
    """Decisions and fallbacks, in plain words."""
    choices: dict[str, Any]
    """The same for machines: plain JSON."""
    trials: pd.DataFrame
    """One row an Optuna trial; may be empty."""
    rules: dict[str, Any] = field(default_factory=dict)
    """The points scorecard of the run, plain JSON; set with `dataclasses.replace`."""

    @property
    def logistic(self) -> Logistic | BaseRate:
        """The logistic member; the base rate where there is none."""
        return self.main.logistic if isinstance(self.main, Blend) else self.main

    @property
    def importance(self) -> pd.DataFrame:
        """`feature`, `kind` and `share` (together 1) of the features used, largest first."""
        kinds = {feature.name: feature.kind for feature in self.catalogue.features}
        names = self.main.names
        shares = pd.DataFrame(
            {
                "feature": pd.Series(names, dtype=object),
                "kind": pd.Series([kinds[name] for name in names], dtype=object),
                "share": self.main.weights(),
            }
        )
        return shares.sort_values("share", ascending=False, kind="stable", ignore_index=True)

    def to_files(self) -> dict[str, bytes]:
        """File name: content. The same model gives the same bytes."""
        trees = {
            "model.json": self._head(),
            "features.json": self.catalogue.to_json(),
            "bands.json": self.bands.to_json(),
            "rules.json": self.rules,
            "trials.json": {"trials": self.trials.to_dict("records")},
        }
        files = {name: storage.json_bytes(tree) for name, tree in trees.items()}
        files["importance.csv"] = self.importance.to_csv(index=False, lineterminator="\n").encode()
        if isinstance(self.logistic, Logistic):
            files["encoding.json"] = storage.json_bytes(self.logistic.encoding.to_json())
            files["logistic.json"] = storage.json_bytes(self.logistic.to_json())
        if isinstance(self.main, Blend):
            files["boosted.txt"] = self.main.trees.text.encode()
        for name, side in (("fit.txt", self.fit_side), ("interest.txt", self.interest_side)):
            if isinstance(side, BoostedTrees):
                files[name] = side.text.encode()
        return files

    def _head(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "learners": {
                "main": _learner_json(self.main),
                "fit": _learner_json(self.fit_side),
                "interest": _learner_json(self.interest_side),
            },
            "calibrator": self.calibrator.to_json(),
            "logistic_calibrator": self.logistic_calibrator.to_json(),
            "grades": self.grades.to_json(),
            "level": self.level.to_json(),
            "horizon_days": self.horizon_days,
            "labels_until": self.labels_until,
            "oldest_age_days": self.oldest_age_days,
            "notes": list(self.notes),
            "choices": self.choices,
        }

    @classmethod
    def from_files(cls, files: dict[str, bytes]) -> Self:
        """Raises ModelError where a file is missing or does not hold what it must."""
        try:
            return cls._from_files(files)
        except KeyError as error:
            raise ModelError(f"The model folder lacks {error}. Train again.") from error
        except (TypeError, ValueError, AttributeError, lightgbm.basic.LightGBMError) as error:
            raise ModelError(f"The model folder is damaged: {error}. Train again.") from error

    @classmethod
    def _from_files(cls, files: dict[str, bytes]) -> Self:
        head = storage.parsed("model.json", files["model.json"])
        if head["format"] != FORMAT:
            raise ModelError(
                f"The model folder has format {head['format']}, this version reads {FORMAT}. "
                "Train again, or use the version that wrote it."
            )
        learners = head["learners"]
        return cls(
            catalogue=Catalogue.from_json(storage.parsed("features.json", files["features.json"])),
            main=_main(learners["main"], files),
            fit_side=_side(learners["fit"], "fit.txt", files),
            interest_side=_side(learners["interest"], "interest.txt", files),
            calibrator=Calibrator.from_json(head["calibrator"]),
            logistic_calibrator=Calibrator.from_json(head["logistic_calibrator"]),
            grades=Grades.from_json(head["grades"]),
            level=LevelTracker.from_json(head["level"]),
            bands=Bands.from_json(storage.parsed("bands.json", files["bands.json"])),
            horizon_days=head["horizon_days"],
            labels_until=head["labels_until"],
            oldest_age_days=head["oldest_age_days"],
            notes=tuple(head["notes"]),
            choices=head["choices"],
            trials=pd.DataFrame(storage.parsed("trials.json", files["trials.json"])["trials"]),
            rules=storage.parsed("rules.json", files["rules.json"]),
        )


def _learner_json(learner: Main | Side) -> dict[str, Any]:
    if isinstance(learner, BaseRate):
        return {"kind": "base_rate", "log_odds": learner.log_odds}
    if isinstance(learner, Logistic):
        return {"kind": "logistic"}
    if isinstance(learner, Blend):
        return {"kind": "blend", "weight_of_trees": learner.weight}
    return {"kind": "trees", "encoding": learner.encoding.to_json()}


def _main(tree: dict[str, Any], files: dict[str, bytes]) -> Main:
    if tree["kind"] == "base_rate":
        return BaseRate(tree["log_odds"])
    encoding = Encoding.from_json(storage.parsed("encoding.json", files["encoding.json"]))
    line = storage.parsed("logistic.json", files["logistic.json"])
    logistic = Logistic.from_json(line, encoding)
    if tree["kind"] == "logistic":
        return logistic
    trees = BoostedTrees.from_text(encoding, files["boosted.txt"].decode())
    return Blend(logistic, trees, tree["weight_of_trees"])


def _side(tree: dict[str, Any], name: str, files: dict[str, bytes]) -> Side:
    if tree["kind"] == "base_rate":
        return BaseRate(tree["log_odds"])
    return BoostedTrees.from_text(Encoding.from_json(tree["encoding"]), files[name].decode())

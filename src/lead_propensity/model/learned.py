"""All that a model learned, as fields and as the plain files of its folder."""

from dataclasses import dataclass, field
from typing import Any, Self

import lightgbm
import numpy as np
import pandas as pd

from lead_propensity.errors import ModelError
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.points import NO_RULES, Scorecard
from lead_propensity.model import storage
from lead_propensity.model.bands import Bands
from lead_propensity.model.calibration import KINDS, Calibrator, Isotonic
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.fitting import Main, Side
from lead_propensity.model.grades import Grades
from lead_propensity.model.learners import BaseRate, Blend, BoostedTrees, Logistic, Member
from lead_propensity.model.level import LevelTracker
from lead_propensity.model.reference import Reference
from lead_propensity.model.smooth import SmoothEncoding
from lead_propensity.model.wording import Wording, english

FORMAT = 6
_TREES = {Catalogue: "features", Bands: "bands", Reference: "reference", Scorecard: "rules"}


def _no_rules() -> dict[str, Any]:
    return NO_RULES.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class _Head:
    """What `model.json` holds."""

    format: int
    learners: dict[str, dict[str, Any]]
    calibrator: dict[str, Any]
    logistic_calibrator: dict[str, Any]
    grades: dict[str, Any]
    level: dict[str, Any]
    horizon_days: int | None
    labels_until: int
    oldest_age_days: float | None
    notes: list[str]
    choices: dict[str, Any]


@dataclass(frozen=True)
class _Share:
    name: str
    weight: float


@dataclass(frozen=True)
class _Blend:
    """What `model.json` holds of a blend."""

    offset: float
    members: list[_Share]


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
    reference: Reference
    """What features, scores and bands looked like on the stock that the bands were made on."""
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
    rules: dict[str, Any] = field(default_factory=_no_rules)
    """The points scorecard of the run, plain JSON; set with `dataclasses.replace`."""
    wording: Wording = field(default_factory=english)
    """The words of the reasons; set with `dataclasses.replace`, too."""

    @property
    def logistic(self) -> Logistic | BaseRate:
        """The logistic member; the base rate where there is none."""
        return self.main.line if isinstance(self.main, Blend) else self.main

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
            "reference.json": self.reference.to_json(),
            "rules.json": self.rules,
            "wording.json": self.wording.to_json(),
            "trials.json": {"trials": self.trials.to_dict("records")},
        }
        files = {name: storage.json_bytes(tree) for name, tree in trees.items()}
        files["importance.csv"] = self.importance.to_csv(index=False, lineterminator="\n").encode()
        if isinstance(self.main, Blend):
            for name, member in zip(_member_names(self.main), self.main.members, strict=True):
                files |= _member_files(name, member)
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
        head = _head(files)
        learners = head["learners"]
        trees = {kind: _tree(kind, name, files) for kind, name in _TREES.items()}
        learned = cls(
            catalogue=Catalogue.from_json(trees[Catalogue]),
            main=_main(learners["main"], files),
            fit_side=_side(learners["fit"], "fit.txt", files),
            interest_side=_side(learners["interest"], "interest.txt", files),
            calibrator=_calibrator(head["calibrator"]),
            logistic_calibrator=_calibrator(head["logistic_calibrator"]),
            grades=Grades.from_json(head["grades"]),
            level=LevelTracker.from_json(head["level"]),
            bands=Bands.from_json(trees[Bands]),
            reference=Reference.from_json(trees[Reference]),
            horizon_days=head["horizon_days"],
            labels_until=head["labels_until"],
            oldest_age_days=head["oldest_age_days"],
            notes=tuple(head["notes"]),
            choices=head["choices"],
            trials=pd.DataFrame(storage.parsed("trials.json", files["trials.json"])["trials"]),
            rules=trees[Scorecard],
            wording=Wording.model_validate(storage.parsed("wording.json", files["wording.json"])),
        )
        _require_known(learned)
        return learned


def _head(files: dict[str, bytes]) -> dict[str, Any]:
    """`model.json`. Raises ModelError for another format, ValueError where a field is not what it must be."""
    head = storage.parsed("model.json", files["model.json"])
    if head["format"] != FORMAT:
        raise ModelError(
            f"The model folder has format {head['format']}, this version reads {FORMAT}. "
            "Train again, or use the version that wrote it."
        )
    storage.require_fields(_Head, head)
    storage.require_fields(LevelTracker, head["level"])
    return head


def _tree(kind: type, name: str, files: dict[str, bytes]) -> dict[str, Any]:
    tree = storage.parsed(f"{name}.json", files[f"{name}.json"])
    storage.require_fields(kind, tree)
    return tree


def _require_known(learned: Learned) -> None:
    """Raises ValueError where a learner uses a feature that the catalogue does not define."""
    learners = (learned.main, learned.fit_side, learned.interest_side)
    used = {name for learner in learners for name in learner.names}
    unknown = sorted(used - set(learned.catalogue.names))
    if unknown:
        raise ValueError(f"features.json does not define {unknown[0]!r}, which the model uses")


def _learner_json(learner: Main | Side) -> dict[str, Any]:
    if isinstance(learner, BaseRate):
        return {"kind": "base_rate", "log_odds": learner.log_odds}
    if isinstance(learner, Blend):
        pairs = zip(_member_names(learner), learner.weights_of, strict=True)
        members = [{"name": name, "weight": weight} for name, weight in pairs]
        return {"kind": "blend", "offset": learner.offset, "members": members}
    return {"kind": "trees", "encoding": learner.encoding.to_json()}


def _calibrator(tree: dict[str, Any]) -> Calibrator:
    """Raises ValueError where it is no map that never falls."""
    fields = {name: value for name, value in tree.items() if name != "kind"}
    storage.require_fields(KINDS[tree["kind"]], fields)
    calibrator = Calibrator.from_json(tree)
    points = calibrator.scores if isinstance(calibrator, Isotonic) else (-40.0, 40.0)
    probability = calibrator.predict(np.array([-100.0, *points, 100.0]))
    if any(np.diff(points) < 0) or any(np.diff(probability) < 0) or np.isnan(probability).any():
        raise ValueError(f"the {calibrator.kind} calibrator falls")
    return calibrator


def _base_rate(tree: dict[str, Any]) -> BaseRate:
    storage.require_fields(BaseRate, {"log_odds": tree["log_odds"]})
    return BaseRate(tree["log_odds"])


def _member_names(blend: Blend) -> list[str]:
    """The line, the smooth line if there is one, then the boosted trees by number."""
    trees = [place for place, one in enumerate(blend.members) if isinstance(one, BoostedTrees)]
    lines = ["line", "smooth"][: len(blend.members) - len(trees)]
    return [*lines, *(f"boosted_{number}" for number in range(1, len(trees) + 1))]


def _member_files(name: str, member: Logistic | BoostedTrees) -> dict[str, bytes]:
    if isinstance(member, BoostedTrees):
        return {f"{name}.txt": member.text.encode()}
    tree = {"encoding": member.encoding.to_json(), **member.to_json()}
    return {f"{name}.json": storage.json_bytes(tree)}


def _main(tree: dict[str, Any], files: dict[str, bytes]) -> Main:
    if tree["kind"] not in ("base_rate", "blend"):
        raise ValueError(f"the main learner is of the kind {tree['kind']!r}")
    if tree["kind"] == "base_rate":
        return _base_rate(tree)
    storage.require_fields(_Blend, {name: tree[name] for name in ("offset", "members")})
    line, encoding = _line("line", Encoding, files)
    members: list[Member] = []
    for name in (row["name"] for row in tree["members"]):
        if name == "line":
            members.append(line)
        elif name == "smooth":
            members.append(_line(name, SmoothEncoding, files)[0])
        elif not name.startswith("boosted_"):
            raise ValueError(f"the blend has a member {name!r}")
        else:
            text = files[f"{name}.txt"].decode()
            members.append(BoostedTrees.from_text(encoding, text))
    weights = tuple(row["weight"] for row in tree["members"])
    return Blend(tuple(members), weights, tree["offset"])


def _line(name: str, kind: type[Any], files: dict[str, bytes]) -> tuple[Logistic, Any]:
    tree = storage.parsed(f"{name}.json", files[f"{name}.json"])
    encoding = kind.from_json(tree["encoding"])
    return Logistic.from_json(tree, encoding), encoding


def _side(tree: dict[str, Any], name: str, files: dict[str, bytes]) -> Side:
    if tree["kind"] == "base_rate":
        return _base_rate(tree)
    return BoostedTrees.from_text(Encoding.from_json(tree["encoding"]), files[name].decode())

"""What each feature speaks of: the words between the catalogue and the reasons."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from lead_propensity.config import CRITERIA
from lead_propensity.features import vocabulary
from lead_propensity.features.behaviour import families
from lead_propensity.features.behaviour.measures import Measure, What
from lead_propensity.features.catalogue import Catalogue, Feature

Group = tuple[str, str]
"""Features of one group are one reason: `("event", type)`, `("attribute", name)`, `("own", topic)`."""

EVENTS: Group = ("own", "events")
SILENCE: Group = ("own", "silence")
AGE: Group = ("own", "age")
FIVE_CRITERIA: Group = ("own", "criteria")
UNTELLABLE = ("decayed", "gap_variation")
"""Numbers that nobody knows from life: a neighbour of the same group is told instead."""
MEASURED: tuple[str, ...] = get_args(What)
FIRST, LAST = "days_since_first", "days_since_last"
COUNTS = ("count", "sessions", "active_days", "types", "channels", "topics", "value_sum")


@dataclass(frozen=True)
class Subject:
    """One feature, ready to be told."""

    feature: Feature
    group: Group
    form: str
    """A measure of events (`count`, `days_since_last` ...), `created`, or how an attribute is read."""
    name: str
    """Of the event type, the topic, the attribute; else the feature's meaning."""
    days: int | None = None
    """The window; None: all time."""
    part: int = 0
    """Of `day_part_share`: the quarter of the day."""
    of: int = 0
    """Of `known`: how many there are."""
    lately: float = 0.0
    """Days, of `days_since_last`: the shortest window."""

    @property
    def is_behaviour(self) -> bool:
        """Whether it tells of events that speak for interest: of those, silence is the lack."""
        if self.form not in MEASURED or self.form == FIRST:
            return False
        return self.feature.interest != "down" or self.form == LAST

    @property
    def is_tellable(self) -> bool:
        return self.form not in UNTELLABLE

    def presence(self, values: np.ndarray) -> np.ndarray:
        """(n,) 1 where `values` tell of something that happened, 0 where of nothing, NaN where of neither."""
        if self.form in COUNTS:
            return np.where(np.nan_to_num(values) > 0, 1.0, 0.0)
        if self.form == "decayed":
            return np.where(np.nan_to_num(values) > FADED, 1.0, 0.0)
        if self.form == LAST:
            # Between lately and never it fits both a reason for and one against.
            lately = np.where(values <= self.lately, 1.0, np.nan)
            return np.where(np.isnan(values), 0.0, lately)
        return np.full(len(values), np.nan)


FADED = 0.05
"""A decayed sum up to it is told as nothing: one event fades so far in four half-lives and a bit."""


def subjects(catalogue: Catalogue) -> dict[str, Subject]:
    """By feature name. A feature that the definition does not explain is told by its meaning."""
    definition = {**vocabulary.NOTHING, **_NOTHING_SAID, **catalogue.definition}
    measures = {feature.name: measure for feature, measure in families.features(definition)}
    said = _said(definition)
    lately = float(min(definition["windows_days"], default=0))
    return {
        feature.name: _measured(feature, measures[feature.name], lately)
        if feature.name in measures
        else said.get(feature.name, _other)(feature)
        for feature in catalogue.features
    }


def longest_window(catalogue: Catalogue) -> float:
    """Days; a last event longer ago than that is silence."""
    return float(max(catalogue.definition.get("windows_days") or [0]))


def criteria_of(catalogue: Catalogue) -> list[str]:
    """Those of the five criteria that the data have; feature `criterion__<name>` tells of each."""
    declared = catalogue.definition.get("criteria") or {}
    return [criterion for criterion in CRITERIA if criterion in declared]


_NOTHING_SAID: dict[str, Any] = {"attributes": [], "criteria": {}}
Maker = Callable[[Feature], Subject]


def _said(definition: dict[str, Any]) -> dict[str, Maker]:
    """How each feature that no event makes is told, by its name."""
    made: dict[str, Maker] = {families.AGE.name: _own(AGE[1], "created")}
    explicit = [row for row in definition["attributes"] if row["side"] == "explicit"]
    made["known_attributes"] = _own("completeness", "known", len(explicit))
    for row in definition["attributes"]:
        column, form = _READ.get(row["kind"], ("{}", row["kind"]))
        made[column.format(row["name"])] = _attribute(row["name"], form)
    asked = [*definition["criteria"].values(), *(f"criterion__{c}" for c in definition["criteria"])]
    for name in [*asked, "criteria_met"] if asked else []:
        made[name] = _own("criteria", "criteria", len(definition["criteria"]))
    return made


_READ = {
    "date": ("days_since__{}", "date"),
    "email": ("{}_domain", "email"),
    "boolean": ("{}", "yes_no"),
}
"""By an attribute's kind: the name of its feature, and how it is told."""


def _own(topic: str, form: str, of: int = 0) -> Maker:
    return lambda feature: Subject(feature, ("own", topic), form, feature.meaning, of=of)


def _attribute(name: str, form: str) -> Maker:
    return lambda feature: Subject(feature, ("attribute", name), form, name)


def _other(feature: Feature) -> Subject:
    form = "category" if feature.column_type == "category" else "other"
    return Subject(feature, ("topic", feature.topic), form, feature.meaning)


def _measured(feature: Feature, measure: Measure, lately: float) -> Subject:
    kind = {"type": "event", "topic": "about"}.get(measure.of.by, "own")
    group = (kind, feature.topic if kind == "own" else measure.of.name)
    windowed = measure.days is not None and measure.what != "decayed"
    days = int(measure.days) if windowed and measure.days is not None else None
    name = measure.of.name if kind != "own" else feature.topic
    if measure.what == FIRST:
        group = AGE
    return Subject(feature, group, measure.what, name, days, measure.part, lately=lately)

"""What each feature is: the one list that training, scoring, reasons and the report share."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

VERSION = 2
"""Of the code that turns a definition into features. Raise it whenever the same definition gives other
values or columns: models trained before are then refused instead of fed with what they never saw."""

Kind = Literal["implicit", "explicit"]
ColumnType = Literal["number", "category"]
Direction = Literal["up", "down", "free", "not_in_interest"]


@dataclass(frozen=True)
class Feature:
    """One column of the matrix."""

    name: str
    kind: Kind
    column_type: ColumnType
    window: str
    """In words: `last 30 days`, `all time`, `as known`."""
    meaning: str
    """In words, for the report and for reasons."""
    topic: str
    """Features of one topic are one reason, e.g. all of `pricing_page_view`, or `industry`."""
    interest: Direction = "not_in_interest"
    """How the interest side model may use it: rising, falling, unconstrained, or not at all."""


@dataclass(frozen=True)
class Catalogue:
    """All features of a model in column order, and the definition they are computed from."""

    features: tuple[Feature, ...]
    definition: dict[str, Any]
    """Plain JSON: what the features are computed from (windows, event types, attribute kinds ...)."""

    @property
    def names(self) -> list[str]:
        return [feature.name for feature in self.features]

    @property
    def fingerprint(self) -> str:
        """A digest of the whole definition; a model refuses features with another one."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def of_kind(self, kind: Kind) -> list[Feature]:
        return [feature for feature in self.features if feature.kind == kind]

    def to_json(self) -> dict[str, Any]:
        return {
            "features": [asdict(feature) for feature in self.features],
            "definition": self.definition,
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        return cls(tuple(Feature(**row) for row in tree["features"]), tree["definition"])

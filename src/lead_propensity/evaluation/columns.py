"""The columns that the audit speaks of: what stands in the data, not the features made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lead_propensity.features.catalogue import Feature
from lead_propensity.features.kept import FEWEST_LEADS, looks_personal
from lead_propensity.features.traces import Traces
from lead_propensity.model.looks import Look

MEASURES = {
    "completeness": "number of known attributes",
    "criteria": "number of criteria met",
    "events": "all events together",
    "value": "values of events",
    "age": "age of the lead",
    "rhythm": "time between events",
}
"""Topics of features that are made of no single column, in words."""
SUMS = tuple(MEASURES[topic] for topic in ("completeness", "criteria", "events"))
"""Made of all columns of a kind: suspected only where no column is."""


@dataclass(frozen=True)
class Column:
    """An attribute, an event type, an exported column, or a measure of several of them."""

    name: str
    source: str
    """`column` (as exported), `lead column`, `attribute` (with times), `event` or `measure`."""
    looks: tuple[Look, ...]
    """Its features in bins; none where no feature is made of it."""

    @property
    def is_sum(self) -> bool:
        """Whether it is made of all columns of a kind."""
        return self.source == "measure" and self.name in SUMS

    @property
    def has_no_times(self) -> bool:
        return self.source in ("column", "lead column")


def columns(seen: Sequence[Look], definition: Mapping[str, Any], traces: Traces) -> list[Column]:
    """By the feature's side and topic; then those that only the raw tables show.

    Names that few closed leads have, or that look like a person's, are left out, as in the vocabulary.
    """
    grouped: dict[tuple[str, str], list[Look]] = {}
    for look in seen:
        grouped.setdefault(_origin(look.feature, definition), []).append(look)
    for name in traces.fills["column"]:
        grouped.setdefault((_attribute_source(name, definition), name), [])
    endings = traces.endings[traces.endings["leads"] >= FEWEST_LEADS]
    for source, name in zip(endings["source"], endings["column"], strict=True):
        if looks_personal(name):
            continue
        of = source if source == "event" else _attribute_source(name, definition)
        grouped.setdefault((of, name), [])
    return [Column(name, source, tuple(found)) for (source, name), found in grouped.items()]


def _origin(feature: Feature, definition: Mapping[str, Any]) -> tuple[str, str]:
    topic, exported = feature.topic, definition.get("shape") == "exported"
    if feature.kind == "implicit" and not exported:
        is_event = topic in definition.get("event_types", ())
        return ("event", topic) if is_event else ("measure", MEASURES.get(topic, topic))
    if feature.name in ("known_attributes", "criteria_met"):
        return "measure", MEASURES.get(topic, topic)
    return _attribute_source(topic, definition), topic


def _attribute_source(name: str, definition: Mapping[str, Any]) -> str:
    if definition.get("shape") == "exported":
        return "column"
    own = definition.get("origins", {}).get(name) == "lead column"
    return "lead column" if own else "attribute"


def rows_of(column: Column, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows of `Traces`."""
    if column.source == "measure":
        return []
    of_column = frame[frame["column"] == column.name]
    if "source" in frame:
        of_column = of_column[(of_column["source"] == "event") == (column.source == "event")]
    return [dict(zip(frame.columns, row, strict=True)) for row in of_column.itertuples(index=False)]

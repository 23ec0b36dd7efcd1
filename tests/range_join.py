"""The plain SQL range join: what the kernel measures, said a second time, to be compared with it.

Each snapshot meets all that its lead had done; CASE takes it apart. Slow, short, and on the half-open
time of `features/windows.py`.
"""

from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from lead_propensity.data.engine import literal
from lead_propensity.features import points
from lead_propensity.features.behaviour import families
from lead_propensity.features.behaviour.kernel import VALUE_UNITS
from lead_propensity.features.behaviour.measures import Measure
from lead_propensity.features.behaviour.shapes import OPERATIONS
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.points import NO_RULES, Scorecard
from lead_propensity.features.windows import DAY_US, ObservationWindow

DAY = f"{DAY_US}::DOUBLE"


def joined(
    con: duckdb.DuckDBPyConnection, catalogue: Catalogue, card: Scorecard = NO_RULES
) -> pd.DataFrame:
    """Every feature and rule that the sweep measures, float64 (snapshots, columns), by `snapshot_id`."""
    found = con.sql(select(catalogue, card)).df().set_index("snapshot_id")
    return found.astype(np.float64)


def select(catalogue: Catalogue, card: Scorecard = NO_RULES) -> str:
    """SQL over `events` and `snapshots`: `snapshot_id`, then the columns."""
    definition = catalogue.definition
    rules = points.compile_rules(card, definition["declared_criteria"], definition["met"])
    measures = {feature.name: measure for feature, measure in families.features(definition)}
    columns = ", ".join(
        f'{_OF[measure.what](measure, definition)} AS "{name}"'
        for name, measure in (measures | rules.done).items()
        if measure.what in OPERATIONS
    )
    excluded = _listed(definition["exclude_events"])
    return f"""
        SELECT s.snapshot_id, {columns}
        FROM snapshots AS s LEFT JOIN events AS e
          ON e.lead_id = s.lead_id AND {ObservationWindow().where("e", "s")}
         AND NOT list_contains({excluded}, e.event_type)
        GROUP BY s.snapshot_id, s.as_of ORDER BY s.snapshot_id"""


def _those(measure: Measure, definition: dict[str, Any], skip_days: int = 0) -> str:
    """SQL condition: an event is one of those measured, and lies in the window."""
    negative = _listed(definition["negative_events"])
    seen = _is_one_of([*definition["event_types"], *definition["other_event_types"]], "event_type")
    positive = f"{seen} AND NOT list_contains({negative}, e.event_type)"
    those = {
        "type": f"e.event_type = {literal(measure.of.name)}",
        "topic": f"{positive} AND e.topic = {literal(measure.of.name)}",
        "positive": positive,
        "activity": f"NOT list_contains({negative}, e.event_type)",
    }[measure.of.by]
    days = None if measure.what == "decayed" or measure.days is None else int(measure.days)
    return f"{those} AND {ObservationWindow(days, skip_days).where('e', 's')}"


def _count(measure: Measure, definition: dict[str, Any], skip_days: int = 0) -> str:
    return f"count(CASE WHEN {_those(measure, definition, skip_days)} THEN 1 END)"


def _silent(measure: Measure, definition: dict[str, Any]) -> str:
    return f"({_count(measure, definition)} = 0)"


def _trend(measure: Measure, definition: dict[str, Any]) -> str:
    assert measure.days is not None
    before = _count(measure, definition, skip_days=int(measure.days))
    return f"{_count(measure, definition)} - {before}"


def _value_sum(measure: Measure, definition: dict[str, Any]) -> str:
    units = f"round_even(e.value * {VALUE_UNITS}::DOUBLE, 0)::HUGEINT"
    summed = f"sum(CASE WHEN {_those(measure, definition)} THEN {units} END)"
    return f"coalesce({summed}, 0) / {VALUE_UNITS}::DOUBLE"


def _value_mean(measure: Measure, definition: dict[str, Any]) -> str:
    sized = f"count(CASE WHEN {_those(measure, definition)} THEN e.value END)"
    return f"{_value_sum(measure, definition)} / nullif({sized}, 0)"


def _since(pick: str) -> Callable[[Measure, dict[str, Any]], str]:
    def sql(measure: Measure, definition: dict[str, Any]) -> str:
        return f"(s.as_of - {pick}(CASE WHEN {_those(measure, definition)} THEN e.occurred_at END)) / {DAY}"

    return sql


def _decayed(measure: Measure, definition: dict[str, Any]) -> str:
    worth = f"pow(2.0::DOUBLE, (e.occurred_at - s.as_of) / ({measure.days!r}::DOUBLE * {DAY}))"
    return f"coalesce(sum(CASE WHEN {_those(measure, definition)} THEN {worth} END), 0)"


def _different(what: Callable[[dict[str, Any]], str]) -> Callable[[Measure, dict[str, Any]], str]:
    def sql(measure: Measure, definition: dict[str, Any]) -> str:
        return (
            f"count(DISTINCT CASE WHEN {_those(measure, definition)} THEN {what(definition)} END)"
        )

    return sql


def _local_day(definition: dict[str, Any]) -> str:
    zone = literal(definition["reporting_zone"])
    return f"CAST(timezone({zone}, make_timestamptz(e.occurred_at)) AS DATE)"


def _kind(definition: dict[str, Any]) -> str:
    """Types too rare for features of their own are one kind together, without a name."""
    others = _is_one_of(definition["other_event_types"], "event_type")
    return f"CASE WHEN {others} THEN '' ELSE e.event_type END"


def _named(column: str) -> Callable[[dict[str, Any]], str]:
    return lambda definition: (
        f"CASE WHEN {_is_one_of(definition[f'{column}s'], column)} THEN e.{column} END"
    )


def _is_one_of(names: list[str], column: str) -> str:
    """SQL condition: the text of an event, or the first signs of its digest, is listed."""
    hashed = f"'sha256:' || left(sha256('{column}:' || e.{column}), 16)"
    return f"(list_contains({_listed(names)}, e.{column}) OR list_contains({_listed(names)}, {hashed}))"


def _listed(texts: list[str]) -> str:
    return "[" + ", ".join(map(literal, texts)) + "]::VARCHAR[]"


_OF: dict[str, Callable[[Measure, dict[str, Any]], str]] = {
    "count": _count,
    "silent": _silent,
    "trend": _trend,
    "value_sum": _value_sum,
    "value_mean": _value_mean,
    "days_since_last": _since("max"),
    "days_since_first": _since("min"),
    "decayed": _decayed,
    "active_days": _different(_local_day),
    "types": _different(_kind),
    "channels": _different(_named("channel")),
    "topics": _different(_named("topic")),
}

"""The matrix: up to here tables and SQL, from here on arrays."""

from dataclasses import dataclass
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import CRITERIA, Config
from lead_propensity.errors import ConfigError, DataError, ModelError
from lead_propensity.features import behaviour, names, points, profile, versions, vocabulary
from lead_propensity.features.behaviour import ALL_TIME, Aggregate
from lead_propensity.features.catalogue import VERSION, Catalogue, Feature
from lead_propensity.features.points import Scorecard
from lead_propensity.progress import Progress, silent


@dataclass(frozen=True)
class Dataset:
    """Snapshots with their features and labels; the three frames share one row order.

    `keys` has one row a snapshot, in the order of (`order`, `lead_id`, `population`):

    - `lead_id`, `group_id` (the lead itself where none was given): text
    - `as_of`: int64 microseconds UTC; -1 where rows carry no time (as exported)
    - `order`: int64 place on the time line: `as_of`, or the row's rank (as exported)
    - `label_known_at`: int64, in the units of `order`: when the label was known
    - `population`: `training` or `stock`; `part`: `fit`, `calibrate`, `test`, `purged`,
      `immature`, `burn_in` (the stock of the date before calibrate), `scoring` or `cohort`
    - `age_days`: float, NaN as exported
    - `won`: 1.0, 0.0, or NaN where there is no label
    - `amount`: float, of the won deal, else NaN

    `X` has the catalogue's columns: float64 numbers (NaN = missing) and text categories (None = missing).
    `rules` has float64 columns `rules__*`, one for each line of the points scorecard.
    """

    keys: pd.DataFrame
    X: pd.DataFrame
    rules: pd.DataFrame
    catalogue: Catalogue

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def won(self) -> np.ndarray:
        return self.keys["won"].to_numpy(np.float64)

    def rows(self, mask: np.ndarray) -> Self:
        """The snapshots where `mask` (n booleans) holds."""
        return type(self)(
            self.keys[mask].reset_index(drop=True),
            self.X[mask].reset_index(drop=True),
            self.rules[mask].reset_index(drop=True),
            self.catalogue,
        )

    def part(self, *parts: str, population: str = "training") -> Self:
        """The snapshots of these parts in one population."""
        of_part = self.keys["part"].isin(parts).to_numpy()
        return self.rows(of_part & (self.keys["population"] == population).to_numpy())


@dataclass(frozen=True)
class Learned:
    """What the fit part taught about the data's vocabulary, and what was left out of it."""

    catalogue: Catalogue
    notes: tuple[str, ...]


def learn(con: duckdb.DuckDBPyConnection, config: Config, fit_until: int) -> Learned:
    """The catalogue of this dataset, from the config and from rows known before `fit_until`.

    Raises ConfigError for names that are nowhere in the data, whenever known.
    """
    origins, features = versions.origins(con), config.features
    names.require_config(config, vocabulary.event_types(con), origins)
    exported = config.data.exported is not None
    events = vocabulary.NOTHING if exported else vocabulary.learn(con, features, fit_until)
    said = profile.learn(con, config, origins, fit_until)
    used = [attribute.name for attribute in said.attributes]
    declared: dict[str, str] = {c: features.criteria.get(c, c) for c in CRITERIA}
    definition: dict[str, Any] = {
        "version": VERSION,
        "shape": "exported" if exported else "history",
        **events,
        "attributes": [vars(attribute) for attribute in said.attributes],
        "origins": origins,
        "criteria": {c: name for c, name in declared.items() if name in used},
        "declared_criteria": declared,
        "met": list(features.met),
        "timezone": config.data.timezone,
    }
    rows = [] if exported else [behaviour.AGE]
    rows += [feature for feature, _ in behaviour.features(definition)]
    rows += [feature for feature, _ in profile.features(definition)]
    _refuse_name_clashes([feature.name for feature in rows])
    return Learned(Catalogue(tuple(rows), definition), said.notes)


def build(
    con: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    card: Scorecard,
    progress: Progress = silent,
) -> Dataset:
    """The features of every row of the table `snapshots`, in its order.

    Works in buckets of leads, so that the memory needed does not grow with their number.
    Raises DataError for data of another shape and for a column of the leads that is gone, ModelError for
    a catalogue of another program, ConfigError for rules on hidden events.
    """
    definition = catalogue.definition
    _require_same_ground(con, definition)
    _refuse_hidden(definition, card)
    vocabulary.number_events(con, definition, points.event_types(card))
    rules = points.compile_rules(card, definition["declared_criteria"], definition["met"])
    attributes = [row["name"] for row in definition["attributes"]]
    known = versions.known(con, [*attributes, *rules.attributes], definition["origins"])
    queries = _Queries.of(catalogue, rules)
    found = con.execute("SELECT DISTINCT bucket FROM snapshots ORDER BY 1").fetchall()
    buckets = [row[0] for row in found] or [0]  # without a snapshot: a matrix without rows
    tables = []
    for done, bucket in enumerate(buckets):
        progress("features", done, len(buckets))
        tables.append(con.sql(queries.select(known), params={"bucket": bucket}).to_arrow_table())
    progress("features", len(buckets), len(buckets))
    return _dataset(pa.concat_tables(tables), catalogue, queries)


def to_frame(data: Dataset) -> pd.DataFrame:
    """The matrix for other tools: `lead_id, as_of, order, won, part`, then one column a feature.

    `as_of` is a UTC time, missing where rows carry none; beside it `order` tells their place.
    """
    keys = data.keys
    as_of = pd.to_datetime(keys["as_of"].where(keys["as_of"] >= 0), unit="us").dt.tz_localize("UTC")
    front = keys[["lead_id"]].assign(
        as_of=as_of, order=keys["order"], won=keys["won"], part=keys["part"]
    )
    return pd.concat([front, data.X], axis=1)


@dataclass(frozen=True)
class _Queries:
    """The SQL of every column by its name; in the database a column is called by its place."""

    done: dict[str, Aggregate]
    said: dict[str, str]
    rules: tuple[str, ...]

    @property
    def places(self) -> dict[str, str]:
        """Name of a feature or rule: its column in the database."""
        done = {name: f"done_{place}" for place, name in enumerate(self.done)}
        return done | {name: f"said_{place}" for place, name in enumerate(self.said)}

    @classmethod
    def of(cls, catalogue: Catalogue, rules: points.CompiledRules) -> Self:
        done = {
            feature.name: sql for feature, sql in behaviour.features(catalogue.definition)
        } | rules.done
        said = {behaviour.AGE.name: "s.age_days"} if behaviour.AGE in catalogue.features else {}
        said |= {
            feature.name: sql for feature, sql in profile.features(catalogue.definition)
        } | rules.said
        return cls(done, said, tuple(sorted([*rules.done, *rules.said])))

    def select(self, known: str) -> str:
        """One SELECT: a row for each snapshot of a bucket, with every column."""
        done = list(self.done.values())
        aggregates = "".join(f", {a.sql} AS done_{place}" for place, a in enumerate(done))
        did = "".join(
            f", coalesce(d.done_{place}, {a.empty})::DOUBLE AS done_{place}"
            for place, a in enumerate(done)
        )
        said = "".join(f", {sql} AS said_{place}" for place, sql in enumerate(self.said.values()))
        return f"""
            WITH seen AS (
                SELECT s.snapshot_id, s.as_of, e.occurred_at, e.known_at,
                       e.type_id, e.rule_id, e.channel_id, e.is_positive, e.is_activity, e.value
                FROM snapshots AS s JOIN numbered_events AS e ON e.lead_id = s.lead_id AND {ALL_TIME.where("e", "s")}
                WHERE s.bucket = $bucket
            ), did AS (
                SELECT e.snapshot_id{aggregates} FROM seen AS e GROUP BY e.snapshot_id
            ), known AS ({known})
            SELECT s.*{did}{said}
            FROM snapshots AS s JOIN known AS k USING (snapshot_id) LEFT JOIN did AS d USING (snapshot_id)
            WHERE s.bucket = $bucket"""


def _dataset(table: pa.Table, catalogue: Catalogue, queries: _Queries) -> Dataset:
    frame = table.sort_by(
        [("place", "ascending"), ("lead_id", "ascending"), ("population", "ascending")]
    )
    keys = pd.DataFrame(
        {
            "lead_id": frame["lead_id"].to_pandas().astype(object),
            "group_id": frame["group_id"].to_pandas().astype(object),
            "as_of": frame["as_of"].to_numpy(),
            "order": frame["place"].to_numpy(),
            "label_known_at": frame["label_known_at"].to_numpy(),
            "population": frame["population"].to_pandas().astype(object),
            "part": frame["part"].to_pandas().astype(object),
            "age_days": _floats(frame["age_days"]),
            "won": _floats(frame["won"]),
            "amount": _floats(frame["amount"]),
        }
    )
    places = queries.places
    X = {one.name: _column(frame[places[one.name]], one) for one in catalogue.features}
    scored = {name: _floats(frame[places[name]]) for name in queries.rules}
    return Dataset(
        keys, pd.DataFrame(X, index=keys.index), pd.DataFrame(scored, index=keys.index), catalogue
    )


def _column(column: pa.ChunkedArray, feature: Feature) -> np.ndarray | pd.Series:
    if feature.column_type == "number":
        return _floats(column)
    return pd.Series(column.to_pylist(), dtype=object)  # else pandas would turn None into NaN


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


_SHAPES = {"exported": "rows as exported", "history": "an event history"}


def _require_same_ground(con: duckdb.DuckDBPyConnection, definition: dict[str, Any]) -> None:
    if definition["version"] != VERSION:
        raise ModelError(
            f"the model's features are of version {definition['version']}, this program makes version "
            f"{VERSION}. Train it again, or score with the program that trained it."
        )
    exported = con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'exported'").fetchall()
    shape = "exported" if exported else "history"
    if shape != definition["shape"]:
        raise DataError(
            f"the model learned from {_SHAPES[definition['shape']]}, the config declares {_SHAPES[shape]}. "
            "Give it tables of the shape it was trained on, or train another model."
        )


def _refuse_hidden(definition: dict[str, Any], card: Scorecard) -> None:
    hidden = sorted(set(definition["exclude_events"]) & set(points.event_types(card)))
    if hidden:
        raise ConfigError(
            f"the rules count the events {', '.join(hidden)}, which features.exclude_events hides. "
            "Take them out of one of the two."
        )


def _refuse_name_clashes(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"an attribute has the name of another feature: {', '.join(twice)}. "
            "Rename it in data.leads.columns or by a `sql:` source."
        )

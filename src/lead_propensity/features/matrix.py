"""The matrix: up to here tables and SQL, from here on arrays."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from lead_propensity.config import CRITERIA, Config
from lead_propensity.data.workroom import IN_MEMORY, Allowance
from lead_propensity.errors import ConfigError, DataError, ModelError
from lead_propensity.features import kept, names, plugins, points, profile, versions, vocabulary
from lead_propensity.features.behaviour import families
from lead_propensity.features.catalogue import VERSION, Catalogue
from lead_propensity.features.layout import frame
from lead_propensity.features.points import Scorecard
from lead_propensity.features.work import Filled, Work
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
    - `segment__*`, `sensitive__*`: text or None, for the report alone; where training attached them

    `X` has the catalogue's columns: float64 numbers (NaN = missing) and text categories (None = missing).
    `rules` has float64 columns `rules__*`, one for each line of the points scorecard.
    `weight` is how many leads each one stands for: more than 1 where the training leads are a sample.
    """

    keys: pd.DataFrame
    X: pd.DataFrame
    rules: pd.DataFrame
    catalogue: Catalogue
    weight: float = 1.0

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
            self.weight,
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


def learn(
    con: duckdb.DuckDBPyConnection, config: Config, fit_until: int, asked: Collection[str] = ()
) -> Learned:
    """The catalogue of this dataset, from the config and from rows known before `fit_until`.

    `asked` are the attributes that rules look at. Raises ConfigError for names that are nowhere in the data,
    whenever known.
    """
    everything, features = versions.origins(con), config.features
    names.require_config(config, vocabulary.event_types(con), everything)
    origins = profile.nameable(con, config, everything, fit_until, asked)
    exported = config.data.exported is not None
    events = vocabulary.NOTHING if exported else vocabulary.learn(con, config, fit_until)
    said = profile.learn(con, config, origins, fit_until)
    used = [attribute.name for attribute in said.attributes]
    declared: dict[str, str] = {c: features.criteria.get(c, c) for c in CRITERIA}
    definition: dict[str, Any] = {
        "version": VERSION,
        "shape": "exported" if exported else "history",
        **events,
        "custom": plugins.learn(config),
        "attributes": [vars(attribute) for attribute in said.attributes],
        "origins": origins,
        "criteria": {c: name for c, name in declared.items() if name in used},
        "declared_criteria": declared,
        "met": list(features.met),
        "timezone": config.data.timezone,
    }
    rows = [] if exported else [families.AGE]
    rows += [feature for feature, _ in families.features(definition)]
    rows += plugins.features(definition)
    rows += [feature for feature, _ in profile.features(definition)]
    _refuse_name_clashes([feature.name for feature in rows])
    return Learned(
        Catalogue(tuple(rows), definition), (*said.notes, *_unnamed(everything, origins))
    )


def _unnamed(everything: Collection[str], origins: Collection[str]) -> list[str]:
    n = len(everything) - len(origins)
    few = f"{n} attributes of fewer than {kept.FEWEST_LEADS} leads, or called as people are: left out, unnamed"
    return [few] if n else []


def build(
    con: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    card: Scorecard,
    progress: Progress = silent,
    allowance: Allowance = IN_MEMORY,
) -> Dataset:
    """The features of every row of the table `snapshots`, in its order, as one matrix in memory.

    Raises DataError for data of another shape, for a column of the leads that is gone and where the
    matrix is larger than the allowance, ModelError for a catalogue of another program, ConfigError for
    rules on hidden events.
    """
    work = _begun(con, catalogue, card, allowance, whole=True)
    parts = work.filled(progress)
    if work.layout.n_buckets == 1:
        (only,) = parts
        return _dataset(work, *only)
    whole = Filled.empty(work.columns, len(work.layout))
    for rows, filled in parts:
        whole.put(rows, filled)
    return _dataset(work, np.arange(len(work.layout)), whole)


def pieces(
    con: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    card: Scorecard,
    progress: Progress = silent,
    allowance: Allowance = IN_MEMORY,
) -> Iterator[Dataset]:
    """The same in pieces that fit the allowance: all snapshots of some leads each, never one twice.

    A piece that was finished by a run that died is not computed again.
    """
    work = _begun(con, catalogue, card, allowance, whole=False)
    for rows, filled in work.filled(progress):
        yield _dataset(work, rows, filled)


def _begun(
    con: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    card: Scorecard,
    allowance: Allowance,
    whole: bool,
) -> Work:
    definition = catalogue.definition
    _require_same_ground(con, definition)
    _refuse_hidden(definition, card)
    rules = points.compile_rules(card, definition["declared_criteria"], definition["met"])
    return Work.begun(con, catalogue, rules, allowance, whole)


def _dataset(work: Work, rows: np.ndarray, filled: Filled) -> Dataset:
    """Its frames look into the arrays of `filled`, without a copy."""
    catalogue, names = work.catalogue, work.columns.numbers
    n_features = len(catalogue.features) - len(filled.categories)
    X = pd.DataFrame(filled.numbers[:, :n_features], columns=names[:n_features], copy=False)
    for place, feature in enumerate(catalogue.features):
        if feature.column_type == "category":
            X.insert(place, feature.name, pd.Series(filled.categories[feature.name], dtype=object))
    rules = pd.DataFrame(filled.numbers[:, n_features:], columns=names[n_features:], copy=False)
    return Dataset(frame(work.layout, rows), X, rules, catalogue)


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


_SHAPES = {"exported": "rows as exported", "history": "an event history"}


def _require_same_ground(con: duckdb.DuckDBPyConnection, definition: dict[str, Any]) -> None:
    if definition["version"] != VERSION:
        raise ModelError(
            f"the model's features are of version {definition['version']}, this program makes version "
            f"{VERSION}. Train it again, or score with the program that trained it."
        )
    exported = con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'exported'").fetchall()
    require_shape(definition, as_exported=bool(exported))


def require_shape(definition: dict[str, Any], as_exported: bool) -> None:
    """Raises DataError where a model of rows as exported meets a history, or one of a history such rows."""
    shape = "exported" if as_exported else "history"
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

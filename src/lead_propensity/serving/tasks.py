"""What can be asked of a chunk of leads: each task says its rows' schema, and works on checked tables."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol, Self

import duckdb
import pandas as pd
import pyarrow as pa

from lead_propensity.config import Config
from lead_propensity.data.engine import count_rows
from lead_propensity.features import dataset, matrix, snapshots, standing
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.dataset import Plan
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.wording import Wording
from lead_propensity.progress import silent
from lead_propensity.serving import history, limits, night, scoring

Counts = dict[str, int]
_NOTHING = pa.schema([("nothing", pa.int32())])


class Task(Protocol):
    """Something that is done with every chunk."""

    @property
    def schema(self) -> pa.Schema: ...

    def work(self, con: duckdb.DuckDBPyConnection, config: Config) -> tuple[pa.Table, Counts]:
        """Rows by `schema`, and counts that add up over the chunks; the tables in `con` are checked."""
        ...


@dataclass(frozen=True)
class Model:
    """A model on its way to other machines: the files of its folder, which are plain text."""

    model_id: str
    files: dict[str, bytes]

    @classmethod
    def of(cls, model: PropensityModel) -> Self:
        return cls(model.model_id, model.to_files())

    def loaded(self) -> PropensityModel:
        """Read once in a process."""
        if self.model_id not in _LOADED:
            _LOADED.clear()
            _LOADED[self.model_id] = PropensityModel.from_files(self.files)
        return _LOADED[self.model_id]


_LOADED: dict[str, PropensityModel] = {}


@dataclass(frozen=True)
class Look:
    """Nothing but the check."""

    schema: pa.Schema = _NOTHING

    def work(self, con: duckdb.DuckDBPyConnection, config: Config) -> tuple[pa.Table, Counts]:
        return _NOTHING.empty_table(), {}


@dataclass(frozen=True)
class CountCohorts:
    """How many snapshots might tell the level."""

    model: Model
    moment: int
    schema: pa.Schema = _NOTHING

    def work(self, con: duckdb.DuckDBPyConnection, config: Config) -> tuple[pa.Table, Counts]:
        if count_rows(con, "leads"):
            night.make_cohorts(con, config, self.model.loaded(), self.moment, thin=False)
            return _NOTHING.empty_table(), {"cohorts": count_rows(con, "snapshots")}
        return _NOTHING.empty_table(), {}


@dataclass(frozen=True)
class Tell:
    """The snapshots that tell the level, as `scoring.told` gives them: all those of the leads given."""

    model: Model
    moment: int

    @property
    def schema(self) -> pa.Schema:
        texts = [("lead_id", pa.string()), ("group_id", pa.string())]
        numbers = [("won", pa.float64()), ("probability", pa.float64())]
        return pa.schema([("order", pa.int64()), *texts, *numbers])

    def work(self, con: duckdb.DuckDBPyConnection, config: Config) -> tuple[pa.Table, Counts]:
        if not count_rows(con, "leads"):
            return self.schema.empty_table(), {}
        model = self.model.loaded()
        told = scoring.told(model, night.past(con, config, model, self.moment, thin=False))
        return pa.Table.from_pandas(told, schema=self.schema, preserve_index=False), {}


@dataclass(frozen=True)
class Score:
    """The scores of the leads open at `moment`, at the level that all leads told."""

    model: Model
    moment: int
    shift: float
    until: int
    data_until: int
    scored_at: pd.Timestamp
    wording: dict[str, Any] | None = None
    """That of `score.reasons`, as plain JSON: its file need not be on the workers."""

    @property
    def schema(self) -> pa.Schema:
        return scoring.SCORES

    def work(self, con: duckdb.DuckDBPyConnection, config: Config) -> tuple[pa.Table, Counts]:
        if not count_rows(con, "leads"):
            return self.schema.empty_table(), {}
        standing.make(con, config.snapshots, self.moment)
        unscored, model = standing.counts(con), self.model.loaded()
        pieces = night.open_leads(con, config, model, self.moment)
        standing.make_last_events(con, model.catalogue.definition["exclude_events"], self.moment)
        history.remember(con)  # the folder that is written is a new one
        words = None if self.wording is None else Wording.model_validate(self.wording)
        shared = night.Shared(
            self.shift,
            self.until,
            self.data_until,
            config.bands.routes,
            self.scored_at,
            words,
            config.score.explain,
        )
        tally, tables = limits.tally_events(con, config, model, self.moment), []
        for piece in pieces:
            tally.update(limits.tally(model, piece.X))
            tables.append(night.scores(con, model, piece, shared))
        table = pa.concat_tables(tables)
        told = Counter(table["band"].to_pylist()) + Counter(table["band_change"].to_pylist())
        return table, {**told, **unscored, **tally}


@dataclass(frozen=True)
class Make:
    """The matrix of the training population, or of the leads open at `as_of` (int64 microseconds)."""

    plan: Plan
    exported_at: int
    as_of: int | None

    @property
    def schema(self) -> pa.Schema:
        return matrix_schema(self.plan.catalogue)

    def work(self, con: duckdb.DuckDBPyConnection, config: Config) -> tuple[pa.Table, Counts]:
        if not count_rows(con, "leads"):
            return self.schema.empty_table(), {}
        made = self.plan
        if self.as_of is None:
            snapshots.make_training(con, config, self.exported_at, made.line)
            con.execute("DELETE FROM snapshots WHERE population <> 'training'")
            data = dataset.training(con, made, silent)
        else:
            data = dataset.open_leads(con, config, made.catalogue, made.card, self.as_of, silent)
        frame = matrix.to_frame(data)
        return pa.Table.from_pandas(frame, schema=self.schema, preserve_index=False), {}


def matrix_schema(catalogue: Catalogue) -> pa.Schema:
    """Of `matrix.to_frame`."""
    kinds = {"number": pa.float64(), "category": pa.string()}
    front = [
        ("lead_id", pa.string()),
        ("as_of", pa.timestamp("us", tz="UTC")),
        ("order", pa.int64()),
        ("won", pa.float64()),
        ("part", pa.string()),
    ]
    return pa.schema([*front, *((one.name, kinds[one.column_type]) for one in catalogue.features)])

"""Scores read back from where `score` wrote them, under our names; of very many a sample of whole leads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.config.credentials import POSTGRES, POSTGRES_SINK
from lead_propensity.data import sources
from lead_propensity.data.engine import connect, identifier, literal
from lead_propensity.data.postgres import connected, execute, telling
from lead_propensity.errors import DataError
from lead_propensity.features.sampling import is_kept, one_in
from lead_propensity.files import DEFUSED
from lead_propensity.model.bands import BANDS
from lead_propensity.serving import sinks
from lead_propensity.serving.naming import Naming
from lead_propensity.serving.postgres import TableName
from lead_propensity.serving.score_table import looked_up
from lead_propensity.serving.scoring import SCORES

MOST_ROWS = 400_000
"""Of all moments together are judged; each figure's interval is then as narrow as it need be."""
TEXTS = ("lead_id", "band", "rules_band", "model_id")
NUMBERS = ("probability", "raw_score", "rules_points", "horizon_days")
MOST_DAYS = 3650
"""Of a horizon, as the config has it."""


@dataclass(frozen=True)
class PastScores:
    """`frame` has TEXTS, NUMBERS and `as_of` in int64 microseconds; one row a lead and moment."""

    frame: pd.DataFrame
    counts: dict[int, int]
    """How many leads were scored at each moment, the earliest first."""
    one_in: int
    """Of so many leads one is in the frame."""


def past_scores(out: str, config: Config, until: int, most: int = MOST_ROWS) -> PastScores:
    """All scores at `out` of moments up to `until` (int64 microseconds).

    Raises ConfigError where `out` names no place for scores, DataError where there are none, they cannot be read,
    a column is missing, or what stands in it is not what `score` writes.
    """
    place, names = sinks.place_of(out), Naming(SCORES, config.score.columns).columns
    if isinstance(place, TableName):
        past = _of_table(place, names, until, most)
    else:
        past = _of_place(out, place, config, names, until, most)
    _require_scores(out, past.frame, names)
    return past


def _of_place(
    out: str, place: Path, config: Config, names: dict[str, str], until: int, most: int
) -> PastScores:
    files = _files(place)
    if not files:
        raise DataError(f"--scores {out}: there are no scores. Give the --out of `score`.")
    with connect(config.engine) as con, sources.reading(f"--scores {out}"):
        return _of_files(con, out, files, names, until, most)


def _files(place: Path) -> list[Path]:
    """The file, the parts of a folder, or what Spark wrote: a folder called like a file, or several below one."""
    if place.is_file():
        return [place]
    if place.suffix in sinks.ENDINGS:
        return sorted(place.glob("*.parquet"))
    return sorted([*place.glob("*/part.parquet"), *place.glob("*.parquet/*.parquet")])


def _of_files(
    con: duckdb.DuckDBPyConnection,
    out: str,
    files: list[Path],
    names: dict[str, str],
    until: int,
    most: int,
) -> PastScores:
    source = sources.reader(files, null_values=("",))
    there = [row[0] for row in con.execute(f"DESCRIBE FROM {source}").fetchall()]
    _require(out, names, there)
    texts = {one: f"CAST({identifier(names[one])} AS VARCHAR)" for one in TEXTS}
    if sources.kind_of(files[0]) == "csv":
        texts = {
            one: f"regexp_replace({sql}, {literal(DEFUSED)}, '\\1')" for one, sql in texts.items()
        }
    as_of = f"epoch_us(CAST({identifier(names['as_of'])} AS TIMESTAMP))"
    numbers = {one: f"CAST({identifier(names[one])} AS DOUBLE)" for one in NUMBERS}
    view = _named({**texts, **numbers, "as_of": as_of})
    con.execute(f"CREATE VIEW s AS SELECT {view} FROM {source}")
    counted = con.execute(_counting(until)).fetchall()
    every = _sampled(out, counted, most)
    rows = con.execute(f"FROM s WHERE as_of <= {until} AND {_kept(every)}").df()
    return _read(rows, counted, every)


def _of_table(name: TableName, names: dict[str, str], until: int, most: int) -> PastScores:
    purpose = f"--scores {name}"
    with (
        connected(POSTGRES_SINK, POSTGRES, purpose=purpose, autocommit=True) as con,
        telling(purpose, "Nothing was changed."),
    ):
        found = looked_up(con, name.schema, name.table)
        if not found.exists:
            raise DataError(f"{purpose}: there is no such table. Give the --out of `score`.")
        _require(str(name), names, list(found.columns))
        texts = {one: f"{identifier(names[one])}::text" for one in TEXTS}
        numbers = {one: f"{identifier(names[one])}::float8" for one in NUMBERS}
        as_of = f"(extract(epoch FROM {identifier(names['as_of'])}) * 1000000)::bigint"
        selected = _named({**texts, **numbers, "as_of": as_of})
        view = f"WITH s AS (SELECT {selected} FROM {found.sql})"
        counted = execute(con, f"{view} {_counting(until)}")
        every = _sampled(str(name), counted, most)
        kept = f"(lead_id IS NULL OR mod(abs(hashtextextended(lead_id, 0) / 2), {every}) = 0)"
        rows = _frame(con, f"{view} SELECT * FROM s WHERE as_of <= {until} AND {kept}")
    return _read(rows, counted, every)


def _frame(con: Any, query: str) -> pd.DataFrame:
    with con.cursor() as cursor:
        cursor.execute(query)
        frame: pd.DataFrame = cursor.fetch_arrow_table().to_pandas()
        return frame


def _counting(until: int) -> str:
    return f"SELECT as_of, count(*) FROM s WHERE as_of <= {until} OR as_of IS NULL GROUP BY as_of ORDER BY as_of"


def _kept(every: int) -> str:
    return f"(lead_id IS NULL OR {is_kept('lead_id', every)})"


def _sampled(out: str, counted: list[Any], most: int) -> int:
    """One in so many leads is read. Raises DataError for rows without a moment."""
    timeless = sum(int(count) for at, count in counted if at is None)
    if timeless:
        raise DataError(
            f"--scores {out} holds {timeless:,} rows without a moment of scoring, as rows as exported have them. "
            "Nobody can say when their outcome is final: name scores of a history."
        )
    return one_in(sum(int(count) for _, count in counted), most)


def _named(columns: dict[str, str]) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items())


def _require(out: str, names: dict[str, str], there: list[str]) -> None:
    missing = [names[one] for one in (*TEXTS, *NUMBERS, "as_of") if names[one] not in there]
    if missing:
        raise DataError(
            f"--scores {out} lacks the columns {', '.join(missing)}. Give the --out of `score`, and the config with "
            "the score.columns that it was written with."
        )


def _require_scores(out: str, rows: pd.DataFrame, names: dict[str, str]) -> None:
    """Raises DataError with every column that holds what no score can be."""
    wrong = {
        "lead_id": rows["lead_id"].isna(),
        "band": ~rows["band"].isin(BANDS),
        "model_id": rows["model_id"].isna(),
        "probability": ~rows["probability"].between(0, 1),
        "raw_score": ~np.isfinite(rows["raw_score"]),
        "horizon_days": ~(
            rows["horizon_days"].between(1, MOST_DAYS) & (rows["horizon_days"] % 1 == 0)
        ),
        "rules_points": np.isinf(rows["rules_points"]),
    }
    told = [
        f"{names[one]}: {int(rows_.sum()):,} rows" for one, rows_ in wrong.items() if rows_.any()
    ]
    twice = int(rows.duplicated(["lead_id", "as_of"]).sum())
    if twice:
        told.append(f"{names['lead_id']} and {names['as_of']}: {twice:,} rows repeat another one's")
    if told:
        raise DataError(
            f"--scores {out} holds what `score` never writes ({'; '.join(told)}). Were they changed by another "
            "program? Score these moments again, or name another target."
        )


def _read(rows: pd.DataFrame, counted: list[Any], every: int) -> PastScores:
    rows = rows.sort_values(["as_of", "lead_id"], ignore_index=True)
    return PastScores(rows, {int(at): int(count) for at, count in counted}, every)

"""The jobs that `features.py` measures; each is called in a fresh process."""

import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_world import DAY_US, Size, World, load, made
from lead_propensity.config import Config, EngineConfig
from lead_propensity.data.database import opened
from lead_propensity.data.engine import connect
from lead_propensity.features import matrix
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import NO_RULES
from lead_propensity.features.timeline import SHAPE
from measuring import Measured, measured
from sql_forms import FORMS, Words

CONFIG = Config.model_validate(
    {"name": "bench", "data": {"timezone": "UTC", "leads": {"path": "x"}, "deals": {"path": "x"}}}
)
RTOL, ATOL = 1e-9, 1e-9


def make(folder: Path, size: Size) -> Measured:
    made(folder, size)
    return Measured()


def plain(world: World) -> Measured:
    """The yardstick: what it takes to read the events and to group them."""
    with connect(EngineConfig()) as con:
        _group(con, world)
        with measured() as taken:
            _group(con, world)
    return taken


def whole(world: World, dates: int, out: Path | None = None) -> Measured:
    """Our features of all leads at so many dates as one matrix; once before, as the yardstick."""
    with opened(EngineConfig()) as (con, allowance):
        catalogue = _prepared(con, world, dates)
        matrix.build(con, catalogue, NO_RULES, allowance=allowance)
        with measured() as taken:
            data = matrix.build(con, catalogue, NO_RULES, allowance=allowance)
    taken.facts |= {"snapshots": len(data), "features": data.X.shape[1]}
    if out is not None:
        _keep(data, out)
    return taken


def in_pieces(world: World, dates: int) -> Measured:
    """The same, piece after piece, none kept; once before."""
    with opened(EngineConfig()) as (con, allowance):
        catalogue = _prepared(con, world, dates)
        for _ in range(2):
            with measured() as taken:
                found = matrix.pieces(con, catalogue, NO_RULES, allowance=allowance)
                rows = [len(piece) for piece in found]
    taken.facts |= {"snapshots": sum(rows), "pieces": len(rows)}
    return taken


def within(world: World, dates: int, memory_limit: str) -> Measured:
    """The same within a limit, every piece written to Parquet; once before, from nothing as well.

    The CPU of writing is a fact beside: the yardstick writes nothing either.
    """
    for _ in range(2):
        taken = _within(world, dates, memory_limit)
    return taken


def _within(world: World, dates: int, memory_limit: str) -> Measured:
    with (
        tempfile.TemporaryDirectory(prefix="lead-propensity-bench-") as folder,
        opened(EngineConfig(memory_limit=memory_limit)) as (con, allowance),
    ):
        catalogue = _prepared(con, world, dates)
        rows, number, writing = 0, 0, 0.0
        with measured() as taken:
            found = matrix.pieces(con, catalogue, NO_RULES, allowance=allowance)
            for number, piece in enumerate(found, 1):
                rows += len(piece)
                with measured() as written:
                    _keep(piece, Path(folder) / f"{number}.parquet")
                writing += written.cpu
    taken.cpu -= writing
    taken.facts |= {"snapshots": rows, "pieces": number, "writing": writing}
    return taken


def by_sql(world: World, dates: int, form: str, out: Path) -> Measured:
    """One of the SQL forms over the same tables."""
    with connect(EngineConfig()) as con:
        catalogue = _prepared(con, world, dates)
        query = FORMS[form](Words.of(catalogue.definition))
        with measured() as taken:
            table = con.sql(query).to_arrow_table()
        con.register("found", table)
        keyed = "SELECT s.lead_id, s.as_of, f.* EXCLUDE (snapshot_id) FROM snapshots AS s"
        con.execute(f"COPY ({keyed} JOIN found AS f USING (snapshot_id)) TO '{out}'")
    taken.facts |= {"snapshots": table.num_rows, "features": table.num_columns - 1}
    return taken


def differing(ours: Path, theirs: Path) -> Measured:
    """In which columns, and in how many rows, two files of features differ; ours may have more columns.

    Counts must be equal, other numbers to 1e-9. A snapshot missing in theirs had no event before it.
    """
    keys = ["lead_id", "as_of"]
    found = pd.read_parquet(theirs)
    columns = [name for name in found.columns if name not in keys]
    both = pd.read_parquet(ours)[[*keys, *columns]].merge(
        found, on=keys, how="left", suffixes=("", " of theirs"), indicator=True, validate="1:1"
    )
    seen, differ = (both["_merge"] == "both").to_numpy(), {}
    for name in columns:
        a, b = (both[one].to_numpy(np.float64) for one in (name, f"{name} of theirs"))
        b = np.where(seen, b, np.nan if name.startswith("days_since") else 0.0)
        exact = name.startswith(("count", "active_days", "event_types", "channels", "trend"))
        rtol, atol = (0.0, 0.0) if exact else (RTOL, ATOL)
        wrong = int((~np.isclose(a, b, rtol, atol, equal_nan=True)).sum())
        if wrong:
            differ[name] = wrong
    return Measured(
        facts={
            "differ": differ,
            "rows": len(both),
            "compared": len(columns),
            "unseen": int((~seen).sum()),
        }
    )


def explicit(folder: Path, leads: int, dates: int, attributes: int) -> Measured:
    """Attributes that change over time, as they were known at each snapshot; no events."""
    world = made(folder, Size(events=1, leads=leads))
    with opened(EngineConfig()) as (con, allowance):
        load(con, world)
        _make_versions(con, world, leads, attributes)
        _make_snapshots(con, world.grid(dates))
        catalogue = matrix.learn(con, CONFIG, world.grid(2)[0]).catalogue
        with measured() as taken:
            data = matrix.build(con, catalogue, NO_RULES, allowance=allowance)
        versions = con.execute("SELECT count(*) FROM attributes").fetchall()[0][0]
    taken.facts |= {"snapshots": len(data), "features": data.X.shape[1], "versions": versions}
    return taken


def _group(con: duckdb.DuckDBPyConnection, world: World) -> pa.Table:
    return con.sql(
        f"SELECT lead_id, count(*) AS n, sum(value) AS v FROM '{world.events}' GROUP BY lead_id"
    ).to_arrow_table()


def _prepared(con: duckdb.DuckDBPyConnection, world: World, dates: int) -> Catalogue:
    """The tables and snapshots of all leads at so many dates; what the first half taught."""
    load(con, world)
    _make_snapshots(con, world.grid(dates))
    return matrix.learn(con, CONFIG, world.grid(2)[0]).catalogue


def _make_snapshots(con: duckdb.DuckDBPyConnection, grid: list[int]) -> None:
    con.execute(SHAPE)
    con.execute(
        f"""INSERT INTO snapshots BY NAME
            SELECT row_number() OVER (ORDER BY as_of, lead_id) - 1 AS snapshot_id, lead_id, group_id,
                   as_of, as_of AS place, as_of AS label_known_at, 'training' AS population,
                   'fit' AS part, (as_of - created_at) / {DAY_US} AS age_days, 0.0 AS won, 0 AS bucket
            FROM leads CROSS JOIN (SELECT unnest(?::BIGINT[]) AS as_of)""",
        [grid],
    )


def _make_versions(
    con: duckdb.DuckDBPyConnection, world: World, leads: int, attributes: int
) -> None:
    """Three versions of each attribute of a lead on average, at seeded moments."""
    first, last = world.grid(730)[0], world.grid(1)[0]
    con.execute(
        f"""INSERT INTO attributes
            SELECT lead_id, 'attribute ' || a, 'value ' || hash(lead_id, a, v, 'value') % 9,
                   {first} + (hash(lead_id, a, v) % {last - first})::BIGINT
            FROM leads CROSS JOIN range({attributes}) AS t(a) CROSS JOIN range(6) AS u(v)
            WHERE hash(lead_id, a, v, 'there') % 2 = 0"""
    )


def _keep(data: Dataset, out: Path) -> None:
    frame = pd.concat([data.keys[["lead_id", "as_of"]], data.X], axis=1)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), out)

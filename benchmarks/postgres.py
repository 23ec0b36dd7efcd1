"""A round trip of scores through PostgreSQL, beside a bare COPY of the same rows.

    python benchmarks/postgres.py --rows 1000000

Ours: `score --out postgres:TABLE` from the finished scores to the commit, into a table that is not there,
once more as a rerun of the same night, and a `postgres:` source that reads them back into the engine. Bare:
the driver's COPY of the same rows into a table with the same key, and its COPY of them out again.
The server is the one that LEAD_PROPENSITY_TEST_POSTGRES names, or one of its own.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from factory_postgres import Database, running
from lead_propensity.config import Config
from lead_propensity.config.credentials import POSTGRES
from lead_propensity.data import sources
from lead_propensity.data.database import opened
from lead_propensity.serving import sinks
from lead_propensity.serving.scoring import SCORES
from measuring import Measured, alone, peak_gb

BAR = 3.0
PIECE = 100_000
NIGHT = 20_454 * 86_400_000_000


def pieces(rows: int, seed: int) -> Iterator[pa.Table]:
    """Scores as the night job makes them, some at a time: one lead in ten has reasons."""
    for start in range(0, rows, PIECE):
        yield _piece(start, min(PIECE, rows - start), seed)


def _piece(start: int, n: int, seed: int) -> pa.Table:
    rng = np.random.default_rng((seed, start))
    moment = pa.array(np.full(n, NIGHT), pa.int64()).cast(SCORES.field("as_of").type)
    warm = rng.random(n) < 0.1
    why = '[{"text": "3 pricing page views in the last 7 days (+)", "sign": "+", "strength": 0.71}]'
    texts = {
        "lead_id": np.char.mod("00Q%012d", np.arange(start, start + n)),
        "band": np.where(warm, "warm", "cold"),
        "reasons": np.where(warm, why, "[]"),
        "route": np.where(warm, "nurture", "casual"),
        "model_id": np.full(n, "0123456789abcdef"),
    }
    columns = []
    for field in SCORES:
        if pa.types.is_timestamp(field.type):
            columns.append(moment)
        elif pa.types.is_string(field.type):
            columns.append(pa.array(texts.get(field.name, np.full(n, "B")).tolist(), field.type))
        else:
            values = rng.normal(size=n) * 3
            columns.append(pa.array(values.astype(field.type.to_pandas_dtype()), field.type))
    return pa.Table.from_arrays(columns, schema=SCORES)


def write(rows: int, seed: int) -> Measured:
    """Through the sink. What the making of the rows took is taken off."""
    config = Config.model_validate(
        {"name": "bench", "data": {"leads": {"path": "x"}, "deals": {"path": "x"}}}
    )
    made = 0.0

    def timed() -> Iterator[pa.Table]:
        nonlocal made
        given = pieces(rows, seed)
        while True:
            began = time.perf_counter()
            piece = next(given, None)
            made += time.perf_counter() - began
            if piece is None:
                return
            yield piece

    began = time.perf_counter()
    with sinks.opened("postgres:lead_scores", config, SCORES) as sink:
        sink.write(timed(), NIGHT)
    return Measured(wall=time.perf_counter() - began - made, peak_gb=peak_gb())


def read(rows: int) -> Measured:
    """Through a source, into the engine; the other table is a row of nothing."""
    data = {
        "leads": {"postgres": "SELECT *, as_of AS created_at FROM lead_scores"},
        "deals": {"postgres": "SELECT 'L' AS lead_id, now() AS closed_at, 'won' AS outcome"},
        "max_quarantine_share": 1.0,
    }
    config = Config.model_validate(
        {"name": "bench", "data": data, "engine": {"memory_limit": "2GB"}}
    )
    began = time.perf_counter()
    with opened(config.engine) as (con, _):
        sources.load(con, config)
        taken = time.perf_counter() - began
        found = con.execute("SELECT count(*) FROM raw_leads").fetchall()[0][0]
    assert found == rows, f"{found:,} of {rows:,} rows came back"
    return Measured(wall=taken, peak_gb=peak_gb())


def bare(postgres: Database, rows: int) -> tuple[float, float]:
    """Seconds of a COPY in, into a table with a key, and of one out."""
    table = pa.concat_tables(list(pieces(rows, 1)))
    postgres.load("bare", table.schema.empty_table())
    postgres.run("ALTER TABLE bare ADD PRIMARY KEY (as_of, lead_id)")
    with postgres.connected() as con, con.cursor() as cursor:
        into = _seconds(lambda: cursor.adbc_ingest("bare", table, mode="append"))

        def out() -> None:
            cursor.execute("SELECT * FROM bare")
            for _ in cursor.fetch_record_batch():
                pass

        return into, _seconds(out)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with running() as server, server.database() as postgres:
        os.environ[POSTGRES] = postgres.address
        into, out = bare(postgres, rows)
        first, again = alone(write, rows, 1), alone(write, rows, 2)
        back = alone(read, rows)
        fourfold = alone(write, rows * 4, 3)
    print(f"{rows:,} scores of {len(SCORES)} columns")
    print(f"bare COPY in   {into:7.1f} s\nbare COPY out  {out:7.1f} s")
    print(f"sink, a new night   {first.wall:7.1f} s, peak {first.peak_gb:.2f} GB")
    print(f"sink, a rerun       {again.wall:7.1f} s, peak {again.peak_gb:.2f} GB")
    print(f"sink, 4 x the rows  {fourfold.wall:7.1f} s, peak {fourfold.peak_gb:.2f} GB")
    print(f"source              {back.wall:7.1f} s, peak {back.peak_gb:.2f} GB")
    ratios = [(one.wall + back.wall) / (into + out) for one in (first, again)]
    met = "met" if max(ratios) <= BAR else "MISSED"
    said = f"{ratios[0]:.2f} a new night, {ratios[1]:.2f} a rerun"
    print(f"round trip / bare COPY there and back: {said}; bar {BAR}: {met}")
    return 0 if met == "met" else 1


if __name__ == "__main__":
    sys.exit(main())

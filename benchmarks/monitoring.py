"""Watching 1,000,000 scored leads a night, with the process held to 1 GB.

    python benchmarks/monitoring.py --leads 250000 1000000

A model is trained on a simulated CRM and scores three nights. The leads of the first one, and their deals, events and
attributes, are repeated under new ids until there are so many of them; so are the scores, one Parquet file a night.
Measured is `monitor` from those files to its page, without MLflow. The horizon of the first two nights has passed.
The exit code is 1 where the process takes more than `engine.memory_limit`.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from lead_propensity import pipeline
from lead_propensity.config import load
from lead_propensity.data.engine import literal
from lead_propensity.data.simulate import simulate, write
from measuring import Measured, alone, measured

LIMIT_GB = 1.0
NIGHTS = tuple(datetime(2025, month, day, tzinfo=UTC) for month, day in ((9, 1), (10, 1), (12, 31)))
KEYS = [
    *("model.trials=1", "model.backtest_periods=0", "model.min_wins_trees=9999"),
    *("model.refit=never", f"engine.memory_limit={LIMIT_GB:g}GB"),
]


def make(folder: Path) -> None:
    """Below `folder`: a small CRM, a model, and its scores of NIGHTS."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    write(simulate(5_000, 7), folder / "crm")
    config = load(folder / "crm" / "config.yaml", KEYS)
    run = pipeline.train(config, folder / "run")
    for night in NIGHTS:
        pipeline.score(config, run.folder, f"{folder / 'scores'}/", night)


def repeat(folder: Path, leads: int) -> Path:
    """The same world with so many open leads; every night scores the leads of the first one."""
    crm, into = folder / "crm", folder / f"{leads}"
    parts = sorted((folder / "scores").glob("*/part.parquet"))
    with duckdb.connect() as con:
        con.execute("SET preserve_insertion_order = false")
        con.execute(f"CREATE TABLE open AS FROM {literal(str(parts[0]))}")
        con.execute(f"CREATE TABLE copy AS SELECT range AS k FROM range({_copies(con, leads)})")
        for part in parts:
            _put(
                con, "open AS t, copy", into / "scores" / part.parent.name / part.name, _as_of(part)
            )
        for file in (*crm.glob("*.csv"), *crm.glob("*.parquet")):
            rows = f"read_csv({literal(str(file))}, all_varchar = true)"
            rows = rows if file.suffix == ".csv" else literal(str(file))
            company = ", company_id || '-' || k AS company_id" if file.stem == "leads" else ""
            _put(
                con,
                f"{rows} AS t SEMI JOIN open USING (lead_id), copy",
                into / "crm" / file.name,
                company,
            )
    for file in crm.glob("*.yaml"):
        shutil.copy(file, into / "crm")
    return into


def _copies(con: duckdb.DuckDBPyConnection, leads: int) -> int:
    return -(-leads // con.execute("SELECT count(*) FROM open").fetchall()[0][0])


def _as_of(part: Path) -> str:
    night = part.parent.name.partition("=")[2]
    return f", TIMESTAMPTZ '{night} 00:00:00+00' AS as_of"


def _put(con: duckdb.DuckDBPyConnection, rows: str, file: Path, more: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    asked = f"SELECT t.* REPLACE (t.lead_id || '-' || k AS lead_id{more}) FROM {rows}"
    con.execute(f"COPY ({asked}) TO {literal(str(file))}")


def watch(folder: Path, leads: int) -> Measured:
    """From the files to the page."""
    here = folder / f"{leads}"
    config = load(here / "crm" / "config.yaml", KEYS)
    with measured() as taken:
        done = pipeline.monitor(
            config, f"{here / 'scores'}/", folder / "run", out=here / "monitor.html", log=False
        )
    moments = done.found["moments"]
    taken.facts = {
        "scores": sum(one["scored"] for one in moments),
        "judged": sum(one["state"] == "judged" for one in moments),
        "rows": done.found["pooled"]["n"],
    }
    return taken


def measure(folder: Path, sizes: list[int]) -> bool:
    """Print the table; whether the limit held."""
    print(f"\nPython {platform.python_version()}, {platform.machine()}\n")
    print(
        "| scores | nights judged | rows judged | wall s | CPU s | peak GB |\n|---|---|---|---|---|---|"
    )
    held = True
    for leads in sizes:
        repeat(folder, leads)
        one = alone(watch, folder, leads)
        facts = one.facts
        held &= one.peak_gb <= LIMIT_GB
        print(
            f"| {facts['scores']:,} | {facts['judged']} of {len(NIGHTS)} | {facts['rows']:,} | {one.wall:.1f} | "
            f"{one.cpu:.1f} | {one.peak_gb:.2f} |"
        )
    print(f"\nengine.memory_limit {LIMIT_GB:g} GB: {'held' if held else 'MISSED'}")
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--leads", type=int, nargs="+", default=[250_000, 1_000_000])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="monitoring-") as scratch:
        make(Path(scratch))
        return 0 if measure(Path(scratch), asked.leads) else 1


if __name__ == "__main__":
    sys.exit(main())

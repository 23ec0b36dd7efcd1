"""Scoring 1,000,000 leads whose features are ready, beside the bare predictions of the model's members.

    python benchmarks/scoring.py --leads 1000000

A model is trained on a simulated CRM; the matrix of its open leads, repeated under new ids, lies in a Parquet
file. Ours: read it in pieces, score it as the night job does, with previous bands and drift looked at and reasons
off, and write the scores with `--out FILE.parquet`. Bare: each member used, and both side models, predict the same
rows from matrices already in memory: LightGBM's own `predict` on all threads; of a line its encoding and its sum.
Bare reads and writes nothing. The exit code is 1 where ours takes more than 1.5 times as long, or where memory
grows with the leads.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lead_propensity.config import Config, load
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.data.simulate import simulate, write
from lead_propensity.features import dataset
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.windows import DAY_US
from lead_propensity.files import streamed
from lead_propensity.model.learners import BaseRate, Blend, BoostedTrees
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.progress import silent
from lead_propensity.serving import history, night, scoring, sinks
from lead_propensity.serving.drifting import Watched
from measuring import Measured, alone, measured

BAR = 1.5
GROWTH = 1.1
"""Four times the leads may take so many times the memory at most."""
PIECE = 100_000
NIGHT = 20_454 * DAY_US


def make(folder: Path, trials: int) -> None:
    """Below `folder`: a CRM, the model trained on it, and a piece of its matrix as Parquet."""
    write(simulate(20_000, 7), folder / "crm")
    config = load(folder / "crm" / "config.yaml", [f"model.trials={trials}"])
    with opened(config.engine) as (con, allowance):
        found = tables.check(con, config)
        plan = dataset.plan(con, config, found.exported_at)
        data = dataset.training(con, plan, silent, allowance)
    model = PropensityModel.fit(data, config)
    card = plan.card.model_dump(mode="json", by_alias=True)
    replace(model, rules=card).save(folder / "model")
    stock = data.rows((data.keys["population"] == "stock").to_numpy())
    _piece_of(stock).to_parquet(folder / "piece.parquet", index=False)


def _piece_of(stock: Dataset) -> pd.DataFrame:
    """PIECE rows: those of the stock, again and again."""
    rows = np.arange(PIECE) % len(stock)
    frame = pd.concat([stock.keys.assign(won=np.nan, amount=np.nan), stock.X, stock.rules], axis=1)
    return frame.iloc[rows].assign(as_of=NIGHT, order=NIGHT, population="stock", part="scoring")


def write_matrix(folder: Path, leads: int) -> Path:
    """`leads` rows with features, keys and the columns of the rules; the ids are all different."""
    path, piece = folder / f"matrix-{leads}.parquet", pq.read_table(folder / "piece.parquet")
    place = piece.column_names.index("lead_id")
    with pq.ParquetWriter(path, piece.schema) as writer:
        for start in range(0, leads, PIECE):
            ids = [f"L{number:09d}" for number in range(start, start + PIECE)]
            rows = piece.set_column(place, "lead_id", pa.array(ids, piece.schema.types[place]))
            writer.write_table(rows.slice(0, min(PIECE, leads - start)))
    return path


def read(path: Path, model: PropensityModel) -> Iterator[Dataset]:
    """The matrix, piece by piece."""
    with streamed(path) as file:
        names = [name for name in file.schema_arrow.names if name not in model.catalogue.names]
        rules = [name for name in names if name.startswith("rules__")]
        keys = [name for name in names if name not in rules]
        for batch in file.iter_batches(PIECE):
            frame = batch.to_pandas()
            yield Dataset(frame[keys], frame[model.catalogue.names], frame[rules], model.catalogue)


def score(folder: Path, leads: int) -> Measured:
    """From the matrix in its file to the scores in theirs."""
    config, model = _loaded(folder)
    out, now = folder / "scores.parquet", pd.Timestamp.now(tz="UTC")
    shared = night.Shared(
        0.0, NIGHT, NIGHT, config.bands.routes, scored_at=now, wording=None, explain=False
    )
    with measured() as taken, opened(config.engine) as (con, _):
        out.unlink(missing_ok=True)
        con.execute("CREATE TABLE last_events (lead_id VARCHAR, last_event_at BIGINT)")
        with sinks.opened(str(out), config, scoring.SCORES) as sink:
            history.remember(con, sink.previous(NIGHT))
            pieces, watched = read(folder / f"matrix-{leads}.parquet", model), Watched(model)
            scores = (night.scores(con, model, piece, shared, watched) for piece in pieces)
            sink.write(scores, NIGHT)
        watched.figures(config.monitor)
    assert pq.read_metadata(out).num_rows == leads
    return taken


def bare(folder: Path, leads: int) -> Measured:
    """Each prediction alone, from what lies ready in memory."""
    _, model = _loaded(folder)
    members = [model.fit_side, model.interest_side]
    if isinstance(model.main, Blend):
        weighed = zip(model.main.members, model.main.weights_of, strict=True)
        members += [member for member, weight in weighed if weight or member is model.main.line]
    (piece,) = read(folder / f"matrix-{PIECE}.parquet", model)
    ready = {
        place: member.encoding.for_trees(piece.X)
        for place, member in enumerate(members)
        if isinstance(member, BoostedTrees)
    }
    with measured() as taken:
        for _ in range(leads // PIECE):
            for place, member in enumerate(members):
                began = time.perf_counter()
                if isinstance(member, BoostedTrees):
                    member.booster.predict(ready[place], raw_score=True)
                elif not isinstance(member, BaseRate):
                    member.raw_score(piece.X)
                name = f"{place} {type(member).__name__}"
                spent = time.perf_counter() - began
                taken.facts[name] = taken.facts.get(name, 0.0) + spent
    return taken


def _loaded(folder: Path) -> tuple[Config, PropensityModel]:
    return load(folder / "crm" / "config.yaml"), PropensityModel.load(folder / "model")


def measure(folder: Path, leads: int) -> bool:
    """Print the table; whether both bars were met."""
    for rows in {PIECE, leads, 4 * leads}:
        write_matrix(folder, rows)
    members = min((alone(bare, folder, leads) for _ in range(2)), key=lambda one: one.wall)
    ours = min((alone(score, folder, leads) for _ in range(2)), key=lambda one: one.wall)
    larger = alone(score, folder, 4 * leads)
    told = ", ".join(f"{name[2:]} {spent:.1f} s" for name, spent in members.facts.items())
    print(
        f"\nPython {platform.python_version()}, {platform.machine()}; the faster of two runs each"
    )
    print(f"bare: {told}\n")
    print("| work | wall s | CPU s | peak GB |\n|---|---|---|---|")
    for name, one in (
        (f"bare predictions, {leads:,} leads", members),
        ("read, score, write", ours),
        (f"... {4 * leads:,} leads", larger),
    ):
        print(f"| {name} | {one.wall:.1f} | {one.cpu:.1f} | {one.peak_gb:.2f} |")
    times, growth = ours.wall / members.wall, larger.peak_gb / ours.peak_gb
    print(f"\n{times:.2f} times the bare predictions; bar {BAR}: {_met(times <= BAR)}")
    print(
        f"{growth:.2f} times the memory for 4 times the leads; bar {GROWTH}: {_met(growth <= GROWTH)}"
    )
    return times <= BAR and growth <= GROWTH


def _met(held: bool) -> str:
    return "met" if held else "MISSED"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--leads", type=int, default=1_000_000)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--folder", type=Path, help="Keep the world and the model here.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scoring-") as scratch:
        folder = asked.folder or Path(scratch)
        if not (folder / "piece.parquet").exists():
            folder.mkdir(parents=True, exist_ok=True)
            make(folder, asked.trials)
        return 0 if measure(folder, asked.leads) else 1


if __name__ == "__main__":
    sys.exit(main())

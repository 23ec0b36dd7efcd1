"""A simulated CRM that is exported twice: on the day of the training, and months later, with scores in between."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import yaml

from lead_propensity import pipeline
from lead_propensity.config import Config, load
from lead_propensity.data.simulate import simulate, write
from lead_propensity.pipeline import TrainedRun

TRAINED = datetime(2025, 6, 30, tzinfo=UTC)
NIGHTS = tuple(TRAINED + timedelta(days=21 * k) for k in range(1, 8))
"""The last two have outcomes that are not final when the data end."""
KEYS = [
    *(
        "model.trials=1",
        "model.backtest_periods=0",
        "model.min_wins_trees=9999",
        "engine.threads=1",
    ),
    *("model.refit=never", "bands.hot_per_week=10", "name=nights", "gate.min_wins=30"),
]
KNOWN = {
    "leads": "created_at",
    "attributes": "known_at",
    "events": "known_at",
    "deals": "known_at",
}
"""When a row is known: the export of a day holds what was known by then."""


@dataclass(frozen=True)
class Nights:
    """A model, the export of today, and the folder that holds the scores of each night."""

    run: TrainedRun
    world: Path
    scores: str

    def config(self, *keys: str, world: Path | None = None) -> Config:
        return load((world or self.world) / "config.yaml", [*KEYS, *keys])


def export(world: Path, into: Path, until: datetime) -> None:
    """The same export, drawn on an earlier day."""
    into.mkdir()
    tree = yaml.safe_load((world / "config.yaml").read_text())
    for name, column in KNOWN.items():
        file = tree["data"][name]["path"]
        table = table_of(world / file)
        known = pd.to_datetime(table[column], utc=True, format="ISO8601", errors="coerce")
        put(table[known < until], into / file)
    tree["data"]["exported_at"] = f"{until:%Y-%m-%dT%H:%M:%SZ}"
    (into / "config.yaml").write_text(yaml.safe_dump(tree))
    (into / "rules.yaml").write_text((world / "rules.yaml").read_text())


def copied(world: Path, into: Path, **tables: pd.DataFrame) -> Path:
    """The same world with other rows in some tables."""
    into.mkdir()
    for file in world.iterdir():
        if file.stem in tables:
            put(tables[file.stem], into / file.name)
        else:
            (into / file.name).write_bytes(file.read_bytes())
    return into


def table_of(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def put(table: pd.DataFrame, file: Path) -> None:
    if file.suffix == ".parquet":
        table.to_parquet(file, index=False)
    else:
        table.to_csv(file, index=False)


def lived(folder: Path, leads: int = 2_500, seed: int = 3) -> Nights:
    """Train on what was known in TRAINED, then score every of NIGHTS into a folder."""
    world = folder / "world"
    write(simulate(leads, seed=seed), world)
    export(world, folder / "then", TRAINED)
    run = pipeline.train(load(folder / "then" / "config.yaml", KEYS), folder / "run")
    nights = Nights(run, world, f"{folder / 'scores'}/")
    for night in NIGHTS:
        pipeline.score(
            nights.config(),
            run.folder,
            nights.scores,
            night,
        )
    return nights

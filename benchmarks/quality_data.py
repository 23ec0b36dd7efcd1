"""What every contender of quality.py learns from: our features, our parts, exported once."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import lead_propensity
from lead_propensity.config import Config
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.features import dataset
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.files import new_folder

PARTS = ("fit", "purged", "calibrate", "late", "test")
"""In the table: `purged` was known when the test part begins, `late` only afterwards."""
SOURCE = Path(lead_propensity.__file__).parent
FEATURE_ROOMS = ("config", "data", "features")
FRAMES = ("keys", "X", "rules")


@dataclass(frozen=True)
class Export:
    """One set's matrix on disk, and the table that the peers read."""

    name: str
    config: Config
    folder: Path

    @property
    def table(self) -> Path:
        """The labelled training population of PARTS, as `quality_peers.Task` says."""
        return self.folder / "table.parquet"

    @property
    def digest(self) -> str:
        """Of every cell of the table: peers are run again where it changed."""
        return (self.folder / "digest").read_text()

    @property
    def size(self) -> str:
        """In words."""
        keys = self.keys(*PARTS)
        learned, test = keys[~keys["part"].isin(["late", "test"])], keys[keys["part"] == "test"]
        return (
            f"{len(learned):,} snapshots to learn from ({learned['won'].mean():.1%} won), {len(test):,} to "
            f"predict ({test['won'].mean():.1%} won) of {test['lead_id'].nunique():,} leads."
        )

    def data(self) -> Dataset:
        """The matrix as it was exported, all parts and both populations."""
        keys, X, rules = (_read(self.folder / f"{name}.parquet") for name in FRAMES)
        tree = json.loads((self.folder / "catalogue.json").read_text())
        catalogue = Catalogue.from_json(tree["catalogue"])
        return Dataset(keys, X, rules, catalogue, tree["weight"])

    def keys(self, *parts: str) -> pd.DataFrame:
        """Of the labelled training population, in the order of the table."""
        keys = _judged(_read(self.folder / "keys.parquet"))
        return keys[keys["part"].isin(parts)].reset_index(drop=True)

    def columns(self, naive: bool) -> list[str]:
        """All features, or the naive ones: totals of each event type, age, and what a lead says or is."""
        tree = json.loads((self.folder / "catalogue.json").read_text())
        features = Catalogue.from_json(tree["catalogue"]).features
        return [
            feature.name
            for feature in features
            if not naive
            or feature.kind == "explicit"
            or feature.name == "days_since_creation"
            or feature.name.split("__")[0] == "count_all"
        ]


def export(config: Config, folder: Path, fresh: bool) -> Export:
    """The set's matrix in `folder`; made where config or code of the features changed, or if `fresh`.

    The raw files are taken for unchanged. Raises DataError, ConfigError as training would.
    """
    rules = dataset.rules_of(config).model_dump_json()
    wanted = config.model_dump_json(exclude={"model", "bands"}) + rules + code(*FEATURE_ROOMS)
    wanted += Path(__file__).read_text()
    place = folder / f"{config.name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if not (place / "digest").exists() or fresh:
        for old in place.glob("*"):
            old.unlink()
        with new_folder(place) as scratch:
            _write(_made(config), scratch)
    return Export(config.name, config, place)


def code(*rooms: str) -> str:
    """A digest of the source of these rooms of the package; of none: of all."""
    paths = [SOURCE / room for room in rooms] or [SOURCE]
    files = sorted(file for path in paths for file in path.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _made(config: Config) -> Dataset:
    with opened(config.engine) as (con, allowance):
        found = tables.check(con, config)
        found.raise_problems(learning=True)
        made = dataset.plan(con, config, found.exported_at)
        return dataset.training(con, made, allowance=allowance)


def _write(data: Dataset, folder: Path) -> None:
    for name in FRAMES:
        getattr(data, name).to_parquet(folder / f"{name}.parquet")
    tree = {"catalogue": data.catalogue.to_json(), "weight": data.weight}
    (folder / "catalogue.json").write_text(json.dumps(tree))
    keys = _judged(data.keys)
    table = keys[["lead_id", "group_id", "order", "part", "won"]].join(data.X)
    table.to_parquet(folder / "table.parquet", index=False)
    hashed = pd.util.hash_pandas_object(table, index=False).to_numpy()
    names = "\n".join(table.columns).encode()
    digest = hashlib.sha256(names + hashed.tobytes()).hexdigest()[:12]
    (folder / "digest").write_text(digest)


def _read(path: Path) -> pd.DataFrame:
    """Texts as objects, a missing one None: as the matrix has them."""
    frame = pd.read_parquet(path)
    texts = frame.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]]
    return frame.assign(
        **{name: frame[name].astype(object).where(frame[name].notna(), None) for name in texts}
    )


def _judged(keys: pd.DataFrame) -> pd.DataFrame:
    keys = keys[(keys["population"] == "training") & keys["won"].notna()]
    test_begins = keys.loc[keys["part"] == "test", "order"].min()
    late = (keys["part"] == "purged") & (keys["label_known_at"] > test_begins)
    keys = keys.assign(part=keys["part"].mask(late, "late"))
    return keys[keys["part"].isin(PARTS)]

"""What others offer for the same: pandas, featuretools, and Spark with our own kernel."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from feature_jobs import CONFIG
from feature_world import DAY_US, World
from lead_propensity import load_config
from lead_propensity.data.simulate import simulate, write
from lead_propensity.pipeline import write_features
from measuring import Measured, measured

HERE = Path(__file__).parent
PINS = HERE / "peers-features.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lead-propensity"
WINDOWS = CONFIG.features.windows_days
NEGATIVE = CONFIG.features.negative_events


class NotMeasuredError(Exception):
    """Why a peer cannot run here."""


def make_input(world: World, dates: int) -> Measured:
    """The events that speak for interest, and the snapshots, as files for the peers."""
    events = pd.read_parquet(world.events, columns=["lead_id", "occurred_at", "event_type"])
    events[~events["event_type"].isin(NEGATIVE)].to_parquet(world.folder / "peer_events.parquet")
    leads = pd.read_parquet(world.folder / "leads.parquet", columns=["lead_id"])
    snapshots = leads.merge(pd.DataFrame({"as_of": world.grid(dates)}), how="cross")
    snapshots.to_parquet(world.folder / "peer_snapshots.parquet")
    return Measured()


def with_pandas(world: World, out: Path) -> Measured:
    """Each snapshot meets the earlier events of its lead; columns of ones are summed by snapshot."""
    events = pd.read_parquet(world.folder / "peer_events.parquet")
    snapshots = pd.read_parquet(world.folder / "peer_snapshots.parquet")
    _counted(events.head(1000), snapshots.head(10))
    with measured() as taken:
        found = _counted(events, snapshots)
    found.to_parquet(out)
    taken.facts |= {"snapshots": len(found), "features": found.shape[1] - 2}
    return taken


def with_featuretools(world: World, out: Path) -> Measured:
    """Raises NotMeasuredError where its environment cannot be made."""
    script, files = HERE / "peer_featuretools.py", ("peer_events.parquet", "peer_snapshots.parquet")
    arguments = [*(world.folder / name for name in files), ",".join(map(str, WINDOWS)), out]
    said = _run([_environment(), script, *arguments])
    return Measured(**json.loads(said.splitlines()[-1]))


def _counted(events: pd.DataFrame, snapshots: pd.DataFrame) -> pd.DataFrame:
    seen = snapshots.assign(snapshot=range(len(snapshots))).merge(events, on="lead_id")
    seen = seen[seen["occurred_at"] < seen["as_of"]]
    age = seen["as_of"] - seen["occurred_at"]
    parts = []
    for window, part in [("all", seen), *((f"{d}d", seen[age <= d * DAY_US]) for d in WINDOWS)]:
        by_type = pd.crosstab(part["snapshot"], part["event_type"])
        total = by_type.sum(axis=1).rename(f"count_{window}")
        parts += [by_type.add_prefix(f"count_{window}__"), total]
    found = pd.concat(parts, axis=1).reindex(range(len(snapshots))).fillna(0)
    found["days_since_event"] = age.groupby(seen["snapshot"]).min() / DAY_US
    return pd.concat([snapshots.reset_index(drop=True), found], axis=1)


def _environment() -> Path:
    """The Python of the peers' own environment, made once from the pinned list."""
    digest = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"peers-features-{digest}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        print(f"  (installing {PINS.name} into {folder})", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _run([python, "-m", "pip", "install", "-q", "-r", PINS])
        (folder / "complete").touch()
    return python


def _run(command: list[object]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise NotMeasuredError(lines[-1])
    return done.stdout


def spark_missing() -> str | None:
    """What is missing to run Spark here."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed (the extra `spark`)"
    if not Path("/proc/self/stat").exists():
        return "the CPU of Java is read from /proc, which only Linux has"
    java = Path(os.environ.get("JAVA_HOME", "")) / "bin" / "java"
    if not (java.is_file() or shutil.which("java")):
        return "no Java found (JDK 17 or newer)"
    return None


def simulated(folder: Path, leads: int) -> Measured:
    """Write the files of a simulated CRM with its config."""
    write(simulate(leads, 7), folder)
    return Measured()


def from_files(config_file: Path, engine: tuple[str, ...]) -> Measured:
    """From checking the files to the matrix as Parquet; Spark with its start, Java and the workers."""
    config = load_config(config_file, list(engine))
    out = config_file.with_name(f"matrix-{len(engine)}.parquet")
    with measured(whole_tree=True) as taken:
        written = write_features(config, out)
    frame = pd.read_parquet(out)
    taken.facts |= {"snapshots": len(frame), "features": written.features, "digest": _digest(frame)}
    return taken


def _digest(frame: pd.DataFrame) -> str:
    """Of every cell; the order of the rows does not count."""
    ordered = frame.sort_values(["lead_id", "as_of"], ignore_index=True)
    hashed = pd.util.hash_pandas_object(ordered[sorted(ordered.columns)], index=False)
    return hashlib.sha256(hashed.to_numpy().tobytes()).hexdigest()[:16]

"""The contenders of quality.py at work, each in a process of its own; what they said is kept in a folder.

Kept predictions of a peer are found again while the table that it read is the same, ours while the package
and the config are the same, too. Delete the folder after a change of quality_peers.py or of its pins.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lead_propensity.evaluation.backtest import decide_refit
from lead_propensity.evaluation.walking import Walk, walk
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import refitted, start_of_test
from lead_propensity.progress import silent
from lead_propensity.serving import judging
from measuring import Measured, alone, cpu_seconds
from quality_data import Export, code
from quality_peers import Task

HERE = Path(__file__).parent
PINS = HERE / "peers-quality.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lead-propensity"
OURS = "ours"
KNOWN = ("fit", "purged", "calibrate")
LEARNED_FROM = {"all": KNOWN, "fit": ("fit",), "naive": KNOWN}
"""The parts that a peer learns from: all that was known when the test part begins, or the fit part alone;
`naive` sees counts instead of our features."""


class NotMeasuredError(Exception):
    """Why a peer cannot run here."""


@dataclass(frozen=True)
class Budget:
    """What a contender may spend on choosing."""

    seconds: int = 60
    trials: int = 30
    seed: int = 7


@dataclass(frozen=True)
class Run:
    """A peer on a set; `variant` is a key of LEARNED_FROM."""

    name: str
    given: Export
    variant: str


@dataclass(frozen=True)
class Said:
    """What a contender said of the rows that it did not learn from, and what that took."""

    frame: pd.DataFrame
    """`lead_id`, `order`, and `probability` (ours: `probability_untracked` as well)."""
    cpu: float
    wall: float
    facts: dict[str, Any]


def peer(run: Run, budget: Budget, folder: Path, run_now: bool) -> Said | None:
    """Kept, or run now; None where neither. Raises NotMeasuredError with the last line of what went wrong."""
    given, variant = run.given, run.variant
    place = folder / "peers" / f"{given.name}-{given.digest}" / variant / f"{run.name}.parquet"
    if not (place.exists() or run_now):
        return None
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch, asked = place.with_suffix(".part"), place.with_suffix(".task.json")
        task = Task(
            table=str(given.table),
            out=str(scratch),
            columns=given.columns(naive=variant == "naive"),
            learn_from=list(LEARNED_FROM[variant]),
            **asdict(budget),
        )
        asked.write_text(json.dumps(asdict(task)))
        said = _call([_environment(), HERE / "quality_peers.py", run.name, asked])
        place.with_suffix(".json").write_text(said.splitlines()[-1])
        scratch.rename(place)
    return _read(place)


def ours(given: Export, folder: Path, run_now: bool) -> Said | None:
    """Kept, or trained now with the config's settings and judged as `train` judges; None where neither."""
    settings = given.config.model_dump_json() + code() + given.digest
    key = hashlib.sha256(settings.encode()).hexdigest()[:12]
    place = folder / "ours" / f"{given.name}-{key}.parquet"
    if not (place.exists() or run_now):
        return None
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        taken = alone(_trained, given, place.with_suffix(".part"))
        told = {"cpu": taken.cpu, "wall": taken.wall, "facts": taken.facts}
        place.with_suffix(".json").write_text(json.dumps(told))
        place.with_suffix(".part").rename(place)
    return _read(place)


def _trained(given: Export, out: Path) -> Measured:
    """The steps of `pipeline.train` up to the judging. CPU of the whole process, as of the peers'."""
    began = time.perf_counter()
    data, config = given.data(), given.config
    model = PropensityModel.fit(data, config)
    level = model.level.to_json()
    walked = walk(data, model, config, silent)
    refit = decide_refit(walked, config.model.refit)
    if refit.refitted:
        model = refitted(model, data, config, until=start_of_test(data))
    found = judging.test_predictions(data, model, config.bands.routes)
    judged = found[(found["population"] == "training") & found["won"].notna()]
    columns = ["lead_id", "order", "probability_untracked", "probability"]
    judged[columns].to_parquet(out, index=False)
    facts = {
        "level": level,
        "refitted": refit.refitted,
        "why": refit.why,
        "notes": list(model.notes),
        "walked": _expected_to_observed(walked),
    }
    return Measured(cpu_seconds(), time.perf_counter() - began, facts=facts)


def _expected_to_observed(walked: Walk) -> dict[str, float]:
    """Over all periods of the walk forward, tracked and not; empty where nothing was walked."""
    rows = walked.rows
    if len(rows) == 0:
        return {}
    columns = {"tracked": "probability", "untracked": "probability_untracked"}
    return {name: float(rows[of].sum() / rows["won"].sum()) for name, of in columns.items()}


def _read(place: Path) -> Said:
    return Said(pd.read_parquet(place), **json.loads(place.with_suffix(".json").read_text()))


def _environment() -> Path:
    """The Python of the peers' own environment, made once from the pinned list."""
    digest = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"peers-quality-{digest}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        print(f"  (installing {PINS.name} into {folder})", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _call([python, "-m", "pip", "install", "-q", "-r", PINS])
        (folder / "complete").touch()
    return python


def _call(command: list[object]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise NotMeasuredError(lines[-1])
    return done.stdout

"""How long the whole job takes, and how much memory: simulate, train, score; beside each bar, was it met?

    python benchmarks/end_to_end.py --leads 20000 --seed 7 --trials 30

Each job runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

TRAIN_SECONDS, SCORE_SECONDS, PEAK_GB = 180.0, 20.0, 2.0
OPEN_LEADS = 20_000
LEADS_FOR_OPEN_ONES = 35_000
"""Of so many leads more than OPEN_LEADS were created in the year before the export."""


@dataclass(frozen=True)
class Phase:
    """One line of the table. CPU counts all threads and child processes."""

    name: str
    wall: float
    cpu: float


@dataclass(frozen=True)
class Job:
    """What one process did: its phases, its peak memory, and what it made."""

    phases: tuple[Phase, ...]
    peak_gb: float
    facts: dict[str, Any]

    @property
    def wall(self) -> float:
        return sum(phase.wall for phase in self.phases)

    @property
    def cpu(self) -> float:
        return sum(phase.cpu for phase in self.phases)


class Stopwatch:
    """A progress callback that notes when each phase begins."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, float, float]] = []
        self("loading", 0, 1)

    def __call__(self, phase: str, done: int, total: int) -> None:
        if not self.marks or self.marks[-1][0] != phase:
            self.marks.append((phase, time.perf_counter(), _cpu()))

    def job(self, **facts: Any) -> Job:
        """The phases so far, each until the next one began, the last until now."""
        marks = [*self.marks, ("end", time.perf_counter(), _cpu())]
        phases = tuple(
            Phase(name, marks[place + 1][1] - wall, marks[place + 1][2] - cpu)
            for place, (name, wall, cpu) in enumerate(self.marks)
        )
        return Job(phases, _peak_gb(), facts)


def make_world(folder: Path, leads: int, seed: int, keep_deals_until: str | None) -> Job:
    """Write a demo world. With `keep_deals_until`, later deals are not recorded: their leads are open."""
    watch = Stopwatch()
    from lead_propensity.data.simulate import simulate, write

    world = simulate(leads, seed, progress=watch)
    watch("writing", 0, 1)
    write(world, folder)
    if keep_deals_until is not None:
        deals = pd.read_csv(folder / "deals.csv")
        deals[deals["closed_at"] < keep_deals_until].to_csv(folder / "deals.csv", index=False)
    return watch.job(events=len(world.events))


def train_on(world: Path, run: Path, seed: int, trials: int) -> Job:
    watch = Stopwatch()
    from lead_propensity import load_config, train

    overrides = [f"model.seed={seed}", f"model.trials={trials}"]
    config = load_config(world / "config.yaml", overrides)
    parts = train(config, run, watch).scorecard["parts"]
    training = sum(part["snapshots"] for part in parts if part["population"] == "training")
    return watch.job(training=training, stock=sum(p["snapshots"] for p in parts) - training)


def score_open(world: Path, run: Path, out: Path) -> Job:
    watch = Stopwatch()
    from lead_propensity import load_config, score

    scored = score(load_config(world / "config.yaml"), str(run), out, progress=watch)
    explained = scored.bands["hot"] + scored.bands["warm"]
    return watch.job(leads=scored.table.num_rows, explained=explained)


def alone(work: Callable[..., Job], *arguments: Any) -> Job:
    """The work in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def show(title: str, job: Job) -> None:
    print(f"\n{title}")
    print(f"  {'phase':<14}{'wall s':>8}{'CPU s':>8}")
    for phase in (*job.phases, Phase("in all", job.wall, job.cpu)):
        print(f"  {phase.name:<14}{phase.wall:>8.1f}{phase.cpu:>8.1f}")
    print(f"  peak memory {job.peak_gb:.2f} GB")


def judge(what: str, value: float, bar: float, unit: str) -> bool:
    met = value < bar
    print(
        f"  {what:<44}{value:>8.2f} {unit:<3} bar {bar:>5.0f} {unit:<3} {'met' if met else 'MISSED'}"
    )
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--trials", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lead-propensity-bench-") as name:
        folder = Path(name)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        return run_all(folder, given.leads, given.seed, given.trials)


def run_all(folder: Path, leads: int, seed: int, trials: int) -> int:
    """Exit code 0 where every bar was met, else 1."""
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    demo, full, run = folder / "demo", folder / "full", folder / "run"
    made = alone(make_world, demo, leads, seed, None)
    show(f"Simulate {leads:,} leads, {made.facts['events']:,} events", made)
    trained = alone(train_on, demo, run, seed, trials)
    show(
        f"Train on {trained.facts['training']:,} training and {trained.facts['stock']:,} stock "
        f"snapshots, {trials} trials: from check to report",
        trained,
    )
    scored = alone(score_open, demo, run, folder / "scores.parquet")
    show(f"Score the world's {scored.facts['leads']:,} open leads", scored)
    many = alone(make_world, full, LEADS_FOR_OPEN_ONES, seed + 1, "2024-12-31")
    large = alone(score_open, full, run, folder / "large.parquet")
    show(
        f"Score {large.facts['leads']:,} open leads of {LEADS_FOR_OPEN_ONES:,} with "
        f"{many.facts['events']:,} events (the deals of the last year are not recorded), "
        f"{large.facts['explained']:,} of them explained",
        large,
    )
    print("\nBars, on two cores")
    met = [
        judge(f"train, {leads:,} leads", trained.wall, TRAIN_SECONDS, "s"),
        judge("  peak memory", trained.peak_gb, PEAK_GB, "GB"),
        judge(f"score, {large.facts['leads']:,} open leads", large.wall, SCORE_SECONDS, "s"),
        judge("  peak memory", large.peak_gb, PEAK_GB, "GB"),
    ]
    return 0 if all(met) and large.facts["leads"] >= OPEN_LEADS else 1


def _cpu() -> float:
    """Seconds of CPU of this process and of its ended children."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(one) for one in who]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_gb() -> float:
    """The largest resident size of this process, or of a child where that was larger."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return max(resource.getrusage(one).ru_maxrss for one in who) * unit / 1e9


if __name__ == "__main__":
    sys.exit(main())

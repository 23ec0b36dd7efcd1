"""How far the model's probabilities lie from the true ones of a simulated CRM; beside each bar, was it met?

    python benchmarks/truth.py [--sizes 2000 20000] [--seeds 1 2 3 4 5] [--drift] [--plot FILE.svg]

Excess log loss is the model's less the truth's, in percent of the constant's less the truth's. Each world
is simulated, trained on and judged in a process of its own. The exit code is 1 where a bar is missed.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import truth_plot
from measuring import Measured, alone
from truth_losses import Losses
from truth_runs import Run, judge

BARS = {20_000: 3.0, 200_000: 1.0}
"""Most excess in percent, mean of the seeds, by leads; without drift."""
JUDGED_BY_BARS = "open"
POPULATIONS = {
    "test": "the test part, by the model of what was known when it began",
    "open": "the leads open at the export, by the model fitted again on all known labels",
}
SPLIT = ("split.calibrate_days=28", "split.test_days=28")
SETTINGS = {200_000: ("snapshots.every_days=28",)}
"""Fewer dates for the largest world, so that its matrix fits 8 GB."""

Found = dict[int, list[dict[str, Any]]]
"""Leads -> the facts of each seed."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000], help="leads")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--drift", action="store_true", help="the base rate falls; no bars then")
    parser.add_argument(
        "--set", nargs="*", default=[], help="more settings, such as model.trials=5"
    )
    parser.add_argument("--folder", type=Path, help="figures of finished runs, kept and used again")
    parser.add_argument("--plot", type=Path, help="where the learning curve goes, an SVG")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    found: Found = {size: [_run(size, seed, given) for seed in given.seeds] for size in given.sizes}
    for size, runs in found.items():
        for population in POPULATIONS:
            _show(size, population, [run[population] for run in runs])
    if given.plot:
        truth_plot.learning_curve(_curves(found), BARS, given.plot)
        print(f"\nThe learning curve: {given.plot}")
    return 0 if given.drift else _bars(found)


def _run(leads: int, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """The facts of one run; a finished one is read from the folder, where one is given."""
    run = Run(leads, seed, given.drift, (*SPLIT, *SETTINGS.get(leads, ()), *given.set))
    kept = (
        given.folder / f"truth-{leads}-{seed}{'-drift' * run.drift}.json" if given.folder else None
    )
    if kept and kept.exists():
        facts = json.loads(kept.read_text())
        if facts["run"] == json.loads(json.dumps(asdict(run))):
            return _line(facts)
    with tempfile.TemporaryDirectory(prefix="lead-propensity-bench-") as scratch:
        taken = alone(judge, run, Path(scratch) / "world")
    facts = _facts(run, taken)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(facts))
    return _line(facts)


def _facts(run: Run, taken: Measured) -> dict[str, Any]:
    cost = {"cpu": taken.cpu, "wall": taken.wall, "peak_gb": taken.peak_gb}
    return {"run": asdict(run), **taken.facts, **cost}


def _line(facts: dict[str, Any]) -> dict[str, Any]:
    run = facts["run"]
    each = [
        f"{name} {_excess(facts[name], 'model'):.2f}% ({facts[name]['won_leads']:,} won leads)"
        for name in POPULATIONS
    ]
    print(
        f"  {run['leads']:,} leads, seed {run['seed']}: {', '.join(each)}; {facts['learner']}; "
        f"{facts['wall']:.0f} s, CPU {facts['cpu']:.0f} s, {facts['peak_gb']:.1f} GB",
        flush=True,
    )
    return facts


def _show(size: int, population: str, runs: list[dict[str, Any]]) -> None:
    snapshots = _mean([run["members"]["model"]["all"]["snapshots"] for run in runs])
    learned = _mean([run["learned_snapshots"] for run in runs])
    error = 100 * _mean([run["truth_error"] for run in runs])
    print(
        f"\n{size:,} leads: {POPULATIONS[population]}, {snapshots:,.0f} a seed; learned from "
        f"{learned:,.0f} snapshots\n  (standard error of each true probability: {error:.0f}%, corrected for)"
    )
    head = ("log loss", "excess %", "range", "level %", "rest %")
    print(f"  {'mean of the seeds':<24}" + "".join(f"{title:>16}" for title in head))
    for name in ("constant", "truth"):
        loss = _mean([run["members"]["model"]["all"][name] for run in runs])
        print(f"  {name:<24}{loss:>16.5f}")
    for name in runs[0]["members"]:
        _show_member(name, runs)
    _show_ages(runs)
    _show_calibration(runs)


def _show_member(name: str, runs: list[dict[str, Any]]) -> None:
    """Level is what the best shift of each month would save; the rest is loss of ranking and of shape."""
    excess, level = [_excess(run, name) for run in runs], [_level(run, name) for run in runs]
    loss = _mean([run["members"][name]["all"]["model"] for run in runs])
    span = f"{min(excess):.2f} to {max(excess):.2f}"
    print(
        f"  {name:<24}{loss:>16.5f}{_mean(excess):>16.2f}{span:>16}{_mean(level):>16.2f}"
        f"{_mean(excess) - _mean(level):>16.2f}"
    )


def _show_ages(runs: list[dict[str, Any]]) -> None:
    print("  excess % of the model by age of the lead, mean and range")
    ages = [run["members"]["model"]["ages"] for run in runs]
    for group in sorted(
        {name for each in ages for name in each}, key=lambda name: int(name.split()[0])
    ):
        losses = [Losses(**each[group]) for each in ages if group in each]
        excess = [100 * each.excess for each in losses]
        n = sum(each.snapshots for each in losses)
        span = f"{min(excess):.2f} to {max(excess):.2f}"
        print(f"    {group:<22}{n:>10,}{_mean(excess):>10.2f}{span:>16}")


def _show_calibration(runs: list[dict[str, Any]]) -> None:
    """Per tenth of the snapshots by p: E[truth | p] - p, and the mean of its size over the tenths."""
    p = np.mean([run["members"]["model"]["bins"]["p"] for run in runs], axis=0)
    off = np.array([run["members"]["model"]["bins"]["off"] for run in runs])
    size = np.abs(off).mean(axis=1)
    print(
        f"  calibration error against the truth: {size.mean():.5f} ({size.min():.5f} to {size.max():.5f})"
    )
    print("    mean p            " + "".join(f"{each:>9.4f}" for each in p))
    print("    mean truth less p " + "".join(f"{each:>+9.4f}" for each in off.mean(axis=0)))


def _bars(found: Found) -> int:
    print("\nBars")
    missed = False
    for size, bar in BARS.items():
        if size not in found:
            print(f"  excess % at {size:,} leads: not run")
            continue
        value = _mean([_excess(run[JUDGED_BY_BARS], "model") for run in found[size]])
        missed |= value > bar
        print(
            f"  excess % at {size:,} leads{value:>10.2f} <= {bar:<6g}{'MISSED' if value > bar else 'met'}"
        )
    return int(missed)


def _curves(found: Found) -> dict[str, dict[int, list[float]]]:
    """What the plot shows: population, member -> leads -> the excess of each seed."""
    shown = {
        "deployed model, open leads": ("open", "model"),
        "model, test part": ("test", "model"),
        "logistic member, test part": ("test", "logistic member"),
        "rules, test part": ("test", "rules"),
    }
    return {
        label: {size: [_excess(run[place], name) for run in runs] for size, runs in found.items()}
        for label, (place, name) in shown.items()
    }


def _excess(run: dict[str, Any], name: str) -> float:
    return 100 * Losses(**run["members"][name]["all"]).excess


def _level(run: dict[str, Any], name: str) -> float:
    losses = Losses(**run["members"][name]["all"])
    return 100 * float(run["members"][name]["level"]) / (losses.constant - losses.truth)


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


if __name__ == "__main__":
    sys.exit(main())

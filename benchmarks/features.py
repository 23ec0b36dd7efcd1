"""How much the features cost, in multiples of a plain GROUP BY over the same events; beside each bar, was it met?

    python benchmarks/features.py --size small|full|huge [--folder KEEP] [--skip forms peers explicit spark]

CPU seconds (user and system, all threads and child processes), warm, each job in a process of its own.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import feature_jobs as jobs
import feature_peers as peers
from feature_world import Size, World
from measuring import Measured, alone
from sql_forms import FORMS

FEW, MANY = 4, 40
"""Snapshots of each lead."""
PLAIN_BAR, MANY_BAR, HUGE_BAR, NIGHT_BAR = 5.0, 12.0, 6.0, 5.0
"""Most CPU, in multiples of the plain GROUP BY."""
RANGE_JOIN_BAR = 6.0
"""The SQL range join takes at least so many times our CPU."""
FURTHER_BAR = 1.5
"""Microseconds for each further snapshot."""
HUGE_LIMIT, HUGE_GB = "4GB", 4.0


@dataclass(frozen=True)
class Scale:
    """One size of the benchmark. Of `times` runs the one with the least CPU counts."""

    world: Size
    times: int
    explicit_leads: int
    """With 10 dates and 10 changing attributes each."""
    simulated_leads: int
    """Of the CRM that Spark and one machine read from files."""


SCALES = {
    "small": Scale(Size(2_000_000, 20_000), 3, 10_000, 1_000),
    "full": Scale(Size(10_000_000, 100_000), 3, 100_000, 20_000),
}
HUGE = Size(100_000_000, 1_000_000)
PEERS = Size(200_000, 2_000, late_share=0.0)
PARTS = ("forms", "peers", "explicit", "spark")


@dataclass
class Findings:
    """What was judged; printed at the end."""

    bars: list[tuple[str, float, str, float, bool]] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)

    def at_most(self, what: str, value: float, bar: float) -> None:
        self.bars.append((what, value, "<=", bar, value <= bar))

    def at_least(self, what: str, value: float, bar: float) -> None:
        self.bars.append((what, value, ">=", bar, value >= bar))

    def show(self, size: str) -> int:
        """Exit code 0 where every output was equal and every bar was met, else 1.

        The bars are those of the larger sizes: at the small one, where fixed costs weigh, they only show.
        """
        print("\nBars" if size != "small" else "\nBars of the full size, for comparison")
        for what, value, sign, bar, met in self.bars:
            print(f"  {what:<66}{value:>7.2f} {sign} {bar:<5g}{'met' if met else 'MISSED'}")
        for name in self.unequal:
            print(f"  {name}: not equal to ours")
        met = size == "small" or all(met for *_, met in self.bars)
        return 0 if met and not self.unequal else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=[*SCALES, "huge"], default="small")
    parser.add_argument("--folder", type=Path, help="where the data are kept for the next run")
    parser.add_argument("--skip", nargs="*", choices=PARTS, default=[])
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="lead-propensity-bench-") as scratch:
        folder = given.folder or Path(scratch)
        findings = Findings()
        if given.size == "huge":
            measure_huge(folder, findings)
        else:
            measure(SCALES[given.size], folder, Path(scratch), given.skip, findings)
        return findings.show(given.size)


def measure(scale: Scale, folder: Path, scratch: Path, skip: list[str], findings: Findings) -> None:
    """All parts but those to `skip`; the data lie in `folder`, results in `scratch`."""
    world = _made(folder, scale.world)
    out = scratch / "ours.parquet"
    plain, ours = measure_ours(world, scale, out, findings)
    if "forms" not in skip:
        measure_forms(world, ours, out, findings)
    if "peers" not in skip:
        measure_peers(_made(folder, PEERS), scratch, findings)
    if "explicit" not in skip:
        measure_explicit(folder, scale, plain)
    if "spark" not in skip:
        measure_spark(scratch / "simulated", scale.simulated_leads, findings)


def measure_ours(
    world: World, scale: Scale, out: Path, findings: Findings
) -> tuple[Measured, Measured]:
    """The yardstick, and ours with few snapshots of each lead."""
    _title(f"{world.size.events:,} events, {world.size.leads:,} leads", "x plain")
    plain = alone(jobs.plain, world, times=scale.times)
    _line("plain GROUP BY lead_id", plain)

    def run(name: str, work: Callable[..., Measured], *arguments: Any) -> Measured:
        found = alone(work, world, *arguments, times=scale.times)
        return _line(name, found, found.cpu / plain.cpu)

    few = run("ours, one matrix", jobs.whole, FEW, out)
    night = run("ours, one date for all leads", jobs.whole, 1)
    few_pieces = run("ours, in pieces", jobs.in_pieces, FEW)
    many = run("ours, in pieces", jobs.in_pieces, MANY)
    more = many.facts["snapshots"] - few_pieces.facts["snapshots"]
    further = (many.cpu - few_pieces.cpu) / more * 1e6
    findings.at_most("x plain, a matrix of 4 snapshots a lead", few.cpu / plain.cpu, PLAIN_BAR)
    findings.at_most("x plain, 40 snapshots a lead", many.cpu / plain.cpu, MANY_BAR)
    findings.at_most("microseconds for each further snapshot", further, FURTHER_BAR)
    findings.at_most("x plain, one date for all leads", night.cpu / plain.cpu, NIGHT_BAR)
    return plain, few


def measure_forms(world: World, ours: Measured, out: Path, findings: Findings) -> None:
    _title(f"The same as plain SQL, {ours.facts['snapshots']:,} snapshots", "x ours")
    _line("ours", ours, 1.0)
    for name in FORMS:
        theirs = out.with_name("form.parquet")
        found = alone(jobs.by_sql, world, FEW, name, theirs)
        _line(name, found, found.cpu / ours.cpu, _compared(name, out, theirs, findings))
        if name == "range join + CASE":
            findings.at_least("x ours, the SQL range join", found.cpu / ours.cpu, RANGE_JOIN_BAR)


def measure_peers(world: World, scratch: Path, findings: Findings) -> None:
    """Counts in windows and over all time, by type and in all, and the last event."""
    events, leads = f"{world.size.events:,} events", f"{world.size.leads:,} leads"
    _title(f"Peers, a subset, {events}, {leads}", "x ours")
    out, theirs = scratch / "ours_of_peers.parquet", scratch / "peer.parquet"
    ours = _line("ours, all its features", alone(jobs.whole, world, FEW, out, times=3), 1.0)
    alone(peers.make_input, world, FEW)
    for name, work in {
        "pandas": peers.with_pandas,
        "featuretools": peers.with_featuretools,
    }.items():
        try:
            found = alone(work, world, theirs)
        except peers.NotMeasuredError as reason:
            print(f"  {name}: not measured: {reason}")
            continue
        _line(name, found, found.cpu / ours.cpu, _compared(name, out, theirs, findings))


def measure_explicit(folder: Path, scale: Scale, plain: Measured) -> None:
    found = alone(jobs.explicit, folder / "explicit", scale.explicit_leads, 10, 10)
    _title(f"10 changing attributes, {found.facts['versions']:,} versions", "x plain")
    _line("ours, as known at each snapshot", found, found.cpu / plain.cpu)


def measure_spark(folder: Path, leads: int, findings: Findings) -> None:
    """From files to the matrix, on one machine and on Spark; the same cells."""
    _title(f"From files, {leads:,} simulated leads: check, learn, compute", "x ours")
    missing = peers.spark_missing()
    if missing:
        print(f"  spark: not measured: {missing}")
        return
    alone(peers.simulated, folder, leads)
    config = folder / "config.yaml"
    ours = _line("engine.kind local", alone(peers.from_files, config, ()), 1.0)
    engine = ("engine.kind=spark", "engine.spark.master=local[2]")
    spark = alone(peers.from_files, config, engine)
    equal = spark.facts["digest"] == ours.facts["digest"]
    if not equal:
        findings.unequal.append("spark")
    note = "equal in every cell" if equal else "DIFFERS"
    _line("engine.kind spark, local[2], Java and workers", spark, spark.cpu / ours.cpu, note)


def measure_huge(folder: Path, findings: Findings) -> None:
    world = _made(folder, HUGE)
    _title(f"{HUGE.events:,} events, {HUGE.leads:,} leads, limit {HUGE_LIMIT}", "x plain")
    plain = _line("plain GROUP BY lead_id", alone(jobs.plain, world))
    ours = alone(jobs.within, world, FEW, HUGE_LIMIT)
    ratio = ours.cpu / plain.cpu
    _line("ours, in pieces", ours, ratio)
    pieces, writing = ours.facts["pieces"], ours.facts["writing"]
    print(f"  ({pieces} pieces; to write them to Parquet took {writing:.1f} s of CPU more)")
    findings.at_most("x plain, 4 snapshots a lead", ratio, HUGE_BAR)
    findings.at_most(f"GB at the peak, with a limit of {HUGE_LIMIT}", ours.peak_gb, HUGE_GB)


def _made(folder: Path, size: Size) -> World:
    """In a process of its own: ours stays small."""
    place = folder / f"{size.events}-{size.leads}"
    alone(jobs.make, place, size)
    return World(place, size)


def _compared(name: str, ours: Path, theirs: Path, findings: Findings) -> str:
    facts = alone(jobs.differing, ours, theirs).facts
    if not facts["differ"]:
        return f"{facts['compared']} features, equal"
    findings.unequal.append(name)
    listed = ", ".join(f"{column} in {rows} rows" for column, rows in facts["differ"].items())
    return f"DIFFERS in {listed}"


def _title(text: str, unit: str) -> None:
    head = f"{'snapshots':>11}{'features':>10}{'CPU s':>9}{'wall s':>9}{unit:>9}{'peak GB':>9}"
    print(f"\n{text}\n  {'':<46}{head}", flush=True)


def _line(name: str, found: Measured, ratio: float | None = None, note: str = "") -> Measured:
    counts = (found.facts.get(key) for key in ("snapshots", "features"))
    snapshots, features = ("" if count is None else f"{count:,}" for count in counts)
    times = "" if ratio is None else f"{ratio:.2f}"
    print(
        f"  {name:<46}{snapshots:>11}{features:>10}{found.cpu:>9.2f}{found.wall:>9.2f}{times:>9}"
        f"{found.peak_gb:>9.2f}  {note}".rstrip(),
        flush=True,
    )
    return found


if __name__ == "__main__":
    sys.exit(main())

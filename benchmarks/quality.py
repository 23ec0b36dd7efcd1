"""Whose probabilities are better, out of time: ours or a peer's? Beside each bar, was it met?

    python benchmarks/quality.py [CONFIG ...] [--folder KEEP] [--only ours flaml ...] [--quick]

Everybody learns from the same rows of our features and is judged on the same rows of the test part. Every
contender works in a process of its own; its CPU counts from start to end, with its children.
"""

import argparse
import math
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lead_propensity.config import load
from lead_propensity.evaluation.metrics import Floats
from quality_data import Export, export
from quality_figures import judged, probability_of, with_tracker
from quality_peers import PEERS
from quality_runs import LEARNED_FROM, OURS, Budget, NotMeasuredError, Run, Said, ours, peer
from quality_table import Comparison, interval, markdown, picture

CONFIGS = Path(__file__).parent.parent / "configs"
NAMES = ("bpic2012", "completejourney", "olist_mql", "xeducation", "bank")
SETS = [CONFIGS / f"{name}.yaml" for name in NAMES]
RANK_BAR = 1.5
LEVEL_BAND, LEVEL_SHARE, LEVEL_HARM = (0.85, 1.15), 0.6, 0.03
"""Expected to observed lies in the band on this share of the sets; most |log| that the tracker may add."""
CPU_PEER = "autogluon"
QUICK, QUICK_SETTINGS = Budget(seconds=10, trials=5), ["model.trials=5"]
LEVEL, CPU = "The level, walking forward", "CPU"
UNTRACKED, TRACKED, USED, NAIVE = (
    "Without the level tracker",
    "With the level tracker",
    "As used: ours with its tracker, peers without",
    "Peers with naive counts",
)


@dataclass
class Findings:
    """What was judged; printed at the end."""

    bars: list[tuple[str, str, str, bool]] = field(default_factory=list)
    """Under which title, what, what was found, and whether the bar was met."""

    def add(self, title: str, what: str, found: str, met: bool) -> None:
        self.bars.append((title, what, found, met))

    def show(self, quick: bool) -> int:
        """Exit code 0 where every bar was met, else 1. A quick run only shows them."""
        print("\nBars" if not quick else "\nBars, for a look: a quick run judges nothing")
        for place, (title, what, found, met) in enumerate(self.bars):
            if place == 0 or title != self.bars[place - 1][0]:
                print(title)
            print(f"  {what:<82}{found:<28}{'met' if met else 'MISSED'}")
        return 0 if quick or all(met for *_, met in self.bars) else 1


@dataclass(frozen=True)
class Bench:
    """What is run, and where it is kept."""

    sets: list[Export]
    names: list[str]
    """Contenders that may run now; of the others what is kept counts."""
    variants: list[str]
    """Likewise: of what peers may run now, see LEARNED_FROM."""
    budget: Budget
    folder: Path

    def peers(self, given: Export, variant: str) -> dict[str, Said]:
        """What each peer said; where one cannot run the reason is printed."""
        found = {}
        for name in PEERS:
            if (name, variant) == ("constant_recent", "fit"):
                continue  # there is one part only: the same as constant
            try:
                run_now = name in self.names and variant in self.variants
                said = peer(Run(name, given, variant), self.budget, self.folder, run_now)
            except NotMeasuredError as reason:
                print(f"  {given.name}, {variant}: {name} not measured: {reason}", flush=True)
                continue
            if said is not None:
                found[name] = said
        _say(f"{given.name}, {variant}", found)
        return found

    def ours(self) -> dict[str, Said]:
        """What ours said of each set; sets on which it was neither kept nor may run are left out."""
        found = {}
        for given in self.sets:
            said = ours(given, self.folder, run_now=OURS in self.names)
            if said is not None:
                _say(given.name, {OURS: said})
                found[given.name] = said
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="*", type=Path, help="default: those of the five sets")
    parser.add_argument("--sets", nargs="+", help="names of some of the sets")
    everybody = [OURS, *PEERS]
    text = "who may run; of the others what --folder keeps counts"
    parser.add_argument("--only", "--contenders", nargs="+", choices=everybody, help=text)
    text = "what peers may learn from now; default: everything"
    parser.add_argument("--variants", nargs="+", choices=[*LEARNED_FROM], help=text)
    parser.add_argument("--folder", type=Path, help="where exports and predictions are kept")
    parser.add_argument("--out", type=Path, default=Path("build/quality"), help="for the tables")
    parser.add_argument("--fresh", action="store_true", help="export again: raw files have changed")
    text = (
        "for FLAML and AutoGluon, default 60: give more where other work takes the machine's time"
    )
    parser.add_argument("--seconds", type=int, default=60, help=text)
    parser.add_argument("--quick", action="store_true", help="5 trials and 10 seconds: a look")
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits would count as CPU
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="lead-propensity-bench-") as scratch:
        folder = (given.folder or Path(scratch)).resolve() / ("quick" if given.quick else "whole")
        configs = [
            load(path, QUICK_SETTINGS if given.quick else []) for path in given.configs or SETS
        ]
        configs = [one for one in configs if given.sets is None or one.name in given.sets]
        sets = [export(config, folder / "exports", given.fresh) for config in configs]
        names, variants = given.only or everybody, given.variants or [*LEARNED_FROM]
        budget = QUICK if given.quick else Budget(given.seconds)
        comparisons = compared(Bench(sets, names, variants, budget, folder))
        if not comparisons:
            print("Nothing to compare: ours was not run.")
            return 1
        _write(comparisons, {one.name: one.size for one in sets}, given.out)
    return judge(comparisons).show(given.quick)


def compared(bench: Bench) -> list[Comparison]:
    """Without and with the level tracker, as used, and with naive counts; sets without ours are left out."""
    full = [(given, bench.peers(given, "all")) for given in bench.sets]
    own = bench.ours()
    found = {title: Comparison(title) for title in (UNTRACKED, TRACKED, USED, NAIVE)}
    for given, theirs in full:
        if given.name in own:
            mine = own[given.name]
            for title, (probability, runs) in _said(bench, given, mine, theirs).items():
                if runs:
                    figures = judged(probability, given.keys("test"), given.config.model.seed)
                    found[title].figures[given.name] = figures
                    cpu = {name: said.cpu for name, said in {OURS: mine, **runs}.items()}
                    found[title].cpu[given.name] = cpu
                    found[title].walked[given.name] = mine.facts["walked"]
    return [one for one in found.values() if one.figures]


def _said(
    bench: Bench, given: Export, mine: Said, full: Mapping[str, Said]
) -> dict[str, tuple[dict[str, Floats], Mapping[str, Said]]]:
    """By title what everybody said of the test part, and the peers' runs.

    With the tracker peers learn from the rows that ours learned from.
    """
    keys, variant = given.keys("test"), "all" if mine.facts["refitted"] else "fit"
    same_rows = full if variant == "all" else bench.peers(given, variant)
    counted = {} if given.config.data.events is None else bench.peers(given, "naive")
    tracked = {OURS: probability_of(mine, keys)}
    untracked = {OURS: probability_of(mine, keys, "probability_untracked")}

    def plain(runs: Mapping[str, Said]) -> dict[str, Floats]:
        return {name: probability_of(said, keys) for name, said in runs.items()}

    def followed(runs: Mapping[str, Said]) -> dict[str, Floats]:
        level, learned = mine.facts["level"], LEARNED_FROM[variant]
        return {name: with_tracker(said, level, given, learned) for name, said in runs.items()}

    return {
        UNTRACKED: (untracked | plain(full), full),
        TRACKED: (tracked | followed(same_rows), same_rows),
        USED: (tracked | plain(full), full),
        NAIVE: (untracked | plain(counted), counted),
    }


def judge(comparisons: Sequence[Comparison]) -> Findings:
    """The bars; those of the level speak of the walk forward."""
    findings = Findings()
    found = {one.title: one for one in comparisons}
    for title in (UNTRACKED, TRACKED, USED):
        if title in found:
            _judge_loss(found[title], findings)
    if UNTRACKED in found:
        _judge_level(found[UNTRACKED], findings)
        _judge_cpu(found[UNTRACKED], findings)
    return findings


def _judge_loss(one: Comparison, findings: Findings) -> None:
    rank = one.mean_rank(OURS)
    what = f"mean rank by log loss, at most {RANK_BAR}"
    findings.add(one.title, what, f"{rank:.2f}", rank <= RANK_BAR)
    for name, figures in one.figures.items():
        best = one.best_peer(name)
        less = figures[best].less_ours
        what = f"{name}: log loss less that of {best}, not significantly more"
        findings.add(one.title, what, interval(less), not less.lower > 0)


def _judge_level(one: Comparison, findings: Findings) -> None:
    """Ours in the walk forward, which ends where the test part begins."""
    walked = {name: ratios for name, ratios in one.walked.items() if ratios}
    low, high = LEVEL_BAND
    inside = sum(low <= ratios["tracked"] <= high for ratios in walked.values())
    needed = math.ceil(LEVEL_SHARE * len(walked))
    what = f"sets with expected to observed in {low}-{high}, tracked, at least {needed}"
    findings.add(LEVEL, what, f"{inside} of {len(walked)}", inside >= needed)
    for name, ratios in walked.items():
        before, after = ratios["untracked"], ratios["tracked"]
        harm = abs(math.log(after)) - abs(math.log(before))
        what = f"{name}: |log of it|, tracked less untracked, at most {LEVEL_HARM}"
        findings.add(LEVEL, what, f"{harm:+.3f} ({before:.2f} to {after:.2f})", harm <= LEVEL_HARM)


def _judge_cpu(one: Comparison, findings: Findings) -> None:
    """On the sets on which AutoGluon was measured."""
    sets = [cpu for cpu in one.cpu.values() if CPU_PEER in cpu]
    mine, theirs = (sum(cpu[name] for cpu in sets) for name in (OURS, CPU_PEER))
    what, found = f"ours, at most that of {CPU_PEER}", f"{mine:.0f} s, {theirs:.0f} s"
    findings.add(CPU, what, found if sets else "not measured", bool(sets) and mine <= theirs)


def _write(comparisons: Sequence[Comparison], sizes: Mapping[str, str], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "quality.md").write_text(markdown(comparisons, sizes), encoding="utf-8")
    picture(comparisons[0], out / "quality.svg")
    print(f"\nWritten: {out / 'quality.md'}, {out / 'quality.svg'}")


def _say(where: str, found: Mapping[str, Said]) -> None:
    seconds = ", ".join(f"{name} {said.cpu:.0f}" for name, said in found.items())
    print(f"  {where}, seconds of CPU: {seconds or 'nothing ran'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""What reasons cost: explaining 20,000 leads beside scoring them, and beside LightGBM's own explanation.

    python benchmarks/reasons.py --leads 20000 --trials 10

A model is trained on a simulated CRM; the matrix that it scores is made beforehand. Wall seconds, the median of
several runs. The exit code is 1 where explaining takes more than ten times as long as scoring.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lead_propensity.config import Config, load
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.data.simulate import simulate, write
from lead_propensity.features import dataset
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.learners import Blend, BoostedTrees
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.progress import silent
from lead_propensity.serving import scoring

MOST_TIMES = 10.0
RUNS = 5
ORACLE_ROWS = 1_000
"""Rows that LightGBM explains; its time is scaled up."""


@dataclass(frozen=True)
class World:
    """A trained model, and the matrix that it is to score."""

    config: Config
    model: PropensityModel
    data: Dataset


def made(leads: int, trials: int, seed: int) -> World:
    """The simulated world has fewer leads than `leads`: each is looked at several times."""
    with tempfile.TemporaryDirectory(prefix="reasons-") as folder:
        write(simulate(leads // 2, seed), Path(folder))
        asked = [f"model.trials={trials}", f"model.seed={seed}"]
        config = load(Path(folder) / "config.yaml", asked)
        with opened(config.engine) as (con, allowance):
            found = tables.check(con, config)
            plan = dataset.plan(con, config, found.exported_at)
            data = dataset.training(con, plan, silent, allowance)
    model = PropensityModel.fit(data, config)
    model = replace(model, rules=plan.card.model_dump(mode="json", by_alias=True))
    last = np.zeros(len(data), bool)
    last[-leads:] = True
    return World(config, model, data.rows(last))


def median_seconds(work: Callable[[], object]) -> float:
    """The first run, which may compile, does not count."""
    work()
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure(world: World) -> bool:
    """Print the table; whether both bars were met."""
    model, data, n = world.model, world.data, len(world.data)
    shift, until = np.zeros(n), np.full(n, -1)

    def scored() -> object:
        return scoring.scored(model, data, shift, until, world.config.bands.routes)

    frame = scoring.scored(model, data, shift, until, world.config.bands.routes)
    some = int((frame["band"] != "cold").sum())
    everyone = np.arange(n)
    score = median_seconds(scored)
    why = median_seconds(lambda: scoring.reasons(model, data, frame))
    predict = median_seconds(lambda: model.predict(data.X, data.catalogue.fingerprint))
    explain = median_seconds(lambda: model.reasons(data.X, everyone).to_json())
    trees = [one for one in _members(model) if isinstance(one, BoostedTrees)]
    print(f"\n{n:,} leads, {len(data.catalogue.features)} features, {_words(trees)}")
    print(f"Python {platform.python_version()}, {platform.machine()}; median of {RUNS} runs\n")
    print("| work | seconds | times |\n|---|---|---|")
    print(f"| score {n:,} leads, no reasons | {score:.2f} | 1 |")
    with_reasons = (score + why) / score
    print(
        f"| ... with the reasons of {some:,} warm and hot ones | {score + why:.2f} | {with_reasons:.1f} |"
    )
    print(f"| predict {n:,} from a ready matrix | {predict:.2f} | 1 |")
    print(f"| explain all {n:,} | {explain:.2f} | {explain / predict:.1f} |")
    if trees:
        _beside_lightgbm(trees[0], world)
    met = max(with_reasons, explain / predict) <= MOST_TIMES
    print(f"\nAt most {MOST_TIMES:.0f} times: {'met' if met else 'MISSED'}")
    return met


def _beside_lightgbm(trees: BoostedTrees, world: World) -> None:
    """The trees alone: our contributions and LightGBM's, which must be the same."""
    matrix = trees.encoding.for_trees(world.data.X)
    few, scale = matrix[:ORACLE_ROWS], len(matrix) / min(ORACLE_ROWS, len(matrix))
    raw = median_seconds(lambda: trees.booster.predict(matrix, raw_score=True))
    ours = median_seconds(lambda: trees.forest.contributions(matrix))
    theirs = scale * median_seconds(lambda: trees.booster.predict(few, pred_contrib=True))
    gap = np.abs(trees.forest.contributions(few) - trees.booster.predict(few, pred_contrib=True))
    print(f"| one boosted member: predict | {raw:.2f} | 1 |")
    print(f"| ... its Shapley values, ours (one thread) | {ours:.2f} | {ours / raw:.1f} |")
    print(f"| ... LightGBM's pred_contrib (all threads) | {theirs:.2f} | {theirs / raw:.1f} |")
    print(f"\nLargest difference between the two: {gap.max():.1e}")


def _members(model: PropensityModel) -> tuple[object, ...]:
    return model.main.members if isinstance(model.main, Blend) else ()


def _words(trees: list[BoostedTrees]) -> str:
    leaves = sum(len(tree.value[~np.isnan(tree.value)]) for tree in (t.forest.edges for t in trees))
    return f"{len(trees)} boosted members with {leaves:,} leaves"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    sys.exit(0 if measure(made(asked.leads, asked.trials, asked.seed)) else 1)


if __name__ == "__main__":
    main()

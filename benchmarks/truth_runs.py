"""One run of the known-truth benchmark: a world, a model trained on it, and its losses."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import Config, load
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.data.simulate import World, simulate, write
from lead_propensity.features import dataset
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model.level import tracked
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import refitted, start_of_test
from lead_propensity.serving import judging, scoring
from measuring import Measured, measured
from truth_losses import Losses, Truth, by_age, calibration, level_loss

JUDGED = 6_000
"""Most snapshots of a population whose truth is simulated, chosen by a hash."""
DRAWS = 384
"""Simulated futures of each: the truth's standard error is about a twentieth of it."""
MEMBERS = {
    "model": "probability",
    "logistic member": "logistic_probability",
    "rules": "rules_probability",
}
"""What is judged, and its column in the predictions; the rules in the test part alone."""


@dataclass(frozen=True)
class Run:
    """Which world, and how it is looked at."""

    leads: int
    seed: int
    drift: bool
    settings: tuple[str, ...]
    """Overrides of the world's config, as on the command line."""


@dataclass(frozen=True)
class Material:
    """What the world's files gave: the labelled matrix, the leads open at the export, the rules."""

    data: Dataset
    open_leads: Dataset
    card: Scorecard


def judge(run: Run, folder: Path) -> Measured:
    """Simulate, train, and hold the probabilities against the truth; all figures as facts.

    `test`: the test part, by the model of all labels known when it began. `open`: the leads open at the
    export, by the same model fitted again on all known labels. So does `train`, where refitting harms not.
    """
    with measured() as taken:
        world = _written(run, folder)
        config = load(folder / "config.yaml", list(run.settings))
        material = _material(config)
        model = PropensityModel.fit(material.data, config)
        model = replace(model, rules=material.card.model_dump(mode="json", by_alias=True))
        model = refitted(model, material.data, config, until=start_of_test(material.data))
        taken.facts = {
            "learner": model.choices["learner"],
            "test": _on_test(world, model, material, config),
            "open": _on_open(world, refitted(model, material.data, config), material, config),
        }
    return taken


def _written(run: Run, folder: Path) -> World:
    """The world in its files; of its tables only the leads stay in memory."""
    world = simulate(run.leads, run.seed, drift=run.drift, dirty=False)
    write(world, folder)
    nothing = pd.DataFrame()
    return replace(world, attributes=nothing, events=nothing, deals=nothing)


def _material(config: Config) -> Material:
    with opened(config.engine) as (con, allowance):
        found = tables.check(con, config)
        found.raise_problems(True)
        made = dataset.plan(con, config, found.exported_at)
        data = dataset.training(con, made, allowance=allowance)
        open_leads = dataset.open_leads(con, config, made.catalogue, made.card, found.exported_at)
    return Material(data, open_leads, made.card)


def _on_test(
    world: World, model: PropensityModel, material: Material, config: Config
) -> dict[str, Any]:
    """As `train` judges: read once, at the level that was known."""
    predictions = judging.test_predictions(material.data, model, config.bands.routes)
    rows = predictions[predictions["population"] == "training"]
    return _figures(world, rows, _learned(material.data.part("fit", "purged", "calibrate")), config)


def _on_open(
    world: World, model: PropensityModel, material: Material, config: Config
) -> dict[str, Any]:
    """As `score` scores on the day of the export."""
    leads = material.open_leads
    found = model.predict(leads.X, model.catalogue.fingerprint)
    moments = leads.keys["order"].to_numpy(np.int64)
    shift, _ = scoring.level(model, moments, material.data)
    rows = leads.keys.assign(
        probability=tracked(found.probability_untracked, shift),
        logistic_probability=found.logistic_probability,
    )
    learned = _learned(material.data.part("fit", "purged", "calibrate", "test"))
    return _figures(world, rows, learned, config)


def _learned(rows: Dataset) -> dict[str, Any]:
    labelled = rows.rows(~np.isnan(rows.won))
    won = labelled.keys.loc[labelled.won == 1.0, "lead_id"].nunique()
    base_rate = float(labelled.won.mean())
    return {"base_rate": base_rate, "learned_snapshots": len(labelled), "won_leads": int(won)}


def _figures(
    world: World, predictions: pd.DataFrame, learned: dict[str, Any], config: Config
) -> dict[str, Any]:
    """Plain numbers only: they cross from one process to another, and into a file.

    Leads that have closed while the deal is not known yet look open; they have no truth and are left out.
    """
    rows = _chosen(predictions)
    days = config.snapshots.horizon_days
    truth = Truth(
        *world.true_probability_with_error(rows["lead_id"], rows["as_of"], days, draws=DRAWS)
    )
    open_indeed = ~np.isnan(truth.probability)
    rows, truth = rows[open_indeed], truth.rows(open_indeed)
    members = {
        name: _of_member(truth, rows, column, learned["base_rate"])
        for name, column in MEMBERS.items()
        if column in rows
    }
    error = float(np.sum(truth.error) / np.sum(truth.probability))
    return {**learned, "members": members, "truth_error": error}


def _of_member(truth: Truth, rows: pd.DataFrame, column: str, base_rate: float) -> dict[str, Any]:
    p, age = rows[column].to_numpy(np.float64), rows["age_days"].to_numpy(np.float64)
    month = rows["as_of"].to_numpy(np.int64).astype("datetime64[us]").astype("datetime64[M]")
    return {
        "all": asdict(Losses.of(truth, p, base_rate)),
        "ages": {group: asdict(each) for group, each in by_age(truth, p, age, base_rate).items()},
        "level": level_loss(truth, p, month),
        "bins": calibration(truth, p).to_dict("list"),
    }


def _chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """At most JUDGED rows, the same for the same world."""
    names = rows["lead_id"].astype(str) + "@" + rows["as_of"].astype(str)
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    return rows.iloc[np.argsort(digests)[:JUDGED]].reset_index(drop=True)

"""From raw tables to a run: the straight line of training."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.data import tables
from lead_propensity.data.database import digest, opened
from lead_propensity.data.tables import Check
from lead_propensity.data.targets import alone_in_new
from lead_propensity.data.workroom import entered
from lead_propensity.evaluation import leakage
from lead_propensity.evaluation.backtest import decide_refit
from lead_propensity.evaluation.changes import changed_leads
from lead_propensity.evaluation.context import context, walked_context
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.evaluation.walking import walk
from lead_propensity.evaluation.why import why_hot
from lead_propensity.features import dataset, segments, stages
from lead_propensity.features.sampling import Sample
from lead_propensity.features.traces import traces
from lead_propensity.files import write_parquet, write_text
from lead_propensity.model import wording
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import refitted, start_of_test
from lead_propensity.pipeline.checking import checked
from lead_propensity.progress import Progress, silent
from lead_propensity.reporting import model_card, pictures, report
from lead_propensity.serving import distributed, judging
from lead_propensity.tracking.registry import EVALUATED
from lead_propensity.tracking.runs import LoggedRun, log_run


@dataclass(frozen=True)
class TrainedRun:
    """What `train` leaves: the run folder, its figures, and where MLflow keeps them."""

    folder: Path
    scorecard: dict[str, Any]
    model: PropensityModel
    """The deployed one: fitted again where `scorecard["deployed"]` says so, after the figures were made."""
    logged: LoggedRun


def train(config: Config, out: Path | str | None = None, progress: Progress = silent) -> TrainedRun:
    """Train, calibrate, band, judge on the test part; leave a run folder and an MLflow run.

    `out` must be empty or not there yet (default: `models/<name>/<time>`); it appears only once it is
    whole. Raises ConfigError, DataError, and ModelError where MLflow refuses (the folder stands then).
    """
    started, told = datetime.now(UTC), wording.of_config(config) or wording.english()
    folder = Path(out) if out else Path("models") / config.name / f"{started:%Y%m%dT%H%M%S_%fZ}"
    with alone_in_new(folder) as scratch, entered(config.engine.work_folder) as room:
        with opened(config.engine) as (con, allowance):
            found, sampled = _learnable(con, config, folder, progress)
            data_digest = digest(con)  # of all leads that are here: the plan may keep a sample
            made = dataset.plan(con, config, found.exported_at, sampled)
            data = dataset.training(con, made, progress, allowance)
            data = segments.attached(con, data, config)
            data = stages.attached(con, data, config, made.line.label_delay)
            left = traces(con, config, made)
            tables.write_quarantine(con, found, scratch / "private" / "quarantine")
        storage = room.shelf(_search_key(config, data_digest))
        model = PropensityModel.fit(data, config, progress, storage)
        model = replace(model, rules=made.card.model_dump(mode="json", by_alias=True), wording=told)
        walked = walk(data, model, config, progress)
        refit = decide_refit(walked, config.model.refit)  # before the test part is read
        if refit.refitted:
            model = refitted(model, data, config, until=start_of_test(data))
        progress("evaluating", 0, 1)
        predictions = judging.test_predictions(data, model, config.bands.routes)
        deployed = refitted(model, data, config) if refit.refitted else model
        facts = context(config, found, made, data, model, started.isoformat(timespec="seconds"))
        level = judging.level_in_words(data, model)
        facts |= walked_context(walked, refit, model, deployed, config, level)
        facts["reasons"] = why_hot(data, model, predictions)
        facts |= leakage.context(
            leakage.audit(data.part("fit"), data.part("calibrate"), left), facts
        )
        card = scorecard(predictions, facts, config.model.seed)
        drawn = pictures.pictures(card)
        progress("evaluating", 1, 1)
        _write_run(scratch, deployed, predictions, card)
        write_text(report.render(card, drawn), scratch / "report.html")
        if refit.refitted:
            model.save(scratch / EVALUATED)  # the gate judges it, see docs/registry.md
    progress("logging", 0, 1)
    files = pictures.svg_files(drawn) | pictures.tuning_files(deployed.trials)
    logged = log_run(folder, config, card, deployed, files, data_digest)
    progress("logging", 1, 1)
    return TrainedRun(folder, card, deployed, logged)


def _search_key(config: Config, data_digest: str) -> str:
    """Where a killed run's finished trials are found again; more trials than then, or other threads, may be asked."""
    apart: Any = {"engine": True, "model": {"trials"}}
    asked = config.model_dump_json(exclude=apart)
    return "trials" + hashlib.sha256((data_digest + asked).encode()).hexdigest()[:32]


def _learnable(
    con: duckdb.DuckDBPyConnection, config: Config, folder: Path, progress: Progress
) -> tuple[Check, Sample | None]:
    """The checked tables to train on; Spark brings a sample of them here already."""
    if config.engine.kind == "local":
        return checked(con, config, progress, learning=True), None
    distributed.refuse(config)
    return distributed.sampled(con, config, folder, progress)


def _write_run(
    folder: Path, model: PropensityModel, predictions: pd.DataFrame, card: dict[str, Any]
) -> None:
    model.save(folder / "model")
    write_parquet(judging.predictions_table(predictions), folder / "test_predictions.parquet")
    write_text(json.dumps(card, indent=1, allow_nan=False) + "\n", folder / "scorecard.json")
    changed = changed_leads(predictions).to_csv(index=False, lineterminator="\n")
    write_text(changed, folder / "private" / "changed_leads.csv")
    write_text(model_card.markdown(card), folder / "model_card.md")

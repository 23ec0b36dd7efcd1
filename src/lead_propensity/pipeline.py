"""The straight line: train a model on what was known, score the leads that are open."""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import Config
from lead_propensity.data import tables
from lead_propensity.data.database import digest, opened
from lead_propensity.data.engine import count_rows
from lead_propensity.data.merging import sorted_table
from lead_propensity.data.moments import microseconds, words
from lead_propensity.data.tables import Check
from lead_propensity.data.workroom import Allowance, entered
from lead_propensity.errors import ConfigError
from lead_propensity.evaluation.backtest import decide_refit
from lead_propensity.evaluation.context import context, walked_context
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.evaluation.walking import walk
from lead_propensity.features import dataset, exported, matrix
from lead_propensity.features.dataset import Plan
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.sampling import Sample
from lead_propensity.features.windows import DAY_US
from lead_propensity.files import new_folder, write_parquet, write_table, write_text
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import refitted, start_of_test
from lead_propensity.progress import Progress, silent
from lead_propensity.reporting import pictures, report
from lead_propensity.serving import distributed, judging, night, scoring
from lead_propensity.serving.tasks import matrix_schema
from lead_propensity.tracking.registry import fetch
from lead_propensity.tracking.runs import LoggedRun, log_run


@dataclass(frozen=True)
class TrainedRun:
    """What `train` leaves: the run folder, its figures, and where MLflow keeps them."""

    folder: Path
    scorecard: dict[str, Any]
    model: PropensityModel
    """The deployed one: fitted again where `scorecard["deployed"]` says so, after the figures were made."""
    logged: LoggedRun


@dataclass(frozen=True)
class ScoredLeads:
    """What `score` wrote."""

    out: Path
    table: pa.Table | None
    """None on Spark, where the scores need not fit this machine: read them from the folder `out`."""
    bands: dict[str, int]
    """How many leads each band holds, hot first."""
    found: Check
    """What the contracts found in the tables that were scored."""
    notes: tuple[str, ...]
    """What the reader of the scores should know, in words."""

    @property
    def rows(self) -> int:
        return sum(self.bands.values())


@dataclass(frozen=True)
class WrittenFeatures:
    """What `write_features` wrote."""

    out: Path
    snapshots: int
    features: int


def check(config: Config, quarantine: Path | None = None) -> Check:
    """Hold the declared tables to their contracts; rows set aside go to the folder `quarantine`.

    Raises ConfigError where the config or its rules cannot be read.
    """
    dataset.rules_of(config)
    with opened(config.engine) as (con, _):
        found = tables.check(con, config)
        if quarantine is not None:
            tables.write_quarantine(con, found, quarantine)
        return found


def features(
    config: Config, as_of: datetime | None = None, progress: Progress = silent
) -> pd.DataFrame:
    """The matrix: `lead_id, as_of, order, won, part` and one column a feature.

    Without `as_of` the training population of all parts; with it the leads open then, part `scoring`,
    by the vocabulary that the fit part taught; these are all, also where training takes a sample.
    Raises ConfigError, DataError where it does not fit the memory: see `write_features`.
    """
    if config.engine.kind == "spark":
        raise ConfigError(
            "features gives a frame in this machine's memory, engine.kind is spark. "
            "Use write_features, or set engine.kind: local."
        )
    parts = list(_matrix(config, as_of, progress))
    frame = pd.concat([matrix.to_frame(part) for part in parts], ignore_index=True)
    return frame if len(parts) == 1 else frame.sort_values(["order", "lead_id"], ignore_index=True)


def write_features(
    config: Config, out: Path | str, as_of: datetime | None = None, progress: Progress = silent
) -> WrittenFeatures:
    """Write the matrix to a file, also one that does not fit the memory; on Spark to a folder of files.

    On Spark the matrix is of all leads, also where training takes a sample. Raises ConfigError, DataError.
    """
    if config.engine.kind == "spark":
        distributed.refuse(config)
        distributed.require_folder_name(Path(out))
        moment = None if as_of is None else microseconds(as_of, config.data.timezone)
        done, columns = distributed.features(config, Path(out), moment, progress)
        return WrittenFeatures(Path(out), done.facts.get("rows", 0), columns)
    rows, columns = 0, 0
    with sorted_table(Path(out), ("order", "lead_id"), config.engine.work_folder) as writer:
        for part in _matrix(config, as_of, progress):
            fingerprint = {"lead_propensity.fingerprint": part.catalogue.fingerprint}
            schema = matrix_schema(part.catalogue).with_metadata(fingerprint)
            frame = matrix.to_frame(part)
            writer.add(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
            rows, columns = rows + len(part), len(part.catalogue.features)
    return WrittenFeatures(Path(out), rows, columns)


def _matrix(config: Config, as_of: datetime | None, progress: Progress) -> Iterator[Dataset]:
    """The matrix that `features` speaks of, in pieces."""
    if as_of is not None and config.data.exported is not None:
        raise ConfigError("--as-of: rows as exported have no history to go back in. Leave it out.")
    with opened(config.engine) as (con, allowance):
        found = _checked(con, config, progress, learning=True)
        made = dataset.plan(con, config, found.exported_at)
        if as_of is None:
            con.execute("DELETE FROM snapshots WHERE population <> 'training'")
            yield from dataset.training_pieces(con, made, progress, allowance)
        elif made.sample.one_in == 1:
            yield from _open_leads(con, config, made, as_of, progress, allowance)
    if as_of is not None and made.sample.one_in > 1:
        with opened(config.engine) as (con, allowance):
            _checked(con, config, progress)  # the rows of all leads, once more
            yield from _open_leads(con, config, made, as_of, progress, allowance)


def train(config: Config, out: Path | str | None = None, progress: Progress = silent) -> TrainedRun:
    """Train, calibrate, band, judge on the test part; leave a run folder and an MLflow run.

    `out` must be empty or not there yet (default: `models/<name>/<time>`); it appears only once it is
    whole. Raises ConfigError, DataError, and ModelError where MLflow refuses (the folder stands then).
    """
    started = datetime.now(UTC)
    folder = Path(out) if out else Path("models") / config.name / f"{started:%Y%m%dT%H%M%S_%fZ}"
    with new_folder(folder) as scratch, entered(config.engine.work_folder) as room:
        with opened(config.engine) as (con, allowance):
            found, sampled = _learnable(con, config, folder, progress)
            data_digest = digest(con)  # of all leads that are here: the plan may keep a sample
            made = dataset.plan(con, config, found.exported_at, sampled)
            data = dataset.training(con, made, progress, allowance)
            tables.write_quarantine(con, found, scratch / "private" / "quarantine")
        storage = room.shelf(_search_key(config, data_digest))
        model = PropensityModel.fit(data, config, progress, storage)
        model = replace(model, rules=made.card.model_dump(mode="json", by_alias=True))
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
        card = scorecard(predictions, facts, config.model.seed)
        progress("evaluating", 1, 1)
        _write_run(scratch, deployed, predictions, card)
    progress("logging", 0, 1)
    drawn = pictures.svg_files(card) | pictures.tuning_files(deployed.trials)
    logged = log_run(folder, config, card, deployed, drawn, data_digest)
    progress("logging", 1, 1)
    return TrainedRun(folder, card, deployed, logged)


def score(
    config: Config,
    model_source: str | Path,
    out: Path | str,
    as_of: datetime | None = None,
    every_row: bool = False,
    progress: Progress = silent,
) -> ScoredLeads:
    """Score the leads open at `as_of` (default: the export time) and write them to `out`.

    `model_source` is a run folder, its `model/`, or `models:/NAME@ALIAS`. As exported: the rows without
    an outcome, or with `every_row` all. No open lead gives a table without rows. Raises ConfigError,
    DataError, ModelError.
    """
    as_exported = config.data.exported is not None
    if as_of is not None and as_exported:
        raise ConfigError("--as-of: rows as exported have no history to go back in. Leave it out.")
    if every_row and not as_exported:
        raise ConfigError("every_row is for rows as exported. Give --as-of for an event history.")
    model = load_model(model_source)
    if config.engine.kind == "spark":
        return _scored_on_spark(config, model, Path(out), as_of, progress)
    with opened(config.engine) as (con, allowance):
        found = _checked(con, config, progress)
        if as_exported:
            moment = exported.make_scoring(con, model.level.label_delay, every_row)
            rows = matrix.build(con, model.catalogue, night.card_of(model), progress, allowance)
            past, pieces = rows, iter([rows.part("scoring")])
        else:
            moment = (
                found.exported_at if as_of is None else microseconds(as_of, config.data.timezone)
            )
            dataset.require_tables(config, model.catalogue, night.card_of(model))
            past = night.past(con, config, model, moment, allowance)
            pieces = night.open_leads(con, config, model, moment, progress, allowance)
        (shift,), (until,) = scoring.level(model, np.array([moment]), past)
        now, routes = pd.Timestamp.now(tz="UTC"), config.bands.routes
        parts = [night.scores(model, piece, (shift, until), routes, now) for piece in pieces]
        unclear = 0 if as_exported else count_rows(con, "unclear_leads")
    table = pa.concat_tables(parts).sort_by([("order", "ascending"), ("lead_id", "ascending")])
    write_table(table, Path(out))
    counts = Counter(table["band"].to_pylist())
    return ScoredLeads(
        Path(out), table, _bands(counts), found, _notes(found, model, moment, unclear)
    )


def _scored_on_spark(
    config: Config, model: PropensityModel, out: Path, as_of: datetime | None, progress: Progress
) -> ScoredLeads:
    distributed.refuse(config, moment_given=as_of is not None)
    distributed.require_folder_name(out)
    told = config.data.exported_at if as_of is None else as_of
    assert told is not None
    moment = microseconds(told, config.data.timezone)
    dataset.require_tables(config, model.catalogue, night.card_of(model))
    done = distributed.score(config, model, out, moment, progress)
    notes = _notes(done.found, model, moment, done.facts.get("unclear", 0))
    return ScoredLeads(out, None, _bands(done.facts), done.found, notes)


def _bands(counts: Mapping[Any, int]) -> dict[str, int]:
    return {band: int(counts.get(band, 0)) for band in ("hot", "warm", "cold")}


def load_model(source: str | Path) -> PropensityModel:
    """The model of a run folder, of its `model/`, or of an MLflow address. Raises ModelError."""
    if str(source).startswith(("models:/", "runs:/")):
        with tempfile.TemporaryDirectory() as scratch:
            return PropensityModel.load(fetch(str(source), Path(scratch)))
    folder = Path(source)
    return PropensityModel.load(folder / "model" if (folder / "model").is_dir() else folder)


def _checked(
    con: duckdb.DuckDBPyConnection, config: Config, progress: Progress, learning: bool = False
) -> Check:
    progress("checking", 0, 1)
    found = tables.check(con, config)
    found.raise_problems(learning)
    progress("checking", 1, 1)
    return found


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
        return _checked(con, config, progress, learning=True), None
    distributed.refuse(config)
    return distributed.sampled(con, config, folder, progress)


def _open_leads(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    made: Plan,
    as_of: datetime,
    progress: Progress,
    allowance: Allowance,
) -> Iterator[Dataset]:
    moment = microseconds(as_of, config.data.timezone)
    return dataset.open_pieces(con, config, made.catalogue, made.card, moment, progress, allowance)


def _notes(found: Check, model: PropensityModel, moment: int, unclear: int) -> tuple[str, ...]:
    notes = []
    if model.horizon_days is not None and moment < model.labels_until:
        notes.append(
            f"The model learned from deals known until {words(model.labels_until)}: scores of an earlier "
            "moment look better than they were."
        )
    if unclear:
        notes.append(f"{unclear:,} leads are not scored: their deal is in quarantine.")
    ahead = (moment - found.exported_at) / DAY_US
    if found.exported_at >= 0 and ahead >= 1:
        notes.append(
            f"The data ends {ahead:,.0f} days before the moment of scoring: what leads did since is not seen."
        )
    return tuple(notes)


def _write_run(
    folder: Path, model: PropensityModel, predictions: pd.DataFrame, card: dict[str, Any]
) -> None:
    model.save(folder / "model")
    write_parquet(judging.predictions_table(predictions), folder / "test_predictions.parquet")
    write_text(json.dumps(card, indent=1, allow_nan=False) + "\n", folder / "scorecard.json")
    write_text(report.render(card), folder / "report.html")

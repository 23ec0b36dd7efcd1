"""The straight line: train a model on what was known, score the leads that are open."""

import json
import tempfile
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
from lead_propensity.data.moments import microseconds, words
from lead_propensity.data.tables import Check
from lead_propensity.errors import ConfigError
from lead_propensity.evaluation.context import context
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.features import dataset, exported, matrix, snapshots
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.features.windows import DAY_US
from lead_propensity.files import new_folder, write_parquet, write_table, write_text
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.progress import Progress, silent
from lead_propensity.reporting import pictures, report
from lead_propensity.serving import judging, scoring
from lead_propensity.tracking.registry import fetch
from lead_propensity.tracking.runs import LoggedRun, log_run


@dataclass(frozen=True)
class TrainedRun:
    """What `train` leaves: the run folder, its figures, and where MLflow keeps them."""

    folder: Path
    scorecard: dict[str, Any]
    model: PropensityModel
    logged: LoggedRun


@dataclass(frozen=True)
class ScoredLeads:
    """What `score` wrote."""

    out: Path
    table: pa.Table
    found: Check
    """What the contracts found in the tables that were scored."""
    notes: tuple[str, ...]
    """What the reader of the scores should know, in words."""

    @property
    def bands(self) -> dict[str, int]:
        """How many leads each band holds, hot first."""
        counts = pd.Series(self.table["band"].to_pylist(), dtype=object).value_counts()
        return {band: int(counts.get(band, 0)) for band in ("hot", "warm", "cold")}


def check(config: Config, quarantine: Path | None = None) -> Check:
    """Hold the declared tables to their contracts; rows set aside go to the folder `quarantine`.

    Raises ConfigError where the config or its rules cannot be read.
    """
    dataset.rules_of(config)
    with opened(config.engine) as con:
        found = tables.check(con, config)
        if quarantine is not None:
            tables.write_quarantine(con, found, quarantine)
        return found


def features(
    config: Config,
    out: Path | str | None = None,
    as_of: datetime | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """The matrix: `lead_id, as_of, order, won, part` and one column a feature; written to `out` if given.

    Without `as_of` the training population of all parts; with it the leads open then, part `scoring`,
    by the vocabulary that the fit part taught.
    """
    if as_of is not None and config.data.exported is not None:
        raise ConfigError("--as-of: rows as exported have no history to go back in. Leave it out.")
    with opened(config.engine) as con:
        found = _checked(con, config, progress, learning=True)
        made = dataset.plan(con, config, found.exported_at)
        if as_of is None:
            data = dataset.training(con, made, progress)
            data = data.rows((data.keys["population"] == "training").to_numpy())
        else:
            moment = microseconds(as_of, config.data.timezone)
            data = dataset.open_leads(con, config, made.catalogue, made.card, moment, progress)
    frame = matrix.to_frame(data)
    if out is not None:
        fingerprint = {"lead_propensity.fingerprint": data.catalogue.fingerprint}
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **fingerprint})
        write_table(table, Path(out))
    return frame


def train(config: Config, out: Path | str | None = None, progress: Progress = silent) -> TrainedRun:
    """Train, calibrate, band, judge on the test part; leave a run folder and an MLflow run.

    `out` must be empty or not there yet (default: `models/<name>/<time>`); it appears only once it is
    whole. Raises ConfigError, DataError, and ModelError where MLflow refuses (the folder stands then).
    """
    started = datetime.now(UTC)
    folder = Path(out) if out else Path("models") / config.name / f"{started:%Y%m%dT%H%M%S_%fZ}"
    with new_folder(folder) as scratch:
        with opened(config.engine) as con:
            found = _checked(con, config, progress, learning=True)
            made = dataset.plan(con, config, found.exported_at)
            data = dataset.training(con, made, progress)
            data_digest = digest(con)
            tables.write_quarantine(con, found, scratch / "private" / "quarantine")
        model = PropensityModel.fit(data, config, progress)
        model = replace(model, rules=made.card.model_dump(mode="json", by_alias=True))
        progress("evaluating", 0, 1)
        predictions = judging.test_predictions(data, model, config.bands.routes)
        facts = context(config, found, made, data, model, started.isoformat(timespec="seconds"))
        card = scorecard(predictions, facts, config.model.seed)
        progress("evaluating", 1, 1)
        _write_run(scratch, model, predictions, card)
    progress("logging", 0, 1)
    logged = log_run(folder, config, card, model, pictures.svg_files(card), data_digest)
    progress("logging", 1, 1)
    return TrainedRun(folder, card, model, logged)


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
    with opened(config.engine) as con:
        found = _checked(con, config, progress)
        unclear = 0
        if as_exported:
            moment = exported.make_scoring(con, model.level.label_delay, every_row)
            rows = matrix.build(con, model.catalogue, _card(model), progress)
            data, past = rows.part("scoring"), rows
        else:
            moment = (
                found.exported_at if as_of is None else microseconds(as_of, config.data.timezone)
            )
            data = dataset.open_leads(con, config, model.catalogue, _card(model), moment, progress)
            # The open leads themselves have no outcome and tell nothing.
            past = _past(con, config, model, moment) if model.level.is_on else data
            unclear = count_rows(con, "unclear_leads")
    shift, until = scoring.level(model, np.array([moment]), past)
    n = len(data)
    frame = scoring.scored(
        model, data, np.repeat(shift, n), np.repeat(until, n), config.bands.routes
    )
    progress("explaining", 0, 1)
    why = scoring.reasons(model, data, frame)
    progress("explaining", 1, 1)
    table = scoring.scores_table(frame, why, model, pd.Timestamp.now(tz="UTC"))
    write_table(table, Path(out))
    return ScoredLeads(Path(out), table, found, _notes(found, model, moment, unclear))


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


def _card(model: PropensityModel) -> Scorecard:
    return Scorecard.model_validate(model.rules)


def _past(
    con: duckdb.DuckDBPyConnection, config: Config, model: PropensityModel, moment: int
) -> Dataset:
    """The snapshots that may tell the level at `moment`."""
    trained = config.snapshots.model_copy(update={"horizon_days": model.horizon_days})
    snapshots.make_cohorts(con, trained, moment, model.level.after, model.level.label_delay)
    return matrix.build(con, model.catalogue, _card(model))


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

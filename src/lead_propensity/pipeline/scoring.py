"""From raw tables to scores: the straight line of the night job."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lead_propensity.config import Config
from lead_propensity.data.database import opened
from lead_propensity.data.engine import count_rows
from lead_propensity.data.moments import microseconds, words
from lead_propensity.data.tables import Check
from lead_propensity.errors import ConfigError
from lead_propensity.features import dataset, exported, matrix
from lead_propensity.features.windows import DAY_US
from lead_propensity.model import wording
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.pipeline.checking import checked
from lead_propensity.progress import Progress, silent
from lead_propensity.serving import distributed, night, scoring, sinks
from lead_propensity.tracking.registry import fetch


@dataclass(frozen=True)
class ScoredLeads:
    """What `score` wrote."""

    out: str
    """A file, a folder, or `postgres:TABLE`."""
    bands: dict[str, int]
    """How many leads each band holds, hot first."""
    found: Check
    """What the contracts found in the tables that were scored."""
    notes: tuple[str, ...]
    """What the reader of the scores should know, in words."""

    outlook: tuple[str, ...] = ()
    """Of a dry run, which wrote nothing: what would have been done, in words."""

    @property
    def table(self) -> pa.Table:
        """The scores, read again from `out`, which is to be a Parquet file or a folder of them."""
        if not self.out.endswith((".parquet", "/")):
            raise ConfigError(
                f"{self.out} is not read back as a table. Read it there, or write Parquet."
            )
        return pq.read_table(self.out, partitioning=None)

    @property
    def rows(self) -> int:
        return sum(self.bands.values())


def score(
    config: Config,
    model_source: str | Path,
    out: Path | str,
    as_of: datetime | None = None,
    every_row: bool = False,
    progress: Progress = silent,
    dry_run: bool = False,
) -> ScoredLeads:
    """Score the leads open at `as_of` (default: the export time) and write them to `out`.

    `out` is a file, a folder that ends in / (a part each moment), or `postgres:TABLE`, see `sinks`; what it
    holds of the same moment is replaced. A dry run does all but writing. `model_source` is a run folder,
    its `model/`, or `models:/NAME@ALIAS`. As exported: the rows without an outcome, or with `every_row`
    all. No open lead gives a table without rows. Raises ConfigError, DataError, ModelError.
    """
    as_exported = config.data.exported is not None
    if as_of is not None and as_exported:
        raise ConfigError("--as-of: rows as exported have no history to go back in. Leave it out.")
    if every_row and not as_exported:
        raise ConfigError("every_row is for rows as exported. Give --as-of for an event history.")
    model, told = load_model(model_source), wording.of_config(config)
    if config.engine.kind == "spark":
        return _scored_on_spark(config, model, Path(out), as_of, progress, dry_run)
    with (
        sinks.opened(str(out), config, scoring.SCORES, dry_run) as sink,
        opened(config.engine) as (con, allowance),
    ):
        found = checked(con, config, progress)
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
        parts = (night.scores(model, piece, (shift, until), routes, now, told) for piece in pieces)
        counted, at = sinks.Counted(parts), None if as_exported else moment
        outlook = counted.bring(sink, at, dry_run)
        unclear = 0 if as_exported else count_rows(con, "unclear_leads")
    notes = _notes(found, model, moment, unclear)
    return ScoredLeads(str(out), _bands(counted.bands), found, notes, outlook)


def _scored_on_spark(
    config: Config,
    model: PropensityModel,
    out: Path,
    as_of: datetime | None,
    progress: Progress,
    dry_run: bool,
) -> ScoredLeads:
    if dry_run or config.score.columns:
        raise ConfigError(
            "--dry-run and score.columns are for one machine, engine.kind is spark. Leave them out."
        )
    distributed.refuse(config, moment_given=as_of is not None)
    distributed.require_folder_name(out)
    told = config.data.exported_at if as_of is None else as_of
    assert told is not None
    moment = microseconds(told, config.data.timezone)
    dataset.require_tables(config, model.catalogue, night.card_of(model))
    done = distributed.score(config, model, out, moment, progress)
    notes = _notes(done.found, model, moment, done.facts.get("unclear", 0))
    return ScoredLeads(str(out), _bands(done.facts), done.found, notes)


def _bands(counts: Mapping[Any, int]) -> dict[str, int]:
    return {band: int(counts.get(band, 0)) for band in ("hot", "warm", "cold")}


def load_model(source: str | Path) -> PropensityModel:
    """The model of a run folder, of its `model/`, or of an MLflow address. Raises ModelError."""
    if str(source).startswith(("models:/", "runs:/")):
        with tempfile.TemporaryDirectory() as scratch:
            return PropensityModel.load(fetch(str(source), Path(scratch)))
    folder = Path(source)
    return PropensityModel.load(folder / "model" if (folder / "model").is_dir() else folder)


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

"""From raw tables to scores: the straight line of the night job."""

import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lead_propensity.config import Config
from lead_propensity.data.moments import iso, words
from lead_propensity.data.tables import Check
from lead_propensity.errors import ConfigError
from lead_propensity.features import standing
from lead_propensity.features.windows import DAY_US
from lead_propensity.files import is_there
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.pipeline import one_machine
from lead_propensity.pipeline.one_machine import Asked
from lead_propensity.progress import Progress, silent
from lead_propensity.serving import account, distributed, limits
from lead_propensity.serving.account import Account
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
    record: dict[str, Any]
    """What the run told of itself, see `serving.account`."""

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
    def counts(self) -> dict[str, Any]:
        """What became of every row of the leads: `read` = `scored` + all of `not_scored`."""
        counts: dict[str, Any] = self.record["counts"]
        return counts

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
    all. No open lead gives a table without rows. Every run but a dry one leaves a record, see `records`.
    Raises ConfigError, DataError, ModelError, and Refused where a limit of `score.limits` is passed.
    """
    asked = Asked(config, str(out), as_of, every_row, dry_run)
    with account.kept(config, asked.out, progress, dry_run) as told:
        asked.require_sense()
        told.clock("loading the model", 0, 1)
        model = load_model(model_source)
        told.clock("loading the model", 1, 1)
        told.meet(model)
        asked.require_fit(model)
        if config.engine.kind == "spark":
            return _scored_on_spark(asked, model, told)
        return _scored_here(asked, model, told)


def _scored_here(asked: Asked, model: PropensityModel, told: Account) -> ScoredLeads:
    done = one_machine.score(asked, model, told)
    notes = _notes(done.found, model, done.looked_from, done.unclear)
    told.warn(*limits.warnings(asked.config, model, done.moment))
    return _summary(asked, done.found, notes, told, done.outlook)


def _scored_on_spark(asked: Asked, model: PropensityModel, told: Account) -> ScoredLeads:
    config, out = asked.config, Path(asked.out)
    if config.score.columns:
        raise ConfigError(
            "score.columns is for one machine, engine.kind is spark. Leave it out, and rename the columns where the "
            "scores are read."
        )
    distributed.refuse(config, moment_given=asked.as_of is not None)
    distributed.require_folder_name(out)
    moment = asked.moment(distributed.data_until(config))
    assert moment is not None, "Spark is not asked for rows as exported"
    told.tell(as_of=iso(moment))
    limits.require(limits.stale(config, distributed.data_until(config), moment))

    def judge(done: distributed.Done) -> None:
        unscored = {one: done.facts[one] for one in standing.REASONS if one in done.facts}
        told.look(done.found, moment)
        if config.data.exported_at is None:
            told.tell(data_until=None)
        told.count(done.found, done.facts, done.facts, unscored)
        unknown = limits.unknown_events(config, done.facts)
        limits.require((*done.found.excess, *limits.unseen(config, model, done.facts), *unknown))
        if not asked.dry_run:
            told.make_sure()

    done = distributed.score(config, model, out, moment, told.clock, judge, asked.dry_run)
    notes = _notes(done.found, model, moment, done.facts.get(standing.UNCLEAR, 0))
    told.warn(*limits.warnings(config, model, moment))
    outlook = distributed.outlook(out) if asked.dry_run else ()
    return _summary(asked, done.found, notes, told, outlook)


def _summary(
    asked: Asked,
    found: Check,
    notes: tuple[str, ...],
    told: Account,
    outlook: tuple[str, ...] = (),
) -> ScoredLeads:
    record = told.record
    said = (*notes, *record["warnings"])
    return ScoredLeads(asked.out, record["bands"], found, said, record, outlook)


def load_model(source: str | Path) -> PropensityModel:
    """The model of a run folder, of its `model/`, or of an MLflow address. Raises ModelError."""
    if str(source).startswith(("models:/", "runs:/")):
        with tempfile.TemporaryDirectory() as scratch:
            return PropensityModel.load(fetch(str(source), Path(scratch)))
    folder = Path(source)
    return PropensityModel.load(folder / "model" if is_there(folder / "model") else folder)


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

"""The steps of a run that many machines share: what they are asked, and what their answers add up to."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from lead_propensity.config import Config, EngineConfig
from lead_propensity.data import packing, sources, tables
from lead_propensity.data.contract import column_problems
from lead_propensity.data.database import opened
from lead_propensity.data.engine import connect, count_rows, literal
from lead_propensity.data.moments import Ending, microseconds
from lead_propensity.data.parts import Check, whole
from lead_propensity.errors import ConfigError
from lead_propensity.features import dataset
from lead_propensity.features.sampling import Sample, is_kept, one_in, tells_level
from lead_propensity.features.snapshots import COHORT_ROWS
from lead_propensity.files import new_folder, write_text
from lead_propensity.model import wording
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.progress import Progress
from lead_propensity.serving import scoring
from lead_propensity.serving.chunks import ERROR, Line, Setting, raise_error_rows
from lead_propensity.serving.spark import Cluster, session
from lead_propensity.serving.tasks import CountCohorts, Look, Make, Model, Score, Tell

LAST_MOMENT = datetime(2200, 1, 1, tzinfo=UTC)
"""No row is known later: stands for an export time that is not declared."""
_ALL = "true"


@dataclass(frozen=True)
class Done:
    """What a job found in the tables, and what it counted: `rows` written, leads in each band ..."""

    found: Check
    facts: dict[str, int]


def refuse(config: Config, moment_given: bool = False) -> None:
    """Raises ConfigError for what Spark is not asked to do. Needs neither Spark nor the data."""
    data = config.data
    if data.exported is not None:
        raise ConfigError(
            "engine.kind is spark, but rows as exported fit one machine. Set engine.kind: local."
        )
    packing.files_of_tables(sources.declared(data))
    if data.exported_at is None and not moment_given:
        raise ConfigError(
            "data.exported_at is not declared, and on Spark no machine sees the latest time of all. "
            "Declare it, e.g. data.exported_at: 2025-12-31T00:00:00Z (for scores --as-of does as well)."
        )


def data_until(config: Config) -> int:
    """Until when the data goes, int64 microseconds; -1 where that is not declared."""
    declared = config.data.exported_at
    return -1 if declared is None else microseconds(declared, config.data.timezone)


def require_folder_name(out: Path) -> None:
    """Raises ConfigError unless `out` may name a folder of Parquet files."""
    if out.suffix != ".parquet":
        raise ConfigError(
            f"output {out} ends in {out.suffix!r}; Spark writes a folder of Parquet files: "
            "give a name that ends in .parquet."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"output {out} is there already and holds something. Give a new folder.")


def score(
    config: Config,
    model: PropensityModel,
    out: Path,
    moment: int,
    progress: Progress,
    judge: Callable[[Done], None],
    dry_run: bool = False,
) -> Done:
    """Score the leads open at `moment` (int64 microseconds) into the folder `out`, unless `judge` raises.

    How much is in quarantine is left to `judge`. A dry run makes no folder; its scratch lies beside `out`, too.
    """
    words = wording.of_config(config)
    told = None if words is None else words.to_json()
    with _cluster(config, out, progress) as (cluster, scratch):
        sent = Model.of(model)
        shift, until = _level(cluster, scratch, model, sent, moment)
        end = data_until(config)
        task = Score(sent, moment, shift, until, end, pd.Timestamp.now(tz="UTC"), told)
        done = added(cluster.setting, cluster.map(task, scratch / "scores", "features"))
        done.found.raise_problems(excess=False)
        judge(done)
        if not dry_run:
            with new_folder(out) as folder:
                cluster.write(task, scratch / "scores", folder)
        return done


def outlook(out: Path) -> tuple[str, ...]:
    """What a dry run would have done, in words."""
    columns = ", ".join(scoring.SCORES.names)
    return (f"{out} would be created, a folder of Parquet files.", f"Columns: {columns}.")


def features(config: Config, out: Path, as_of: int | None, progress: Progress) -> tuple[Done, int]:
    """Write the matrix of all leads into the folder `out`; beside the job, how many features it has.

    Beside the Parquet files `_lead_propensity.json` holds the fingerprint of the features. The vocabulary
    and the time line are learned on this machine, from the leads that `snapshots.max_leads` keeps.
    """
    with _cluster(config, out, progress) as (cluster, scratch):
        with opened(config.engine) as (con, _):
            found, sample = _gather(cluster, con, scratch)
            made = dataset.plan(con, cluster.setting.config, found.exported_at, sample)
        task = Make(made, found.exported_at, as_of)
        done = added(cluster.setting, cluster.map(task, scratch / "matrix", "features"))
        done.found.raise_problems()
        with new_folder(out) as folder:
            cluster.write(task, scratch / "matrix", folder)
            told = json.dumps({"lead_propensity.fingerprint": made.catalogue.fingerprint})
            write_text(told + "\n", folder / "_lead_propensity.json")
        return done, len(made.catalogue.features)


def sampled(
    con: duckdb.DuckDBPyConnection, config: Config, beside: Path, progress: Progress
) -> tuple[Check, Sample]:
    """As `_gather`, with a cluster of its own and a scratch folder beside the path `beside`."""
    with _cluster(config, beside, progress) as (cluster, scratch):
        return _gather(cluster, con, scratch)


def _gather(
    cluster: Cluster, con: duckdb.DuckDBPyConnection, scratch: Path
) -> tuple[Check, Sample]:
    """Bring the rows of the leads that `snapshots.max_leads` keeps into `con`, checked.

    Returns the check of all rows, and which leads were taken. Raises DataError where it has problems,
    or where nothing could be learned from the sample.
    """
    config, raws = cluster.setting.config, cluster.setting.raws
    leads, every, looked = 0, 1, None
    if config.snapshots.max_leads is not None:
        looked = added(cluster.setting, cluster.map(Look(), scratch / "look", "checking")).found
        looked.raise_problems()
        leads = next(count.kept for count in looked.counts if count.table == "leads")
        every = one_in(leads, config.snapshots.max_leads)
    cluster.gather(scratch / "sample", is_kept("lead_key", every), "gathering")
    rows = f"read_parquet({literal(str(scratch / 'sample' / '*.parquet'))})"
    broken = con.execute(f"SELECT lead_key FROM {rows} WHERE kind = {ERROR}").fetchall()
    raise_error_rows([row[0] for row in broken])
    packing.unpack(con, raws, rows)
    found = tables.check_rows(con, raws, config)
    # The share in quarantine is judged by all rows, not by those that the sample drew.
    (found if looked is None else replace(found, problems=(), excess=())).raise_problems(
        learning=True
    )
    kept = count_rows(con, "leads")
    return looked or found, Sample(leads or kept, kept, every)


def _level(
    cluster: Cluster, scratch: Path, model: PropensityModel, sent: Model, moment: int
) -> tuple[float, int]:
    """The level shift at `moment` and until when deals were known for it, as on one machine."""
    past = Tell(sent, moment)
    count = cluster.map(CountCohorts(sent, moment), scratch / "cohorts", "checking")
    counted = added(cluster.setting, count)
    counted.found.raise_problems(excess=False)
    every = one_in(counted.facts.get("cohorts", 0), COHORT_ROWS)
    cluster.map(past, scratch / "level", "level", tells_level("lead_key", every))
    told = cluster.rows(past, scratch / "level")
    rows = told.sort_by([("order", "ascending"), ("lead_id", "ascending")]).to_pandas()
    shift, until = scoring.level_of(model, np.array([moment]), rows)
    return float(shift[0]), int(until[0])


@contextmanager
def _cluster(config: Config, out: Path, progress: Progress) -> Iterator[tuple[Cluster, Path]]:
    """A cluster for the block, and a scratch folder beside `out` that all of its machines see."""
    settled = _with_end(config)
    setting = setting_of(settled)
    scratch = out.resolve().with_name(f".{out.name}.{os.getpid()}.work")
    shutil.rmtree(scratch, ignore_errors=True)
    progress("starting Spark", 0, 1)
    with session(config.engine.spark) as spark:
        progress("starting Spark", 1, 1)
        try:
            yield Cluster(spark, setting, progress), scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _with_end(config: Config) -> Config:
    if config.data.exported_at is not None:
        return config
    data = config.data.model_copy(update={"exported_at": LAST_MOMENT})
    return config.model_copy(update={"data": data})


def setting_of(config: Config) -> Setting:
    """Raises ConfigError and DataError for what can be seen without reading the rows."""
    con = connect(EngineConfig(threads=1))
    try:
        raws = sources.described(con, config)
    finally:
        con.close()
    problems = tuple(problem for raw in raws for problem in column_problems(raw))
    Check((), (), problems, -1).raise_problems()
    named = packing.files_of_tables({raw.name: raw.declared for raw in raws})
    folders = {name: config.resolve(path) for name, path in named.items()}
    return Setting(config, tuple(raws), tuple(packing.pieces(raws, folders)))


def added(setting: Setting, lines: Sequence[Line]) -> Done:
    """What the chunks found and counted, in any order, one Line each."""
    at = data_until(setting.config)
    parts = [line.part for line in lines if line.part is not None]
    found = whole(parts, setting.raws, setting.config, Ending(at, "declared: data.exported_at"))
    facts: Counter[str] = Counter()
    for line in lines:
        facts.update(line.facts)
    return Done(found, dict(facts))

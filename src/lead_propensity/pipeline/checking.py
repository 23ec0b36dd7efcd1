"""Are the tables sound, and does a column know the outcome?"""

from pathlib import Path
from typing import Any

import duckdb

from lead_propensity.config import Config
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.data.tables import Check
from lead_propensity.evaluation import leakage
from lead_propensity.features import dataset, names, versions, vocabulary
from lead_propensity.features.traces import traces
from lead_propensity.model import wording
from lead_propensity.progress import Progress, silent


def check(config: Config, quarantine: Path | None = None) -> Check:
    """Hold the declared tables to their contracts; rows set aside go to the folder `quarantine`.

    Raises ConfigError where the config, its rules or its wording cannot be read, or name what the data do
    not have.
    """
    dataset.rules_of(config)
    wording.of_config(config)
    with opened(config.engine) as (con, _):
        found = tables.check(con, config)
        if quarantine is not None:
            tables.write_quarantine(con, found, quarantine)
        if not found.problems and not found.excess:
            names.require_config(config, vocabulary.event_types(con), versions.origins(con))
        return found


def leaks(config: Config, progress: Progress = silent) -> dict[str, Any]:
    """The audit of `train`, see `leakage.audit`, without a model and without the test part.

    Raises ConfigError, DataError.
    """
    with opened(config.engine) as (con, allowance):
        found = checked(con, config, progress, learning=True)
        made = dataset.plan(con, config, found.exported_at)
        left = traces(con, config, made)
        con.execute(
            "DELETE FROM snapshots WHERE population <> 'training' OR part NOT IN ('fit', 'calibrate')"
        )
        data = dataset.training(con, made, progress, allowance)
    return leakage.audit(data.part("fit"), data.part("calibrate"), left)


def checked(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    progress: Progress,
    learning: bool = False,
    excess: bool = True,
) -> Check:
    """The tables of the config in the database, sound; `learning` needs more of them. Raises DataError.

    Without `excess` no quarantine is too large: see `Check.excess`.
    """
    progress("checking", 0, 1)
    found = tables.check(con, config)
    found.raise_problems(learning, excess)
    progress("checking", 1, 1)
    return found

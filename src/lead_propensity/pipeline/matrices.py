"""The matrix of features as a frame or as a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from lead_propensity.config import Config
from lead_propensity.data.database import opened
from lead_propensity.data.merging import sorted_table
from lead_propensity.data.moments import microseconds
from lead_propensity.data.workroom import Allowance
from lead_propensity.errors import ConfigError
from lead_propensity.features import dataset, matrix
from lead_propensity.features.dataset import Plan
from lead_propensity.features.matrix import Dataset
from lead_propensity.pipeline.checking import checked
from lead_propensity.progress import Progress, silent
from lead_propensity.serving import distributed
from lead_propensity.serving.tasks import matrix_schema


@dataclass(frozen=True)
class WrittenFeatures:
    """What `write_features` wrote."""

    out: Path
    snapshots: int
    features: int


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
        found = checked(con, config, progress, learning=True)
        made = dataset.plan(con, config, found.exported_at)
        if as_of is None:
            con.execute("DELETE FROM snapshots WHERE population <> 'training'")
            yield from dataset.training_pieces(con, made, progress, allowance)
        elif made.sample.one_in == 1:
            yield from _open_leads(con, config, made, as_of, progress, allowance)
    if as_of is not None and made.sample.one_in > 1:
        with opened(config.engine) as (con, allowance):
            checked(con, config, progress)  # the rows of all leads, once more
            yield from _open_leads(con, config, made, as_of, progress, allowance)


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

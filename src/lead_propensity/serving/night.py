"""What the night job looks at: the leads that are open, and the cohorts that have closed."""

from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import Config, RoutesConfig
from lead_propensity.data.workroom import IN_MEMORY, Allowance
from lead_propensity.features import dataset, matrix, snapshots
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.wording import Wording
from lead_propensity.progress import Progress, silent
from lead_propensity.serving import scoring
from lead_propensity.serving.drifting import Watched


def card_of(model: PropensityModel) -> Scorecard:
    """The rules that the model was compared with."""
    return Scorecard.model_validate(model.rules)


def open_leads(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    model: PropensityModel,
    moment: int,
    progress: Progress = silent,
    allowance: Allowance = IN_MEMORY,
) -> Iterator[Dataset]:
    """The leads open at `moment` with the model's features, in pieces that fit the allowance.

    Raises as `dataset.open_leads` does.
    """
    card = card_of(model)
    return dataset.open_pieces(con, config, model.catalogue, card, moment, progress, allowance)


def make_cohorts(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    model: PropensityModel,
    moment: int,
    thin: bool = True,
) -> None:
    """Create `snapshots`: those that may tell the level at `moment`."""
    trained = config.snapshots.model_copy(update={"horizon_days": model.horizon_days})
    after, label_delay = model.level.after, model.level.label_delay
    snapshots.make_cohorts(con, trained, moment, after, label_delay, thin)


def past(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    model: PropensityModel,
    moment: int,
    allowance: Allowance = IN_MEMORY,
    thin: bool = True,
) -> Dataset:
    """The snapshots that may tell the level at `moment`, with the model's features."""
    make_cohorts(con, config, model, moment, thin)
    return matrix.build(con, model.catalogue, card_of(model), allowance=allowance)


def scores(
    model: PropensityModel,
    data: Dataset,
    level: tuple[float, int],
    limits: RoutesConfig,
    scored_at: pd.Timestamp,
    wording: Wording | None = None,
    watched: Watched | None = None,
) -> pa.Table:
    """One row a lead, by the schema `scoring.SCORES`, at a level and until when deals were known for it.

    The reasons are told in the model's own words unless `wording` gives others. `watched` looks on.
    """
    shift, until = (np.repeat(one, len(data)) for one in level)
    frame = scoring.scored(model, data, shift, until, limits)
    if watched is not None:
        watched.see(data, frame)
    why = scoring.reasons(model, data, frame, wording)
    return scoring.scores_table(frame, why, model, scored_at)

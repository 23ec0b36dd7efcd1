"""What the night job looks at: the leads that are open, and the cohorts that have closed."""

from collections.abc import Iterator
from dataclasses import dataclass

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
from lead_propensity.serving import history, scoring
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


@dataclass(frozen=True)
class Shared:
    """What all rows of a run have in common."""

    level_shift: float
    level_until: int
    """Until when deals were known for it; -1: none."""
    data_until: int
    """int64 microseconds; -1 where rows carry no time, or nobody knows."""
    routes: RoutesConfig
    scored_at: pd.Timestamp
    wording: Wording | None = None
    """Of the reasons; None: the model's own words."""
    explain: bool = True
    """False: nobody gets reasons."""


def scores(
    con: duckdb.DuckDBPyConnection,
    model: PropensityModel,
    data: Dataset,
    shared: Shared,
    watched: Watched | None = None,
) -> pa.Table:
    """One row a lead, by the schema `scoring.SCORES`; `con` holds what `history.known` looks up.

    `watched` looks on.
    """
    n = len(data)
    shift, until = np.repeat(shared.level_shift, n), np.repeat(shared.level_until, n)
    frame = scoring.scored(model, data, shift, until, shared.routes)
    if watched is not None:
        watched.see(data, frame)
    why = [scoring.NO_REASONS] * n
    if shared.explain:
        why = scoring.reasons(model, data, frame, shared.wording)
    known = history.known(con, frame["lead_id"])
    frame = scoring.with_band_rates(frame, model).assign(
        previous_band=pd.Series(known.previous_band, frame.index, dtype=object),
        band_change=history.changes(frame["band"].to_numpy(), known.previous_band),
        data_until=np.int64(shared.data_until),
    )
    return scoring.scores_table(frame, why, model, shared.scored_at, known.last_event_at)

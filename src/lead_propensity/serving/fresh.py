"""Two models on the same snapshots that neither of them has learned from, scored as the night job would have."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.data.workroom import IN_MEMORY, Allowance
from lead_propensity.errors import ModelError
from lead_propensity.evaluation.waiting import Pace
from lead_propensity.features import dataset, exported, matrix, snapshots
from lead_propensity.features.sampling import sample
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.progress import Progress, silent
from lead_propensity.serving import night, scoring


@dataclass(frozen=True)
class Fresh:
    """What the gate judges by; see `gate.decide` for the columns."""

    judged: pd.DataFrame
    stock: pd.DataFrame
    judged_from: int
    """In the units of `order`, as `judged_until`: the snapshots from here on are judged."""
    judged_until: int
    pace: Pace | None
    """None where rows carry no time."""


@dataclass(frozen=True)
class Span:
    """Which snapshots there must be, in units of `order`."""

    after: int
    """Those later than this tell the level."""
    judged_from: int
    label_delay: int

    @classmethod
    def of(cls, models: list[PropensityModel]) -> "Span":
        return cls(
            min(model.level.after for model in models),
            max(model.labels_until for model in models),
            max(model.level.label_delay for model in models),
        )


@dataclass(frozen=True)
class Made:
    """What the table `snapshots` holds."""

    until: int
    """When the last mature snapshot could be."""
    pace: Pace | None
    """How fast leads mature; None where rows carry no time."""
    weight: float = 1.0
    """How many leads each one stands for."""


def fresh(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    exported_at: int,
    challenger: PropensityModel,
    champion: PropensityModel | None,
    progress: Progress = silent,
    allowance: Allowance = IN_MEMORY,
) -> Fresh:
    """Mature snapshots from the moment on at which the last label was known that one of the models learned.

    `con` holds the checked tables. Each model sees its own features, and its level follows the cohorts that
    had closed before each snapshot. Raises ModelError where the two speak of different horizons, DataError
    where the tables lack what one of them is made of.
    """
    models = [challenger] if champion is None else [challenger, champion]
    _require_one_question(models)
    for model in models:
        dataset.require_tables(config, model.catalogue, night.card_of(model))
    span = Span.of(models)
    made = make_snapshots(con, config, exported_at, models[0].horizon_days, span)
    frames = [_scored(con, config, model, progress, allowance) for model in models]
    judged, stock = _populations(frames[0], as_exported=config.data.exported is not None)
    if champion is not None:
        said = frames[1][["lead_id", "order", "population", "probability"]]
        said = said.rename(columns={"probability": "champion_probability"})
        judged = judged.merge(said, on=["lead_id", "order", "population"], validate="one_to_one")
    if not any(True for _ in night.card_of(challenger).lines()):
        judged = judged.drop(columns="rules_points")
    return Fresh(judged, stock, span.judged_from, made.until, made.pace)


def _require_one_question(models: list[PropensityModel]) -> None:
    horizons = list(dict.fromkeys(model.horizon_days for model in models))
    if len(horizons) > 1:
        told = " and ".join("as exported" if days is None else f"{days} days" for days in horizons)
        raise ModelError(
            f"the challenger and the champion foretell different things: deals within {told}. No snapshot can "
            "judge both. Train the challenger with the champion's snapshots.horizon_days, or decide yourself: "
            "--force with --reason."
        )


def make_snapshots(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    exported_at: int,
    horizon_days: int | None,
    span: Span,
) -> Made:
    """Fill `snapshots`, see `snapshots.make_matured`."""
    if horizon_days is None:
        exported.make_matured(con, span.after, span.judged_from, span.label_delay)
        last = con.execute("SELECT coalesce(max(place), -1) FROM snapshots").fetchall()[0][0]
        return Made(int(last), None)
    sampled = sample(con, config.snapshots.max_leads)
    asked = config.snapshots.model_copy(update={"horizon_days": horizon_days})
    until = snapshots.make_matured(
        con, asked, exported_at, span.after, span.judged_from, span.label_delay
    )
    wins, leads = snapshots.pace(con, exported_at)
    pace = Pace(exported_at + max(0, span.judged_from - until), wins, leads)
    return Made(until, pace, sampled.weight)


def _scored(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    model: PropensityModel,
    progress: Progress,
    allowance: Allowance,
) -> pd.DataFrame:
    """One row a snapshot of the part `test`, both populations, with what the model says."""
    data = matrix.build(con, model.catalogue, night.card_of(model), progress, allowance)
    test = data.rows((data.keys["part"] == "test").to_numpy())
    shift, until = scoring.level(model, test.keys["order"].to_numpy(np.int64), data)
    return scoring.scored(model, test, shift, until, config.bands.routes)


def _populations(frame: pd.DataFrame, as_exported: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The labelled training snapshots, and the stock; as exported the rows serve as both."""
    columns = ["lead_id", "group_id", "order", "population", "won", "probability"]
    training = frame["population"] == "training"
    judged = frame.loc[training & frame["won"].notna(), [*columns, "raw_score", "rules_points"]]
    stock = frame if as_exported else frame[~training]
    return judged.reset_index(drop=True), stock[[*columns, "band"]].reset_index(drop=True)

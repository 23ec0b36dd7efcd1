"""From checked tables to the labelled matrix, and to the leads that wait for a score."""

from dataclasses import dataclass

import duckdb

from lead_propensity.config import Config
from lead_propensity.features import matrix, points, snapshots
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import NO_RULES, Scorecard
from lead_propensity.features.snapshots import TimeLine
from lead_propensity.progress import Progress


@dataclass(frozen=True)
class Plan:
    """How a dataset's matrix is made: its snapshots stand in the database, its catalogue is learned."""

    catalogue: Catalogue
    card: Scorecard
    line: TimeLine
    dropped: dict[str, int]
    """Why leads and snapshots take no part: reason -> count."""
    notes: tuple[str, ...]


def plan(con: duckdb.DuckDBPyConnection, config: Config, exported_at: int) -> Plan:
    """Lay out the training snapshots and learn the vocabulary of the fit part."""
    card = points.load(config.resolve(config.rules)) if config.rules else NO_RULES
    if config.data.exported is not None:
        line = snapshots.make_exported(con, config)
        dropped = snapshots.dropped_as_exported(con)
    else:
        line = snapshots.make_training(con, config, exported_at)
        dropped = snapshots.dropped(con)
    learned = matrix.learn(con, config, line.fit_until)
    notes = (*learned.notes, *_never_seen(con, card))
    return Plan(learned.catalogue, card, line, dropped, notes)


def _never_seen(con: duckdb.DuckDBPyConnection, card: Scorecard) -> list[str]:
    found = {row[0] for row in con.execute("SELECT DISTINCT event_type FROM events").fetchall()}
    return [
        f"the rules count {name}, which no event is: a typing error?"
        for name in points.event_types(card)
        if name not in found
    ]


def training(con: duckdb.DuckDBPyConnection, made: Plan, progress: Progress) -> Dataset:
    """The matrix of the planned snapshots: all parts, both populations."""
    return matrix.build(con, made.catalogue, made.card, progress)


def open_leads(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    catalogue: Catalogue,
    card: Scorecard,
    as_of: int,
    progress: Progress,
) -> Dataset:
    """The matrix of the leads open at `as_of`, part `scoring`."""
    snapshots.make_open(con, config.snapshots, as_of)
    return matrix.build(con, catalogue, card, progress)

"""From checked tables to the labelled matrix, and to the leads that wait for a score."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import duckdb

from lead_propensity.config import Config
from lead_propensity.data.engine import count_rows
from lead_propensity.data.workroom import IN_MEMORY, Allowance
from lead_propensity.errors import DataError
from lead_propensity.features import exported, matrix, names, points, snapshots, vocabulary
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import NO_RULES, Scorecard
from lead_propensity.features.sampling import Sample, sample
from lead_propensity.features.timeline import TimeLine
from lead_propensity.features.windows import DAY_US
from lead_propensity.progress import Progress, silent


@dataclass(frozen=True)
class Plan:
    """How a dataset's matrix is made: its snapshots stand in the database, its catalogue is learned."""

    catalogue: Catalogue
    card: Scorecard
    line: TimeLine
    dropped: dict[str, int]
    """Why leads and snapshots take no part: reason -> count."""
    notes: tuple[str, ...]
    sample: Sample


def rules_of(config: Config) -> Scorecard:
    """The scorecard that the config names. Raises ConfigError where it cannot be read."""
    return points.load(config.resolve(config.rules)) if config.rules else NO_RULES


def plan(
    con: duckdb.DuckDBPyConnection, config: Config, exported_at: int, sampled: Sample | None = None
) -> Plan:
    """Lay out the training snapshots and learn the vocabulary of the fit part.

    With `snapshots.max_leads` the tables keep the rows of the sampled leads only; where they hold a
    sample already, `sampled` tells which.
    Raises ConfigError for names that the data do not have, DataError where a part stays empty.
    """
    card = rules_of(config)
    if config.data.exported is not None:
        taken = Sample.all_of(count_rows(con, "exported"))
        line = exported.make_training(con, config)
        dropped = exported.dropped(con)
    else:
        taken = sampled or sample(con, config.snapshots.max_leads)
        line = snapshots.make_training(con, config, exported_at)
        reporting_delay = line.label_delay - config.snapshots.horizon_days * DAY_US
        dropped = {**taken.dropped, **snapshots.dropped(con, reporting_delay)}
    criteria = {str(one): name for one, name in config.features.criteria.items()}
    named = points.attributes(card, criteria)
    learned = matrix.learn(con, config, line.fit_until, named)
    definition = learned.catalogue.definition
    names.require_rules(config, named, definition["origins"])
    notes = (*taken.notes, *learned.notes, *_never_seen(con, card))
    notes += tuple(_sensitive_rules(config, named))
    return Plan(learned.catalogue, card, line, dropped, notes, taken)


def _never_seen(con: duckdb.DuckDBPyConnection, card: Scorecard) -> list[str]:
    found = vocabulary.event_types(con)
    return [
        f"the rules count {name}, which no event is: a typing error?"
        for name in points.event_types(card)
        if name not in found
    ]


def _sensitive_rules(config: Config, named: list[str]) -> list[str]:
    return [
        f"the rules look at {name!r}, which features.sensitive declares: the model does not"
        for name in config.features.sensitive
        if name in named
    ]


def training(
    con: duckdb.DuckDBPyConnection,
    made: Plan,
    progress: Progress = silent,
    allowance: Allowance = IN_MEMORY,
) -> Dataset:
    """The matrix of the planned snapshots: all parts, both populations, weighted by the sample."""
    data = matrix.build(con, made.catalogue, made.card, progress, allowance)
    return replace(data, weight=made.sample.weight)


def training_pieces(
    con: duckdb.DuckDBPyConnection, made: Plan, progress: Progress, allowance: Allowance
) -> Iterator[Dataset]:
    """The same in pieces that fit the allowance, see `matrix.pieces`."""
    return matrix.pieces(con, made.catalogue, made.card, progress, allowance)


def open_leads(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    catalogue: Catalogue,
    card: Scorecard,
    as_of: int,
    progress: Progress = silent,
) -> Dataset:
    """The matrix of the leads open at `as_of`, part `scoring`.

    Raises DataError where the config declares fewer tables than the catalogue was learned from.
    """
    require_tables(config, catalogue, card)
    snapshots.make_open(con, config.snapshots, as_of)
    return matrix.build(con, catalogue, card, progress)


def open_pieces(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    catalogue: Catalogue,
    card: Scorecard,
    as_of: int,
    progress: Progress,
    allowance: Allowance,
) -> Iterator[Dataset]:
    """The same in pieces that fit the allowance, see `matrix.pieces`."""
    require_tables(config, catalogue, card)
    snapshots.make_open(con, config.snapshots, as_of)
    return matrix.pieces(con, catalogue, card, progress, allowance)


def require_tables(config: Config, catalogue: Catalogue, card: Scorecard) -> None:
    """Raises DataError for another shape of input, or where a table that features or rules are made of is not declared.

    Undeclared it would be an empty one: every lead would look silent, or without a single attribute.
    """
    definition = catalogue.definition
    matrix.require_shape(definition, as_exported=config.data.exported is not None)
    asked = [row["name"] for row in definition["attributes"]]
    asked += points.attributes(card, definition["declared_criteria"])
    used = {definition["origins"].get(name) for name in asked}
    types = [*definition["event_types"], *definition["other_event_types"]]
    silences = [line.silent_days for _, _, line in card.lines() if line.silent_days is not None]
    needed = {
        "attributes": used & {"versions", "both"},
        "events": [*types, *definition["custom"], *points.event_types(card), *silences],
    }
    missing = [f"data.{name}" for name in needed if needed[name] and not getattr(config.data, name)]
    if missing:
        raise DataError(
            f"the model or its rules look at {' and '.join(missing)}, which the config does not declare. "
            "Declare them as at training, or train a model without them."
        )

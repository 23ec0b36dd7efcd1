"""The night job on one machine: from the tables to the sink, piece by piece, judged before anything is replaced."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import Config
from lead_propensity.data.database import opened
from lead_propensity.data.moments import microseconds
from lead_propensity.data.tables import Check
from lead_propensity.data.workroom import Allowance
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.features import dataset, exported, matrix, standing
from lead_propensity.features.matrix import Dataset
from lead_propensity.model import wording
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.wording import Wording
from lead_propensity.pipeline.checking import checked
from lead_propensity.serving import account, history, limits, night, scoring, sinks
from lead_propensity.serving.account import Account
from lead_propensity.serving.drifting import Watched
from lead_propensity.serving.sinks import Sink


@dataclass(frozen=True)
class Asked:
    """What `score` was asked to do."""

    config: Config
    out: str
    as_of: datetime | None
    every_row: bool
    dry_run: bool

    @property
    def as_exported(self) -> bool:
        return self.config.data.exported is not None

    def moment(self, exported_at: int) -> int | None:
        """The moment of scoring in int64 microseconds; None: rows as exported have none."""
        if self.as_exported:
            return None
        if self.as_of is None:
            return exported_at
        return microseconds(self.as_of, self.config.data.timezone)

    def require_sense(self) -> None:
        """Raises ConfigError for arguments that do not go together."""
        if self.as_of is not None and self.as_exported:
            raise ConfigError(
                "--as-of: rows as exported have no history to go back in. Leave it out."
            )
        if self.every_row and not self.as_exported:
            raise ConfigError(
                "every_row is for rows as exported. Give --as-of for an event history."
            )

    def require_fit(self, model: PropensityModel) -> None:
        """What the config and the model tell before a table is read. Raises Refused, DataError, ModelError."""
        limits.require(limits.other_features(model))
        if self.as_exported:
            matrix.require_shape(model.catalogue.definition, as_exported=True)
        else:
            dataset.require_tables(self.config, model.catalogue, night.card_of(model))


@dataclass(frozen=True)
class Done:
    """What was found on the way, and what a dry run would have done."""

    found: Check
    moment: int | None
    looked_from: int
    """Where the level was asked for, in units of `order`."""
    unclear: int
    """Leads whose deal is in quarantine."""
    outlook: tuple[str, ...]


@dataclass(frozen=True)
class _Night:
    """The checked tables, and what is to be made of them."""

    asked: Asked
    model: PropensityModel
    told: Account
    con: duckdb.DuckDBPyConnection
    allowance: Allowance
    found: Check
    moment: int | None
    words: Wording | None
    watched: Watched
    tally: Counter[str] = field(default_factory=Counter)
    """Of the leads so far, see `limits.tally`."""

    def judge_tables(self) -> None:
        """By all that the tables alone tell, before a feature is computed. Raises Refused."""
        config, found = self.asked.config, self.found
        events: Counter[str] = Counter()
        if self.moment is not None:
            events = limits.tally_events(self.con, config, self.model, self.moment)
        late = limits.stale(config, found.exported_at, self.moment)
        limits.require((*found.excess, *late, *limits.unknown_events(config, events)))

    def leads(self) -> tuple[Iterator[Dataset], Dataset, int]:
        """The leads to score in pieces, the cohorts that tell the level, and where it is asked for.

        Leaves `unscored` in the database.
        """
        con, model, config = self.con, self.model, self.asked.config
        if self.moment is None:
            place = exported.make_scoring(con, model.level.label_delay, self.asked.every_row)
            standing.make_exported(con, self.asked.every_row)
            card = night.card_of(model)
            rows = matrix.build(con, model.catalogue, card, self.told.clock, self.allowance)
            return iter([rows.part("scoring")]), rows, place
        standing.make(con, config.snapshots, self.moment)
        past = night.past(con, config, model, self.moment, self.allowance)
        pieces = night.open_leads(con, config, model, self.moment, self.told.clock, self.allowance)
        return pieces, past, self.moment

    def remember(self, sink: Sink) -> None:
        """Bring what the sink held before, and the leads' last events, into the database."""
        excluded = self.model.catalogue.definition["exclude_events"]
        if self.moment is not None:
            standing.make_last_events(self.con, excluded, self.moment)
        try:
            history.remember(self.con, sink.previous(self.moment))
        except DataError as error:
            warning = f"The scores of the last run are not known, every lead counts as new: {error}"
            self.told.warn(warning)
            history.remember(self.con)

    def scores(self, pieces: Iterator[Dataset], past: Dataset, place: int) -> Iterator[pa.Table]:
        """The rows to write."""
        (shift,), (until,) = scoring.level(self.model, np.array([place]), past)
        shared = night.Shared(
            float(shift),
            int(until),
            self.found.exported_at,
            self.asked.config.bands.routes,
            pd.Timestamp.now(tz="UTC"),
            self.words,
            self.asked.config.score.explain,
        )
        for piece in pieces:
            self.tally.update(limits.tally(self.model, piece.X))
            yield night.scores(self.con, self.model, piece, shared, self.watched)


def score(asked: Asked, model: PropensityModel, told: Account) -> Done:
    """Score, judge by the limits, and only then write. Raises Refused, and whatever the work raises."""
    config, words = asked.config, wording.of_config(asked.config)
    with (
        sinks.opened(asked.out, config, scoring.SCORES, asked.dry_run) as sink,
        opened(config.engine) as (con, allowance),
    ):
        found = checked(con, config, told.clock, excess=False)
        moment = asked.moment(found.exported_at)
        told.look(found, moment)
        if not asked.dry_run:
            account.set_aside(con, found, told.folder)
        watched = Watched(model)
        job = _Night(asked, model, told, con, allowance, found, moment, words, watched)
        job.judge_tables()
        told.clock("scoring", 0, 1)
        pieces, past, place = job.leads()
        job.remember(sink)
        unscored = standing.counts(con)

        def judge(passed: sinks.Counted) -> None:
            told.count(found, passed.bands, passed.changes, unscored)
            told.tell(drift=watched.figures(config.monitor))
            limits.require(limits.unseen(config, model, job.tally))
            told.clock("scoring", 1, 1)
            if not asked.dry_run:
                told.make_sure()
                told.clock("writing", 0, 1)

        if not asked.dry_run:  # before the scores: what fails here leaves the old ones
            account.list_unscored(con, config, told.folder)
        counted = sinks.Counted(job.scores(pieces, past, place), judge)
        outlook = counted.bring(sink, moment, asked.dry_run)
        if not asked.dry_run:
            told.clock("writing", 1, 1)
    return Done(found, moment, place, unscored.get(standing.UNCLEAR, 0), outlook)

"""A seeded world of business leads whose true probability is known."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lead_propensity.data.simulate.dirt import iso, soil
from lead_propensity.data.simulate.export import EXPORTED_AT, attributes, deals, events
from lead_propensity.data.simulate.lives import live
from lead_propensity.data.simulate.people import people
from lead_propensity.data.simulate.sessions import Floats, Ints
from lead_propensity.data.simulate.truth import DRAWS, Truth
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.files import replacing
from lead_propensity.progress import Progress, silent


@dataclass(frozen=True)
class World:
    """The four tables as a CRM exports them, and the truth behind them.

    Times are UTC. In a dirty world the columns that may hold a bad time (`leads.created_at`,
    `attributes.known_at`, `events.occurred_at`, `deals.closed_at`) are ISO text.
    """

    leads: pd.DataFrame
    attributes: pd.DataFrame
    events: pd.DataFrame
    deals: pd.DataFrame
    exported_at: pd.Timestamp
    planted: dict[str, int]
    """Dirty rows by `table.kind`, e.g. `deals.second_deal`; empty for a clean world."""
    truth: Truth | None
    """None with latent intent."""

    def true_probability(
        self, lead_id: npt.ArrayLike, as_of: npt.ArrayLike, horizon_days: int
    ) -> Floats:
        """P(won in `[as_of, as_of + horizon_days)` | what is visible at `as_of`).

        `as_of` is int64 microseconds UTC. NaN where the lead is not open at `as_of` (not yet
        created, or closed, known or not). With drift it stays exact: the calendar is visible.
        It is the mean of 96 re-simulated futures: unbiased at midnights UTC with a standard
        error of about a tenth of the probability itself (6% for the highest tenth), the same
        for the same question; at other times also off by less than one day's chance.
        Raises DataError for unknown leads, and for a world with latent intent, whose truth
        depends on what nobody sees.
        """
        return self.true_probability_with_error(lead_id, as_of, horizon_days)[0]

    def true_probability_with_error(
        self,
        lead_id: npt.ArrayLike,
        as_of: npt.ArrayLike,
        horizon_days: int,
        draws: int = DRAWS,
    ) -> tuple[Floats, Floats]:
        """The same as the mean of so many re-simulated futures (at least 2), and its standard error.

        Four times the draws halve the error. Raises as `true_probability`, and ConfigError for
        fewer than two draws.
        """
        if draws < 2:
            raise ConfigError(f"draws={draws}: an error needs at least 2 draws. Ask for more.")
        if self.truth is None:
            raise DataError(
                "This world has latent intent: its true probability depends on the invisible. "
                "Simulate it without `latent` to know the truth."
            )
        names = self.truth.people.frame["lead_id"]
        row = pd.Index(names).get_indexer(pd.Index(np.asarray(lead_id, dtype=object)))
        if (row < 0).any():
            unknown = np.asarray(lead_id, dtype=object)[row < 0]
            raise DataError(
                f"{len(unknown)} lead_id are not of this world, e.g. {unknown[0]!r}. "
                "Ask for leads of `World.leads`."
            )
        when: Ints = np.asarray(as_of, dtype=np.int64)
        return self.truth.probability(row.astype(np.int64), when, horizon_days, draws)


def simulate(
    leads: int,
    seed: int,
    *,
    latent: bool = False,
    drift: bool = False,
    dirty: bool = True,
    progress: Progress = silent,
) -> World:
    """A world of `leads` leads over 600 days, about 50 events each; the same for the same seed.

    `latent`: an intent that nobody sees rises and cools, too. `drift`: the hazard of winning falls
    to a third over the 600 days. `dirty`: plants about 0.3% dirty rows and counts them.
    Raises ConfigError for fewer than 100 leads.
    """
    if leads < 100:
        raise ConfigError(f"leads={leads}: a world needs at least 100 leads. Ask for more.")
    # One stream a purpose: the options change nothing but what they name.
    draws = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(4)]
    persons = people(leads, draws[0])
    lives = live(persons, draws[1], (latent, drift), progress)
    tables = {"leads": persons.frame}
    for table in (attributes, events, deals):
        tables[table.__name__] = table(persons, lives, draws[2])
    planted: dict[str, int] = {}
    if dirty:
        tables, planted = soil(tables, draws[3])
    truth = None if latent else Truth(persons, lives, drift, seed)
    return World(**tables, exported_at=EXPORTED_AT, planted=planted, truth=truth)


def write(world: World, folder: Path) -> None:
    """leads.csv, attributes.parquet, events.parquet, deals.csv, and a config with its rules.

    `lead-propensity train FOLDER/config.yaml` works at once. Each file appears whole or not at
    all; the config comes last, so a folder with a config is complete. Raises ConfigError where
    nothing can be written.
    """
    for name, table in (("leads", world.leads), ("deals", world.deals)):
        with replacing(folder / f"{name}.csv") as path:
            _times_as_text(table).to_csv(path, index=False, lineterminator="\n")
    for name, table in (("attributes", world.attributes), ("events", world.events)):
        with replacing(folder / f"{name}.parquet") as path:
            table.to_parquet(path, index=False)
    packaged = files("lead_propensity") / "demo"
    for source, name in (("rules.yaml", "rules.yaml"), ("demo.yaml", "config.yaml")):
        with replacing(folder / name) as path:
            path.write_text((packaged / source).read_text(encoding="utf-8"), encoding="utf-8")


def _times_as_text(table: pd.DataFrame) -> pd.DataFrame:
    times = table.select_dtypes("datetimetz").columns
    return table.assign(**{name: iso(table[name]) for name in times})

"""Cold, warm and hot: where they begin, and what each promises.

Fitted on the calibrate part's stock population, at the stored level; `score` applies them to the
tracked probability.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from lead_propensity.config import BandsConfig
from lead_propensity.model.folds import stable_hash
from lead_propensity.model.intervals import Rate, clustered_rate
from lead_propensity.model.level import tracked

BANDS = ("cold", "warm", "hot")


@dataclass(frozen=True)
class Stock:
    """Snapshots of open leads as the night job meets them; arrays of one length.

    `won` may be NaN (no label): such rows count for capacity and not for promises. `weeks` is how
    many weekly dates they were seen on, None where there is no time; rows of the date before these
    are `earlier`: who is hot there already is not newly hot. `age_days` may be NaN. Each lead stands
    for `weight` leads of the world, for which capacity is planned.
    """

    probability: np.ndarray
    won: np.ndarray
    lead_id: np.ndarray
    group_id: np.ndarray
    age_days: np.ndarray
    earlier: np.ndarray
    weeks: int | None
    weight: float = 1.0

    @classmethod
    def of(cls, keys: pd.DataFrame, probability: np.ndarray, weight: float = 1.0) -> Self:
        """From a Dataset's keys; rows without `as_of` have no weekly dates."""
        earlier = (keys["part"] == "burn_in").to_numpy()
        timed = len(keys) > 0 and bool((keys["as_of"] >= 0).all())
        weeks = keys.loc[~earlier, "order"].nunique() if timed else None
        return cls(
            probability,
            keys["won"].to_numpy(np.float64),
            keys["lead_id"].to_numpy(),
            keys["group_id"].to_numpy(),
            keys["age_days"].to_numpy(np.float64),
            earlier,
            weeks,
            weight,
        )


@dataclass(frozen=True)
class Promise:
    """What one band held in the calibrate part; `lower` is what it promises to reach."""

    band: str
    n: int
    expected: float | None
    observed: float | None
    lower: float
    upper: float
    deff: float


@dataclass(frozen=True)
class Bands:
    """`hot_from` None: nothing is hot, and `hot_refused` says why."""

    policy: str
    hot_from: float | None
    hot_ties: float
    """Of the leads exactly at `hot_from` this share is hot, chosen by a hash of their id."""
    warm_from: float
    hot_refused: str | None
    base_rate: float
    oldest_age_days: float | None
    """A lead older than every one in training is never hot."""
    promises: tuple[Promise, ...]

    @classmethod
    def fit(cls, config: BandsConfig, stock: Stock, oldest_age_days: float | None) -> Self:
        """Hot is refused unless its two-sided 95% lower bound exceeds the base rate."""
        won = stock.won[~np.isnan(stock.won)]
        base_rate = float(won.mean()) if won.any() else 0.5 / (len(won) + 1)
        young = ~_too_old(stock.age_days, oldest_age_days)
        cut, refused = _hot_cut(config, stock, young)
        start = cut.start if cut else None
        warm_from = config.warm if config.warm is not None else base_rate
        warm_from = warm_from if start is None else min(warm_from, start)
        ties = cut.ties if cut else 1.0
        bands = cls(config.policy, start, ties, warm_from, refused, base_rate, oldest_age_days, ())
        if cut is not None:
            found = clustered_rate(*bands._labelled(stock, "hot"))
            refused = _too_little(found, base_rate)
            bands = replace(bands, hot_from=None, hot_refused=refused) if refused else bands
        return replace(bands, promises=bands.promises_on(stock))

    def assign(
        self,
        probability: np.ndarray,
        age_days: np.ndarray,
        lead_id: np.ndarray,
        shift: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """`cold`, `warm` or `hot` for each; an object array.

        `shift` is the level that `probability` was moved by: leads tied at the cut stay tied.
        """
        band = np.where(probability >= self.warm_from, "warm", "cold").astype(object)
        if self.hot_from is not None:
            hot = probability >= self.hot_from
            if self.hot_ties < 1.0:
                moved = np.broadcast_to(np.asarray(shift, dtype=np.float64), probability.shape)
                cut = tracked(np.full(len(probability), self.hot_from), moved)
                tied = np.flatnonzero(probability == cut)
                hot[tied] &= unit_hash(lead_id[tied]) <= self.hot_ties
            band[hot & ~_too_old(age_days, self.oldest_age_days)] = "hot"
        return band

    def _labelled(self, stock: Stock, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes and groups of the labelled rows of one band."""
        band = self.assign(stock.probability, stock.age_days, stock.lead_id)
        rows = ~np.isnan(stock.won) & (band == name)
        return stock.won[rows], stock.group_id[rows]

    def promises_on(self, stock: Stock) -> tuple[Promise, ...]:
        """Each band's size, expected and observed rate on labelled rows."""
        labelled = ~np.isnan(stock.won)
        band = self.assign(stock.probability, stock.age_days, stock.lead_id)
        return tuple(_promise(name, stock, labelled & (band == name)) for name in BANDS)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        promises = tuple(Promise(**row) for row in tree["promises"])
        return cls(**{**tree, "promises": promises})


@dataclass(frozen=True)
class Cut:
    """Hot from `start` on; of those exactly there the share `ties`."""

    start: float
    ties: float = 1.0


def cut_for(
    probability: np.ndarray, lead_id: np.ndarray, earlier: np.ndarray, most: int
) -> Cut | None:
    """The lowest cut at which at most `most` leads become hot; None: nobody may.

    Each lead counts once, with its highest probability; one that reached the cut in an `earlier` row
    is not newly hot. Ties at the cut are broken by a hash of the lead's id.

    >>> now = np.zeros(3, dtype=bool)
    >>> cut_for(np.array([0.9, 0.8, 0.1]), np.array(["a", "b", "c"]), now, most=2)
    Cut(start=0.8, ties=1.0)
    """
    rows = pd.DataFrame({"lead": lead_id, "p": probability})
    highest = rows[~earlier].groupby("lead")["p"].max()
    before = rows[earlier].groupby("lead")["p"].max().reindex(highest.index, fill_value=-1.0)
    starts = np.unique(highest)[::-1]
    known = np.minimum(highest.to_numpy(), before.to_numpy())
    newly = _reaching(highest.to_numpy(), starts) - _reaching(known, starts)
    kept = int(np.sum(np.maximum.accumulate(newly) <= most))
    if kept < len(starts):
        ties = _tie_share(highest, before, float(starts[kept]), most)
        if ties is not None:
            return Cut(float(starts[kept]), ties)
    return Cut(float(starts[kept - 1])) if kept else None


def _tie_share(highest: pd.Series, before: pd.Series, cut: float, most: int) -> float | None:
    """The largest share of the leads exactly at `cut` with at most `most` newly hot; None: no lead fits.

    By the share some at the cut become hot; some that stood there before and rose were hot already.
    """
    reached, risen = (
        highest.index[(highest == cut) & (before < cut)],
        highest.index[(highest > cut) & (before == cut)],
    )
    always = int(((highest > cut) & (before < cut)).sum())
    hashes = unit_hash(np.concatenate([reached.to_numpy(object), risen.to_numpy(object)]))
    step = np.repeat([1, -1], [len(reached), len(risen)])
    order = np.argsort(hashes, kind="stable")
    newly = always + len(risen) + np.cumsum(step[order])
    fits = np.flatnonzero(newly <= most)
    return float(hashes[order][fits[-1]]) if len(fits) else None


def _reaching(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """How many of the values reach each start."""
    reached: np.ndarray = len(values) - np.searchsorted(np.sort(values), starts, side="left")
    return reached


def unit_hash(lead_id: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each id, the same everywhere and unrelated to anything."""
    unit: np.ndarray = stable_hash(pd.Index(lead_id)) / 2.0**64
    return unit


def _hot_cut(config: BandsConfig, stock: Stock, young: np.ndarray) -> tuple[Cut | None, str | None]:
    if config.policy == "thresholds":
        assert config.hot is not None
        return Cut(config.hot), None
    if config.policy == "value":
        assert config.cost_per_contact is not None
        assert config.value_per_win is not None
        even = config.cost_per_contact / config.value_per_win
        return (Cut(even), None) if even < 1 else (None, "a contact costs more than a win brings.")
    if config.hot_per_week is not None and stock.weeks is not None:
        rows = young
        most = math.floor(config.hot_per_week * stock.weeks / stock.weight + 1e-9)
    else:
        rows = young & ~stock.earlier
        most = math.floor(config.hot_share * len(pd.unique(stock.lead_id[rows])) + 1e-9)
    cut = cut_for(stock.probability[rows], stock.lead_id[rows], stock.earlier[rows], most)
    if cut is None:
        of = "" if stock.weight == 1 else f" among 1 in {stock.weight:g} leads"
        return (
            None,
            f"the plan of {most} hot leads{of} in the calibrate part leaves room for nobody.",
        )
    return cut, None


def _too_little(found: Rate, base_rate: float) -> str | None:
    if found.n == 0:
        return "not enough evidence: no lead of the calibrate part reaches the threshold."
    if found.lower > base_rate:
        return None
    return (
        f"not enough evidence: of {found.n} hot snapshots {found.rate:.1%} were won, which may be "
        f"as few as {found.lower:.1%}; all open leads reach {base_rate:.1%}."
    )


def _promise(name: str, stock: Stock, rows: np.ndarray) -> Promise:
    found = clustered_rate(stock.won[rows], stock.group_id[rows])
    some = found.n > 0
    expected = float(stock.probability[rows].mean()) if some else None
    observed = found.rate if some else None
    return Promise(name, found.n, expected, observed, found.lower, found.upper, found.deff)


def _too_old(age_days: np.ndarray, oldest_age_days: float | None) -> np.ndarray:
    if oldest_age_days is None:
        return np.zeros(len(age_days), dtype=bool)
    older: np.ndarray = age_days > oldest_age_days
    return older

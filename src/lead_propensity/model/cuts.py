"""Where hot begins: the cut that a policy makes through the calibrate part's stock."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lead_propensity.config import BandsConfig
from lead_propensity.model.folds import stable_hash
from lead_propensity.model.stock import Candidates, Stock

HASHES = 2.0**64


@dataclass(frozen=True)
class Cut:
    """Hot from `start` on.

    Where a calibrator ties leads at `start`, those from `raw_from` on; of those exactly there the
    share `ties`, by a hash of their id.
    """

    start: float
    raw_from: float | None = None
    ties: float = 1.0

    def reached(self, leads: Candidates) -> np.ndarray:
        """n booleans. A calibrator never falls, so that a higher probability means a higher raw score:
        leads that it ties stay in their order at any level."""
        hot: np.ndarray = leads.probability >= self.start
        if self.raw_from is None:
            return hot
        hot &= leads.raw_score >= self.raw_from
        tied = np.flatnonzero(hot & (leads.raw_score == self.raw_from))
        hot[tied] &= unit_hash(leads.lead_id[tied]) <= self.ties
        return hot


def cut_for(leads: Candidates, earlier: np.ndarray, most: int) -> Cut | None:
    """The lowest cut at which at most `most` leads become hot; None: nobody may.

    Each lead counts once, with its best row; one that reached the cut in an `earlier` row is not newly
    hot. Ties of probability are broken by the raw score, then by a hash of the lead's id.

    >>> p, raw, leads = np.array([0.9, 0.8, 0.1]), np.array([2.0, 1.0, -2.0]), np.array(["a", "b", "c"])
    >>> everyone = Candidates(p, raw, leads, np.zeros(3), np.ones(3, dtype=bool))
    >>> cut_for(everyone, np.zeros(3, dtype=bool), most=2)
    Cut(start=0.8, raw_from=None, ties=1.0)
    """
    hashes = _hash_of_each(leads.lead_id)
    place = _places(leads, hashes)
    rows = pd.DataFrame({"lead": leads.lead_id, "place": place})
    best = rows[~earlier].groupby("lead")["place"].max()
    before = rows[earlier].groupby("lead")["place"].max().reindex(best.index, fill_value=-1)
    starts = np.unique(best)[::-1]
    known = np.minimum(best.to_numpy(), before.to_numpy())
    newly = _reaching(best.to_numpy(), starts) - _reaching(known, starts)
    kept = int(np.sum(np.maximum.accumulate(newly) <= most))
    if not kept:
        return None
    last = int(np.flatnonzero(place == starts[kept - 1])[0])
    return _cut_at(last, leads, place, hashes)


def hot_cut(config: BandsConfig, stock: Stock, young: np.ndarray) -> tuple[Cut | None, str | None]:
    """The cut of a policy that needs no outcomes, or why there is none; `young` (n booleans) may be hot."""
    if config.policy == "thresholds":
        assert config.hot is not None
        return Cut(config.hot), None
    if config.policy == "value":
        assert config.cost_per_contact is not None
        assert config.value_per_win is not None
        even = config.cost_per_contact / config.value_per_win
        return (Cut(even), None) if even < 1 else (None, "a contact costs more than a win brings.")
    return _capacity(config, stock, young)


def _capacity(
    config: BandsConfig, stock: Stock, young: np.ndarray
) -> tuple[Cut | None, str | None]:
    may = young & stock.leads.meets
    if config.hot_per_week is not None and stock.weeks is not None:
        most = math.floor(config.hot_per_week * stock.weeks / stock.weight + 1e-9)
    else:
        now = young & ~stock.earlier
        most = math.floor(config.hot_share * len(pd.unique(stock.leads.lead_id[now])) + 1e-9)
        may &= now
    cut = cut_for(stock.leads.rows(may), stock.earlier[may], most)
    if cut is None:
        of = "" if stock.weight == 1 else f" among 1 in {stock.weight:g} leads"
        return (
            None,
            f"the plan of {most} hot leads{of} in the calibrate part leaves room for nobody.",
        )
    return cut, None


def unit_hash(ids: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each id, the same everywhere and unrelated to anything."""
    unit: np.ndarray = stable_hash(pd.Index(ids)) / HASHES
    return unit


def _hash_of_each(lead_id: np.ndarray) -> np.ndarray:
    codes, names = pd.factorize(lead_id)
    return np.asarray(unit_hash(names)[codes]) if len(names) else np.empty(0)


def _places(leads: Candidates, hashes: np.ndarray) -> np.ndarray:
    """Each row's place in the order of calling, the last to be called 0; equal rows share one."""
    keys = (-hashes, leads.raw_score, leads.probability)
    order = np.lexsort(keys)
    apart = np.zeros(len(order), dtype=bool)
    for key in keys:
        apart[1:] |= np.diff(key[order]) != 0
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.cumsum(apart)
    return place


def _cut_at(row: int, leads: Candidates, place: np.ndarray, hashes: np.ndarray) -> Cut:
    """From this row's place on; by probability alone where nobody tied stays out."""
    start, raw = float(leads.probability[row]), float(leads.raw_score[row])
    out = (leads.probability == start) & (place < place[row])
    if not out.any():
        return Cut(start)
    alike = bool((out & (leads.raw_score == raw)).any())
    return Cut(start, raw, float(hashes[row]) if alike else 1.0)


def _reaching(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """How many of the values reach each start."""
    reached: np.ndarray = len(values) - np.searchsorted(np.sort(values), starts, side="left")
    return reached

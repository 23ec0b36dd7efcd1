"""Cold, warm and hot: where they begin, and what each promises.

Fitted on the calibrate part's stock population, at the stored level; `score` applies them to the
tracked probability.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from lead_propensity.config import BandsConfig, Criterion
from lead_propensity.model.cuts import Cut, hot_cut
from lead_propensity.model.intervals import Rate, clustered_rate, wilson
from lead_propensity.model.precision import Foretold, Proof, precision_cut
from lead_propensity.model.stock import Candidates, Stock

BANDS = ("cold", "warm", "hot")


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
    """Of the leads exactly at `hot_raw_from` this share is hot, chosen by a hash of their id."""
    warm_from: float
    hot_refused: str | None
    base_rate: float
    oldest_age_days: float | None
    """A lead older than every one in training is never hot."""
    promises: tuple[Promise, ...]
    hot_raw_from: float | None = None
    """Where a calibrator ties leads at `hot_from`: hot from this raw score on."""
    hot_requires: dict[Criterion, Literal["met", "known"]] = field(default_factory=dict)
    """What a hot lead must show."""
    tested: Proof | None = None
    """By the policy `precision`: how the target was tested."""
    cost_per_contact: float | None = None
    value_per_win: float | None = None

    @classmethod
    def fit(
        cls,
        config: BandsConfig,
        stock: Stock,
        oldest_age_days: float | None,
        foretold: Foretold | None = None,
    ) -> Self:
        """Hot is refused unless its two-sided 95% lower bound exceeds the base rate.

        The policy `precision` needs what the fit part has `foretold`; its promise is the target.
        """
        won = stock.won[stock.labelled]
        base_rate = float(won.mean()) if won.any() else 0.5 / (len(won) + 1)
        young = ~_too_old(stock.leads.age_days, oldest_age_days)
        cut, refused, tested = _hot_cut(config, stock, young, foretold)
        warm_from = config.warm if config.warm is not None else base_rate
        bands = cls(
            policy=config.policy,
            hot_from=cut.start if cut else None,
            hot_ties=cut.ties if cut else 1.0,
            warm_from=min(warm_from, cut.start) if cut else warm_from,
            hot_refused=refused,
            base_rate=base_rate,
            oldest_age_days=oldest_age_days,
            promises=(),
            hot_raw_from=cut.raw_from if cut else None,
            hot_requires=config.hot_requires,
            tested=tested,
            cost_per_contact=config.cost_per_contact,
            value_per_win=config.value_per_win,
        )
        if cut is not None:
            found = clustered_rate(*bands._labelled(stock, "hot"))
            refused = _too_little(found, base_rate)
            bands = replace(bands, hot_from=None, hot_refused=refused) if refused else bands
        return replace(bands, promises=bands._promises(stock))

    def assign(self, leads: Candidates) -> np.ndarray:
        """`cold`, `warm` or `hot` for each; an object array."""
        band = np.where(leads.probability >= self.warm_from, "warm", "cold").astype(object)
        band[self.reached(leads) & leads.meets] = "hot"
        return band

    def reached(self, leads: Candidates) -> np.ndarray:
        """n booleans: who is hot, or would be if it showed what `hot_requires` demands."""
        if self.hot_from is None:
            return np.zeros(len(leads.probability), dtype=bool)
        cut = Cut(self.hot_from, self.hot_raw_from, self.hot_ties)
        reached: np.ndarray = cut.reached(leads) & ~self.too_old(leads.age_days)
        return reached

    def too_old(self, age_days: np.ndarray) -> np.ndarray:
        """n booleans: older than every lead in training; NaN is not."""
        return _too_old(age_days, self.oldest_age_days)

    def _labelled(self, stock: Stock, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes and groups of the labelled rows of one band."""
        rows = stock.labelled & (self.assign(stock.leads) == name)
        return stock.won[rows], stock.group_id[rows]

    def _promises(self, stock: Stock) -> tuple[Promise, ...]:
        """Each band's size, expected and observed rate on labelled rows."""
        band = self.assign(stock.leads)
        found = [_promise(name, stock, stock.labelled & (band == name)) for name in BANDS]
        if self.tested is not None and self.hot_from is not None:
            found[-1] = replace(found[-1], lower=self.tested.target)
        return tuple(found)

    @property
    def promised(self) -> dict[str, float]:
        """The rate that each band promised to reach; a band without one promised nothing."""
        promised = {row.band: row.lower for row in self.promises if row.n}
        if self.hot_refused:
            promised.pop("hot", None)
        return promised

    def observed(self) -> dict[str, tuple[float, float]]:
        """Of each band the 95% interval of what its leads in the calibrate part converted at.

        Bands without a lead there are left out. It is no promise: by the policy `precision` that is the target.
        """
        return {
            one.band: wilson(one.observed, one.n / one.deff)
            for one in self.promises
            if one.observed is not None
        }

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        promises = tuple(Promise(**row) for row in tree["promises"])
        tested = None if tree.get("tested") is None else Proof(**tree["tested"])
        return cls(**{**tree, "promises": promises, "tested": tested})


def _hot_cut(
    config: BandsConfig, stock: Stock, young: np.ndarray, foretold: Foretold | None
) -> tuple[Cut | None, str | None, Proof | None]:
    """Where hot begins, or why nowhere, and what was tested for it."""
    if config.policy != "precision":
        return *hot_cut(config, stock, young), None
    assert config.target is not None
    assert foretold is not None, "the policy precision needs an order that the fit part fixed"
    cut, tested = precision_cut(stock, young, foretold, config.target)
    return cut, None if cut else f"not enough evidence: {tested.words}", tested


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
    expected = float(stock.leads.probability[rows].mean()) if some else None
    observed = found.rate if some else None
    return Promise(name, found.n, expected, observed, found.lower, found.upper, found.deff)


def _too_old(age_days: np.ndarray, oldest_age_days: float | None) -> np.ndarray:
    if oldest_age_days is None:
        return np.zeros(len(age_days), dtype=bool)
    older: np.ndarray = age_days > oldest_age_days
    return older

"""The level: how far the log-odds have moved since training, told by cohorts that have closed.

A cohort is all snapshots of one calendar week (as exported: one block of rows). It speaks only
once the week is over and all of its labels are known: the same date in a test and in production.
Local-level Kalman filters (Durbin & Koopman 2012, chapter 2) follow the shift of the log-odds, one for
each way in which levels may move; each counts by how well it foretold the cohorts so far (a static
multiple-model filter, Magill 1965). Where nothing has moved, the filter that stays at 0 wins. Ranking
stays as it is.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from lead_propensity.model.intervals import design_effect

WEEK = 7 * 86_400 * 1_000_000
MONDAY = 4 * 86_400 * 1_000_000
"""1970-01-05, in microseconds."""
ROW_BLOCKS = 50
MIN_COHORTS = 3
AT_FIRST = (0.0, 0.01, 0.04, 0.16, 0.64)
"""Variance of the level when the members have just been fitted."""
STEPS = (0.0, 0.0005, 0.002, 0.008, 0.03, 0.12)
"""Variance of its step from one cohort to the next."""
SWINGS = (0.0, 0.01, 0.05, 0.2)
"""Variance of what is peculiar to one cohort and gone with it."""
WAYS = np.array(list(product(AT_FIRST, STEPS, SWINGS)))
SHYNESS = np.array([0.5, 0.5, 0.25])
"""Log-odds against each next larger variance, before any cohort has spoken."""


@dataclass(frozen=True)
class Calendar:
    """How rows are grouped into cohorts, in units of `order`."""

    block: int
    origin: int

    @classmethod
    def of(cls, as_exported: bool, rows: int) -> Self:
        """Weeks from Monday on; as exported, fiftieths of the `rows` there are to learn from."""
        return cls(max(1, round(rows / ROW_BLOCKS)), 0) if as_exported else cls(WEEK, MONDAY)

    def number(self, order: np.ndarray) -> np.ndarray:
        """The cohort of each row."""
        numbers: np.ndarray = (order - self.origin) // self.block
        return numbers


@dataclass(frozen=True)
class Scored:
    """Rows that the model was not fitted on; arrays of one length, in any order."""

    order: np.ndarray
    probability: np.ndarray
    """Untracked."""
    won: np.ndarray
    cluster: np.ndarray

    @classmethod
    def of(cls, keys: pd.DataFrame, probability: np.ndarray) -> Self:
        """From a Dataset's keys."""
        return cls(
            keys["order"].to_numpy(np.int64),
            probability,
            keys["won"].to_numpy(np.float64),
            keys["group_id"].to_numpy(),
        )


@dataclass(frozen=True)
class Cohorts:
    """Closed cohorts in time order; arrays of one length."""

    order: np.ndarray
    """Where each begins, int64."""
    known_at: np.ndarray
    """When the week was over and its last label known, int64."""
    shift: np.ndarray
    """The log-odds by which it missed, from its own expected and observed wins."""
    information: np.ndarray
    """Sum of p (1 - p) over the design effect: one over the variance of `shift`."""

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True)
class LevelTracker:
    """How levels moved before, decided before the test part."""

    log_weights: tuple[float, ...]
    """Of each of WAYS."""
    calendar: Calendar
    repeats: float
    """Design effect of earlier residuals: a lead speaks in several cohorts, with one deal."""
    after: int
    """The last `order` that taught the members: only later rows speak."""
    label_delay: int
    """From a row's `order` until its label is known."""
    note: str

    def cohorts(self, rows: Scored) -> Cohorts:
        """Groups rows by calendar week or block."""
        return cohorts(rows, self.calendar, self.repeats, self.label_delay)

    def may_speak(self, keys: pd.DataFrame) -> np.ndarray:
        """n booleans: labelled rows of the training population that the members were not fitted on."""
        later: np.ndarray = keys["order"].to_numpy() > self.after
        training = (keys["population"] == "training").to_numpy()
        return later & training & keys["won"].notna().to_numpy()

    def shift(self, as_of_order: np.ndarray, closed: Cohorts) -> tuple[np.ndarray, np.ndarray]:
        """For each moment the shift of the log-odds, and when its last cohort closed (int64).

        Only cohorts with `known_at <= as_of_order` speak. With fewer than three of them the shift is 0
        and the time -1.
        """
        shift = np.zeros(len(as_of_order))
        until = np.full(len(as_of_order), -1, dtype=np.int64)
        filters = _Filters(np.array(self.log_weights), self.after)
        levels = [filters.hear(closed, place, self.calendar.block) for place in range(len(closed))]
        counts = np.searchsorted(closed.known_at, as_of_order, side="right")
        told = counts >= MIN_COHORTS
        shift[told] = np.array(levels)[counts[told] - 1] if told.any() else 0.0
        until[told] = closed.known_at[counts[told] - 1]
        return shift, until

    def error(self, as_of_order: int, closed: Cohorts) -> float:
        """Standard error of the shift at one moment, in log-odds; that of not knowing where nobody speaks."""
        filters = _Filters(np.array(self.log_weights), self.after)
        for place in range(int(np.sum(closed.known_at <= as_of_order))):
            filters.hear(closed, place, self.calendar.block)
        filters.wait_until(as_of_order, self.calendar.block)
        return filters.error

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        weights = tuple(tree["log_weights"])
        if len(weights) != len(WAYS):
            raise ValueError(f"the level tracker weighs {len(weights)} ways, not {len(WAYS)}")
        calendar = Calendar(**tree["calendar"])
        return cls(**{**tree, "calendar": calendar, "log_weights": weights})


class _Filters:
    """A local-level filter for each of WAYS, from the moment at which the members were fitted."""

    def __init__(self, log_weights: np.ndarray, after: int) -> None:
        self._log_weights, self._now = log_weights.copy(), after
        self._level = np.zeros(len(WAYS))
        self._variance = WAYS[:, 0].copy()

    def hear(self, closed: Cohorts, place: int, block: int) -> float:
        """The level after one cohort more."""
        self.wait_until(int(closed.order[place]), block)
        noise = 1.0 / closed.information[place] + WAYS[:, 2]
        missed, spread = closed.shift[place] - self._level, self._variance + noise
        self._log_weights -= 0.5 * (np.log(spread) + missed**2 / spread)
        gain = self._variance / spread
        self._level += gain * missed
        self._variance *= 1.0 - gain
        return self.level

    def wait_until(self, order: int, block: int) -> None:
        self._variance += WAYS[:, 1] * max(0.0, (order - self._now) / block)
        self._now = max(self._now, order)

    @property
    def log_weights(self) -> np.ndarray:
        return self._log_weights

    @property
    def level(self) -> float:
        return float(np.sum(self._shares() * self._level))

    @property
    def error(self) -> float:
        spread = self._variance + (self._level - self.level) ** 2
        return float(np.sqrt(np.sum(self._shares() * spread)))

    def _shares(self) -> np.ndarray:
        return _shares(self._log_weights)


def _shares(log_weights: np.ndarray) -> np.ndarray:
    shares = np.exp(log_weights - log_weights.max())
    return np.asarray(shares / np.sum(shares))


def shy() -> np.ndarray:
    """(ways,) log weights before any cohort has spoken: the larger a move, the less it is believed."""
    places = np.array(list(product(*(range(len(one)) for one in (AT_FIRST, STEPS, SWINGS)))))
    weights: np.ndarray = -np.sum(places * SHYNESS, axis=1)
    return weights


def tracked(probability: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The probability at the level that `shift` gives; unchanged where the shift is 0."""
    moved: np.ndarray = np.where(shift == 0.0, probability, expit(logit(probability) + shift))
    return moved


def cohorts(rows: Scored, calendar: Calendar, repeats: float, label_delay: int) -> Cohorts:
    """See LevelTracker.cohorts."""
    p = rows.probability
    frame = pd.DataFrame({"number": calendar.number(rows.order), "p": p, "won": rows.won})
    sums = frame.assign(n=1.0, spread=p * (1.0 - p)).groupby("number", sort=True).sum()
    starts = sums.index.to_numpy(np.int64) * calendar.block + calendar.origin
    n, expected, observed, spread = (
        sums[name].to_numpy(np.float64) for name in ("n", "p", "won", "spread")
    )
    spread = np.maximum(spread, 1e-12)
    missed = logit((observed + 0.5) / (n + 1)) - logit((expected + 0.5) / (n + 1))
    # Leads differ, so moving all of them by s moves the logit of their mean by less than s.
    even = np.maximum(expected * (1.0 - expected / n), 1e-12)
    return Cohorts(
        starts,
        starts + calendar.block + label_delay,
        missed * even / spread,
        spread / repeats,
    )


@dataclass(frozen=True)
class Earlier:
    """Rows that a model foretold which had been fitted on what lay before `after`."""

    after: int
    rows: Scored


def decide(
    earlier: Sequence[Earlier], calendar: Calendar, after: int, label_delay: int
) -> LevelTracker:
    """A tracker that knows how levels moved on earlier rows, each time after a model had been fitted."""
    log_weights = shy()
    everything = Scored(
        *(_joined(earlier, name) for name in ("order", "probability", "won", "cluster"))
    )
    repeats, heard = _repeats(everything), 0
    for one in earlier:
        filters = _Filters(np.zeros(len(WAYS)), one.after)
        closed = cohorts(one.rows, calendar, repeats, label_delay)
        for place in range(len(closed)):
            filters.hear(closed, place, calendar.block)
        log_weights += filters.log_weights
        heard += len(closed)
    log_weights = np.round(log_weights - log_weights.max(), 9)
    note = _note(_shares(log_weights), heard, calendar)
    weights = tuple(log_weights.tolist())
    return LevelTracker(weights, calendar, repeats, after, label_delay, note)


def _note(shares: np.ndarray, heard: int, calendar: Calendar) -> str:
    first, step, swing = np.sqrt(np.sum(shares[:, None] * WAYS, axis=0))
    cohort = "week" if calendar.block == WEEK else f"{calendar.block:,} rows"
    return (
        f"Level tracker: in {heard} earlier cohorts the log-odds lay about {first:.2f} off after a fit, moved "
        f"about {step:.2f} with each {cohort}, and swung by {swing:.2f} for one alone (standard deviations)."
    )


def _joined(earlier: Sequence[Earlier], name: str) -> np.ndarray:
    return np.concatenate([getattr(one.rows, name) for one in earlier] or [np.empty(0)])


def _repeats(rows: Scored) -> float:
    """The design effect of the residuals: one lead speaks in several cohorts, with one deal."""
    return design_effect(rows.won - rows.probability, rows.cluster) if len(rows.won) else 1.0

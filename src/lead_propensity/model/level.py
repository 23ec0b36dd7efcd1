"""The level: how far the log-odds have moved since training, told by cohorts that have closed.

A cohort is all snapshots of one calendar week (as exported: one block of rows). It speaks only
once the week is over and all of its labels are known: the same date in a test and in production.
A local-level Kalman filter (Durbin & Koopman 2012, chapter 2) follows the shift of the log-odds;
ranking stays as it is.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from lead_propensity.model.intervals import design_effect, mean_and_error, row_loss

WEEK = 7 * 86_400 * 1_000_000
MONDAY = 4 * 86_400 * 1_000_000
"""1970-01-05, in microseconds."""
ROW_BLOCKS = 50
MIN_COHORTS = 3
STEPS = (0.02, 0.05, 0.1, 0.2)
"""Standard deviations of one cohort's step that are tried."""
FIRST_STEPS = 10.0
"""Before the first cohort the shift is as uncertain as after so many steps."""


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
    """The filter's settings, decided before the test part; off where `step_variance` is None."""

    step_variance: float | None
    calendar: Calendar
    repeats: float
    """Design effect of earlier residuals: a lead speaks in several cohorts, with one deal."""
    after: int
    """The last `order` that taught the members: only later rows speak."""
    label_delay: int
    """From a row's `order` until its label is known."""
    note: str
    gains: dict[str, float]
    """Mean log loss saved by each step size on earlier data (empty: too little to try)."""

    @property
    def is_on(self) -> bool:
        return self.step_variance is not None

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

        Only cohorts with `known_at <= as_of_order` speak. Off, or with fewer than three of them,
        the shift is 0 and the time -1.
        """
        if self.step_variance is None:
            return np.zeros(len(as_of_order)), np.full(len(as_of_order), -1, dtype=np.int64)
        return _filtered(as_of_order, closed, self.step_variance, self.calendar.block)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        return cls(**{**tree, "calendar": Calendar(**tree["calendar"])})


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


def decide(rows: Scored, calendar: Calendar, after: int, label_delay: int) -> LevelTracker:
    """On, with a step size, if that lowered the log loss of earlier rows by one standard error.

    Prequential: each row's shift comes from cohorts that had closed by its own time. The error is
    the larger of those clustered by lead and by cohort.
    """
    repeats = _repeats(rows)
    closed = cohorts(rows, calendar, repeats, label_delay)
    gains, errors = {}, {}
    for step in STEPS:
        shift, until = _filtered(rows.order, closed, step**2, calendar.block)
        told = until >= 0
        if not told.any():
            note = "Level tracker off: too few closed cohorts before the test part to judge it."
            return LevelTracker(None, calendar, repeats, after, label_delay, note, {})
        gains[str(step)], errors[str(step)] = _saved(rows, shift, told, calendar)
    best = max(gains, key=lambda step: gains[step])
    on = gains[best] > errors[best]
    found = f"log loss {-gains[best]:+.5f} (standard error {errors[best]:.5f})"
    note = f"Level tracker {'on' if on else 'off'}: it changed earlier {found} with step {best}."
    variance = float(best) ** 2 if on else None
    return LevelTracker(variance, calendar, repeats, after, label_delay, note, gains)


def _saved(
    rows: Scored, shift: np.ndarray, told: np.ndarray, calendar: Calendar
) -> tuple[float, float]:
    score, won = logit(rows.probability[told]), rows.won[told]
    saved = row_loss(score, won) - row_loss(score + shift[told], won)
    mean, by_lead = mean_and_error(saved, rows.cluster[told])
    return mean, max(by_lead, mean_and_error(saved, calendar.number(rows.order[told]))[1])


def _filtered(
    as_of_order: np.ndarray, closed: Cohorts, step_variance: float, block: int
) -> tuple[np.ndarray, np.ndarray]:
    by_known = np.argsort(closed.known_at, kind="stable")
    known_at = closed.known_at[by_known]
    counts = np.searchsorted(known_at, as_of_order, side="right")
    shift = np.zeros(len(as_of_order))
    until = np.full(len(as_of_order), -1, dtype=np.int64)
    for count in np.unique(counts[counts >= MIN_COHORTS]):
        here = counts == count
        shift[here] = _last_level(closed, np.sort(by_known[:count]), step_variance, block)
        until[here] = known_at[count - 1]
    return shift, until


def _last_level(closed: Cohorts, places: np.ndarray, step_variance: float, block: int) -> float:
    level, variance = 0.0, FIRST_STEPS * step_variance
    before = int(closed.order[places[0]])
    for place in places:
        steps = (int(closed.order[place]) - before) / block
        variance += steps * step_variance
        gain = variance / (variance + 1.0 / closed.information[place])
        level += gain * (closed.shift[place] - level)
        variance *= 1.0 - gain
        before = int(closed.order[place])
    return float(level)


def _repeats(rows: Scored) -> float:
    """The design effect of the residuals: one lead speaks in several cohorts, with one deal."""
    return design_effect(rows.won - rows.probability, rows.cluster) if len(rows.won) else 1.0

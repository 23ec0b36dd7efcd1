"""One number as the columns of a curve: a cubic spline, or a straight line, and where it helps fine steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
from scipy.interpolate import BSpline

from lead_propensity.model.encoding import signed_log
from lead_propensity.model.storage import require_fields

DEGREE = 3
KNOTS = 4
"""Of a curve, at evenly spaced quantiles; two of them are its ends."""
FEW_VALUES = 4
"""A number with so few different values is a straight line."""
STEPS = 20
"""Steps lie at the limits of so many groups of equally many rows."""
STEP_HEIGHT = 0.15
"""Low, so that a jump costs much of the shrinkage: few wins leave the curve alone."""
JUMP_HEIGHT = 1.0
"""Of a step where a jump is known to be."""
NARROW, LARGEST = 1e-100, 1e100
"""Numbers closer than the one are the same, and beyond the other they count as it."""


@dataclass(frozen=True)
class Curve:
    """One number as the columns of a cubic spline, or as itself; one column more where some were missing."""

    log: bool
    knots: tuple[float, ...]
    """From end to end, rising. Beyond its ends a curve stays level."""
    curved: bool
    """False: a straight line."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    missing: bool
    steps: tuple[float, ...]
    """Where a step begins, rising; each is a column of its own."""
    step_height: float

    @classmethod
    def fit(cls, values: np.ndarray) -> Self:
        """Without steps. `values` (n,): NaN missing, and so is what is not finite."""
        finite = np.isfinite(values)
        missing, seen = not bool(finite.all()), bounded(values[finite])
        if len(seen) == 0:
            return cls(False, (0.0, 0.0), False, (0.0,), (1.0,), missing, (), STEP_HEIGHT)
        log = float(seen.min()) >= 0 and float(seen.max()) > 10 * middle_of(seen)
        seen = signed_log(seen) if log else seen
        knots = np.unique(np.quantile(seen, np.linspace(0, 1, KNOTS)))
        curved = len(np.unique(seen)) > FEW_VALUES and bool((np.diff(knots) > NARROW).all())
        curved = curved and len(knots) > 1
        ends = tuple(knots.tolist()) if curved else (float(seen.min()), float(seen.max()))
        curve = cls(log, ends, curved, (), (), missing, (), STEP_HEIGHT)
        raw = curve._raw(seen)
        scales = np.where(raw.std(axis=0) > NARROW, raw.std(axis=0), 1.0)
        return replace(curve, means=tuple(raw.mean(axis=0).tolist()), scales=tuple(scales.tolist()))

    def stepped(self, values: np.ndarray, jumps: Sequence[float]) -> Self:
        """With high steps at the `jumps` (rising), or where there are none with low ones; a straight line has none."""
        if not self.curved:
            return self
        if len(jumps):
            return replace(self, steps=tuple(jumps), step_height=JUMP_HEIGHT)
        limits = limits_of(bounded(values[np.isfinite(values)]), STEPS)
        return replace(self, steps=tuple(limits.tolist()))

    @property
    def width(self) -> int:
        return len(self.means) + len(self.steps) + self.missing

    def columns(self, values: np.ndarray) -> np.ndarray:
        """(n, width): the curve's own standardised, then the steps; 0 where the number is missing."""
        into = np.zeros((len(values), self.width))
        seen = np.isfinite(values)
        if seen.any():
            given, smooth = bounded(values[seen]), len(self.means)
            passed = given[:, None] >= np.array(self.steps)
            into[seen, smooth : smooth + len(self.steps)] = self.step_height * passed
            given = signed_log(given) if self.log else given
            into[seen, :smooth] = (self._raw(given) - self.means) / self.scales
        if self.missing:
            into[:, -1] = ~seen
        return into

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError where its numbers are those of no curve."""
        require_fields(cls, tree)
        knots, means, scales, steps = (
            tuple(tree[name]) for name in ("knots", "means", "scales", "steps")
        )
        rising = _rising(steps) and (_rising(knots) or not tree["curved"])
        width = len(knots) + DEGREE - 2 if tree["curved"] else 1
        whole = len(means) == len(scales) == width and all(scale > 0 for scale in scales)
        height, ends = tree["step_height"], len(knots) > 1 and knots[0] <= knots[-1]
        if not (whole and rising and ends and height > 0):
            raise ValueError("a curve of the smooth line is not whole")
        return cls(
            tree["log"], knots, tree["curved"], means, scales, tree["missing"], steps, height
        )

    def _raw(self, given: np.ndarray) -> np.ndarray:
        inside = np.clip(given, self.knots[0], self.knots[-1])
        if not self.curved:
            return np.asarray(inside[:, None])
        repeated = [*[self.knots[0]] * DEGREE, *self.knots, *[self.knots[-1]] * DEGREE]
        basis = BSpline.design_matrix(inside, np.array(repeated), DEGREE).toarray()
        # They add up to 1, so one of them says nothing new.
        return np.asarray(basis[:, 1:], dtype=np.float64)


def _rising(numbers: tuple[float, ...]) -> bool:
    return all(low < high for low, high in pairwise(numbers))


def limits_of(seen: np.ndarray, groups: int) -> np.ndarray:
    """Rising: where, of so many groups of about equally many of the values, each but the first begins."""
    limits = np.unique(np.quantile(seen, np.arange(1, groups) / groups))
    return np.asarray(limits[limits > seen.min()])


def bounded(values: np.ndarray) -> np.ndarray:
    """Numbers whose squares can be held."""
    return np.asarray(np.clip(values, -LARGEST, LARGEST), dtype=np.float64)


def middle_of(seen: np.ndarray) -> float:
    """The median of what is above 0; 0 where nothing is."""
    above = seen[seen > 0]
    return float(np.median(above)) if len(above) else 0.0

"""Where a curve jumps: limits that a smooth line cannot follow, such as 50 employees.

By score tests (Rao 1948): for each limit how much a step there would tell of what the curve leaves, given the curve
itself and the steps that were found before. The strongest is taken while it is beyond doubt.
"""

import numpy as np

from lead_propensity.model.curves import Curve, bounded, limits_of

GROUPS = 100
"""A jump is sought at the limits of so many groups of equally many rows."""
BEYOND_DOUBT = 20.0
"""Chi squared of one degree. By chance one of a hundred limits reaches it in less than one curve of a thousand."""
MOST = 8
"""Jumps of one curve."""
TINY = 1e-9


def jumps(
    curve: Curve, values: np.ndarray, residual: np.ndarray, weight: np.ndarray
) -> tuple[float, ...]:
    """Rising; none where the curve is a straight line.

    `values` (n,) of the curve, NaN missing; `residual` (n,) is outcome minus probability p, and `weight` p(1 - p),
    of a fit with the curve's columns.
    """
    given = np.isfinite(values)
    if not curve.curved or not given.any():
        return ()
    seen, residual, weight = bounded(values[given]), residual[given], weight[given]
    limits = limits_of(seen, GROUPS)
    group, count = np.searchsorted(limits, seen, side="right"), len(limits) + 1
    weights = np.bincount(group, weight, count) + TINY
    left = np.bincount(group, residual, count)
    columns = curve.columns(seen)[:, : len(curve.means)]
    known = np.column_stack(
        [np.ones(count), *(np.bincount(group, weight * one, count) / weights for one in columns.T)]
    )
    steps = (np.arange(count)[:, None] > np.arange(len(limits))).astype(np.float64)
    found: list[int] = []
    while len(found) < MOST:
        evidence = _evidence(known, steps, left, weights)
        strongest = int(np.argmax(evidence))
        if evidence[strongest] < BEYOND_DOUBT:
            break
        found.append(strongest)
        known = np.column_stack([known, steps[:, strongest]])
    return tuple(sorted(float(limits[place]) for place in found))


def _evidence(
    known: np.ndarray, steps: np.ndarray, left: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Chi squared of each of `steps` (groups, limits), beside the columns `known` (groups, k)."""
    inner = (known * weights[:, None]).T @ known
    inner += TINY * np.trace(inner) * np.eye(len(inner))
    alone = steps - known @ np.linalg.solve(inner, (known * weights[:, None]).T @ steps)
    spread = np.sum(alone**2 * weights[:, None], axis=0)
    new = spread > 1e-6 * np.sum(weights)
    return np.where(new, (alone.T @ left) ** 2 / np.where(new, spread, 1.0), 0.0)

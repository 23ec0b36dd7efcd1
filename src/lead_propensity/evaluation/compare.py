"""Ways to score, compared on the same snapshots, with paired intervals that resample whole groups.

A resample draws groups (companies, households, else leads) with replacement; a snapshot then weighs
as often as its group was drawn. All contenders see the same resamples, so the interval of a
difference is paired. The cluster bootstrap is that of Field and Welsh, "Bootstrapping clustered
data" (2007); intervals are percentiles, conditional on the period. Sums over groups are `einsum`
and not `@`: BLAS adds in another order on another number of threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd

from lead_propensity.evaluation.metrics import Floats, best_first, losses

RESAMPLES = 500
RANKING = ("auc", "average_precision", "capture", "conversion")
PROBABILITY = ("log_loss", "brier")
METRICS = (*RANKING, *PROBABILITY)
ENDS = (("", "value"), ("_lower", "lower"), ("_upper", "upper"))
"""How the parts of a figure end its name where figures are flat; and where they stand in it."""
CELLS = 2_000_000
"""Weights held at once: about 16 MB an array."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval; bounds are NaN where resamples cannot give them."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Contender:
    """One way to score the snapshots."""

    name: str
    probability: Floats | None = None
    """None: it says no probability, and has no log loss and no Brier."""
    score: Floats | None = None
    """What it ranks by, best high; None: it does not rank, and has only what a probability has."""
    called: npt.NDArray[np.bool_] | None = None
    """Whom it calls by its own rule; None: as many from the top as the volume asks for."""


@dataclass(frozen=True)
class Field:
    """What all contenders share; arrays of one entry a snapshot."""

    won: Floats
    group: npt.NDArray[np.intp]
    """Group codes 0..g-1; see `group_codes`."""
    tie: npt.NDArray[np.int64]
    """Order among equal scores."""
    volume: npt.NDArray[np.bool_]
    """The calls whose number every contender may make."""


@dataclass(frozen=True)
class Comparison:
    """`figures[name][metric]`, and `differences[a, b][metric]` = a minus b."""

    figures: dict[str, dict[str, Interval]]
    differences: dict[tuple[str, str], dict[str, Interval]]
    groups: int


def group_codes(group_id: pd.Series) -> npt.NDArray[np.intp]:
    """Codes 0..g-1 in the order of the ids, so that the row order changes no interval."""
    codes, _ = pd.factorize(group_id, sort=True)
    return codes.astype(np.intp)


def compare(
    contenders: Sequence[Contender],
    field: Field,
    pairs: Sequence[tuple[str, str]],
    seed: int,
    resamples: int = RESAMPLES,
) -> Comparison:
    """All figures of all contenders, and the differences of `pairs`, with 95% intervals."""
    runs = _runs(contenders, field, seed, resamples)
    figures = {name: _intervals(run) for name, run in runs.items()}
    differences = {(a, b): _intervals(_difference(runs[a], runs[b])) for a, b in pairs}
    return Comparison(figures, differences, int(field.group.max(initial=-1)) + 1)


def ratio(
    above: Floats, below: Floats, group_id: pd.Series, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """sum(above) / sum(below) with its cluster bootstrap interval; a bound may be infinite."""
    group = group_codes(group_id)
    sums = np.column_stack([by_group(above, group), by_group(below, group)])
    columns = [weighted(sums, counts).T for counts in draws(len(sums), seed, resamples, len(sums))]
    totals = np.concatenate([sums.sum(axis=0)[None], *columns])
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(totals[:, 0] / totals[:, 1])


def _runs(
    contenders: Sequence[Contender], field: Field, seed: int, resamples: int
) -> dict[str, dict[str, Floats]]:
    """For each contender and figure: the value on all snapshots, then on each resample."""
    groups = int(field.group.max(initial=-1)) + 1
    measures = {contender.name: _Measure(contender, field) for contender in contenders}
    chunks: dict[str, list[dict[str, Floats]]] = {name: [] for name in measures}
    everyone = np.ones((groups, 1))
    for counts in chain([everyone], draws(groups, seed, resamples, cells=len(field.won))):
        for name, measure in measures.items():
            chunks[name].append(measure(counts))
    return {
        name: {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
        for name, parts in chunks.items()
    }


def draws(groups: int, seed: int, resamples: int, cells: int) -> Iterator[Floats]:
    """How often each group was drawn: (groups, columns) matrices, `cells` x columns <= CELLS."""
    random = np.random.default_rng(seed)
    width = max(1, CELLS // max(cells, 1))
    for start in range(0, resamples if groups > 1 else 0, width):
        columns = min(width, resamples - start)
        counts = np.empty((groups, columns))
        for column in range(columns):
            drawn = random.integers(0, groups, groups)
            counts[:, column] = np.bincount(drawn, minlength=groups)
        yield counts


class _Measure:
    """One contender's figures on many weightings at once, from one presort."""

    def __init__(self, contender: Contender, field: Field) -> None:
        won, group = field.won, field.group
        self.says = contender.probability is not None
        p = won if contender.probability is None else contender.probability
        calls = field.volume if contender.called is None else contender.called
        self.own_calls = contender.called is not None
        self.nobody = not field.volume.any()
        summands = [np.ones(len(won)), won, field.volume, losses(p, won), (p - won) ** 2]
        summands += [calls, calls * won]
        self.sums = np.column_stack([by_group(np.asarray(s, float), group) for s in summands])
        self.ranks = contender.score is not None
        if contender.score is not None:
            order = best_first(contender.score, field.tie)
            ranked = contender.score[order]
            self.group, self.won = group[order], won[order]
            self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        n, wins, volume, loss, square, calls, found = weighted(self.sums, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            figures = {"log_loss": loss / n, "brier": square / n} if self.says else {}
            if not self.ranks:
                return figures
            seen, seen_won = self._cumulated(counts)
            figures |= self._ordering(seen[self.ends], seen_won[self.ends])
            if not self.own_calls:
                calls, found = volume, found_at(seen, seen_won, volume)
            share = np.full(len(found), np.nan) if self.nobody else found / wins
            return figures | {"capture": share, "conversion": found / calls}

    def _cumulated(self, counts: Floats) -> tuple[Floats, Floats]:
        """Weight and won weight from the best score down: (snapshots, weightings)."""
        seen = counts[self.group]
        seen_won = seen * self.won[:, None]
        return np.cumsum(seen, axis=0, out=seen), np.cumsum(seen_won, axis=0, out=seen_won)

    @staticmethod
    def _ordering(seen: Floats, seen_won: Floats) -> dict[str, Floats]:
        """AUC and average precision from the cumulated weights at the end of each tie."""
        if not len(seen):
            nothing = np.full(seen.shape[1], np.nan)
            return {"auc": nothing, "average_precision": nothing}
        wins, lost = seen_won[-1], seen[-1] - seen_won[-1]
        new = np.diff(seen, axis=0, prepend=0)
        new_won = np.diff(seen_won, axis=0, prepend=0)
        area = np.einsum("ij,ij->j", new - new_won, seen_won - new_won / 2)
        precision = np.divide(seen_won, seen, out=np.zeros_like(seen), where=seen > 0)
        averaged = np.einsum("ij,ij->j", new_won, precision)
        return {"auc": area / (wins * lost), "average_precision": averaged / wins}


def found_at(seen: Floats, seen_won: Floats, volume: Floats) -> Floats:
    """Won weight in the first `volume` of weight; the snapshot at the border counts in part."""
    if not len(seen):
        return np.zeros(len(volume))
    border = np.minimum((seen < volume).sum(axis=0), len(seen) - 1)
    column = np.arange(len(volume))
    inside = np.maximum(border - 1, 0)
    before = np.where(border > 0, seen[inside, column], 0.0)
    before_won = np.where(border > 0, seen_won[inside, column], 0.0)
    weight = seen[border, column] - before
    part = np.divide(volume - before, weight, out=np.zeros_like(weight), where=weight > 0)
    found: Floats = before_won + part * (seen_won[border, column] - before_won)
    return found


def by_group(values: Floats, group: npt.NDArray[np.intp]) -> Floats:
    """(groups,) the sum of the values of each."""
    return np.bincount(group, weights=values).astype(np.float64)


def weighted(sums: Floats, counts: Floats) -> Floats:
    """(figures, weightings) from (groups, figures) and (groups, weightings)."""
    total: Floats = np.einsum("gf,gw->fw", sums, counts)
    return total


def _difference(a: Mapping[str, Floats], b: Mapping[str, Floats]) -> dict[str, Floats]:
    return {metric: a[metric] - b[metric] for metric in a if metric in b}


def _intervals(run: Mapping[str, Floats]) -> dict[str, Interval]:
    return {metric: interval(run[metric]) for metric in METRICS if metric in run}


def interval(run: Floats) -> Interval:
    """`run` holds the value, then the resamples; half of these must exist for a bound."""
    drawn = run[1:][~np.isnan(run[1:])]
    if len(drawn) == 0 or 2 * len(drawn) < len(run) - 1:
        return Interval(float(run[0]), np.nan, np.nan)
    lower, upper = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return Interval(float(run[0]), float(lower), float(upper))

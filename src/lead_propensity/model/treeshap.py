"""Shapley values of boosted trees, exact and fast: what each column adds to a row's log-odds.

The game is that of LightGBM's own `pred_contrib` (path-dependent TreeSHAP, Lundberg et al. 2020): where a
split's column is not known, a row goes both ways, by the shares of the training rows that went there. A leaf
that asks d different columns is then worth its value x the product of d factors: o (does the row pass, 0 or 1)
where a column is known, z (the share that passed) where it is not. The Shapley weight of a set of s columns,
s! (d - s - 1)! / d!, is the integral of t^s (1 - t)^(d - s - 1) from 0 to 1, so the value of column i is

    sum over leaves of value x (o_i - z_i) x integral of prod_{j not i} (o_j t + z_j (1 - t)) dt.

Gauss-Legendre nodes integrate that polynomial exactly, and at fixed nodes all leaves are summed in one walk
of the tree: the idea of Linear TreeShap (Yu et al. 2022), with factors that are all positive. Rows are walked
in blocks, side by side; no row's bits depend on the rows beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from lead_propensity.features.behaviour.compiling import compiled
from lead_propensity.model.treetext import Tree

BLOCK = 64
"""Rows walked side by side: what they need of a path stays in the processor's cache."""
LEAST_SHARE = 1e-9
"""Of the training rows, that a branch is taken to have seen: a factor of 0 could not be divided by."""
ZERO = 1e-35
"""LightGBM's: a number closer to 0 is 0."""
BY_CATEGORY, MISSING_LEFT = 1, 2
Arrays = tuple[np.ndarray, ...]


class Splits(NamedTuple):
    """What the splits of all trees ask; arrays of one length, but `words`."""

    column: np.ndarray
    threshold: np.ndarray
    decision_type: np.ndarray
    first_word: np.ndarray
    """Of a split by category, in `words`."""
    n_words: np.ndarray
    words: np.ndarray


class Edges(NamedTuple):
    """The ways from a split to what lies below, parents first, depth first; arrays of one length."""

    split: np.ndarray
    """Among `Splits`."""
    left: np.ndarray
    depth: np.ndarray
    """0 below the root."""
    again: np.ndarray
    """Depth of the nearest edge above that asks the same column; -1: none."""
    share: np.ndarray
    """Of the training rows: that passed all edges down to here that ask its column."""
    value: np.ndarray
    """Of the leaf below; NaN above a split."""


@dataclass(frozen=True)
class Forest:
    """All trees of a model, made ready for `contributions`."""

    splits: Splits
    edges: Edges
    starts: np.ndarray
    """(trees + 1, 2): tree k has the splits starts[k, 0]:starts[k + 1, 0], and edges by starts[:, 1]."""
    nodes: np.ndarray
    """(trees,): how many Gauss-Legendre nodes make the integral exact."""
    deepest: int
    constant: float
    """What no column explains: the mean over the training rows, tree by tree."""

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> Self:
        starts, nodes, edges, constant = [(0, 0)], [], [], 0.0
        for tree in trees:
            own = list(_edges(tree, starts[-1][0])) if tree.column else []
            edges += [edge.row for edge in own]
            nodes.append((max((edge.different for edge in own), default=1) + 1) // 2)
            constant += sum(edge.leaf for edge in own) if own else tree.leaf_value[0]
            starts.append((starts[-1][0] + len(tree.column), len(edges)))
        ways = Edges(*_columns(edges, "int64 bool int64 int64 float64 float64"))
        return cls(
            _splits(trees),
            ways,
            np.array(starts, np.int64),
            np.array(nodes, np.int64),
            int(ways.depth.max(initial=0)) + 1,
            constant,
        )

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """(n, columns + 1) for a `matrix` (n, columns) as the trees take it; the last one is the constant.

        Row sums are the raw score.
        """
        parts = np.zeros((len(matrix), matrix.shape[1] + 1))
        parts[:, -1] = self.constant
        most = int(self.nodes.max(initial=1))
        points, weights = np.zeros((most + 1, most)), np.zeros((most + 1, most))
        for number in range(1, most + 1):
            at, weight = np.polynomial.legendre.leggauss(number)
            points[number, :number], weights[number, :number] = (at + 1) / 2, weight / 2
        splits: Arrays = tuple(self.splits)
        edges: Arrays = tuple(self.edges)
        shape = (self.starts, self.nodes, self.deepest)
        _walk(np.ascontiguousarray(matrix), splits, edges, shape, (points, weights), parts)
        return parts


class _Edge(NamedTuple):
    row: tuple[int, bool, int, int, float, float]
    different: int
    """Columns asked from the root to here."""
    leaf: float
    """Its value x the share of training rows that came there."""


def _splits(trees: Sequence[Tree]) -> Splits:
    rows: list[tuple[float, ...]] = []
    words: list[int] = []
    for tree in trees:
        first = len(words)
        ends = np.cumsum([0, *(len(one) for one in tree.sets)]).tolist()
        words += [word for one in tree.sets for word in one]
        for column, threshold, kind in zip(
            tree.column, tree.threshold, tree.decision_type, strict=True
        ):
            place = int(threshold) if kind & BY_CATEGORY else -1
            begins, size = (first + ends[place], len(tree.sets[place])) if place >= 0 else (0, 0)
            rows.append((column, threshold, kind, begins, size))
    arrays = _columns(rows, "int64 float64 int64 int64 int64")
    return Splits(*[*arrays, np.array(words, np.int64)])


def _columns(rows: Sequence[tuple[float, ...]], kinds: str) -> list[np.ndarray]:
    """An array for each of the `kinds`, also where there is no row."""
    names = kinds.split(" ")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return [np.array(column, name) for column, name in zip(columns, names, strict=True)]


def _edges(tree: Tree, first_split: int) -> Iterator[_Edge]:
    """Depth first. `above` has, by column, the depth and the share of its last edge on the way."""
    waiting: list[tuple[int, bool, int, dict[int, tuple[int, float]]]] = []
    waiting += [(0, False, 0, {}), (0, True, 0, {})]
    while waiting:
        split, left, depth, above = waiting.pop()
        column, child = tree.column[split], (tree.left if left else tree.right)[split]
        rows = tree.split_rows[child] if child >= 0 else tree.leaf_rows[-1 - child]
        again, before = above.get(column, (-1, 1.0))
        share = before * max(rows / max(tree.split_rows[split], 1), LEAST_SHARE)
        asked = {**above, column: (depth, share)}
        value = np.nan if child >= 0 else tree.leaf_value[-1 - child]
        reached = float(np.prod([one for _, one in asked.values()]))
        row = (first_split + split, left, depth, again, share, value)
        yield _Edge(row, len(asked), 0.0 if child >= 0 else value * reached)
        if child >= 0:
            waiting += [(child, False, depth + 1, asked), (child, True, depth + 1, asked)]


@compiled
def _walk(
    matrix: np.ndarray, splits: Arrays, edges: Arrays, shape: Any, rule: Arrays, parts: np.ndarray
) -> None:
    """Add to `parts` (n, columns + 1) what each column of `matrix` (n, columns) adds, block by block."""
    starts, nodes, deepest = shape
    most = rule[0].shape[1]
    most_splits = 1
    for tree in range(len(nodes)):
        most_splits = max(most_splits, starts[tree + 1, 0] - starts[tree, 0])
    rows = np.empty((matrix.shape[1], BLOCK))
    found = np.empty((matrix.shape[1], BLOCK))
    goes_left = np.empty((most_splits, BLOCK))
    passes = np.empty((deepest, BLOCK))
    product = np.empty((deepest + 1, most, BLOCK))
    below = np.empty((deepest + 1, most, BLOCK))
    path = np.empty(deepest, np.int64)
    for start in range(0, len(matrix), BLOCK):
        n = min(BLOCK, len(matrix) - start)
        for column in range(matrix.shape[1]):
            for row in range(BLOCK):
                rows[column, row] = matrix[start + min(row, n - 1), column]
                found[column, row] = 0.0
        for tree in range(len(nodes)):
            first, last = starts[tree, 0], starts[tree + 1, 0]
            for split in range(first, last):
                _ask(rows, splits, split, goes_left[split - first])
            points = rule[0][nodes[tree], : nodes[tree]]
            weights = rule[1][nodes[tree], : nodes[tree]]
            room = (goes_left, passes, product, below, path)
            span = (starts[tree, 1], starts[tree + 1, 1], first)
            _add_tree(splits[0], edges, span, points, weights, room, found)
        for column in range(matrix.shape[1]):
            for row in range(n):
                parts[start + row, column] += found[column, row]


@compiled
def _ask(rows: np.ndarray, splits: Arrays, split: int, goes_left: np.ndarray) -> None:
    """1 where a row goes left at the split, else 0: as LightGBM decides."""
    column, threshold, kind = splits[0][split], splits[1][split], splits[2][split]
    first_word, n_words, words = splits[3][split], splits[4][split], splits[5]
    missing = (kind >> 2) & 3
    for row in range(BLOCK):
        value = rows[column, row]
        if kind & BY_CATEGORY:
            left = False
            if value >= 0 and value < 32 * n_words:
                code = int(value)
                left = (words[first_word + code // 32] >> (code % 32)) & 1 == 1
        else:
            if np.isnan(value) and missing != 2:
                value = 0.0
            if np.isnan(value) or (missing == 1 and abs(value) <= ZERO):
                left = kind & MISSING_LEFT != 0
            else:
                left = value <= threshold
        goes_left[row] = 1.0 if left else 0.0


@compiled
def _add_tree(
    columns: np.ndarray,
    edges: Arrays,
    span: tuple[int, int, int],
    points: np.ndarray,
    weights: np.ndarray,
    room: Arrays,
    found: np.ndarray,
) -> None:
    """Walk one tree's edges down (products of factors) and up again (sums of its leaves)."""
    split, left, depth, again, share, value = edges
    goes_left, passes, product, below, path = room
    begin, end, first_split = span
    height = 0
    product[0, :, :] = 1.0
    for edge in range(begin, end):
        while height > depth[edge]:
            height -= 1
            _finish(columns, edges, path, height, points, room, found)
        at = depth[edge]
        asked = goes_left[split[edge] - first_split]
        for row in range(BLOCK):
            passes[at, row] = asked[row] if left[edge] else 1.0 - asked[row]
        if again[edge] >= 0:
            for row in range(BLOCK):
                passes[at, row] *= passes[again[edge], row]
        for k in range(len(points)):
            unknown = share[edge] * (1.0 - points[k])
            if again[edge] < 0:
                for row in range(BLOCK):
                    factor = unknown + passes[at, row] * points[k]
                    product[at + 1, k, row] = product[at, k, row] * factor
            else:
                before = share[path[again[edge]]] * (1.0 - points[k])
                one, other = 1.0 / before, 1.0 / (before + points[k])
                for row in range(BLOCK):
                    factor = unknown + passes[at, row] * points[k]
                    undone = other if passes[again[edge], row] > 0.0 else one
                    product[at + 1, k, row] = product[at, k, row] * (factor * undone)
        path[at] = edge
        height = at + 1
        if np.isnan(value[edge]):
            below[height, : len(points), :] = 0.0
        else:
            for k in range(len(points)):
                size = weights[k] * value[edge]
                for row in range(BLOCK):
                    below[height, k, row] = size * product[height, k, row]
    while height > 0:
        height -= 1
        _finish(columns, edges, path, height, points, room, found)


@compiled
def _finish(
    columns: np.ndarray,
    edges: Arrays,
    path: np.ndarray,
    height: int,
    points: np.ndarray,
    room: Arrays,
    found: np.ndarray,
) -> None:
    """All leaves below the edge at depth `height` are summed: its column gets its due, its parent the sums."""
    split, again, share = edges[0], edges[3], edges[4]
    passes, below = room[1], room[3]
    edge = path[height]
    column = columns[split[edge]]
    _credit(found[column], passes[height], share[edge], below[height + 1], points, 1.0)
    if again[edge] >= 0:
        # The edge above counts these leaves again, by its own factor, which is not theirs.
        above = again[edge]
        _credit(found[column], passes[above], share[path[above]], below[height + 1], points, -1.0)
    if height > 0:
        for k in range(len(points)):
            for row in range(BLOCK):
                below[height, k, row] += below[height + 1, k, row]


@compiled
def _credit(
    found: np.ndarray,
    passes: np.ndarray,
    share: float,
    below: np.ndarray,
    points: np.ndarray,
    sign: float,
) -> None:
    """Add sign x (o - z) x the integral of the leaves' products without this factor."""
    for k in range(len(points)):
        unknown = share * (1.0 - points[k])
        fails, goes = -share / unknown * sign, (1.0 - share) / (unknown + points[k]) * sign
        for row in range(BLOCK):
            found[row] += below[k, row] * (goes if passes[row] > 0.0 else fails)

"""A scorecard computed again from what a run left, and held against the stored one."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lead_propensity.errors import DataError
from lead_propensity.evaluation.scorecard import PASSED_ON, scorecard

TOLERANCE = 1e-6
"""Figures nearer than this share of each other are the same: machines add up in other orders."""


@dataclass(frozen=True)
class Difference:
    """A figure of the stored scorecard that is not the computed one."""

    figure: str
    """Its dotted path, such as `headline.auc.value`."""
    stored: Any
    computed: Any

    def __str__(self) -> str:
        return f"{self.figure}: stored {self.stored}, computed {self.computed}"


def context_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """What `scorecard` was told beside the predictions; figures are not part of it."""
    return {key: card[key] for key in PASSED_ON if key in card} | dict(card["context"])


def computed_again(card: Mapping[str, Any], predictions: pd.DataFrame) -> dict[str, Any]:
    """The scorecard of the predictions in the stored one's context.

    Raises DataError where a column or a fact is missing, as between versions.
    """
    resamples = int(card["comparison"]["resamples"])
    try:
        return scorecard(predictions, context_of(card), int(card["seed"]), resamples)
    except KeyError as error:
        raise DataError(
            f"The run lacks {error}, which this version's figures need. Use the version that made it "
            f"({card['context'].get('version', 'unknown')}), or train again."
        ) from error


def differences(stored: Mapping[str, Any], computed: Mapping[str, Any]) -> list[Difference]:
    """Each leaf of the stored scorecard that the computed one does not hold, too.

    What only the computed one has is no difference: a later version may tell more.

    >>> differences({"auc": 0.7, "n": 5}, {"auc": 0.7, "n": 6, "new": 1})
    [Difference(figure='n', stored=5, computed=6)]
    """
    now = dict(leaves(computed))
    return [
        Difference(path, value, now.get(path))
        for path, value in leaves(stored)
        if not _same(value, now.get(path, math.nan))
    ]


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of a JSON tree by its dotted path; empty branches count as values.

    >>> list(leaves({"a": {"b": [1, None]}, "c": {}}))
    [('a.b.0', 1), ('a.b.1', None), ('c', {})]
    """
    if isinstance(node, Mapping | list) and node:
        named = node.items() if isinstance(node, Mapping) else enumerate(node)
        for key, value in named:
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-9)
    return bool(one == other)

"""The small view of a lead: each number as a smooth curve, and all that a lead did as one engagement index.

A hundred counts of the same deeds are noise to a line with a thousand wins. So the faded sums of all event
types enter as one sum, `engagement`, in which each type has a weight of its own; of it, and of every other
number, a cubic spline (de Boor 1978) is taken. The same deeds mean another thing in a new lead than in one
known for long: so the product of engagement and age is a column more. What a lead is may jump at a limit, such
as a size of company: so its curves have steps, see `jumps`.

Each won lead tells of its deal once, at the last look at it before (`lines.told_once`): so the index learns
what goes before a deal, and not how often a lead was looked at.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit

from lead_propensity.features.catalogue import Feature
from lead_propensity.model.curves import Curve
from lead_propensity.model.encoding import (
    CategoryColumn,
    LevelColumn,
    NumberColumn,
    column_json,
    column_of,
    numbers_of,
    read,
)
from lead_propensity.model.engagement import BESIDE, Index, Interaction
from lead_propensity.model.intervals import row_loss
from lead_propensity.model.jumps import jumps
from lead_propensity.model.lines import Newton, line, told_once

MOVES = 2
"""Steps that move the weights of the index, at most."""
FIRST_STRENGTH = 0.1
"""Of the line that tells the curves while the weights move and the steps are sought."""
DECAYED, COUNTED = "decayed_", "count_all__"
AGE = "days_since_creation"
"""Of what a lead did, beside the index, which fades: silence and age are told by these two."""
TOLD_BY_OTHERS, OF_CRITERION = ("criteria_met", "known_attributes"), "criterion__"
"""What a lead says, counted once more: here each attribute speaks for itself."""


@dataclass(frozen=True)
class SmoothEncoding:
    """What the smooth line sees: `Encoding`'s side for a line, with fewer columns and other shapes."""

    index: Index | None
    curves: dict[str, Curve]
    """By feature; the one of `index` stands under the name of its first sum."""
    categories: tuple[CategoryColumn | LevelColumn, ...]
    interaction: Interaction | None
    """The last column, which stands under the name of the age."""

    @classmethod
    def fit(
        cls,
        X: pd.DataFrame,
        lead_ids: pd.Series,
        won: np.ndarray,
        features: Sequence[Feature],
        levels: Sequence[LevelColumn] = (),
    ) -> Self:
        """`features`: those that vary in the fit part. A lead's rows stand in the order of time.

        `levels`: the columns of those categories that have many, see `levels.many_levels`.
        """
        once, many = told_once(lead_ids, won), {column.name for column in levels}
        plain = cls._plain(X, lead_ids, once, [f for f in features if f.name not in many])
        plain = replace(plain, categories=(*plain.categories, *levels))
        settled, score = plain._settled(X, once)
        explicit = [feature.name for feature in features if feature.kind == "explicit"]
        return settled._stepped(explicit, X, once, score)

    @classmethod
    def _plain(
        cls, X: pd.DataFrame, lead_ids: pd.Series, won: np.ndarray, features: Sequence[Feature]
    ) -> Self:
        """The first index, and curves without steps."""
        numbers = [feature for feature in features if feature.column_type == "number"]
        sums = sorted(feature.name for feature in numbers if _is_faded_sum(feature))
        index = Index.fit(sums, X, won) if sums else None
        alone = sorted(f.name for f in numbers if index is None or _stands_alone(f))
        curves = {name: Curve.fit(numbers_of(X[name])) for name in alone}
        texts = sorted(f.name for f in features if f.column_type == "category")
        categories = tuple(CategoryColumn.fit(name, X[name], lead_ids) for name in texts)
        encoding = cls(None, curves, categories, None)
        return encoding._with(index, X) if index else encoding

    def _with(self, index: Index, X: pd.DataFrame) -> Self:
        """The same around this index."""
        engagement, interaction = index.value(X), None
        if AGE in self.curves:
            interaction = Interaction.fit(engagement, numbers_of(X[AGE]))
        curves = {index.names[0]: Curve.fit(engagement), **self._alone}
        return replace(self, index=index, curves=curves, interaction=interaction)

    @property
    def _alone(self) -> dict[str, Curve]:
        """The curves beside that of the index."""
        own = self.index.names[0] if self.index else None
        return {name: curve for name, curve in self.curves.items() if name != own}

    def _settled(self, X: pd.DataFrame, won: np.ndarray) -> tuple[Self, np.ndarray]:
        """The weights of the index moved along its curve while that helps, and what the line then says."""
        newton = Newton()
        best, (score, slope) = self, self._first_line(X, won, newton)
        for _ in range(MOVES):
            if best.index is None:
                break
            moved = best._with(best.index.moved(X, won, score, slope), X)
            its_score, its_slope = moved._first_line(X, won, newton)
            if row_loss(its_score, won).mean() >= row_loss(score, won).mean():
                break
            best, score, slope = moved, its_score, its_slope
        return best, score

    def _first_line(
        self, X: pd.DataFrame, won: np.ndarray, newton: Newton
    ) -> tuple[np.ndarray, np.ndarray]:
        """(n,) log-odds, and (n,) by how much they rise with the index."""
        matrix = self.for_linear(X)
        bias, found = newton.fit(matrix, won, FIRST_STRENGTH)
        score = line(matrix, bias, found)
        if self.index is None:
            return score, np.zeros(len(X))
        value = self.index.value(X)
        below, above = self.index_columns(value - BESIDE), self.index_columns(value + BESIDE)
        own = self.linear_owners == self.names.index(self.index.names[0])
        rise = (above - below) @ found[own]
        if self.interaction:
            scales = self.interaction
            rise += found[-1] * (
                scales.column(value + BESIDE, numbers_of(X[AGE]))
                - scales.column(value - BESIDE, numbers_of(X[AGE]))
            )
        return score, rise / (2 * BESIDE)

    def _stepped(
        self, explicit: Sequence[str], X: pd.DataFrame, won: np.ndarray, score: np.ndarray
    ) -> Self:
        """With steps in the curves of `explicit`: jumps that `score` (n,) leaves, else low ones."""
        curves, chance = dict(self.curves), expit(score)
        for name in filter(self._alone.__contains__, explicit):
            values = numbers_of(X[name])
            found = jumps(curves[name], values, won - chance, chance * (1.0 - chance))
            curves[name] = curves[name].stepped(values, found)
        return replace(self, curves=curves)

    @property
    def names(self) -> list[str]:
        return [*self.curves, *(column.name for column in self.categories)]

    @property
    def further(self) -> tuple[str, ...]:
        """The sums of the index beside the first, under whose name its curve stands."""
        return self.index.names[1:] if self.index else ()

    def index_columns(self, value: np.ndarray) -> np.ndarray:
        """(n, width): the columns of the index's curve where the index has this `value`; see `Curve`."""
        assert self.index is not None
        return self.curves[self.index.names[0]].columns(value)

    @property
    def linear_owners(self) -> np.ndarray:
        """For each column of `for_linear` the position of its feature in `names`."""
        widths = [curve.width for curve in self.curves.values()]
        widths += [column.width for column in self.categories]
        owners = np.repeat(np.arange(len(self.names)), widths)
        return np.append(owners, self.names.index(AGE)) if self.interaction else owners

    def for_linear(self, X: pd.DataFrame) -> np.ndarray:
        """n x len(linear_owners), without missing values."""
        matrix = np.empty((len(X), len(self.linear_owners)), order="F")
        place, engagement = 0, self.index.value(X) if self.index else np.zeros(len(X))
        for name, curve in self.curves.items():
            is_index = self.index is not None and name == self.index.names[0]
            values = engagement if is_index else numbers_of(X[name])
            matrix[:, place : place + curve.width] = curve.columns(values)
            place += curve.width
        for column in self.categories:
            column.write(read(column, X), matrix[:, place : place + column.width])
            place += column.width
        if self.interaction:
            matrix[:, place] = self.interaction.column(engagement, numbers_of(X[AGE]))
        return matrix

    def to_json(self) -> dict[str, Any]:
        return {
            "index": None if self.index is None else asdict(self.index),
            "curves": [{"name": name, **asdict(curve)} for name, curve in self.curves.items()],
            "categories": [column_json(column) for column in self.categories],
            "interaction": None if self.interaction is None else asdict(self.interaction),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError or TypeError where the tree is no such encoding."""
        index = None if tree["index"] is None else Index.from_json(tree["index"])
        curves = {
            row["name"]: Curve.from_json({key: row[key] for key in row if key != "name"})
            for row in tree["curves"]
        }
        if len(curves) != len(tree["curves"]) or (index and index.names[0] not in curves):
            raise ValueError("the smooth line has not one curve for each of its numbers")
        categories = []
        for row in tree["categories"]:
            column = column_of(**row)
            if isinstance(column, NumberColumn):
                raise ValueError(
                    f"the smooth line has the number {column.name!r} among its categories"
                )
            categories.append(column)
        interaction = None
        if tree["interaction"] is not None:
            interaction = Interaction.from_json(tree["interaction"])
            if index is None or AGE not in curves:
                raise ValueError("the smooth line lacks what its interaction is made of")
        return cls(index, curves, tuple(categories), interaction)


def _is_faded_sum(feature: Feature) -> bool:
    return feature.kind == "implicit" and feature.name.startswith(DECAYED)


def _stands_alone(feature: Feature) -> bool:
    """Beside the index: what a lead is, how long it has been known, and deeds that speak against interest."""
    against = feature.interest == "down" and feature.name.startswith(COUNTED)
    again = feature.name in TOLD_BY_OTHERS or feature.name.startswith(OF_CRITERION)
    said = feature.kind == "explicit" and not again
    return said or feature.name == AGE or against

"""From the catalogue's columns to numbers: codes for trees, standardised columns for a line."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from lead_propensity.features import kept
from lead_propensity.features.catalogue import Feature
from lead_propensity.model.storage import require_fields

MAX_LEVELS = 100
"""Of a category, beside the one of all others; each of so many leads that it may be named, see `features.kept`.
One with more of them is a number, see `LevelColumn`."""
HEAVY_TAIL = 2.0
"""Skewness from which a number is taken as a signed logarithm."""
AT_ONCE = 2_000
"""Rows of a matrix that are filled together, so that they stay in the processor's cache."""
MARGIN = 0.5
"""How far outside the fit part's range a standardised number may lie."""


@dataclass(frozen=True)
class NumberColumn:
    """How one number becomes a standardised column, and one more where some were missing."""

    name: str
    log: bool
    mean: float
    scale: float
    low: float
    high: float
    missing: bool

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> Self:
        seen = values[np.isfinite(values)]
        log = _heavy(seen)
        seen = signed_log(seen) if log else seen
        mean, scale = (float(seen.mean()), float(seen.std())) if len(seen) else (0.0, 1.0)
        scale = scale if scale > 0 else 1.0
        inside = (seen - mean) / scale
        low, high = (float(inside.min()), float(inside.max())) if len(seen) else (0.0, 0.0)
        missing = bool(np.isnan(values).any())
        return cls(name, log, mean, scale, low - MARGIN, high + MARGIN, missing)

    @property
    def width(self) -> int:
        return 1 + self.missing

    def write(self, values: np.ndarray, into: np.ndarray) -> None:
        """Fill `into` (n x width)."""
        given = signed_log(values) if self.log else values
        standard = np.clip((given - self.mean) / self.scale, self.low, self.high)
        into[:, 0] = np.where(np.isnan(standard), 0.0, standard)
        if self.missing:
            into[:, 1] = np.isnan(values)


@dataclass(frozen=True)
class CategoryColumn:
    """Known levels; code len(levels) is every rare or unseen one, and missing is its own level."""

    name: str
    levels: tuple[str, ...]
    rare: float = 0.0
    """Share of the fit part's rows with a level that is not known here, because it was rare."""

    @classmethod
    def fit(cls, name: str, values: pd.Series, lead_ids: pd.Series) -> Self:
        column = cls(name, tuple(sorted(kept.common(values, lead_ids)[:MAX_LEVELS])))
        return replace(column, rare=column.unknown(values) / len(values))

    @property
    def width(self) -> int:
        return len(self.levels) + 2

    def codes(self, values: pd.Series) -> np.ndarray:
        """0 .. len(levels), NaN where missing; each text is looked up once, see `factorized`."""
        texts = values if isinstance(values.dtype, pd.CategoricalDtype) else factorized(values)
        known = {level: place for place, level in enumerate(self.levels)}
        places = [known.get(text, len(self.levels)) for text in texts.cat.categories]
        missing_last = np.array([*places, np.nan], dtype=np.float64)
        codes: np.ndarray = missing_last[texts.cat.codes.to_numpy()]
        return codes

    def unknown(self, values: pd.Series) -> int:
        """How many values are none of the levels; missing ones are not counted."""
        return int((self.codes(values) == len(self.levels)).sum())

    def places(self, codes: np.ndarray) -> np.ndarray:
        """(n,) below `width`: the codes as whole numbers, with a missing one last."""
        places: np.ndarray = np.where(np.isnan(codes), len(self.levels) + 1, codes).astype(np.int64)
        return places

    def write(self, codes: np.ndarray, into: np.ndarray) -> None:
        """Fill `into` (n x width) with one column a code; the last is missing."""
        into[:] = 0.0
        into[np.arange(len(codes)), self.places(codes)] = 1.0


@dataclass(frozen=True)
class LevelColumn:
    """A category of many levels as one number: by how much leads of a level are likelier to be won, in log-odds."""

    category: CategoryColumn
    shifts: tuple[float, ...]
    """Of each level, then of every other one and of a missing one; fitted in `levels`."""
    scale: float
    """Their standard deviation in the fit part, or 1."""

    @property
    def name(self) -> str:
        return self.category.name

    @property
    def width(self) -> int:
        return 1

    def numbers(self, values: pd.Series) -> np.ndarray:
        """(n,) shifts; numbers, which `levels.told` made of a lesson's texts, stay as they are."""
        if values.dtype == np.float64:
            return values.to_numpy()
        shifts: np.ndarray = np.array(self.shifts)[
            self.category.places(self.category.codes(values))
        ]
        return shifts

    def write(self, shifts: np.ndarray, into: np.ndarray) -> None:
        """Fill `into` (n x 1)."""
        into[:, 0] = shifts / self.scale


Column = NumberColumn | CategoryColumn | LevelColumn
KINDS: dict[str, type[Column]] = {
    "number": NumberColumn,
    "category": CategoryColumn,
    "levels": LevelColumn,
}


@dataclass(frozen=True)
class Encoding:
    """Both views of the catalogue's columns, learned on the fit part; labels are looked at by `levels` alone."""

    columns: tuple[Column, ...]
    dropped: tuple[str, ...]
    """Features that are constant in the fit part."""

    @classmethod
    def fit(
        cls,
        X: pd.DataFrame,
        lead_ids: pd.Series,
        features: Sequence[Feature],
        levels: Sequence[LevelColumn] = (),
    ) -> Self:
        """`levels`: the columns of those categories that have many, see `levels.many_levels`."""
        columns: list[Column] = []
        dropped = []
        many = {column.name: column for column in levels}
        for feature in features:
            values = X[feature.name]
            if feature.name in many:
                columns.append(many[feature.name])
            elif len(pd.unique(values)) <= 1:
                dropped.append(feature.name)
            elif feature.column_type == "category":
                columns.append(CategoryColumn.fit(feature.name, values, lead_ids))
            else:
                columns.append(NumberColumn.fit(feature.name, numbers_of(values)))
        return cls(tuple(columns), tuple(dropped))

    def only(self, names: Collection[str]) -> Self:
        """The same encoding of fewer features."""
        columns = tuple(column for column in self.columns if column.name in names)
        return type(self)(columns, self.dropped)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def further(self) -> tuple[str, ...]:
        """Features that enter under another one's name: none here, see `SmoothEncoding`."""
        return ()

    @property
    def categories(self) -> list[int]:
        """Positions of the categories in `for_trees`."""
        return [i for i, c in enumerate(self.columns) if isinstance(c, CategoryColumn)]

    @property
    def levels(self) -> tuple[LevelColumn, ...]:
        return tuple(column for column in self.columns if isinstance(column, LevelColumn))

    @property
    def texts(self) -> list[CategoryColumn]:
        """All categories, also those that are numbers to the members."""
        texts = [
            column.category if isinstance(column, LevelColumn) else column
            for column in self.columns
        ]
        return [column for column in texts if isinstance(column, CategoryColumn)]

    @property
    def linear_owners(self) -> np.ndarray:
        """For each column of `for_linear` the position of its feature in `names`."""
        return np.repeat(np.arange(len(self.columns)), [c.width for c in self.columns])

    def for_trees(self, X: pd.DataFrame) -> np.ndarray:
        """n x len(names): numbers as they are, categories as codes, missing as NaN."""
        columns = [read(column, X) for column in self.columns]
        matrix = np.empty((len(X), len(columns)))
        for start in range(0, len(matrix), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            for place, values in enumerate(columns):
                matrix[rows, place] = values[rows]
        return matrix

    def for_linear(self, X: pd.DataFrame) -> np.ndarray:
        """n x len(linear_owners), without missing values."""
        matrix = np.empty((len(X), sum(column.width for column in self.columns)), order="F")
        place = 0
        for column in self.columns:
            column.write(read(column, X), matrix[:, place : place + column.width])
            place += column.width
        return matrix

    def to_json(self) -> dict[str, Any]:
        rows = [column_json(column) for column in self.columns]
        return {"columns": rows, "dropped": list(self.dropped)}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        return cls(tuple(column_of(**row) for row in tree["columns"]), tuple(tree["dropped"]))


def column_json(column: Column) -> dict[str, Any]:
    kinds = {kind: name for name, kind in KINDS.items()}
    return {"kind": kinds[type(column)], **asdict(column)}


def column_of(kind: str, **fields: Any) -> Column:
    """From JSON. Raises ValueError where it is no column of the `kind`."""
    require_fields(KINDS[kind], fields)
    if kind == "category":
        return CategoryColumn(fields["name"], tuple(fields["levels"]), fields["rare"])
    if kind == "levels":
        return _levels_of(**fields)
    column = NumberColumn(**fields)
    if not (column.scale > 0 and column.low <= column.high):
        raise ValueError(f"the column {column.name!r} has no scale or no range")
    return column


def _levels_of(category: dict[str, Any], shifts: Sequence[float], scale: float) -> LevelColumn:
    found = CategoryColumn(category["name"], tuple(category["levels"]), category["rare"])
    if len(shifts) != len(found.levels) + 2 or not scale > 0:
        raise ValueError(f"the column {found.name!r} has not one shift for each level, or no scale")
    return LevelColumn(found, tuple(shifts), scale)


def read(column: Column, X: pd.DataFrame) -> np.ndarray:
    """(n,): a number as it is, a category's code or shift."""
    values = X[column.name]
    if isinstance(column, CategoryColumn):
        return column.codes(values)
    return column.numbers(values) if isinstance(column, LevelColumn) else numbers_of(values)


def numbers_of(values: pd.Series) -> np.ndarray:
    """(n,): float64, where it can be a view of the column itself."""
    if values.dtype == np.float64:
        return values.to_numpy()
    return values.to_numpy(np.float64, na_value=np.nan)


def factorized(texts: pd.Series) -> pd.Series:
    """The same column as pandas' categories, in no order, so that its texts are read once for all members."""
    codes, levels = pd.factorize(texts.to_numpy(object))
    kinds = pd.Index(levels, dtype=object)
    return pd.Series(pd.Categorical.from_codes(codes, categories=kinds), index=texts.index)


def signed_log(values: np.ndarray) -> np.ndarray:
    logged: np.ndarray = np.sign(values) * np.log1p(np.abs(values))
    return logged


def _heavy(seen: np.ndarray) -> bool:
    if len(seen) == 0:
        return False
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        centred = seen - seen.mean()
        skew = np.mean(centred**3) / np.mean(centred**2) ** 1.5
    # Numbers so large that their cube overflows are heavy-tailed as well.
    return not bool(abs(skew) <= HEAVY_TAIL)

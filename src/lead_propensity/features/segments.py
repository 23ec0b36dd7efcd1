"""Columns by which the report groups the leads: declared segments, and attributes that no feature may see.

They stand in a Dataset's keys as `segment__<attribute>` and `sensitive__<attribute>`: text as it was known
at the snapshot, or None. The model never reads them.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import duckdb
import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.features import versions
from lead_propensity.features.matrix import Dataset

SEGMENT, SENSITIVE = "segment__", "sensitive__"
MOST_NUMBERS = 8
"""A column of numbers with more different values than this is shown by the quartiles of the fit part."""
_PLACE = ["lead_id", "order", "population"]


def attached(con: duckdb.DuckDBPyConnection, data: Dataset, config: Config) -> Dataset:
    """`data`, its keys with the columns that the config declares; `snapshots` must hold its rows still."""
    wanted = [SEGMENT + name for name in config.report.segments]
    wanted += [SENSITIVE + name for name in config.features.sensitive]
    if not wanted:
        return data
    names = list(dict.fromkeys([*config.report.segments, *config.features.sensitive]))
    said = _as_known(con, data.keys, names)
    fit = ((data.keys["part"] == "fit") & (data.keys["population"] == "training")).to_numpy()
    kinds = config.features.kinds
    shown = {
        name: said[name] if kinds.get(name) == "category" else in_quartiles(said[name], fit)
        for name in names
    }
    columns = {column: shown[column.split("__", 1)[1]] for column in wanted}
    return replace(data, keys=data.keys.assign(**columns))


def columns(frame: pd.DataFrame, prefix: str) -> list[str]:
    """The columns of one kind, in their order; `prefix` is SEGMENT or SENSITIVE."""
    return [name for name in frame.columns if name.startswith(prefix)]


def in_quartiles(said: pd.Series, fit: np.ndarray) -> pd.Series:
    """Texts that are numbers nearly all, and many: as the quartile of the rows `fit` that they lie in.

    >>> said = pd.Series([str(age) for age in range(18, 66)] + [None], dtype=object)
    >>> shown = in_quartiles(said, np.ones(49, bool))
    >>> shown.iloc[0], shown.iloc[-2], shown.iloc[-1]
    ('Q1: below 29', 'Q4: 53 and above', None)
    """
    numbers = pd.to_numeric(said, errors="coerce").to_numpy(np.float64)
    learned = numbers[fit & ~np.isnan(numbers)]
    texts = int(said[fit].notna().sum())
    if len(np.unique(learned)) <= MOST_NUMBERS or len(learned) < 0.98 * texts:
        return said
    edges = np.unique(np.quantile(learned, [0.25, 0.5, 0.75], method="inverted_cdf"))
    labels = np.array([*_labels(edges), None], dtype=object)
    place = np.searchsorted(edges, numbers, side="right")
    return pd.Series(
        labels[np.where(np.isnan(numbers), len(labels) - 1, place)], said.index, object
    )


def _labels(edges: np.ndarray) -> list[str]:
    told = [f"{edge:,.12g}" for edge in edges]
    inner = [f"{low} to below {high}" for low, high in pairwise(told)]
    named = [f"below {told[0]}", *inner, f"{told[-1]} and above"]
    return [f"Q{place}: {name}" for place, name in enumerate(named, start=1)]


def _as_known(
    con: duckdb.DuckDBPyConnection, keys: pd.DataFrame, names: Sequence[str]
) -> pd.DataFrame:
    """One row a row of `keys`, one column a name: its text at the snapshot, or None."""
    known = versions.known(con, names, versions.origins(con))
    texts = ", ".join(f"{versions.text_of(name)} AS t{place}" for place, name in enumerate(names))
    buckets = con.execute("SELECT DISTINCT bucket FROM snapshots ORDER BY 1").fetchall()
    parts = [
        con.execute(
            f"""SELECT s.lead_id, s.place AS "order", s.population, {texts}
                FROM snapshots AS s JOIN ({known}) AS k USING (snapshot_id)""",
            {"bucket": bucket},
        ).df()
        for (bucket,) in buckets
    ]
    found = keys[_PLACE].merge(pd.concat(parts), on=_PLACE, how="left", validate="one_to_one")
    said = {name: _texts(found[f"t{place}"]) for place, name in enumerate(names)}
    return pd.DataFrame(said, dtype=object)


def _texts(column: pd.Series) -> np.ndarray:
    """Texts, or None."""
    said = column.to_numpy(object, copy=True)
    said[column.isna().to_numpy()] = None
    return said

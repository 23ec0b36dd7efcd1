"""Why leads are hot: which reasons are given most often on the last day of the test part."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.evaluation.backtest import day_or_row
from lead_propensity.features.kept import may_be_kept
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.reasons import FOR, Reasons

MOST = 8
"""Topics shown on each side."""


def why_hot(data: Dataset, model: PropensityModel, predictions: pd.DataFrame) -> dict[str, Any]:
    """Plain JSON: `last`, `hot` (leads), and `for` and `against`, each topic with its share of the hot leads
    and the text most often given (`example`). None where each tells a value, such as an income or a rare level,
    that fewer than 20 of the hot leads share, or that looks personal: a report names no lead, nor what only one has.

    `predictions` has one row a snapshot of the test part, in the order of `data`. As exported, all rows of
    the test part are looked at.
    """
    exported = model.horizon_days is None
    test = np.flatnonzero((data.keys["part"] == "test").to_numpy())
    looked = np.ones(len(test), bool) if exported else _last_stock(predictions)
    hot = looked & (predictions["band"] == "hot").to_numpy()
    last = int(predictions["order"].to_numpy()[looked].max(initial=-1))
    found = model.reasons(data.X, test[hot])
    return {
        "last": None if exported else day_or_row(last, exported),
        "leads": int(looked.sum()),
        "hot": int(hot.sum()),
        "for": _topics(found, slice(0, FOR)),
        "against": _topics(found, slice(FOR, None)),
    }


def _last_stock(predictions: pd.DataFrame) -> np.ndarray:
    stock = (predictions["population"] == "stock").to_numpy()
    order = predictions["order"].to_numpy()
    return np.asarray(stock & (order == order[stock].max(initial=-1)))


def _topics(found: Reasons, slots: slice) -> list[dict[str, Any]]:
    """The most frequent first; equal ones by their words."""
    topics, texts = found.topic[:, slots], found.text[:, slots]
    particular = {found.texts[place] for place in found.particular}
    rows: list[dict[str, Any]] = []
    for place in np.unique(topics[topics >= 0]).tolist():
        told = Counter(found.texts[text] for text in texts[topics == place].tolist())
        shown = [text for text in told if text not in particular or may_be_kept(text, told[text])]
        text = min(shown, key=lambda one: (-told[one], one), default=None)
        n = sum(told.values())
        rows.append({"topic": _upper(found.topics[place]), "n": n, "example": text})
    rows.sort(key=lambda row: (-row["n"], row["topic"]))
    return [{**row, "share": row["n"] / len(topics)} for row in rows[:MOST]]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]

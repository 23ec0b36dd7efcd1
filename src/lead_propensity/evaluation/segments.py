"""Expected to observed deals by month, band and segment: where the percentages hold, and where not.

Cells of few leads are pooled and marked: a ratio of a handful of leads tells nothing, and may tell of a
person. A cell is called off where a test says so that counts how many cells were looked at.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import erfc

from lead_propensity.evaluation.compare import ratio
from lead_propensity.evaluation.promises import outcome
from lead_propensity.features.kept import FEWEST_LEADS, may_be_kept
from lead_propensity.features.segments import SEGMENT, columns
from lead_propensity.model.bands import BANDS

MOST_LEVELS = 8
OTHER, UNKNOWN = "other (pooled)", "(not known)"
LEVEL = 0.05
BLOCKS = 6
"""Pieces of the test part where rows carry no date."""
FIGURES = ("wins", "expected", "observed", "lower", "upper", "deff")


def periods(test: pd.DataFrame, seed: int, resamples: int) -> list[dict[str, Any]]:
    """expected_to_observed by calendar month, or by blocks of rows where these carry no date.

    A month of few leads is pooled with the next one (the last with the one before), and marked.
    """
    label = piece_of(test)
    pieces = _joined(test["lead_id"], label)
    return [_period(names, test[label.isin(names)], seed, resamples) for names in pieces]


def piece_of(frame: pd.DataFrame) -> pd.Series:
    """The calendar month of each row, as `2025-03`; else its block, as `part 1 of 6`, of the rows' order."""
    if len(frame) and frame["as_of"].notna().all():
        month: pd.Series = frame["as_of"].dt.strftime("%Y-%m")
        return month
    block = np.minimum(np.arange(len(frame)) * BLOCKS // max(1, len(frame)), BLOCKS - 1)
    return pd.Series([f"part {k + 1} of {BLOCKS}" for k in block], index=frame.index, dtype=object)


def _period(names: list[str], rows: pd.DataFrame, seed: int, resamples: int) -> dict[str, Any]:
    expected, won = (rows[name].to_numpy(np.float64) for name in ("probability", "won"))
    return {
        "period": names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}",
        "n": len(rows),
        "wins": int(won.sum()),
        "expected": float(expected.sum()),
        "expected_to_observed": asdict(ratio(expected, won, rows["group_id"], seed, resamples)),
        "pooled": len(names) > 1,
    }


def _joined(lead_id: pd.Series, label: pd.Series) -> list[list[str]]:
    """Neighbouring labels, joined until each piece holds FEWEST_LEADS."""
    joined: list[list[str]] = []
    waiting: list[str] = []
    for name in sorted(label.unique()):
        waiting.append(str(name))
        if lead_id[label.isin(waiting)].nunique() >= FEWEST_LEADS:
            joined, waiting = [*joined, waiting], []
    if waiting and joined:
        joined[-1] += waiting
    return joined or [waiting]


def by_band(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a band, hot first, as `cell` gives it; bands without a snapshot are left out."""
    named = [(band, rows[rows["band"] == band]) for band in reversed(BANDS)]
    return with_verdicts([cell(band, found) for band, found in named if len(found)])


def by_segment(test: pd.DataFrame) -> list[dict[str, Any]]:
    """For each declared segment its `column` and its `rows`, see `by_level`; judged over all of them."""
    found: list[dict[str, Any]] = [
        {"column": name.removeprefix(SEGMENT), "rows": by_level(test, name)}
        for name in columns(test, SEGMENT)
    ]
    with_verdicts([row for one in found for row in one["rows"]])
    return found


def by_level(frame: pd.DataFrame, column: str, whole: float = 1.0) -> list[dict[str, Any]]:
    """One row a level of a column, by name, as `cell` gives it; the pooled one comes last.

    `pooled`: how many values it holds, 0 where the level is one value alone.
    """
    level = pooled(frame[column], frame["lead_id"])
    names = sorted(level.unique(), key=lambda name: (name == OTHER, name))
    rare = int(frame.loc[level == OTHER, column].nunique(dropna=False))
    rows = [cell(str(name), frame[level == name], whole) for name in names]
    for row in rows:
        row["pooled"] = rare if row["level"] == OTHER else 0
    return rows


def pooled(values: pd.Series, lead_id: pd.Series) -> pd.Series:
    """The level of each row: its value where that is common, else OTHER; UNKNOWN where it is missing.

    Common are the MOST_LEVELS values with the most leads, of those that may be shown: see `features.kept`.
    """
    named = values.astype(object).where(values.notna(), UNKNOWN)
    leads = lead_id.groupby(named).nunique()
    common = sorted(leads[leads >= FEWEST_LEADS].items(), key=lambda pair: (-pair[1], pair[0]))
    kept = [name for name, n in common if may_be_kept(str(name), n)][:MOST_LEVELS]
    return named.where(named.isin(kept), OTHER)


def cell(level: str, rows: pd.DataFrame, whole: float = 1.0) -> dict[str, Any]:
    """n, leads and, where these are not too few, `outcome` with expected_to_observed and its `p_value`.

    The interval of the ratio is the expected rate over that of the observed one: Wilson's, clustered. It
    leaves out 1 where the score test of the same variance has `p_value` < 0.05. `few`: fewer than
    FEWEST_LEADS leads with a known outcome, so that no figure is given. `due` is the expected rate over
    `whole`, to which ratio the cell is held: 1, or that of all cells together.
    """
    row: dict[str, Any] = {"level": level, **outcome(rows), "pooled": 0}
    row["few"] = bool(rows.loc[rows["won"].notna(), "lead_id"].nunique() < FEWEST_LEADS)
    if row["few"]:
        return {**row, **dict.fromkeys((*FIGURES, "expected_to_observed", "due", "p_value"))}
    bounds = {
        name: row["expected"] / row[rate] if row[rate] > 0 else None
        for name, rate in (("value", "observed"), ("lower", "upper"), ("upper", "lower"))
    }
    row["due"] = row["expected"] / whole
    return {**row, "expected_to_observed": bounds, "p_value": _p_value(row)}


def _p_value(row: Mapping[str, Any]) -> float:
    """Two-sided, by the normal curve, of the rate that is due being the true one."""
    due, effective = row["due"], row["labelled"] / row["deff"]
    missed, spread = abs(row["observed"] - due), due * (1 - due) / effective
    if spread <= 0:
        return 1.0 if missed == 0 else 0.0
    return float(erfc(missed / math.sqrt(2 * spread)))


def with_verdicts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows with `off`: `too high`, `too low` or None, after Holm's correction over all of them."""
    judged = [row for row in rows if row["p_value"] is not None]
    adjusted = iter(holm([row["p_value"] for row in judged]))
    for row in rows:
        row["off"] = None
        if row["p_value"] is not None and next(adjusted) < LEVEL:
            row["off"] = "too high" if row["due"] > row["observed"] else "too low"
    return rows


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p value adjusted for their number (Holm, "A simple sequentially rejective ... procedure", 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.zeros(len(order))
    reached = 0.0
    for place, row in enumerate(order):
        reached = max(reached, min(1.0, (len(order) - place) * p_values[row]))
        adjusted[row] = reached
    return [float(p) for p in adjusted]

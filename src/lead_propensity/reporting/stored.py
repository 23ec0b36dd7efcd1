"""What a run left, read back: its scorecard and its test predictions, and the report made of them anew."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lead_propensity.data.erasing import forgotten_in
from lead_propensity.errors import DataError
from lead_propensity.evaluation.again import Difference, computed_again, differences
from lead_propensity.files import is_there, write_text
from lead_propensity.reporting import report

FILES = ("scorecard.json", "test_predictions.parquet")
COLUMNS = {"lead_id", "group_id", "as_of", "order", "population", "won", "probability", "band"}
NUMBERS = ("probability", "raw_score")
SECTIONS = ("bands", "comparison", "context", "figures", "headline")
SHOWN = 3
"""So many differences are told by name."""


@dataclass(frozen=True)
class StoredRun:
    """A run folder's figures and the predictions that they were made from."""

    folder: Path
    scorecard: dict[str, Any]
    predictions: pd.DataFrame
    forgotten: dict[str, int]
    """`rows` and `leads` that `forget` took out of the predictions."""


@dataclass(frozen=True)
class ReportedAgain:
    """What `report_again` wrote."""

    out: Path
    figures: int
    """How many figures were computed again."""
    differences: tuple[Difference, ...]
    """Those that are not the stored ones."""
    forgotten: int = 0
    """Leads that were forgotten since: the page shows the stored figures, which nobody can compute again."""


def read(folder: Path | str) -> StoredRun:
    """Raises DataError where the folder is no run, its files cannot be read, or are too old."""
    place = Path(folder)
    missing = [name for name in FILES if not is_there(place / name)]
    if missing == [FILES[1]] and _is_recalibrated(place / FILES[0]):
        raise DataError(
            f"{place} is what `recalibrate` leaves: its scorecard, and no {FILES[1]} to compute figures from. "
            f"Its page {place / 'report.html'} compares before and after on the same leads; `lead-propensity promote "
            "--dry-run` judges it beside the champion. Here a run folder is needed as `train` leaves it."
        )
    if missing:
        found = "no such folder" if not is_there(place) else f"{' and '.join(missing)} not found"
        raise DataError(
            f"{place} is no run: {found}. A run folder is what `train` leaves, such as models/NAME/TIME; "
            f"it holds {' and '.join(FILES)}."
        )
    predictions = _predictions(place / FILES[1])
    return StoredRun(place, _card(place / FILES[0]), predictions, forgotten_in(place / FILES[1]))


def report_again(
    run_folder: Path | str, out: Path | str | None = None, *, accept: bool = False
) -> ReportedAgain:
    """Compute every figure of a run again from its stored predictions, and write its report anew.

    `out` is a file (default: the run's own `report.html`). The stored scorecard stays as it is. Raises
    DataError where the folder is no run, or, unless `accept`, where figures differ from the stored ones:
    a file was changed, or another version computes otherwise. Nothing is written then. Where leads were
    forgotten, the page shows the stored figures.
    """
    run = read(run_folder)
    file = Path(out) if out is not None else run.folder / "report.html"
    if run.forgotten["rows"] and _all_there(run):
        write_text(report.render(run.scorecard), file)
        return ReportedAgain(file, 0, (), run.forgotten["leads"])
    card = computed_again(run.scorecard, run.predictions)
    apart = differences(run.scorecard, card)
    if apart and not accept:
        raise DataError(_changed(run, apart))
    write_text(report.render(card), file)
    return ReportedAgain(file, len(card["figures"]), tuple(apart))


def _all_there(run: StoredRun) -> bool:
    """Whether the rows that are there and those forgotten are those that the run judged."""
    judged = sum(
        row["snapshots"] for row in run.scorecard.get("parts", ()) if row["part"] == "test"
    )
    return bool(len(run.predictions) + run.forgotten["rows"] == judged)


def _changed(run: StoredRun, apart: Iterable[Difference]) -> str:
    listed = list(apart)
    told = "; ".join(str(one) for one in listed[:SHOWN])
    more = f"; and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
    made, here = run.scorecard["context"].get("version"), version("lead-propensity")
    why = (
        f"The run was made by version {made}, this is {here}, which may compute otherwise"
        if made != here
        else "One of the two files was changed after the run"
    )
    return (
        f"{run.folder}: {len(listed):,} values computed from {FILES[1]} are not those of {FILES[0]} ({told}{more}). "
        f"{why}. Restore the files, train again, or accept the computed figures (--accept)."
    )


def _is_recalibrated(file: Path) -> bool:
    """Whether the scorecard is one of `recalibrate`; one that cannot be read is not."""
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(card, dict) and "recalibrated_from" in card


def _card(file: Path) -> dict[str, Any]:
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}. Restore it, or train again.") from error
    lacking = [name for name in SECTIONS if not isinstance(card, dict) or name not in card]
    if lacking:
        raise DataError(
            f"{file} lacks {', '.join(lacking)}: a scorecard of this version has them. Train again."
        )
    odd = [name for name in SECTIONS if not isinstance(card[name], dict)]
    if odd:
        raise DataError(
            f"{file}: {', '.join(odd)} holds no set of facts, so the file was changed. Restore it, or train again."
        )
    return dict(card)


def _predictions(file: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pq.read_table(file).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {error}. Restore it, or train again.") from error
    lacking = COLUMNS - set(frame.columns)
    if lacking:
        raise DataError(
            f"{file} lacks the columns {', '.join(sorted(lacking))}. Restore it, or train again."
        )
    odd = _odd_columns(frame)
    if odd:
        raise DataError(
            f"{file}: {', '.join(odd)} holds what no run leaves, so the file was changed. Restore it, or train again."
        )
    return frame


def _odd_columns(frame: pd.DataFrame) -> list[str]:
    """Columns with values that `train` never writes; figures of them would fail, or look like figures."""
    odd = [name for name in NUMBERS if name in frame and not _are_numbers(frame[name])]
    if "probability" not in odd and not frame["probability"].between(0, 1).all():
        odd.append("probability")
    outcomes = frame["won"].dropna()
    if not outcomes.isin([0, 1]).all():
        odd.append("won")
    times = frame["as_of"]
    kinds = (pd.api.types.is_datetime64_any_dtype, pd.api.types.is_integer_dtype)
    if times.notna().any() and not any(is_kind(times) for is_kind in kinds):
        odd.append("as_of")
    return odd


def _are_numbers(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and bool(np.isfinite(column).all())

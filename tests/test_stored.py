"""A run's report can be made again from two of its files, and a changed figure does not pass.

Each was seen failing once: a context that forgot the importance, differences looked for in `figures` alone or with
a coarse tolerance, never refused, an error that came out as a traceback.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factory_predictions import context, predictions
from lead_propensity.errors import DataError
from lead_propensity.evaluation.again import context_of, differences
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.reporting.report import render
from lead_propensity.reporting.stored import FILES, read, report_again
from test_evaluation import DEGENERATE, FAST


def leave(folder: Path, table: pd.DataFrame, **changes: Any) -> Path:
    """A folder as `train` leaves it, without the model."""
    folder.mkdir()
    table.to_parquet(folder / FILES[1])
    card = scorecard(table, context(version="1.0", **changes), 7, **FAST)
    (folder / FILES[0]).write_text(json.dumps(card, indent=1, allow_nan=False))
    return folder


def edited(run: Path, key: str, value: Any) -> None:
    """A scorecard in which somebody has put another value."""
    card = json.loads((run / FILES[0]).read_text())
    (run / FILES[0]).write_text(json.dumps({**card, key: value}))


def set_column(run: Path, name: str, value: Any) -> None:
    """Predictions with one value in a whole column."""
    pd.read_parquet(run / FILES[1]).assign(**{name: value}).to_parquet(run / FILES[1])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return leave(tmp_path / "run", predictions(200))


def test_two_files_give_the_same_report(run: Path) -> None:
    done = report_again(run)
    assert (done.out, done.differences) == (run / "report.html", ())
    assert done.figures > 50
    assert done.out.read_text(encoding="utf-8") == render(read(run).scorecard)


@pytest.mark.parametrize("case", DEGENERATE)
def test_a_run_of_little_is_the_same_again(case: str, tmp_path: Path) -> None:
    change, changes = DEGENERATE[case]
    assert report_again(leave(tmp_path / "run", change(predictions(120)), **changes)).figures


def test_the_card_holds_all_that_the_figures_were_told(run: Path) -> None:
    told = context(version="1.0")
    assert {key: context_of(read(run).scorecard)[key] for key in told} == told


@pytest.mark.parametrize("place", ["the predictions", "the scorecard"])
def test_a_changed_figure_is_refused_and_nothing_written(place: str, run: Path) -> None:
    if place == "the predictions":
        table = pd.read_parquet(run / FILES[1])
        table.loc[0, "probability"] += 0.01
        table.to_parquet(run / FILES[1])
    else:
        card = read(run).scorecard
        card["bands"]["stock"][0]["observed"] += 0.001
        (run / FILES[0]).write_text(json.dumps(card))
    with pytest.raises(DataError, match=r"values computed .* stored .*--accept"):
        report_again(run)
    assert not (run / "report.html").exists()
    done = report_again(run, run.parent / "page.html", accept=True)
    assert done.differences
    assert done.out.is_file()


@pytest.mark.parametrize(
    ("made", "why"), [("0.0.1", "made by version 0.0.1"), (None, "was changed")]
)
def test_the_refusal_says_what_is_likely(
    made: str | None, why: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = read(run).scorecard
    monkeypatch.setattr("lead_propensity.reporting.stored.version", lambda _: "1.0")
    card["context"]["version"] = made or "1.0"
    card["headline"]["n"] += 1
    (run / FILES[0]).write_text(json.dumps(card))
    with pytest.raises(DataError, match=why):
        report_again(run)


def test_a_sum_in_another_order_is_the_same_figure() -> None:
    assert not differences({"a": 0.1 + 0.2, "b": None, "c": []}, {"a": 0.3, "b": None, "c": []})
    assert [one.figure for one in differences({"a": 0.3, "b": 1}, {"a": 0.30001})] == ["a", "b"]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda run: (run / FILES[0]).unlink(), "scorecard.json not found"),
        (lambda run: (run / FILES[1]).unlink(), "test_predictions.parquet not found"),
        (lambda run: (run / FILES[0]).write_text("{"), "cannot be read"),
        (lambda run: (run / FILES[0]).write_text("[]"), "lacks bands, comparison, context"),
        (lambda run: (run / FILES[0]).write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda run: (run / FILES[1]).write_text("no parquet"), "cannot be read"),
        (lambda run: edited(run, "context", None), "context .* no set of facts"),
        (lambda run: edited(run, "comparison", "x"), "comparison .* no set of facts"),
        (lambda run: set_column(run, "probability", "high"), "probability"),
        (lambda run: set_column(run, "probability", np.nan), "probability"),
        (lambda run: set_column(run, "probability", 1.2), "probability"),
        (lambda run: set_column(run, "raw_score", np.inf), "raw_score"),
        (lambda run: set_column(run, "won", 2.0), "won"),
        (lambda run: set_column(run, "as_of", "soon"), "as_of"),
        (
            lambda run: pd.DataFrame({"lead_id": ["a"]}).to_parquet(run / FILES[1]),
            "lacks the columns",
        ),
        (
            lambda run: (
                pd.read_parquet(run / FILES[1]).drop(columns="fit_grade").to_parquet(run / FILES[1])
            ),
            "lacks 'fit_grade'",
        ),
    ],
)
def test_a_folder_that_is_no_run_says_what_is_wrong(harm: Any, says: str, run: Path) -> None:
    harm(run)
    with pytest.raises(DataError, match=says):
        report_again(run)


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no run: no such folder.*train"):
        read(tmp_path / "none")

"""Two runs side by side: is the better one named, and only where the same leads were judged alike?

Each was seen failing once: joined by rank, outcomes that disagree kept, a loss that is better for being higher,
log loss compared between different leads, half the interval, one run's deals for both.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factory_predictions import context, predictions
from lead_propensity.errors import DataError
from lead_propensity.evaluation.compare import Interval
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.evaluation.two_runs import Side, independent, two_runs
from lead_propensity.reporting.two_runs import _cells, _matched, compare_runs, render
from test_evaluation import FAST
from test_reporting import check
from test_stored import leave


def side(table: pd.DataFrame, **changes: Any) -> Side:
    return Side(scorecard(table, context(**changes), 7, **FAST), table)


def figures(found: dict[str, Any]) -> dict[str, Any]:
    return {row["metric"]: row for row in found["figures"]}


@pytest.fixture(scope="module")
def keen() -> Side:
    return side(predictions(800))


@pytest.fixture(scope="module")
def dull() -> Side:
    """The same leads and outcomes, seen by a model that knows little."""
    return side(predictions(800, model_knows=0.2))


def test_the_one_that_knows_more_is_better_by_its_order_and_its_percentages(
    keen: Side, dull: Side
) -> None:
    found = two_runs(keen, dull, 7, **FAST)
    assert found["match"]["paired"]
    assert [figures(found)[m]["better"] for m in ("auc", "log_loss", "brier")] == ["a"] * 3
    back = figures(two_runs(dull, keen, 7, **FAST))
    assert [back[m]["better"] for m in ("auc", "log_loss", "brier")] == ["b"] * 3
    assert figures(found)["auc"]["difference"]["value"] == -back["auc"]["difference"]["value"]


def test_a_run_beside_itself_differs_in_nothing(keen: Side) -> None:
    found = two_runs(keen, keen, 7, **FAST)
    gaps = [row["difference"] for row in found["figures"]]
    assert gaps == [{"value": 0.0, "lower": 0.0, "upper": 0.0}] * len(gaps)
    assert (found["settings"], found["rank_correlation"]) == ([], pytest.approx(1))
    assert sum(row["n"] for row in found["called"] if row["hot_in"].startswith("only")) == 0


def test_figures_of_the_same_leads_are_those_of_the_run(keen: Side, dull: Side) -> None:
    row = figures(two_runs(keen, dull, 7, **FAST))
    for metric in ("auc", "log_loss", "brier", "average_precision", "expected_to_observed"):
        assert row[metric]["a"]["value"] == pytest.approx(
            keen.scorecard["headline"][metric]["value"]
        )
        assert row[metric]["b"]["value"] == pytest.approx(
            dull.scorecard["headline"][metric]["value"]
        )


def test_pairs_tell_more_than_two_samples(keen: Side, dull: Side) -> None:
    close = keen.predictions.copy()
    close["raw_score"] += np.random.default_rng(1).normal(0, 0.2, len(close))
    gap = figures(two_runs(keen, side(close), 7, **FAST))["auc"]["difference"]
    one, other = (Interval(**s.scorecard["headline"]["auc"]) for s in (keen, side(close)))
    apart = independent(one, other)
    assert gap["upper"] - gap["lower"] < 0.5 * (apart.upper - apart.lower)


def test_the_order_of_the_rows_changes_nothing(keen: Side, dull: Side) -> None:
    mixed = Side(keen.scorecard, keen.predictions.sample(frac=1, random_state=3))
    assert two_runs(mixed, dull, 7, **FAST) == two_runs(keen, dull, 7, **FAST)


def test_outcomes_that_disagree_are_told_and_left_out(keen: Side, dull: Side) -> None:
    table = dull.predictions.copy()
    changed = table.index[table["population"] == "training"][:40]
    table.loc[changed[:30], "won"] = 1 - table.loc[changed[:30], "won"]
    table.loc[changed[30:], "won"] = np.nan
    found = two_runs(keen, Side(dull.scorecard, table), 7, **FAST)
    match = found["match"]
    assert (match["disagree"], match["unknown"], match["judged"]) == (30, 10, match["common"] - 40)
    less = Side(dull.scorecard, table.drop(index=changed))
    assert found["figures"] == two_runs(keen, less, 7, **FAST)["figures"]


def test_left_out_outcomes_are_not_counted_as_judged_and_called_other_data(
    keen: Side, dull: Side
) -> None:
    table = dull.predictions.copy()
    changed = table.index[table["population"] == "training"][:100]
    table.loc[changed, "won"] = 1 - table.loc[changed, "won"]
    match = two_runs(keen, Side(dull.scorecard, table), 7, **FAST)["match"]
    said = _matched(match)
    assert said.startswith(f"Both are judged on {match['judged']:,} of the ")
    assert "100 are left out" in said
    assert "Their data differ" in said
    nobody = {**match, "paired": False, "judged": 0, "disagree": match["common"]}
    assert "hold different outcomes" in _matched(nobody)


def test_a_figure_that_nobody_has_is_a_dash(keen: Side) -> None:
    gap = dict.fromkeys(("value", "lower", "upper"))
    cells = _cells({"metric": "auc", "a": gap, "b": gap, "difference": gap, "better": "unknown"})
    assert set(cells[1:]) == {"–"}


def test_part_of_the_leads_in_common_is_told(keen: Side, dull: Side) -> None:
    leads = sorted(dull.predictions["lead_id"].unique())[:200]
    part = dull.predictions[dull.predictions["lead_id"].isin(leads)]
    match = two_runs(keen, side(part), 7, **FAST)["match"]
    assert (match["share_a"], match["share_b"], match["leads"]) == (0.25, 1.0, 200)


def test_without_common_leads_only_what_any_sample_tells_is_compared(
    keen: Side, dull: Side
) -> None:
    other = dull.predictions.assign(lead_id="x" + dull.predictions["lead_id"])
    found = two_runs(keen, side(other), 7, **FAST)
    rows = figures(found)
    assert not found["match"]["paired"]
    assert found["called"] == []
    assert {metric for metric, row in rows.items() if row["difference"]} == {
        "auc",
        "expected_to_observed",
    }
    assert rows["auc"]["better"] == "a"


def test_another_horizon_is_another_question(keen: Side, dull: Side) -> None:
    other = Side({**dull.scorecard, "horizon_days": 30}, dull.predictions)
    match = two_runs(keen, other, 7, **FAST)["match"]
    assert (match["paired"], match["same_horizon"]) == (False, False)


def test_rows_as_exported_are_the_same_lead_at_another_rank() -> None:
    told = {"shape": "as exported", "horizon_days": None}
    table = predictions(200, dated=False)
    later = table.assign(order=table["order"] + 50)
    found = two_runs(side(table, **told), side(later, **told), 7, **FAST)
    assert found["match"]["judged"] == 200


def test_two_intervals_of_samples_add_up_as_squares() -> None:
    """Around normal estimates the method is the usual one."""
    gap = independent(Interval(0.5, 0.2, 0.8), Interval(0.1, -0.3, 0.5))
    assert (gap.lower, gap.upper) == pytest.approx((0.4 - 0.5, 0.4 + 0.5))


def test_only_what_differs_is_listed() -> None:
    table = predictions(150)
    settings = {"model": {"trials": 3, "seed": 7}, "bands": {"hot_per_week": 10}}
    other = {"model": {"trials": 9, "seed": 7}, "bands": {"hot_per_week": 10}}
    rows = two_runs(side(table, settings=settings), side(table, settings=other), 7, **FAST)[
        "settings"
    ]
    assert rows == [{"key": "config.model.trials", "a": 3, "b": 9}]


def test_the_page_says_it_and_stays_text(tmp_path: Path) -> None:
    a = leave(tmp_path / "<script>a", predictions(300))
    b = leave(tmp_path / "b", predictions(300, model_knows=0.1), name="<b>&'")
    found = compare_runs(a, b, tmp_path / "page.html")
    html = found.out.read_text(encoding="utf-8")
    check(html)
    assert html == render(found.comparison)
    assert "&lt;script&gt;a" in html
    assert "A puts leads into a better order" in html
    assert "A is better" in html
    assert [row[0] for row in found.rows][:2] == ["AUC", "Average precision"]


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    run = leave(tmp_path / "run", predictions(150))
    with pytest.raises(DataError, match="the same run"):
        compare_runs(run, tmp_path / "." / "run")

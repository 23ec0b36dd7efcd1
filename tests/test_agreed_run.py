"""One run of all that marketing and sales agree on: a target, demands, routes and stages, from raw rows to scores."""

import json
from pathlib import Path

import pandas as pd
import pytest

from lead_propensity import pipeline
from lead_propensity.config import Config, load
from lead_propensity.data.simulate import simulate, write
from lead_propensity.pipeline import TrainedRun

AGREED = (
    "model.trials=1",
    "model.backtest_periods=0",
    "model.refit=never",
    "bands={policy: precision, target: 0.08, hot_requires: {need: known}}",
    "bands.stages=[download, demo_request, meeting_booked]",
    "bands.routes={names: {sales: Call now, nurture: Mail}, follow_up_days: 10}",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("crm")
    write(simulate(5000, seed=5), folder)
    return load(folder / "config.yaml", AGREED)


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return pipeline.train(config, tmp_path_factory.mktemp("runs") / "agreed")


@pytest.fixture(scope="module")
def judged(run: TrainedRun) -> pd.DataFrame:
    frame = pd.read_parquet(run.folder / "test_predictions.parquet")
    return frame[frame["population"] == "stock"]


def test_hot_shows_what_is_demanded_and_the_others_are_warm(
    run: TrainedRun, judged: pd.DataFrame
) -> None:
    hot, away = judged[judged["band"] == "hot"], judged[judged["turned_away"]]
    assert len(hot) > 20
    assert len(away) > 20
    assert set(away["band"]) == {"warm"}
    assert not hot["missing_criteria"].str.contains("need (unknown)", regex=False).any()
    assert away["missing_criteria"].str.contains("need (unknown)", regex=False).all()
    assert judged.loc[judged["band"] == "cold", "missing_criteria"].isna().all()
    cost = run.scorecard["demanded"]["turned_away"]
    assert cost["leads"] == away["lead_id"].nunique()
    assert cost["deals"] == away.loc[away["won"] == 1, "lead_id"].nunique()
    tested = run.scorecard["bands"]["tested"]
    assert tested["lower"] >= tested["target"] == 0.08
    promised = {row["band"]: row["promised_lower"] for row in run.scorecard["bands"]["stock"]}
    assert promised["hot"] == 0.08


def test_the_same_holds_for_todays_leads(run: TrainedRun, config: Config, tmp_path: Path) -> None:
    table = pipeline.score(config, run.folder, tmp_path / "scores.parquet").table
    assert table is not None
    frame = table.to_pandas()
    hot = frame[frame["band"] == "hot"]
    assert len(hot)
    assert not hot["missing_criteria"].str.contains("need (unknown)", regex=False).any()
    assert set(frame["route"]) <= {
        *("Call now", "qualify", "follow_up", "Mail", "re-engage", "casual", "release")
    }
    later = frame["route"] == "follow_up"
    assert later.any()
    assert (frame.loc[later, "follow_up_on"] - frame["as_of"].iloc[0]).dt.days.eq(10).all()
    assert frame.loc[~later, "follow_up_on"].isna().all()


def test_the_local_list_and_the_report_tell_of_the_same_changes(run: TrainedRun) -> None:
    listed = pd.read_csv(run.folder / "private" / "changed_leads.csv")
    told = run.scorecard["changes"]
    moved = sum(
        n
        for row in told["flows"]
        for band, n in row.items()
        if band not in ("before", row["before"])
    )
    assert len(listed) == moved > 0
    assert set(listed["as_of"]) == {told["now"]}
    assert int((listed["band_now"] == "hot").sum()) == told["newly_hot"]
    text = json.dumps(run.scorecard) + (run.folder / "report.html").read_text()
    assert not any(lead in text for lead in listed["lead_id"])


def test_stages_are_told_of_the_stock_and_never_learned(
    run: TrainedRun, judged: pd.DataFrame
) -> None:
    assert set(judged["stage"].dropna()) == {"download", "demo_request", "meeting_booked"}
    rows = [row for row in run.scorecard["stages"] if row["band"] == "all"]
    assert sum(row["n"] for row in rows) == len(judged)
    assert not {"stage", "next_stage"} & set(run.model.catalogue.names)

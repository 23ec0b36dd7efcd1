"""The same line on public data, from the configs as they are."""

import pytest

from lead_propensity import pipeline
from lead_propensity.config import load


def auc(scorecard: dict, model: str = "model") -> float:
    return float(scorecard["comparison"]["models"][model]["auc"]["value"])


@pytest.mark.slow
def test_bpic2012(data_root, tmp_path):
    config = load("configs/bpic2012.yaml")
    run = pipeline.train(config, tmp_path / "run")
    headline = run.scorecard["headline"]
    assert 4500 < headline["n"] < 4700
    assert auc(run.scorecard) >= 0.72
    assert 0.85 <= headline["expected_to_observed"]["value"] <= 1.15
    assert auc(run.scorecard) > auc(run.scorecard, "rules")
    scored = pipeline.score(config, str(run.folder), tmp_path / "scores.parquet")
    assert len(scored.table) > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "low", "high", "keys"),
    [
        ("completejourney", 0.75, 0.90, ["model.refit=never"]),
        ("olist_mql", 0.65, 0.80, []),
        ("xeducation", 0.85, 0.92, []),
    ],
)
def test_other_sets(data_root, tmp_path, name, low, high, keys):
    config = load(f"configs/{name}.yaml", ["model.trials=8", *keys])
    run = pipeline.train(config, tmp_path / "run")
    assert low <= auc(run.scorecard) <= high
    pipeline.score(config, str(run.folder), tmp_path / "scores.parquet")


@pytest.mark.slow
def test_where_the_rules_win_the_report_says_so(data_root, tmp_path):
    """Two crises shift this bank's customers: what the first rows teach does not order the last ones."""
    config = load("configs/bank.yaml", ["model.trials=8", "model.refit=never"])
    run = pipeline.train(config, tmp_path / "run")
    assert auc(run.scorecard, "rules") > auc(run.scorecard)
    assert run.scorecard["verdict"]["winner"] == "rules"
    assert "Keep the rules." in (run.folder / "report.html").read_text()
    assert len(pipeline.score(config, str(run.folder), tmp_path / "s.parquet").table) == 0


@pytest.mark.slow
def test_where_there_is_no_signal_nobody_is_hot(data_root, tmp_path):
    config = load("configs/maven.yaml")
    run = pipeline.train(config, tmp_path / "run")
    assert 0.45 <= auc(run.scorecard) <= 0.55
    assert run.scorecard["bands"]["hot_from"] is None
    assert run.scorecard["verdict"]["winner"] != "model"
    scored = pipeline.score(config, str(run.folder), tmp_path / "scores.parquet")
    assert len(scored.table) == 0, "closed deals only: none is open"

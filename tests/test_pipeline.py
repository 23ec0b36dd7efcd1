"""The whole line on a world whose truth is known: trained, judged, scored, and the same every time."""

import json
import re
import shutil
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from lead_propensity import pipeline
from lead_propensity.config import Config, LimitsConfig, load
from lead_propensity.data import merging, tables
from lead_propensity.data.database import opened
from lead_propensity.data.simulate import World, simulate, write
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.features import dataset, work
from lead_propensity.features.points import Scorecard
from lead_propensity.pipeline import TrainedRun
from lead_propensity.progress import silent
from lead_propensity.serving import judging

FEW = [
    "model.trials=2",
    "model.backtest_periods=0",
    "split.test_days=56",
    "bands.hot_per_week=10",
]
ONCE = ["model.trials=1", "model.refit=never"]
"""For models that are one test's own: fitted once."""


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(3000, seed=11)


@pytest.fixture(scope="module")
def crm(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crm")
    write(world, folder)
    return folder


@pytest.fixture(scope="module")
def config(crm: Path) -> Config:
    return load(crm / "config.yaml", FEW)


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return pipeline.train(config, tmp_path_factory.mktemp("runs") / "first")


def read(path: Path) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()


def test_a_run_folder_holds_what_design_names(run: TrainedRun) -> None:
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "evaluated",
        "model",
        "model_card.md",
        "private",
        "report.html",
        "scorecard.json",
        "test_predictions.parquet",
    }
    assert json.loads((run.folder / "scorecard.json").read_text()) == run.scorecard


def test_every_dirty_row_is_in_quarantine_and_the_counts_add_up(
    run: TrainedRun, world: World
) -> None:
    tables = {row["table"]: row for row in run.scorecard["data"]["tables"]}
    for table, raw in (("leads", world.leads), ("events", world.events), ("deals", world.deals)):
        planted = sum(n for kind, n in world.planted.items() if kind.startswith(f"{table}."))
        row = tables[table]
        assert planted > 0
        assert row["rows"] == len(raw) == row["kept"] + row["quarantined"]
        assert row["quarantined"] == planted == sum(row["reasons"].values())
        aside = read(run.folder / "private" / "quarantine" / f"{table}.parquet")
        assert len(aside) == planted
        assert aside["reason"].notna().all()


def test_the_probability_lies_near_the_truth(run: TrainedRun, world: World) -> None:
    """Nearer than the base rate by far, and right in sum; the rules are beaten."""
    rows = read(run.folder / "test_predictions.parquet")
    rows = rows[rows["population"] == "training"]
    as_of = rows["as_of"].astype("int64").to_numpy()
    truth = world.true_probability(rows["lead_id"].to_numpy(), as_of, 60)
    known = ~np.isnan(truth)
    probability = rows["probability"].to_numpy()
    assert known.mean() > 0.99
    assert probability[known].mean() == pytest.approx(truth[known].mean(), rel=0.25)
    assert np.corrcoef(probability[known], truth[known])[0, 1] > 0.6
    spread = np.mean((truth[known] - truth[known].mean()) ** 2)
    assert np.mean((probability[known] - truth[known]) ** 2) < 0.7 * spread
    models = run.scorecard["comparison"]["models"]
    assert models["model"]["auc"]["value"] > models["rules"]["auc"]["value"]


@pytest.mark.parametrize("name", ["matrix.parquet", "matrix.csv"])
def test_a_matrix_written_in_pieces_is_the_whole_one(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Row for row, merged a few rows at a time."""
    whole = pipeline.write_features(config, tmp_path / "whole" / name)
    monkeypatch.setattr(work, "PIECE_BYTES", 300_000)
    monkeypatch.setattr(merging, "AT_ONCE_BYTES", 200_000)
    pieces = pipeline.write_features(config, tmp_path / "pieces" / name)
    assert (pieces.snapshots, pieces.features) == (whole.snapshots, whole.features)
    if name.endswith(".csv"):
        assert pieces.out.read_bytes() == whole.out.read_bytes()
        return
    one, other = pq.read_table(whole.out), pq.read_table(pieces.out)
    assert one.equals(other, check_metadata=True)
    frame = pipeline.features(config)
    pd.testing.assert_frame_equal(frame, one.to_pandas(), check_exact=True, check_dtype=False)


def test_the_same_data_config_and_seed_give_the_same_bytes(
    run: TrainedRun, config: Config, tmp_path: Path
) -> None:
    """Invariant 9, and with another number of threads."""
    again = pipeline.train(
        config.model_copy(update={"engine": config.engine.model_copy(update={"threads": 1})}),
        tmp_path / "second",
    )
    files = sorted(path.name for path in (run.folder / "model").iterdir())
    assert files == sorted(path.name for path in (again.folder / "model").iterdir())
    for name in files:
        first, second = (folder / "model" / name for folder in (run.folder, again.folder))
        assert first.read_bytes() == second.read_bytes(), name
    assert again.model.model_id == run.model.model_id
    pd.testing.assert_frame_equal(
        read(run.folder / "test_predictions.parquet"),
        read(again.folder / "test_predictions.parquet"),
        check_exact=True,
    )


def test_another_process_scores_the_same(
    run: TrainedRun, config: Config, crm: Path, tmp_path: Path
) -> None:
    here = pipeline.score(config, str(run.folder), tmp_path / "here.parquet")
    command = [
        *(sys.executable, "-m", "lead_propensity", "score", str(crm / "config.yaml")),
        *(
            "--model",
            run.logged.model_uri.rsplit("/", 1)[0] + "@challenger",
            "--out",
            str(tmp_path / "there.parquet"),
        ),
    ]
    subprocess.run(command, check=True, capture_output=True)
    there = pq.read_table(tmp_path / "there.parquet")
    assert len(here.table) > 100
    assert here.table.drop(["scored_at"]).equals(there.drop(["scored_at"]))


def test_every_score_says_when_for_how_long_and_by_which_model(
    run: TrainedRun, config: Config, tmp_path: Path
) -> None:
    scored = pipeline.score(config, str(run.folder / "model"), tmp_path / "scores.parquet").table
    frame = scored.to_pandas()
    assert scored.column_names == [
        "lead_id", "as_of", "order", "probability", "band", "previous_band", "band_change", "band_rate_low",
        "band_rate_high", "fit", "fit_grade", "interest", "interest_grade", "route", "follow_up_on",
        "missing_criteria", "reasons", "raw_score", "rules_points", "rules_band", "level_shift", "level_until",
        "last_event_at", "data_until", "horizon_days", "model_id", "scored_at",
    ]  # fmt: skip
    assert (frame["as_of"] == pd.Timestamp("2025-12-31", tz="UTC")).all()
    assert (frame["horizon_days"] == 60).all()
    assert (frame["model_id"] == run.model.model_id).all()
    assert frame["lead_id"].is_unique
    reasons = frame.loc[frame["band"] != "cold", "reasons"].map(json.loads)
    assert reasons.map(len).between(1, 6).all()
    assert {"text", "sign", "strength"} == set(reasons.iloc[0][0])


def test_without_reasons_the_scores_are_the_same(
    run: TrainedRun, config: Config, crm: Path, tmp_path: Path
) -> None:
    silent = load(crm / "config.yaml", [*FEW, "score.explain=false"])
    ours, theirs = (
        pipeline.score(one, str(run.folder), tmp_path / "s.parquet").table
        for one in (config, silent)
    )
    assert ours.drop(["scored_at", "reasons"]).equals(theirs.drop(["scored_at", "reasons"]))
    assert set(theirs["reasons"].to_pylist()) == {"[]"} != set(ours["reasons"].to_pylist())


def test_the_reasons_are_told_in_the_words_that_the_config_names(
    run: TrainedRun, config: Config, crm: Path, tmp_path: Path
) -> None:
    german = load(
        crm / "config.yaml", [*FEW, "score.reasons=package:lead_propensity.model/wording/de.yaml"]
    )
    ours, theirs = (
        pipeline.score(one, str(run.folder), tmp_path / "s.parquet").table
        for one in (config, german)
    )
    assert ours.drop(["scored_at", "reasons"]).equals(theirs.drop(["scored_at", "reasons"]))
    pairs = zip(ours["reasons"].to_pylist(), theirs["reasons"].to_pylist(), strict=True)
    told = [(json.loads(one), json.loads(two)) for one, two in pairs if one != "[]"]
    assert [[r["strength"] for r in one] for one, _ in told] == [
        [r["strength"] for r in two] for _, two in told
    ]
    texts = {r["text"] for _, two in told for r in two}
    assert any("Kriterien erfüllt" in text for text in texts)
    assert not any("criteria" in text or "last" in text for text in texts)


def test_the_report_says_why_leads_are_hot(run: TrainedRun) -> None:
    why = run.scorecard["reasons"]
    assert why["hot"] > 0
    assert 0 < len(why["for"]) <= 8
    for row in [*why["for"], *why["against"]]:
        assert 0 < row["share"] <= 1
        assert row["share"] == pytest.approx(row["n"] / why["hot"])
        assert not re.search(r"_|L\d{3}", row["example"] or "")
    shares = [row["share"] for row in why["for"]]
    assert shares == sorted(shares, reverse=True)
    page = (run.folder / "report.html").read_text()
    assert "Why leads are hot" in page
    assert why["for"][0]["topic"] in page


def test_names_that_the_data_do_not_have_stop_the_check_as_they_stop_the_training(
    crm: Path,
) -> None:
    odd = ["report.segments=[industri]", "bands.stages=[MQL]", "features.criteria={budget: purse}"]
    with pytest.raises(ConfigError) as caught:
        pipeline.check(load(crm / "config.yaml", odd))
    for key in ("report.segments", "bands.stages", "features.criteria"):
        assert key in str(caught.value)


def test_a_moment_without_open_leads_gives_a_table_without_rows(
    run: TrainedRun, config: Config, tmp_path: Path
) -> None:
    scored = pipeline.score(config, str(run.folder), tmp_path / "s.csv", datetime(2001, 1, 1))
    assert scored.rows == 0
    assert (tmp_path / "s.csv").read_text().startswith('"lead_id","as_of"')


def test_scoring_in_the_past_sees_nothing_later(
    run: TrainedRun, config: Config, crm: Path, tmp_path: Path
) -> None:
    """Scores of a past night are the same from an export of that night and from today's."""
    night = pd.Timestamp("2025-10-01", tz="UTC")
    today = pipeline.score(
        config, str(run.folder), tmp_path / "today.parquet", night.to_pydatetime()
    )
    then = tmp_path / "then"
    shutil.copytree(crm, then)
    for name, times in (
        ("leads", ["created_at"]),
        ("events", ["occurred_at"]),
        ("deals", ["closed_at"]),
        ("attributes", ["known_at"]),
    ):
        path = next(then.glob(f"{name}.*"))
        rows = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
        known = pd.concat([
            pd.to_datetime(rows[column], errors="coerce", utc=True, format="ISO8601")
            for column in (*times, "known_at") if column in rows
        ], axis=1).max(axis=1)  # fmt: skip
        rows = rows[known < night]
        rows.to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(
            path, index=False
        )
    past = load(then / "config.yaml", [*FEW, "data.exported_at=2025-10-01T00:00:00Z"])
    before = pipeline.score(past, str(run.folder), tmp_path / "before.parquet")
    columns = ["lead_id", "raw_score", "fit", "interest", "rules_points"]
    # A lead that closed before the night but was reported later looked open that night.
    left = today.table.select(columns).to_pandas()
    right = before.table.select(columns).to_pandas()
    right = right[right["lead_id"].isin(left["lead_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_the_level_of_a_score_is_the_level_that_was_judged(crm: Path, tmp_path: Path) -> None:
    """A night of the test part, scored again: the same leads, shift and probability, bit for bit."""
    drifting = load(crm / "config.yaml", [*FEW, *ONCE])
    pipeline.train(drifting, tmp_path / "run")
    with opened(drifting.engine) as (con, _):
        found = tables.check(con, drifting)
        data = dataset.training(con, dataset.plan(con, drifting, found.exported_at), silent)
    model = pipeline.load_model(str(tmp_path / "run"))
    judged = judging.test_predictions(data, model, drifting.bands.routes)
    judged = judged[judged["population"] == "stock"]
    assert judged["level_shift"].ne(0).any()
    for moment in sorted(set(judged["as_of"]))[::4]:
        night = pd.Timestamp(moment, unit="us", tz="UTC").to_pydatetime()
        scored = pipeline.score(drifting, str(tmp_path / "run"), tmp_path / "s.parquet", night)
        columns = ["lead_id", "raw_score", "level_shift", "probability", "band", "route"]
        pd.testing.assert_frame_equal(
            scored.table.select(columns).to_pandas().astype({"lead_id": object}),
            judged.loc[judged["as_of"] == moment, columns].reset_index(drop=True),
            check_exact=True, check_dtype=False,
        )  # fmt: skip


def test_the_report_says_where_the_level_lies_how_sure_and_how_old(run: TrainedRun) -> None:
    told = run.scorecard["backtest"]["tracker"]
    found = re.search(
        r"moved by ([+-]\d\.\d\d) \(standard error (\d\.\d\d)\), told by deals known until (\S+)\.",
        told,
    )
    assert found, told
    assert 0 < float(found[2]) < 1
    rows = pq.read_table(run.folder / "test_predictions.parquet").to_pandas()
    last = rows[rows["as_of"] == rows.loc[rows["population"] == "training", "as_of"].max()]
    assert float(found[1]) == pytest.approx(last["level_shift"].iloc[0], abs=0.006)
    assert found[3] <= str(rows["as_of"].max())[:10]


def test_a_run_that_fails_leaves_no_folder_and_can_be_repeated(crm: Path, tmp_path: Path) -> None:
    hopeless = load(crm / "config.yaml", [*FEW, "snapshots.horizon_days=3000"])
    for _ in range(2):
        with pytest.raises(DataError, match="holds no labelled snapshot"):
            pipeline.train(hopeless, tmp_path / "run")
        assert list(tmp_path.iterdir()) == []


def test_scores_long_after_the_export_say_so(
    run: TrainedRun, config: Config, tmp_path: Path
) -> None:
    fresh = pipeline.score(config, str(run.folder), tmp_path / "s.parquet")
    assert not any("days before" in note for note in fresh.notes)
    old = config.score.model_copy(update={"limits": LimitsConfig(max_data_age_days=32)})
    patient = config.model_copy(update={"score": old})
    late = pipeline.score(patient, str(run.folder), tmp_path / "s.parquet", datetime(2026, 2, 1))
    assert "32 days before" in late.notes[-1]


def test_rules_that_count_events_need_events_when_leads_are_scored(
    crm: Path, tmp_path: Path
) -> None:
    """Also where the model looks at none: undeclared, every lead would look silent to the rules."""
    asked = [*FEW, *ONCE, "snapshots.every_days=28", "features.implicit=[]"]
    blind = load(crm / "config.yaml", asked)
    run = pipeline.train(blind, tmp_path / "run")
    tree = yaml.safe_load((crm / "config.yaml").read_text())
    del tree["data"]["events"]
    (crm / "without.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(DataError, match=r"rules look at data\.events"):
        pipeline.score(load(crm / "without.yaml"), str(run.folder), tmp_path / "s.parquet")


def test_arguments_that_cannot_be_meant_are_refused(
    run: TrainedRun, config: Config, exported: Config, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no history to go back in"):
        pipeline.score(exported, str(run.folder), tmp_path / "s.parquet", datetime(2025, 1, 1))
    with pytest.raises(ConfigError, match="every_row is for rows as exported"):
        pipeline.score(config, str(run.folder), tmp_path / "s.parquet", every_row=True)


def test_leads_whose_deal_is_in_quarantine_are_counted(
    run: TrainedRun, config: Config, tmp_path: Path
) -> None:
    notes = pipeline.score(config, str(run.folder), tmp_path / "s.parquet").notes
    assert "leads are not scored: their deal is in quarantine" in notes[0]


def test_without_explicit_attributes_everything_still_works(crm: Path, tmp_path: Path) -> None:
    """The activity-only mode."""
    active = load(crm / "config.yaml", [*FEW, *ONCE, "features.explicit=[]"])
    run = pipeline.train(active, tmp_path / "run")
    assert not run.model.catalogue.of_kind("explicit")
    assert run.scorecard["headline"]["auc"]["lower"] > 0.5
    scored = pipeline.score(active, str(run.folder), tmp_path / "scores.parquet")
    assert len(set(scored.table["fit"].to_pylist())) == 1
    assert len(set(scored.table["interest"].to_pylist())) > 10


def test_shuffled_labels_show_no_lift(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes dealt out at random within each part: no ranking, and nobody is hot."""
    real = dataset.training

    def shuffled(*arguments: object) -> object:
        data = real(*arguments)  # type: ignore[arg-type]
        draw = np.random.default_rng(3)
        won = data.keys.groupby(["part", "population"])["won"].transform(
            lambda w: draw.permutation(w.to_numpy())
        )
        return type(data)(data.keys.assign(won=won), data.X, data.rules, data.catalogue)

    monkeypatch.setattr(dataset, "training", shuffled)
    run = pipeline.train(config, tmp_path / "run")
    auc = run.scorecard["headline"]["auc"]
    assert auc["lower"] < 0.5 < auc["upper"] or abs(auc["value"] - 0.5) < 0.04
    assert run.scorecard["bands"]["hot_from"] is None
    assert "not enough evidence" in run.scorecard["bands"]["hot_refused"]
    assert run.scorecard["verdict"]["winner"] != "model"


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """One row a lead as a CRM lists them: totals, attributes, and an outcome for those that closed."""
    folder = tmp_path_factory.mktemp("exported")
    clean = world.leads.drop_duplicates("lead_id", keep=False)
    visits = world.events.groupby("lead_id", observed=True).size().rename("visits")
    outcome = world.deals.drop_duplicates("lead_id").set_index("lead_id")["outcome"]
    rows = clean.join(visits, on="lead_id").join(outcome, on="lead_id")
    rows.drop(columns="email").to_csv(folder / "rows.csv", index=False)
    (folder / "config.yaml").write_text(
        "name: rows\n"
        "data:\n  timezone: UTC\n  max_quarantine_share: 0.2\n"
        "  exported: {path: rows.csv, outcome: outcome, won: won, order_by: created_at,\n"
        "    columns: {group_id: company_id}}\n"
        "features: {implicit: [visits]}\nmodel: {trials: 2, backtest_periods: 2}\n"
    )
    return load(folder / "config.yaml")


def test_the_level_of_rows_as_exported_is_told_by_the_labelled_ones(
    exported: Config, tmp_path: Path
) -> None:
    kept = exported.model_copy(
        update={"model": exported.model.model_copy(update={"refit": "never"})}
    )
    pipeline.train(kept, tmp_path / "run")
    scored = pipeline.score(exported, str(tmp_path / "run"), tmp_path / "s.parquet").table
    assert set(scored["level_shift"].to_pylist()) != {0.0}
    assert set(scored["level_until"].to_pylist()) == {None}, "ranks of rows are no times"
    every = pipeline.score(
        exported, str(tmp_path / "run"), tmp_path / "e.parquet", every_row=True
    ).table
    assert set(every["level_shift"].to_pylist()) == {0.0}


def test_rows_as_exported_train_and_score(exported: Config, tmp_path: Path) -> None:
    run = pipeline.train(exported, tmp_path / "run")
    assert run.scorecard["shape"] == "as exported"
    assert run.model.horizon_days is None
    parts = {row["part"]: row for row in run.scorecard["parts"]}
    assert parts["fit"]["to"] < parts["calibrate"]["from"] < parts["test"]["from"]
    scored = pipeline.score(exported, str(run.folder), tmp_path / "open.parquet").table.to_pandas()
    assert len(scored) == parts["immature"]["snapshots"], "the rows whose outcome is empty"
    assert scored["horizon_days"].isna().all()
    assert scored["as_of"].notna().all(), "order_by is a date"
    every = pipeline.score(exported, str(run.folder), tmp_path / "all.parquet", every_row=True)
    assert len(every.table) == sum(part["snapshots"] for part in parts.values())


def test_silence_never_raises_the_interest_of_a_real_lead(run: TrainedRun, config: Config) -> None:
    """Invariant 6 from raw events to the side model: nothing happens, and time passes."""
    model = run.model
    card = Scorecard.model_validate(model.rules)
    with opened(config.engine) as (con, _):
        now = tables.check(con, config).exported_at
        con.execute(f"DELETE FROM events WHERE greatest(occurred_at, known_at) >= {now}")
        interest = []
        for days in (0, 1, 6, 25, 80):
            data = dataset.open_leads(
                con, config, model.catalogue, card, now + days * 86_400_000_000, silent
            )
            found = model.predict(data.X, model.catalogue.fingerprint).interest
            interest.append(pd.Series(found, index=data.keys["lead_id"]))
    for before, after in pairwise(interest):
        still_open = after.index
        assert len(still_open) > 50
        assert (after <= before[still_open]).all()
    assert (interest[-1] < interest[0][interest[-1].index]).mean() > 0.5, "most have cooled"

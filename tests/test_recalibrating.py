"""A model's calibrator and bands fitted again on newly matured deals, in worlds whose truth is known.

Broken on purpose, seen red: no purge between the parts; the judged model fitted on both parts;
any gain taken in the place of one standard error; later leads not asked; the champion judged by the model before it
was fitted again.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

import shifting_world
from factory_mlflow import server
from lead_propensity import pipeline
from lead_propensity.config import Config
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.errors import ConfigError, DataError, ModelError, Refused
from lead_propensity.evaluation.recalibrated import _plan_missed
from lead_propensity.model.calibration import Identity, Isotonic, Shift, Sigmoid
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.recalibrating import KEPT, MOVED, SIGMOID, fitted
from lead_propensity.pipeline import RecalibratedRun, TrainedRun
from lead_propensity.serving import promotion
from lead_propensity.serving.matured import Cut, Matured, matured
from lead_propensity.tracking import registry

THEN, NOW = 500, 800
"""Days of the two exports; the second holds what matured since the first."""
CHANGED = {"model.json", "bands.json", "reference.json", "digests.json"}
"""Files of a model folder that a recalibration may change."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shifting")


@pytest.fixture(scope="module")
def before(place: Path) -> Config:
    return shifting_world.config(shifting_world.write(place / "then", THEN, THEN), THEN)


@pytest.fixture(scope="module")
def trained(place: Path, before: Config) -> TrainedRun:
    return pipeline.train(before, place / "trained")


@pytest.fixture(scope="module")
def flatter(place: Path) -> Config:
    """The model's differences between leads are now twice too large, and its level too high."""
    folder = shifting_world.write(place / "flatter", NOW, THEN, level=-0.5, slope=0.5)
    return shifting_world.config(folder, NOW)


@pytest.fixture(scope="module")
def same(place: Path) -> Config:
    return shifting_world.config(shifting_world.write(place / "same", NOW, THEN), NOW)


@pytest.fixture(scope="module")
def done(place: Path, trained: TrainedRun, flatter: Config) -> RecalibratedRun:
    return pipeline.recalibrate(flatter, trained.folder, place / "flatter-run")


def seen(config: Config, model: PropensityModel) -> Matured:
    with opened(config.engine) as (con, allowance):
        found = tables.check(con, config)
        return matured(con, config, found.exported_at, model, allowance=allowance)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# Where the world changed, and where it did not


def test_where_the_shape_changed_it_is_shown_to_be_better(done: RecalibratedRun):
    found = done.scorecard["recalibration"]
    assert done.scorecard["choice"]["kind"] == SIGMOID
    assert found["differences"]["log_loss"]["upper"] < 0
    assert found["differences"]["brier"]["upper"] < 0
    assert found["better"] == "after"
    old, new = (found[side]["smooth_error"]["value"] for side in ("before", "after"))
    assert new < old
    assert done.scorecard["sentence"].startswith("Fitted again on newer deals: a line")


def test_the_new_calibration_is_the_true_one(done: RecalibratedRun, trained: TrainedRun):
    """The truth halved the differences between leads."""
    assert isinstance(done.model, PropensityModel)
    old, new = trained.model.calibrator, done.model.calibrator
    raw = np.array([-2.5, -0.5])
    slopes = [np.diff(np.log(p / (1 - p)))[0] for p in (old.predict(raw), new.predict(raw))]
    assert slopes[1] / slopes[0] == pytest.approx(0.5, abs=0.15)


def test_where_the_level_rose_the_stored_one_is_right_again(
    place: Path, trained: TrainedRun, before: Config
):
    folder = shifting_world.write(place / "higher", NOW, THEN, level=1.0)
    run = pipeline.recalibrate(
        shifting_world.config(folder, NOW), trained.folder, place / "higher-run"
    )
    found = run.scorecard["recalibration"]
    assert run.scorecard["choice"]["kind"] == MOVED
    assert run.scorecard["choice"]["later_gain"] > 0
    old, new = (found[side]["expected_to_observed_untracked"] for side in ("before", "after"))
    assert old["upper"] < 1 / 1.5
    assert abs(np.log(new["value"])) < 0.3 * abs(np.log(old["value"]))
    assert found["differences"]["log_loss_untracked"]["upper"] < 0
    assert found["before"]["level_shift"] > 0.8
    assert abs(found["after"]["level_shift"]) < 0.2


def test_what_was_over_by_the_second_half_is_not_fitted(place: Path, trained: TrainedRun):
    """Other groups of the same time speak for a lower level; later leads speak against it."""
    folder = shifting_world.write(place / "over", NOW, THEN, level=-2.0, until=THEN + 50)
    config = shifting_world.config(folder, NOW)
    run = pipeline.recalibrate(config, trained.folder, place / "over-run")
    choice = run.scorecard["choice"]
    assert (choice["kind"], choice["outdated"]) == (KEPT, MOVED)
    assert choice["gain"] > choice["error"]
    assert choice["later_gain"] < 0
    assert "fitted on their first half it was no better" in run.scorecard["sentence"]
    assert "gains -0.0" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_where_nothing_changed_it_says_so_and_registers_nothing(
    place: Path, trained: TrainedRun, same: Config, command_line: Callable
):
    before = registry.aliased(same.registered_name, registry.CHALLENGER)
    file, folder = place / "same.yaml", place / "same-run"
    file.write_text(json.dumps(same.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")
    code, said, _ = command_line(f"recalibrate {file} --model {trained.folder} --out {folder}")
    assert code == 0
    assert "nothing was changed" in " ".join(said.split())
    card = json.loads((folder / "scorecard.json").read_text(encoding="utf-8"))
    after = registry.aliased(same.registered_name, registry.CHALLENGER)
    assert card["choice"]["kind"] == KEPT
    assert before == after
    assert sorted(one.name for one in folder.iterdir()) == [
        "model_card.md",
        "report.html",
        "scorecard.json",
    ]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "The old calibration is as good as any" in page
    assert card["model_id"] == trained.model.model_id


# What is refitted on what


def test_nothing_but_calibration_and_bands_changes(done: RecalibratedRun, trained: TrainedRun):
    old = files(trained.folder / "model")
    for folder in ("model", "evaluated"):
        new = files(done.folder / folder)
        assert {name for name in old if new[name] != old[name]} <= CHANGED
        assert new.keys() == old.keys()
        heads = [json.loads(one["model.json"]) for one in (old, new)]
        apart = {key for key in heads[0] if heads[0][key] != heads[1][key]}
        assert apart == {
            *("calibrator", "logistic_calibrator", "level"),
            *("labels_until", "notes", "choices"),
        }
    assert done.model is not None
    assert done.model.reference.features == trained.model.reference.features
    assert done.model.reference.scores != trained.model.reference.scores
    assert done.model.catalogue.fingerprint == trained.model.catalogue.fingerprint


def test_time_is_cut_with_a_purge_and_begins_after_the_models_labels(
    flatter: Config, trained: TrainedRun
):
    found, model = seen(flatter, trained.model), trained.model
    earlier, keys = found.earlier, found.data.keys
    later = keys[found.later]
    assert earlier.train.keys["order"].min() >= model.labels_until
    assert earlier.train.keys["label_known_at"].max() <= later["order"].min()
    assert later["won"].notna().all()
    assert len(found.all.train) > len(earlier.train) + (later["population"] == "training").sum()


def test_the_judged_model_knows_nothing_of_the_later_part(
    place: Path, done: RecalibratedRun, trained: TrainedRun, flatter: Config
):
    """With other outcomes there it is the same to the byte, and the deployed one is another."""
    begins = pd.Timestamp(done.scorecard["judged"][0], tz="UTC")
    folder = place / "otherwise"
    shifting_world.write(folder, NOW, THEN, level=-0.5, slope=0.5)
    deals = pd.read_csv(folder / "deals.csv")
    late = pd.to_datetime(deals["closed_at"]) >= begins
    flipped = deals["outcome"].map({"won": "lost", "lost": "won"})
    deals.assign(outcome=deals["outcome"].mask(late, flipped)).to_csv(
        folder / "deals.csv", index=False
    )
    config = shifting_world.config(folder, NOW)
    other = pipeline.recalibrate(config, trained.folder, place / "otherwise-run")
    assert other.scorecard["evaluated_model_id"] == done.scorecard["evaluated_model_id"]
    assert other.scorecard["model_id"] != done.scorecard["model_id"]


def test_the_same_again_gives_the_same_bytes(
    place: Path, done: RecalibratedRun, trained: TrainedRun, flatter: Config
):
    again = pipeline.recalibrate(flatter, trained.folder, place / "again")
    for folder in ("model", "evaluated"):
        assert files(again.folder / folder) == files(done.folder / folder)


def test_report_and_compare_say_where_its_figures_stand(
    done: RecalibratedRun, trained: TrainedRun, command_line: Callable
):
    """Its scorecard is none of `train`, and it keeps no predictions."""
    for line in (f"report {done.folder}", f"compare {trained.folder} {done.folder}"):
        code, _, error = command_line(line)
        told = " ".join(error.split())
        assert code == 2
        assert "is what `recalibrate` leaves" in told
        assert f"{done.folder}/report.html" in told.replace(" ", "")


# Into the registry, through the gate


def test_it_becomes_champion_through_the_gate(
    place: Path, done: RecalibratedRun, trained: TrainedRun, before: Config, flatter: Config
):
    """Against the champion as it is deployed: both have the same members."""
    first = promotion.promote(before, str(trained.folder))
    assert first.promoted
    challenger = registry.aliased(flatter.registered_name, registry.CHALLENGER)
    assert challenger is not None
    found = promotion.promote(flatter, str(done.folder), dry_run=True)
    decision = found.decision
    assert decision is not None
    assert decision["decision"] == "promote"
    judged = decision["judged"]
    assert judged["champion"]["evaluated_model_id"] == trained.model.model_id
    assert judged["challenger"]["evaluated_model_id"] == done.scorecard["evaluated_model_id"]
    gap = done.scorecard["recalibration"]["differences"]["log_loss"]["value"]
    assert decision["figures"]["log_loss_difference"] == pytest.approx(gap, abs=0.005)
    assert promotion.promote(flatter, str(done.folder)).promoted
    champion = registry.aliased(flatter.registered_name, registry.CHAMPION)
    assert champion is not None
    assert champion.model_id == done.scorecard["model_id"]


@pytest.mark.slow
def test_watched_and_recalibrated_beside_a_real_server(
    before: Config, flatter: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nothing on this side but the scores and the runs; what the server keeps is fetched from it."""
    name, scores = flatter.registered_name, f"{tmp_path}/scores/"
    with server(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        first = pipeline.train(before, tmp_path / "trained")
        promotion.promote(before, str(first.folder), force=True, reason="the first")
        champion, client = f"models:/{name}@champion", MlflowClient()
        for day in (THEN + 120, THEN + 180):
            night = (shifting_world.BEGINS + pd.Timedelta(days=day)).to_pydatetime()
            pipeline.score(flatter, champion, scores, night)
        watched = pipeline.monitor(flatter, scores, out=tmp_path / "monitor.html")
        assert [one["state"] for one in watched.found["moments"]] == ["judged", "judged"]
        kept = client.get_run(str(watched.run_id))
        assert kept.data.metrics["monitor.wins"] == watched.found["pooled"]["wins"] > 0
        for file in (watched.page, watched.page.with_suffix(".json")):
            assert fetched(client, str(watched.run_id), file.name) == file.read_bytes()
        done = pipeline.recalibrate(flatter, champion, tmp_path / "again")
        challenger = client.get_model_version_by_alias(name, "challenger")
        assert challenger.version == "2"
        assert client.get_model_version_by_alias(name, "champion").version == "1"
        for file in ("report.html", "scorecard.json", "model_card.md"):
            assert fetched(client, challenger.run_id, file) == (done.folder / file).read_bytes()
        figures = client.get_run(challenger.run_id).data.metrics
        gap = done.scorecard["figures"]["after_minus_before_log_loss"]
        assert figures["after_minus_before_log_loss"] == pytest.approx(gap)
        version = registry.version_of(f"models:/{name}@challenger", name)
        stored = PropensityModel.load(registry.fetch(version.uri, tmp_path))
        assert stored.model_id == done.scorecard["model_id"]


def fetched(client: MlflowClient, run_id: str, file: str) -> bytes:
    """An artifact as the server gives it."""
    return Path(client.download_artifacts(run_id, file)).read_bytes()


# Refused, refused in time, killed


def test_too_few_deals_are_a_refusal_with_a_date(
    place: Path, trained: TrainedRun, flatter: Config, command_line: Callable
):
    config = flatter.model_copy(update={"gate": flatter.gate.model_copy(update={"min_wins": 500})})
    phases: list[str] = []
    with pytest.raises(Refused, match=r"Not enough evidence until about 20\d\d-.*500 won") as told:
        pipeline.recalibrate(
            config, trained.folder, place / "few", lambda phase, *_: phases.append(phase)
        )
    assert "in the earlier part" in str(told.value)
    assert set(phases) == {"checking"}, "before a feature is computed"
    assert not (place / "few").exists()


def test_no_time_for_two_parts_is_a_refusal(trained: TrainedRun, before: Config, place: Path):
    with pytest.raises(Refused, match=r"until about 2024-08-1.*two parts of 0 days, 15 are needed"):
        pipeline.recalibrate(before, trained.folder, place / "early")
    assert Cut.of(100, 120, 30) == Cut(100, 100, 130, 120)


def test_the_command_line_refuses_with_its_codes(
    place: Path, trained: TrainedRun, same: Config, command_line: Callable
):
    file = place / "refused.yaml"
    file.write_text(json.dumps(same.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")
    line = f"recalibrate {file} --model {trained.folder} --out {place}/few-won"
    code, _, error = command_line(f"{line} --set gate.min_wins=500")
    assert code == 3
    assert "Not enough evidence until about" in error
    code, _, error = command_line(f"recalibrate {file} --model {trained.folder}/model")
    assert code == 2


def test_a_model_without_its_run_is_refused(place: Path, trained: TrainedRun, same: Config):
    bare = place / "bare"
    bare.mkdir()
    (bare / "model").symlink_to(trained.folder.resolve() / "model")
    with pytest.raises(ModelError, match=r"holds no scorecard.json.*@champion"):
        pipeline.recalibrate(same, bare)
    for content in (b"{", b"[1]", b"\xff", b"[" * 100_000, b'{"leaks": NaN}'):
        (bare / "scorecard.json").write_bytes(content)
        with pytest.raises(ModelError, match=r"scorecard.json (cannot be read|is no scorecard)"):
            pipeline.recalibrate(same, bare)
    spark = Config.model_validate({**same.model_dump(), "engine": {"kind": "spark"}})
    with pytest.raises(ConfigError, match="works on this machine"):
        pipeline.recalibrate(spark, trained.folder)


def test_killed_it_leaves_no_run(place: Path, trained: TrainedRun, same: Config):
    file, out = place / "killed.yaml", place / "killed"
    file.write_text(json.dumps(same.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")
    line = ["recalibrate", str(file), "--model", str(trained.folder), "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "lead_propensity", *line])
    until = time.monotonic() + 60
    while not list(place.glob(".killed.*.part")) and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()


# Rows as exported


def test_rows_as_exported_are_cut_by_their_rank(place: Path, same: Config):
    rng = np.random.default_rng(5)
    n, x = 4_000, rng.normal(size=4_000)
    p = 1 / (1 + np.exp(1.5 - np.where(np.arange(n) < 2_400, 1.2 * x, 0.2 * x)))
    frame = pd.DataFrame(
        {"id": np.arange(n), "x": x.round(4), "won": (rng.random(n) < p).astype(int)}
    )
    frame.to_csv(place / "rows.csv", index=False)
    exported = {"path": str(place / "rows.csv"), "outcome": "won", "won": "1", "order_by": "id"}
    config = Config.model_validate(
        {
            **shifting_world.KEYS,
            "name": "ranked",
            "data": {"exported": {**exported, "columns": {"lead_id": "id"}}},
            "snapshots": {},
            "features": {"explicit": ["x"], "implicit": []},
            "split": {"calibrate_share": 0.1, "test_share": 0.35},
            "bands": {"hot_share": 0.1},
            "model": {**shifting_world.KEYS["model"], "refit": "never"},
        }
    )
    run = pipeline.train(config, place / "ranked")
    again = pipeline.recalibrate(config, run.folder, place / "ranked-again")
    found = again.scorecard
    assert found["fitted"][0] == f"row {run.model.labels_until:,}"
    assert found["choice"]["kind"] == SIGMOID
    assert found["recalibration"]["differences"]["log_loss"]["upper"] < 0
    assert found["recalibration"]["after"]["newly_hot_per_week"] is None
    other = "learned from rows as exported, the config declares an event history"
    for call in (
        lambda: pipeline.recalibrate(same, run.folder, place / "none"),
        lambda: pipeline.score(same, run.folder, place / "none.parquet"),
        lambda: pipeline.monitor(same, place / "none.parquet", run.folder, out=place / "none.html"),
    ):
        with pytest.raises(DataError, match=other):
            call()


def test_what_is_shown_to_be_worse_is_told_and_not_registered(place: Path, trained: TrainedRun):
    """The level falls while it is fitted, and is back when it is judged."""
    folder = shifting_world.write(place / "back", NOW, THEN, level=-2.0, until=THEN + 130)
    config = shifting_world.config(folder, NOW)
    before = registry.aliased(config.registered_name, registry.CHALLENGER)
    run = pipeline.recalibrate(config, trained.folder, place / "back-run")
    assert run.scorecard["choice"]["kind"] != KEPT
    assert run.scorecard["recalibration"]["better"] == "before"
    assert (run.model, run.logged) == (None, None)
    assert not (run.folder / "model").exists()
    assert registry.aliased(config.registered_name, registry.CHALLENGER) == before


# The parts


@pytest.mark.parametrize(
    ("newly", "weeks", "missed"),
    [(2.0, 2, False), (2.0, 20, True), (5.5, 20, False), (9.0, 20, True)],
)
def test_a_plan_is_missed_where_chance_does_not_explain_it(newly: float, weeks: int, missed: bool):
    found = {"newly_hot_per_week": newly, "steady_weeks": weeks, "weight": 1.0}
    assert (_plan_missed(found, 5) is not None) == missed
    assert _plan_missed(found, None) is None


@pytest.mark.parametrize(
    "old", [Identity(), Shift(0.4), Sigmoid(0.7, -0.2), Isotonic((-2.0, 2.0), (0.2, 0.7))]
)
def test_a_line_over_the_old_calibration_is_both_in_turn(old: object):
    rng = np.random.default_rng(3)
    score = rng.normal(-1, 1, 5_000)
    true = 1 / (1 + np.exp(1.0 - 0.5 * score))
    won = (rng.random(5_000) < true).astype(float)
    new = fitted(SIGMOID, old, score, won)  # type: ignore[arg-type]
    inner = old.predict(score)  # type: ignore[attr-defined]
    line = Sigmoid.fit(np.log(inner / (1 - inner)), won)
    if isinstance(old, Isotonic):
        score = np.array(old.scores)
        inner = np.array(old.probabilities)
    expected = line.predict(np.log(inner / (1 - inner)))
    np.testing.assert_allclose(new.predict(score), expected, atol=1e-12)

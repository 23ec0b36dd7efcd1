"""From challenger to champion and back, with models that were really trained, in a real MLflow.

Broken on purpose, seen red: the deployed model judged instead of the evaluated one; snapshots from before the
champion's labels let in; a stock that has not matured; cohorts before the judged
period not heard for the level; attempts of periods that do not meet counted; the same model counted twice; a dry
run not counted; an attempt where nothing was judged; `force` with a blank reason; the champion not read again
before the alias moves; claims not looked at; a dead claim that bars the way; rollbacks taken for promotions; the
champion before the last entry instead of the one that the present champion replaced; exit code 0 for a refusal;
a missing champion left to MLflow's words; another export let in; as exported the first judged row left out.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from factory_mlflow import server
from lead_propensity import pipeline
from lead_propensity.config import Config, load
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.data.simulate import simulate, write
from lead_propensity.errors import ConfigError, LeadPropensityError, ModelError
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.pipeline import TrainedRun
from lead_propensity.serving import promotion
from lead_propensity.serving.fresh import Fresh, fresh
from lead_propensity.tracking import champions, registry
from lead_propensity.tracking.champions import Attempt, Change
from lead_propensity.tracking.connection import connected
from lead_propensity.tracking.registry import Version

DAY = 86_400_000_000
FAST = [
    "model.trials=1",
    "model.backtest_periods=0",
    "model.min_wins_trees=9999",
    "engine.threads=1",
]
KEYS = [*FAST, "split.test_days=120", "model.refit=always", "name=gated"]
WIDE = ["gate.min_wins=10", "gate.level_within=5", "gate.margin=0.9", "gate.rules_margin=0.5"]
"""A gate that such a small world can pass."""


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crm")
    write(simulate(1_500, seed=3), folder)
    return folder


@pytest.fixture(scope="module")
def config(crm: Path) -> Config:
    return load(crm / "config.yaml", [*KEYS, *WIDE])


@pytest.fixture(scope="module")
def first(config: Config, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return pipeline.train(config, tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def second(crm: Path, first: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    config = load(crm / "config.yaml", [*KEYS, "features.windows_days=[30]"])
    return pipeline.train(config, tmp_path_factory.mktemp("runs") / "second")


@pytest.fixture
def name(config: Config, first: TrainedRun, second: TrainedRun) -> Iterator[str]:
    """The registered model, as two trainings leave it; after the test too."""
    yield config.registered_name
    client = MlflowClient()
    model = client.get_registered_model(config.registered_name)
    for key in model.tags:
        client.delete_registered_model_tag(model.name, key)
    if registry.CHAMPION in model.aliases:
        client.delete_registered_model_alias(model.name, registry.CHAMPION)


def seen(config: Config, new: PropensityModel, old: PropensityModel | None) -> Fresh:
    with opened(config.engine) as (con, allowance):
        found = tables.check(con, config)
        return fresh(con, config, found.exported_at, new, old, allowance=allowance)


def evaluated(run: TrainedRun) -> PropensityModel:
    return PropensityModel.load(run.folder / "evaluated")


def champion_of(name: str) -> int | None:
    version = registry.aliased(name, registry.CHAMPION)
    return None if version is None else version.number


def change(version: int, before: int | None, action: str = champions.PROMOTED) -> Change:
    return Change("2026-01-01T00:00:00+00:00", action, before, version, "id", "a test")


def numbered(name: str, number: int) -> Version:
    return registry.version_of(f"models:/{name}/{number}", name)


def command(crm: Path, *, gate: list[str] | None = None) -> str:
    keys = [*KEYS, *(WIDE if gate is None else gate)]
    return f"promote {crm}/config.yaml " + " ".join(f"--set {key}" for key in keys)


# Judged on the same leads, by the models that the figures speak of


def test_the_challenger_says_what_its_run_says(config: Config, first: TrainedRun):
    """To the last bit: the same leads, labels, level, bands and rules as in the run's test predictions."""
    found = seen(config, evaluated(first), None)
    stored = pd.read_parquet(first.folder / "test_predictions.parquet")
    stored = stored[(stored["population"] == "training") & stored["won"].notna()]
    stored = stored.sort_values(["order", "lead_id"], ignore_index=True)
    mine = found.judged.sort_values(["order", "lead_id"], ignore_index=True)
    columns = ["lead_id", "group_id", "order", "won", "probability", "raw_score", "rules_points"]
    assert len(mine) > 200
    pd.testing.assert_frame_equal(
        mine[columns], stored[columns], check_exact=True, check_dtype=False
    )
    assert set(found.stock["band"]) <= {"cold", "warm", "hot"}
    assert found.stock["order"].between(found.judged_from, found.judged_until).all()
    assert found.stock["won"].notna().all()


def test_no_snapshot_is_judged_that_one_of_them_learned_from(
    config: Config, first: TrainedRun, second: TrainedRun
):
    """A champion that knows later labels leaves fewer snapshots; one that knows all leaves none."""
    new, old = evaluated(first), evaluated(second)
    both = seen(config, new, old)
    assert both.judged_from == max(new.labels_until, old.labels_until)
    assert both.judged["order"].min() >= both.judged_from
    later = replace(old, labels_until=both.judged_from + 30 * DAY)
    fewer = seen(config, new, later)
    assert 0 < len(fewer.judged) < len(both.judged)
    assert fewer.judged["order"].min() >= later.labels_until
    deployed = first.model
    none = seen(config, deployed, old)
    assert deployed.labels_until > both.judged_from
    assert len(none.judged) < len(both.judged)
    nothing = seen(config, new, replace(old, labels_until=none.judged_until + DAY))
    assert (len(nothing.judged), len(nothing.stock)) == (0, 0)


def test_both_are_asked_about_the_same_snapshots(
    config: Config, first: TrainedRun, second: TrainedRun
):
    found = seen(config, evaluated(second), evaluated(first)).judged
    alone = seen(config, evaluated(first), None).judged
    found = found.merge(alone, on=["lead_id", "order"], suffixes=("", "_alone"))
    np.testing.assert_array_equal(found["champion_probability"], found["probability_alone"])
    assert (found["probability"] != found["champion_probability"]).any()


def test_two_horizons_are_two_questions(config: Config, first: TrainedRun, second: TrainedRun):
    other = replace(evaluated(second), horizon_days=90)
    with pytest.raises(ModelError, match="deals within 60 days and 90 days"):
        seen(config, evaluated(first), other)


def test_the_run_keeps_the_model_that_its_figures_speak_of(first: TrainedRun, tmp_path: Path):
    card = first.scorecard
    assert evaluated(first).model_id == card["evaluated_model_id"] != card["model_id"]
    version = numbered(first.logged.model_uri.split("/")[1], first.logged.version)
    folder = registry.fetch_evaluated(version, registry.scorecard_of(version), tmp_path)
    assert PropensityModel.load(folder).model_id == card["evaluated_model_id"]


# Promote


def test_train_registers_a_challenger_and_no_champion(name: str, tmp_path: Path):
    challenger = registry.aliased(name, registry.CHALLENGER)
    assert challenger is not None
    assert champion_of(name) is None
    with pytest.raises(ModelError, match=r"has no champion yet.*`lead-propensity promote CONFIG`"):
        registry.fetch(f"models:/{name}@champion", tmp_path)


def test_the_first_champion_its_follower_and_the_way_back(
    name: str,
    crm: Path,
    config: Config,
    first: TrainedRun,
    second: TrainedRun,
    command_line: Callable,
):
    line = command(crm)
    code, out, _ = command_line(f"{line} --challenger {first.folder}")
    assert (code, champion_of(name)) == (0, first.logged.version)
    assert "no champion yet" in out
    assert "better than the base rate" in out
    code, out, _ = command_line(f"{line} --challenger {first.folder}")
    assert (code, "is the champion already" in out) == (0, True)
    code, out, _ = command_line(
        f"{line} --reason 'simpler features'"
    )  # the alias challenger: the second
    assert (code, champion_of(name)) == (0, second.logged.version)
    assert "not worse than the champion" in out
    assert "models judged on them so far: 2, error allowed each: 2.50%" in out

    scores = crm / "scores.parquet"
    code, _, _ = command_line(
        f"score {crm}/config.yaml --model models:/{name}@champion --out {scores} -q"
    )
    assert code == 0
    assert set(pd.read_parquet(scores)["model_id"]) == {second.model.model_id}

    code, out, _ = command_line(f"rollback {name} --reason 'sales lost trust'")
    assert (code, champion_of(name)) == (0, first.logged.version)
    code, _, err = command_line(f"rollback {name} --reason more")
    assert (code, "replaced no other champion" in err) == (2, True)

    code, out, _ = command_line(f"history {name} --json")
    told = json.loads(out)
    assert [(one["action"], one["before"], one["after"]) for one in told] == [
        ("promoted", None, first.logged.version),
        ("promoted", first.logged.version, second.logged.version),
        ("rolled back", second.logged.version, first.logged.version),
    ]
    assert [one["reason"] for one in told] == [None, "simpler features", "sales lost trust"]
    assert told[1]["figures"]["expected_to_observed"] > 0
    code, out, _ = command_line(f"history {name}")
    assert "\n3: sales lost trust\n" in out, "whole, and not a word wide beside six other columns"
    assert "past this program" not in out


def test_a_refusal_changes_nothing_is_kept_and_exits_with_3(
    name: str, crm: Path, first: TrainedRun, command_line: Callable
):
    strict = ["gate.min_wins=10", "gate.level_within=1.001", "gate.rules_margin=0.5"]
    code, out, _ = command_line(f"{command(crm, gate=strict)} --challenger {first.folder}")
    assert (code, champion_of(name)) == (3, None)
    assert "Not shown, 1 of 5 conditions: the level is right." in out
    code, out, err = command_line(
        f"{command(crm, gate=strict)} --challenger {first.folder} --quiet"
    )
    assert (code, out, err) == (3, "", "Not shown, 1 of 5 conditions: the level is right.\n")
    client, run_id = MlflowClient(), first.logged.run_id
    assert client.get_run(run_id).data.tags["gate.decision"] == "refuse"
    version = client.get_model_version(name, str(first.logged.version))
    assert version.tags["gate.decision"] == "refuse"
    assert float(version.tags["gate.expected_to_observed"]) > 0
    kept = client.list_artifacts(run_id, "gate")[-1].path
    decision = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/{kept}/decision.json"))
    assert (decision["decision"], decision["forced"]) == ("refuse", False)
    assert decision["judged"]["challenger"]["evaluated_model_id"] == evaluated(first).model_id
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/{kept}/decision.md")
    assert "| the level is right | **not shown** |" in text


def test_too_few_deals_exit_with_3_and_a_date(
    name: str, crm: Path, first: TrainedRun, command_line: Callable
):
    code, out, _ = command_line(
        f"{command(crm, gate=['gate.min_wins=200'])} --challenger {first.folder}"
    )
    assert code == 3
    assert "Not enough evidence until about 202" in out
    assert champions.attempts(name) == []  # no figure was seen


def test_a_dry_run_changes_nothing_but_is_an_attempt(
    name: str, config: Config, first: TrainedRun, second: TrainedRun
):
    for _ in range(2):
        tried = promotion.promote(config, str(first.folder), dry_run=True)
        assert (tried.promoted, tried.decision["decision"]) == (False, "promote")
        assert tried.decision["attempts"] == 1  # the same model again is no other attempt
    assert (champion_of(name), champions.history(name)) == (None, [])
    assert promotion.promote(config, dry_run=True).decision["attempts"] == 2
    champions.record_attempt(name, Attempt("of another time", 0, 1))
    assert promotion.promote(config, dry_run=True).decision["attempts"] == 2


def test_by_force_with_a_reason_and_never_without(
    name: str, crm: Path, first: TrainedRun, command_line: Callable
):
    line = f"{command(crm, gate=['gate.min_wins=200'])} --challenger {first.folder} --force"
    code, _, err = command_line(line)
    assert (code, "--force needs --reason" in err) == (2, True)
    assert command_line(f"{line} --reason ' '")[0] == 2
    assert command_line(f"{line} --dry-run --reason r")[0] == 2
    assert champion_of(name) is None
    code, _, _ = command_line(f"{line} --reason 'the old one is broken'")
    assert (code, champion_of(name)) == (0, first.logged.version)
    (noted,) = champions.history(name)
    assert (noted.action, noted.reason) == ("forced", "the old one is broken")
    assert noted.sentence.startswith("Not enough evidence")


def test_what_nothing_can_judge_goes_by_force_alone(
    name: str, config: Config, first: TrainedRun, second: TrainedRun
):
    champions.switch(numbered(name, first.logged.version), None, change(first.logged.version, None))
    broken = config.model_copy(
        update={"engine": config.engine.model_copy(update={"kind": "spark"})}
    )
    with pytest.raises(ConfigError, match=r"engine\.kind is spark"):
        promotion.promote(broken)
    done = promotion.promote(broken, force=True, reason="the champion's data are gone")
    assert done.decision["decision"] == "not judged"
    assert done.change.sentence.startswith("It could not be judged: promote works on this machine")
    assert champion_of(name) == second.logged.version


def test_names_that_are_not_there_say_what_to_do(name: str, config: Config, tmp_path: Path):
    for source, says in (
        (f"models:/{name}@nobody", "no version of 'lead-propensity-gated' is called 'nobody'"),
        ("models:/another/1", "is no version of 'lead-propensity-gated'"),
        (str(tmp_path), "Give the folder of a trained model"),
        (f"models:/{name}/99", "refused"),
    ):
        with pytest.raises(LeadPropensityError, match=says):
            promotion.promote(config, source)
    with pytest.raises(ModelError, match="has no champion, so there is nothing to go back from"):
        promotion.rollback(name, "no reason")
    with pytest.raises(ModelError, match="no model 'unknown' is registered"):
        promotion.rollback("unknown", "no reason")


# The alias moves once


def test_the_way_back_leads_along_the_promotions_not_the_rollbacks():
    steps = [change(1, None), change(2, 1), change(3, 2), change(2, 3, champions.ROLLED_BACK)]
    assert champions.before(steps, 2) == 1
    assert champions.before(steps, 1) is None
    assert champions.before(steps, 3) == 2
    assert champions.before([*steps, change(1, 2)], 1) == 2
    assert champions.before([], 4) is None


def test_who_judged_against_another_champion_is_refused(
    name: str, first: TrainedRun, second: TrainedRun
):
    one, two = (numbered(name, each.logged.version) for each in (first, second))
    champions.switch(one, None, change(one.number, None))
    with pytest.raises(
        ModelError, match=r"is version \d+ now; when the decision was made there was none"
    ):
        champions.switch(two, None, change(two.number, None))
    assert champion_of(name) == one.number
    assert len(champions.history(name)) == 1


def test_while_somebody_else_is_at_it_nothing_changes(name: str, first: TrainedRun):
    version = numbered(name, first.logged.version)
    with connected():
        stamp = champions._stamp()
        MlflowClient().set_registered_model_tag(name, champions.CLAIM + stamp, "now")
    with pytest.raises(ModelError, match="somebody else is just changing the champion"):
        champions.switch(version, None, change(version.number, None))
    assert (champion_of(name), champions.history(name)) == (None, [])


def test_a_claim_of_a_process_that_died_is_removed(name: str, first: TrainedRun):
    version = numbered(name, first.logged.version)
    dead = f"{champions.CLAIM}20200101T000000_000000_abcdef"
    with connected():
        MlflowClient().set_registered_model_tag(name, dead, "then")
    champions.switch(version, None, change(version.number, None))
    assert champion_of(name) == version.number
    tags = MlflowClient().get_registered_model(name).tags
    assert [key for key in tags if key.startswith(champions.CLAIM)] == []


RACE = """
import multiprocessing, sys
from lead_propensity.errors import ModelError
from lead_propensity.tracking import champions, registry

def race(name, number, start):
    version = registry.version_of(f"models:/{name}/{number}", name)
    start.wait()
    try:
        change = champions.Change("now", champions.PROMOTED, None, number, "id", "a race")
        champions.switch(version, None, change)
        print("moved", number, flush=True)
    except ModelError as error:
        print("refused", " ".join(str(error).split()), flush=True)

name, *numbers = sys.argv[1:]
forked = multiprocessing.get_context("fork")
start = forked.Barrier(len(numbers), timeout=120)
racers = [forked.Process(target=race, args=(name, int(one), start)) for one in numbers]
for racer in racers:
    racer.start()
for racer in racers:
    racer.join()
sys.exit(any(racer.exitcode for racer in racers))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_of_four_processes_at_once_at_most_one_moves_the_alias(
    name: str, first: TrainedRun, second: TrainedRun
):
    """The history holds what happened, and the alias is its last entry."""
    numbers = [str(one.logged.version) for one in (first, second, first, second)]
    command = [sys.executable, "-c", RACE, name, *numbers]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    moved = [int(line.split()[1]) for line in told if line.startswith("moved")]
    assert [line for line in told if not line.startswith(("moved", "refused"))] == []
    assert len(told) == len(numbers)
    assert len(moved) <= 1
    assert [one.after for one in champions.history(name)] == moved
    assert champion_of(name) == (moved[0] if moved else None)


# Rows as exported


def test_rows_as_exported_are_judged_on_the_same_export_only(tmp_path: Path):
    random = np.random.default_rng(1)
    visits = random.poisson(3, 2_000)
    rows = pd.DataFrame({"lead_id": [f"L{k}" for k in range(2_000)], "visits": visits})
    rows["outcome"] = np.where(random.random(2_000) < 1 / (1 + np.exp(4 - visits)), "yes", "no")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    source = {"path": str(tmp_path / "rows.csv"), "outcome": "outcome", "won": "yes"}
    tree = {
        "name": "exported-gate",
        "data": {"exported": source},
        "features": {"implicit": ["visits"]},
    }
    tree["model"] = {"trials": 1, "backtest_periods": 0, "min_wins_trees": 9999}
    config = Config.model_validate(tree)
    trained = pipeline.train(config, tmp_path / "run")
    done = promotion.promote(config, dry_run=True)
    assert done.decision["evidence"]["snapshots"] == trained.scorecard["headline"]["n"]
    assert done.decision["decision"] == "promote"
    assert done.decision["period"]["until"] == 1999
    rows.iloc[:1900].to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ModelError, match="learned from another export"):
        promotion.promote(config, dry_run=True)
    few = config.model_copy(update={"gate": config.gate.model_copy(update={"min_wins": 5_000})})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert promotion.promote(few).decision["evidence"]["not_before"] is None


# A real server


@pytest.mark.slow
def test_all_of_it_with_a_real_server(
    crm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: Callable
):
    """Trained, refused, promoted, replaced, scored, rolled back: nothing of it on this side but the runs."""
    with server(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        keys = " ".join(f"--set {key}" for key in KEYS)
        name, promote = "lead-propensity-gated", command(crm)
        assert command_line(f"train {crm}/config.yaml --out {tmp_path}/one {keys} -q")[0] == 0
        code, _, err = command_line(
            f"score {crm}/config.yaml --model models:/{name}@champion --out {tmp_path}/s.csv"
        )
        assert (code, "has no champion yet" in err) == (2, True)
        assert command_line(f"{command(crm, gate=['gate.min_wins=200'])} -q")[0] == 3
        assert command_line(promote)[0] == 0
        more = f"{keys} --set features.windows_days=[30]"
        assert command_line(f"train {crm}/config.yaml --out {tmp_path}/two {more} -q")[0] == 0
        assert champion_of(name) == 1
        assert command_line(f"{promote} --challenger {tmp_path}/two")[0] == 0
        assert champion_of(name) == 2
        kept = MlflowClient().get_model_version(name, "2").tags["gate.decision"]
        assert kept == "promote"
        line = f"score {crm}/config.yaml --model models:/{name}@champion --out {tmp_path}/s.csv -q"
        assert command_line(line)[0] == 0
        assert (
            command_line(f"rollback {crm}/config.yaml --reason back")[0] == 2
        )  # another name in the file
        assert command_line(f"rollback {name} --reason back")[0] == 0
        assert champion_of(name) == 1
        told = json.loads(command_line(f"history {name} --json")[1])
        assert [one["after"] for one in told] == [1, 2, 1]

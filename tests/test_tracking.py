"""What a run leaves in MLflow, and how a model comes back from there."""

import json
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

import factory_predictions
from lead_propensity.config import Config
from lead_propensity.errors import ModelError
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.features.catalogue import Catalogue, Feature
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.tracking.connection import artifact_location, connected
from lead_propensity.tracking.registry import fetch
from lead_propensity.tracking.runs import LoggedRun, log_run, signature

DAY = 86_400_000_000
SECRET = "someone@example.org"
CONFIG = Config.model_validate(
    {
        "name": "acme",
        "data": {"leads": {"path": "leads.csv"}, "deals": {"path": "deals.csv"}},
        "snapshots": {"horizon_days": 30},
        "model": {"trials": 1, "min_wins_trees": 10_000},
    }
)


@dataclass(frozen=True)
class Finished:
    """A run folder, its model, and where it went in MLflow."""

    folder: Path
    model: PropensityModel
    logged: LoggedRun


def dataset(seed: int) -> Dataset:
    """Two features, one snapshot a lead: ten weeks to fit and, after a purge, four to calibrate."""
    n = 900
    random = np.random.default_rng(seed)
    visits = random.poisson(3, n).astype(float)
    won = (random.random(n) < 1 / (1 + np.exp(3 - 0.7 * visits))).astype(float)
    as_of = np.sort(random.integers(0, 130, n)) * DAY
    part = np.select([as_of < 70 * DAY, as_of < 100 * DAY], ["fit", "purged"], "calibrate")
    keys = pd.DataFrame(
        {
            "lead_id": [f"lead-{i}" for i in range(n)],
            "group_id": [f"lead-{i}" for i in range(n)],
            "as_of": as_of,
            "order": as_of,
            "label_known_at": as_of + 30 * DAY,
            "population": "training",
            "part": part,
            "age_days": 10.0,
            "won": won,
            "amount": np.where(won == 1, 100.0, np.nan),
        }
    )
    X = pd.DataFrame(
        {
            "visits_30d": np.where(random.random(n) < 0.1, np.nan, visits),
            "industry": np.where(random.random(n) < 0.1, None, random.choice(["a", "b"], n)),
        }
    )
    stock = keys[keys["part"] == "calibrate"].assign(population="stock")
    return Dataset(
        pd.concat([keys, stock], ignore_index=True),
        pd.concat([X, X.loc[stock.index]], ignore_index=True),
        pd.DataFrame(index=range(n + len(stock))),
        catalogue(),
    )


def catalogue() -> Catalogue:
    return Catalogue(
        (
            Feature("visits_30d", "implicit", "number", "last 30 days", "visits", "visit", "up"),
            Feature("industry", "explicit", "category", "as known", "industry", "industry"),
        ),
        {},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("a folder with blanks") / "run-1"
    model = PropensityModel.fit(dataset(seed=3), CONFIG)
    model.save(folder / "model")
    card = scorecard(
        factory_predictions.predictions(), factory_predictions.context(), seed=1, resamples=20
    )
    (folder / "private").mkdir()
    (folder / "private" / "quarantine.csv").write_text(SECRET)
    (folder / "test_predictions.parquet").write_text(SECRET)
    (folder / "report.html").write_text("<p>report</p>")
    (folder / "model_card.md").write_text("# Model card")
    (folder / "scorecard.json").write_text(json.dumps(card))
    logged = log_run(folder, CONFIG, card, model, {"gain.svg": "<svg/>"}, data_digest="d" * 64)
    return Finished(folder, model, logged)


def test_the_run_holds_parameters_figures_and_the_digest(finished: Finished):
    run = MlflowClient().get_run(finished.logged.run_id)
    figures = json.loads((finished.folder / "scorecard.json").read_text())["figures"]
    assert run.info.status == "FINISHED"
    assert run.data.params["snapshots.horizon_days"] == "30"
    assert run.data.metrics == pytest.approx(figures)
    assert run.data.tags["model_id"] == finished.model.model_id
    assert [one.dataset.digest for one in run.inputs.dataset_inputs] == ["d" * 36]


def test_the_run_holds_the_report_and_nothing_about_single_leads(finished: Finished):
    client = MlflowClient()
    run_id = finished.logged.run_id
    paths = {one.path for one in client.list_artifacts(run_id)}
    assert paths == {"pictures", "model_card.md", "report.html", "scorecard.json", "trials.csv"}
    assert [one.path for one in client.list_artifacts(run_id, "pictures")] == ["pictures/gain.svg"]
    everything = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")).parents[1]
    files = [file for file in everything.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert not [file for file in files if file.suffix in {".pkl", ".pickle", ".joblib"}]


def test_the_model_is_registered_as_challenger(finished: Finished):
    version = MlflowClient().get_model_version_by_alias("lead-propensity-acme", "challenger")
    assert int(version.version) == finished.logged.version
    assert finished.logged.model_uri == f"models:/lead-propensity-acme/{version.version}"


@pytest.mark.parametrize("form", ["models:/lead-propensity-acme@challenger", "version", "run"])
def test_a_fetched_model_is_the_saved_one(finished: Finished, form: str, tmp_path: Path):
    logged = finished.logged
    uri = {"version": logged.model_uri, "run": f"runs:/{logged.run_id}/model"}.get(form, form)
    folder = fetch(uri, tmp_path)
    saved = {file.name: file.read_bytes() for file in (finished.folder / "model").iterdir()}
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == saved
    assert PropensityModel.load(folder).model_id == finished.model.model_id


@pytest.mark.parametrize(
    "uri",
    [
        "models:/lead-propensity-acme@nobody",
        "models:/lead-propensity-acme/99",
        "models:/lead-propensity-none/1",
        "runs:/0123456789abcdef0123456789abcdef/model",
    ],
)
def test_a_missing_model_says_what_to_check(finished: Finished, uri: str, tmp_path: Path):
    with pytest.raises(ModelError, match=r"logged by `lead-propensity train` is needed.*Check"):
        fetch(uri, tmp_path)


@pytest.mark.parametrize("uri", ["acme", "models:/acme", "models:/m-1", "s3://bucket/model"])
def test_an_address_of_another_form_is_refused(uri: str, tmp_path: Path):
    with pytest.raises(ModelError, match="names no model"):
        fetch(uri, tmp_path)


def test_the_pyfunc_gives_the_untracked_probability(finished: Finished):
    served = mlflow.pyfunc.load_model(finished.logged.model_uri)
    data = dataset(seed=4)
    mine = finished.model.predict(data.X, data.catalogue.fingerprint).probability_untracked
    theirs = served.predict(data.X)["probability_untracked"]
    assert data.X.isna().to_numpy().any()
    np.testing.assert_array_equal(theirs, mine)


def test_the_signature_lets_whole_numbers_be_missing():
    columns = signature(catalogue()).inputs.inputs
    assert [(one.name, one.type.name, one.required) for one in columns] == [
        ("visits_30d", "double", True),
        ("industry", "string", True),
    ]


def test_a_second_run_is_a_second_version(finished: Finished):
    card = json.loads((finished.folder / "scorecard.json").read_text())
    again = log_run(finished.folder, CONFIG, card, finished.model, {}, data_digest="d")
    assert again.version == finished.logged.version + 1
    now = MlflowClient().get_model_version_by_alias("lead-propensity-acme", "challenger")
    assert int(now.version) == again.version


def test_without_an_address_mlflow_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    with connected() as uri:
        assert uri == f"sqlite:///{(tmp_path / 'mlflow.db').as_posix()}"
        assert artifact_location(uri) == (tmp_path / "mlartifacts").as_uri()
        MlflowClient().create_experiment("quiet", artifact_location(uri))
    assert (tmp_path / "mlflow.db").is_file()
    assert capfd.readouterr() == ("", "")


def test_a_deleted_experiment_says_how_to_restore_it(finished: Finished):
    client = MlflowClient()
    experiment = client.get_run(finished.logged.run_id).info.experiment_id
    client.delete_experiment(experiment)
    try:
        with pytest.raises(ModelError, match=f"mlflow experiments restore -x {experiment}"):
            log_run(finished.folder, CONFIG, {"figures": {}}, finished.model, {}, data_digest="d")
    finally:
        client.restore_experiment(experiment)

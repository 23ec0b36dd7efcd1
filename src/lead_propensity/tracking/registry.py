"""From a name in MLflow to a version, to its portable model folder and to what its run left."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from lead_propensity.errors import ModelError
from lead_propensity.tracking.connection import connected, shown

CHALLENGER, CHAMPION = "challenger", "champion"
EVALUATED = "evaluated"
"""The run's folder with the model that the figures speak of, where another one was deployed."""
# One name and one version or alias, or a run and the name its model was logged under.
MODEL_URI = re.compile(r"models:/[^/@]+(@[^/@]+|/[0-9]+)|runs:/[^/]+/[^/]+")
REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>[0-9]+))")


@dataclass(frozen=True)
class Version:
    """A registered model."""

    name: str
    number: int
    run_id: str
    model_id: str
    """Of the deployed model."""

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"


def fetch(model_uri: str, folder: Path) -> Path:
    """The portable folder of a model that `train` logged, downloaded below `folder`.

    `model_uri` is `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/RUN_ID/model`. Only that
    folder is downloaded and nothing in it is executed; load it with `PropensityModel.load`. Raises
    ModelError for an address of another form, and where there is no such model.
    """
    if not MODEL_URI.fullmatch(model_uri):
        raise ModelError(
            f"{model_uri!r} names no model. "
            "Give models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN_ID/model."
        )
    with store(model_uri) as tracking_uri:
        _require_champion(model_uri)
        return _downloaded(f"{model_uri}/artifacts/model", folder, model_uri, tracking_uri)


def fetch_evaluated(version: Version, card: dict[str, Any], folder: Path) -> Path:
    """The folder of the model that the version's figures speak of, downloaded below `folder`.

    It has learned nothing from the test part; the deployed one may have. `card` is its scorecard. Raises
    ModelError where the run left none.
    """
    if card["evaluated_model_id"] == card["model_id"]:
        return fetch(version.uri, folder)
    with store(version.uri) as tracking_uri:
        listed = mlflow.MlflowClient().list_artifacts(version.run_id, EVALUATED)
        if not listed:
            raise ModelError(
                f"{version.uri} was trained by an earlier version, which did not keep the model that its figures "
                "speak of: nothing can judge it. Train it again, or decide yourself: --force with --reason."
            )
        place = f"runs:/{version.run_id}/{EVALUATED}"
        return _downloaded(place, folder, version.uri, tracking_uri)


def scorecard_of(version: Version) -> dict[str, Any]:
    """The scorecard that the version's run logged. Raises ModelError where there is none."""
    with store(version.uri) as tracking_uri:
        try:
            text = mlflow.artifacts.load_text(f"runs:/{version.run_id}/scorecard.json")
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"the run of {version.uri} in MLflow at {shown(tracking_uri)} holds no scorecard.json: {error}. "
                "A model logged by `lead-propensity train` is needed."
            ) from error
    card: dict[str, Any] = json.loads(text)
    return card


def data_digest_of(version: Version) -> str | None:
    """The digest of the tables that the version was trained on."""
    with store(version.uri):
        tags: dict[str, str] = mlflow.MlflowClient().get_run(version.run_id).data.tags
    return tags.get("data_digest")


def aliased(name: str, alias: str) -> Version | None:
    """The version that an alias of the registered model points to, or None.

    Raises ModelError where no model of that name is registered.
    """
    with store(f"models:/{name}") as tracking_uri:
        number = registered(name, tracking_uri).aliases.get(alias)
        return None if number is None else _version(name, number)


def version_of(uri: str, name: str) -> Version:
    """The version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` points to.

    Raises ModelError for an address of another form, of another name, and where there is none.
    """
    named = REGISTERED.fullmatch(uri)
    if named is None or named["name"] != name:
        raise ModelError(
            f"{uri!r} is no version of {name!r}, the name in the config. Give a run folder, "
            f"models:/{name}@{CHALLENGER} or models:/{name}/VERSION."
        )
    if named["alias"] is None:
        with store(uri):
            return _version(name, named["number"])
    found = aliased(name, named["alias"])
    if found is None:
        raise ModelError(
            f"{uri}: no version of {name!r} is called {named['alias']!r}. Train one: `lead-propensity train`."
        )
    return found


def version_with(model_id: str, name: str) -> Version:
    """The latest registered version with this model id. Raises ModelError where there is none."""
    with store(f"models:/{name}") as tracking_uri:
        found = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
        for one in sorted(found, key=lambda one: -int(one.version)):
            version = _read(one)
            if version.model_id == model_id:
                return version
    raise ModelError(
        f"no version of {name!r} in MLflow at {shown(tracking_uri)} is the model {model_id}. Train with the same "
        "MLFLOW_TRACKING_URI, or name the version: models:/NAME/VERSION."
    )


def registered(name: str, tracking_uri: str) -> RegisteredModel:
    """The registered model, with its aliases and tags. Raises ModelError where there is none."""
    try:
        return mlflow.MlflowClient().get_registered_model(name)
    except MlflowException as error:
        raise ModelError(
            f"no model {name!r} is registered in MLflow at {shown(tracking_uri)}: {error.message.rstrip('.')}. "
            "Train one first (`lead-propensity train CONFIG`), or check the name and MLFLOW_TRACKING_URI."
        ) from error


@contextmanager
def store(wanted: str) -> Iterator[str]:
    """MLflow, which must be there already; yields its address. `wanted` is what is looked for."""
    if "MLFLOW_TRACKING_URI" not in os.environ and not Path("mlflow.db").exists():
        raise ModelError(
            f"{wanted} is not to be had: there is no mlflow.db in {Path.cwd()}. Go to the folder that "
            "the model was trained in, or set MLFLOW_TRACKING_URI."
        )
    with connected() as tracking_uri:
        yield tracking_uri


def _downloaded(artifact_uri: str, folder: Path, model: str, tracking_uri: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        downloaded = mlflow.artifacts.download_artifacts(
            artifact_uri=artifact_uri, dst_path=str(folder)
        )
    except (MlflowException, OSError) as error:
        raise ModelError(
            f"{model} is not to be had from MLflow at {shown(tracking_uri)}: "
            f"{str(error).rstrip('.')}. A model logged by `lead-propensity train` is needed. "
            "Check the name and the alias, and MLFLOW_TRACKING_URI."
        ) from error
    return Path(downloaded)


def _require_champion(model_uri: str) -> None:
    """Where a registered model has no champion yet, say how it gets one."""
    named = REGISTERED.fullmatch(model_uri)
    if named is None or named["alias"] != CHAMPION:
        return
    try:
        aliases = mlflow.MlflowClient().get_registered_model(named["name"]).aliases
    except MlflowException:
        return  # no such model: the download says so
    if CHAMPION not in aliases:
        raise ModelError(
            f"{named['name']} has no champion yet: `train` registers challengers. Promote one first: "
            "`lead-propensity promote CONFIG`."
        )


def _version(name: str, number: str) -> Version:
    return _read(mlflow.MlflowClient().get_model_version(name, number))


def _read(found: ModelVersion) -> Version:
    run_id = str(found.run_id)
    tags = mlflow.MlflowClient().get_run(run_id).data.tags
    return Version(str(found.name), int(found.version), run_id, tags.get("model_id", ""))

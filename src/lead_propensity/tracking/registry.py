"""From a name in MLflow to the portable model folder."""

import os
import re
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from lead_propensity.errors import ModelError
from lead_propensity.tracking.connection import connected, shown

# One name and one version or alias, or a run and the name its model was logged under.
MODEL_URI = re.compile(r"models:/[^/@]+(@[^/@]+|/[0-9]+)|runs:/[^/]+/[^/]+")


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
    if "MLFLOW_TRACKING_URI" not in os.environ and not Path("mlflow.db").exists():
        raise ModelError(
            f"{model_uri} is not to be had: there is no mlflow.db in {Path.cwd()}. Go to the folder that "
            "the model was trained in, or set MLFLOW_TRACKING_URI."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with connected() as tracking_uri:
        try:
            downloaded = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{model_uri}/artifacts/model", dst_path=str(folder)
            )
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"{model_uri} is not to be had from MLflow at {shown(tracking_uri)}: "
                f"{str(error).rstrip('.')}. A model logged by `lead-propensity train` is needed. "
                "Check the name and the alias, and MLFLOW_TRACKING_URI."
            ) from error
    return Path(downloaded)

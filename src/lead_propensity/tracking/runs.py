"""One training run in MLflow: its parameters, figures, pictures and the registered model."""

import importlib.metadata
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from lead_propensity.config import Config
from lead_propensity.errors import ModelError
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.tracking.connection import artifact_location, connected, shown
from lead_propensity.tracking.registry import CHALLENGER, EVALUATED

PYFUNC = Path(__file__).with_name("pyfunc.py")
REQUIREMENTS = ("lead-propensity", "lightgbm", "mlflow", "numpy", "pandas", "scikit-learn")
"""What the pyfunc runs on, pinned at the versions it was made with."""

PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
DIGEST_LENGTH = 36  # MLflow's limit


@dataclass(frozen=True)
class LoggedRun:
    """Where a run went in MLflow."""

    run_id: str
    model_uri: str
    """`models:/NAME/VERSION`, as `score` and `fetch` take it."""
    version: int
    tracking_uri: str
    """For people: without a name and password."""


def log_run(
    run_folder: Path,
    config: Config,
    scorecard: dict[str, Any],
    model: PropensityModel,
    pictures: Mapping[str, str],
    data_digest: str,
) -> LoggedRun:
    """Log a finished run folder, and register its model with the alias `challenger`.

    The scorecard's `figures` become metrics; `pictures` are SVG texts by file name; `data_digest`
    is a digest of the input tables. From the folder come `model/`, `evaluated/` (where another model was
    judged than deployed), `report.html`, `model_card.md` and `scorecard.json`; rows about single leads
    (`private/`, `test_predictions.parquet`) stay where they are. Raises ModelError where MLflow refuses.
    """
    with (
        connected() as uri,
        mlflow.start_run(
            experiment_id=experiment(config.name, uri),
            run_name=run_folder.name,
            tags={"model_id": model.model_id, "data_digest": data_digest},
        ) as run,
    ):
        mlflow.log_metrics(scorecard["figures"])
        _log_params(config)
        _log_trials(run.info.run_id, model.trials)
        _log_data(config.name, data_digest)
        _log_files(run_folder, model, pictures)
        version = _log_model(run_folder / "model", config.registered_name, model.catalogue)
    model_uri = f"models:/{config.registered_name}/{version}"
    return LoggedRun(run.info.run_id, model_uri, version, shown(uri))


def flatten(tree: object, path: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a config that are set, by dotted key.

    >>> dict(flatten({"model": {"trials": 30, "seed": None}, "days": [7, 30]}))
    {'model.trials': '30', 'days': '[7, 30]'}
    """
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from flatten(value, f"{path}.{key}" if path else str(key))
    elif tree is not None:
        yield path, str(tree)


def signature(catalogue: Catalogue) -> ModelSignature:
    """Derived from the catalogue, so no lead's values are in it.

    Whole numbers are doubles too: a later batch may lack one. Every column must be there; values
    may be missing.
    """
    kinds = {"number": DataType.double, "category": DataType.string}
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(kinds[one.column_type], one.name) for one in catalogue.features
    ]
    return ModelSignature(
        inputs=Schema(columns),
        outputs=Schema([ColSpec(DataType.double, "probability_untracked")]),
    )


def experiment(name: str, uri: str) -> str:
    """The id of the dataset's experiment; it is made where there is none. Raises ModelError where it is deleted."""
    client = mlflow.MlflowClient()
    known = client.get_experiment_by_name(name)
    if known is None:
        return str(client.create_experiment(name, artifact_location=artifact_location(uri)))
    if known.lifecycle_stage != "active":
        raise ModelError(
            f"The MLflow experiment {name!r} at {shown(uri)} is deleted; an active one is needed. "
            f"Restore it (`mlflow experiments restore -x {known.experiment_id}`), "
            "or change `name` in the config."
        )
    return str(known.experiment_id)


def _log_params(config: Config) -> None:
    params = [(_allowed(name), text) for name, text in flatten(config.model_dump(mode="json"))]
    for start in range(0, len(params), PARAMS_PER_CALL):
        mlflow.log_params(dict(params[start : start + PARAMS_PER_CALL]))


def _log_trials(run_id: str, trials: pd.DataFrame) -> None:
    """Each finished trial's loss and the best so far, by trial number; the settings of the best."""
    if trials.empty:
        return
    finished = trials[~trials["pruned"].astype(bool)]
    columns = {"tuning_loss": finished["loss"], "tuning_best_loss": finished["loss"].cummin()}
    now = int(time.time() * 1000)
    metrics = [
        Metric(name, float(loss), now, int(step))
        for name, losses in columns.items()
        for step, loss in zip(finished["trial"], losses, strict=True)
    ]
    for start in range(0, len(metrics), METRICS_PER_CALL):
        batch = metrics[start : start + METRICS_PER_CALL]
        mlflow.MlflowClient().log_batch(run_id, metrics=batch)
    best = finished.sort_values("loss", kind="stable").iloc[0].drop(["loss", "folds", "pruned"])
    mlflow.log_params({f"tuning_best.{name}": value for name, value in best.items()})
    mlflow.log_metric("tuning_pruned", len(trials) - len(finished))


def _log_data(name: str, digest: str) -> None:
    source = CodeDatasetSource(tags={"data_digest": digest})
    tables = MetaDataset(source, name=name, digest=digest[:DIGEST_LENGTH])  # type: ignore[abstract]
    mlflow.log_input(tables, "training")


def _log_files(run_folder: Path, model: PropensityModel, pictures: Mapping[str, str]) -> None:
    for name in ("report.html", "model_card.md", "scorecard.json"):
        mlflow.log_artifact(str(run_folder / name))
    for name, svg in pictures.items():
        mlflow.log_text(svg, f"pictures/{name}")
    mlflow.log_text(model.trials.to_csv(index=False), "trials.csv")
    if (run_folder / EVALUATED).is_dir():
        mlflow.log_artifacts(str(run_folder / EVALUATED), EVALUATED)


def _log_model(folder: Path, name: str, catalogue: Catalogue) -> int:
    """The version that the registry gave to the model."""
    info = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(PYFUNC),
        artifacts={"model": str(folder)},
        signature=signature(catalogue),
        pip_requirements=[f"{one}=={importlib.metadata.version(one)}" for one in REQUIREMENTS],
        registered_model_name=name,
    )
    version = int(info.registered_model_version)
    mlflow.MlflowClient().set_registered_model_alias(name, CHALLENGER, str(version))
    return version


def _allowed(name: str) -> str:
    """MLflow refuses other characters in names, such as those of a mapped column."""
    return re.sub(r"[^\w\-./ ]", "_", name)

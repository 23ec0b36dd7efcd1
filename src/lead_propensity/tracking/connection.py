"""Which MLflow is meant, and how its noise and its errors reach a user."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.autologging_utils.logging_and_warnings import (
    MlflowEventsAndWarningsBehaviorGlobally,
)

from lead_propensity.errors import ModelError

QUIET = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Names of variables that hold keys are nobody's business, and say nothing about the model.
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
}
# What went wrong comes as an exception; the rest of what MLflow says is for its developers.
SILENT = {"disable_event_logs": True, "disable_warnings": True, "reroute_warnings": False}


@contextmanager
def connected() -> Iterator[str]:
    """MLflow at `MLFLOW_TRACKING_URI`, else `mlflow.db` in the current folder; yields the address.

    MLflow's own messages are silent inside; settings are as before afterwards. Raises ModelError
    where MLflow refuses or cannot be reached.
    """
    before = os.environ.get("MLFLOW_TRACKING_URI")
    # Absolute: MLflow keeps one connection per address, also where the current folder changes.
    uri = before or f"sqlite:///{Path('mlflow.db').absolute().as_posix()}"
    silence = MlflowEventsAndWarningsBehaviorGlobally(**SILENT)  # type: ignore[no-untyped-call]
    with _variables(QUIET), silence:
        mlflow.set_tracking_uri(uri)
        try:
            yield uri
        except MlflowException as error:
            raise ModelError(
                f"MLflow at {shown(uri)} refused: {error.message.rstrip('.')}. "
                "Check MLFLOW_TRACKING_URI and the names in the config."
            ) from error
        finally:
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None forgets it


def artifact_location(uri: str) -> str | None:
    """`mlartifacts` beside an SQLite database; None where a server decides."""
    if not uri.startswith("sqlite:"):
        return None
    database = uri.partition("///")[2].partition("?")[0]
    return (Path(database).absolute().parent / "mlartifacts").as_uri()


def shown(uri: str) -> str:
    """An address without the name and password it may hold.

    >>> shown("postgresql://ann:secret@db/mlflow")
    'postgresql://***@db/mlflow'
    """
    return re.sub(r"//[^/]*@", "//***@", uri)


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

"""What `monitor` found, as a run in MLflow: flat figures over time, the page and its JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow

from lead_propensity.tracking.connection import connected
from lead_propensity.tracking.runs import experiment

_FIGURES = ("expected_to_observed", "log_loss", "brier", "auc", "rules_auc", "auc_minus_rules")


def log_watch(name: str, found: Mapping[str, Any], page: Path) -> str:
    """Log to the experiment `name`; gives the run's id. No row about a lead is in it.

    Raises ModelError where MLflow refuses.
    """
    tags = {"kind": "monitor", "model_id": found["model_id"], "advice": found["advice"]["advice"]}
    with (
        connected() as uri,
        mlflow.start_run(
            experiment_id=experiment(name, uri),
            run_name=f"monitor {found['as_of'][:10]}",
            tags=tags,
        ) as run,
    ):
        mlflow.log_metrics(figures(found))
        for file in (page, page.with_suffix(".json")):
            mlflow.log_artifact(str(file))
        return str(run.info.run_id)


def figures(found: Mapping[str, Any]) -> dict[str, float]:
    """Names and numbers worth comparing from run to run; what is not known is left out."""
    pooled, drift = found["pooled"], found["drift"]
    flat: dict[str, float | None] = {
        "monitor.leads": pooled["leads"],
        "monitor.wins": pooled["wins"],
        "monitor.moments_judged": sum(one["state"] == "judged" for one in found["moments"]),
        "monitor.moments_open": sum(one["state"] == "open" for one in found["moments"]),
        "monitor.hot_observed": pooled["hot"].get("value"),
    }
    for one in _FIGURES:
        for end in ("value", "lower", "upper"):
            suffix = "" if end == "value" else f"_{end}"
            flat[f"monitor.{one}{suffix}"] = (pooled[one] or {}).get(end)
    if drift is not None:
        flat |= {
            "monitor.features_drifted": drift["called"],
            "monitor.drifted_share": drift["called_share"],
        }
        flat |= {f"monitor.psi_{name}": row["psi"] for name, row in drift["scores"].items()}
    return {key: float(value) for key, value in flat.items() if value is not None}

"""From past scores, their records and today's data to what happened, and what to do."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.data.database import opened
from lead_propensity.data.moments import iso, microseconds
from lead_propensity.errors import ConfigError
from lead_propensity.evaluation import advice, matured, runs
from lead_propensity.features.matrix import require_shape
from lead_propensity.features.outcomes import outcomes
from lead_propensity.features.windows import DAY_US, Horizon
from lead_propensity.files import write_text
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.pipeline.checking import checked
from lead_propensity.pipeline.scoring import load_model
from lead_propensity.progress import Progress, silent
from lead_propensity.reporting import monitoring as page
from lead_propensity.serving import reading, records
from lead_propensity.serving.reading import PastScores
from lead_propensity.tracking.watching import log_watch


@dataclass(frozen=True)
class Monitored:
    """What `monitor` found, and where it is told."""

    found: dict[str, Any]
    """Plain JSON: `moments`, `pooled`, `recent`, `drift`, `advice`, `warnings`."""
    page: Path
    run_id: str | None
    """In MLflow; None: not logged."""

    @property
    def advice(self) -> str:
        """`ok`, `recalibrate` or `retrain`."""
        return str(self.found["advice"]["advice"])


def monitor(
    config: Config,
    scores: str | Path,
    model_source: str | Path | None = None,
    as_of: datetime | None = None,
    out: Path | str = "monitor.html",
    log: bool = True,
    progress: Progress = silent,
) -> Monitored:
    """Look at past scores: volume, freshness, drift, and what happened to the leads whose outcome is final.

    `scores` is the `--out` of `score`; `model_source` (default: the champion) tells how long labels wait, and is
    the model that the advice speaks of. `as_of`: what was not known then is not looked at (default: the
    export). Leaves `out` and beside it a JSON file. Raises ConfigError, DataError, ModelError.
    """
    if config.data.exported is not None:
        raise ConfigError(
            "monitor needs moments of scoring, and rows as exported carry none. Train a new model on the new export "
            "and compare: `lead-propensity promote`."
        )
    place = Path(out)
    _require_page(place, scores)
    model = load_model(model_source or f"models:/{config.registered_name}@champion")
    require_shape(model.catalogue.definition, as_exported=False)
    with opened(config.engine) as (con, _):
        exported_at = checked(con, _ending_known(config, as_of), progress).exported_at
        now = exported_at if as_of is None else microseconds(as_of, config.data.timezone)
        progress("judging", 0, 1)
        past = reading.past_scores(str(scores), config, now)
        rows = _labelled(con, past, model, min(now, exported_at))
    told = records.read(records.records_folder(scores, config))
    found = {
        "name": config.name,
        "scores": str(scores),
        "as_of": iso(now),
        "data_until": iso(exported_at),
        "model_id": model.model_id,
        "one_in": past.one_in,
        **_found(config, model, past, rows, told, now),
    }
    progress("judging", 1, 1)
    write_text(page.render(found), place)
    write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", place.with_suffix(".json"))
    run_id = log_watch(config.name, found, place) if log else None
    return Monitored(found, place, run_id)


def _ending_known(config: Config, as_of: datetime | None) -> Config:
    """Without events and attributes, which tell no outcome, unless they may tell when the data end.

    As of a day that was given, the leads and deals themselves tell it early enough: nothing is judged too soon.
    """
    if config.data.exported_at is None and as_of is None:
        return config
    outcomes_only = config.data.model_copy(update={"attributes": None, "events": None})
    return config.model_copy(update={"data": outcomes_only})


def _require_page(place: Path, scores: str | Path) -> None:
    """Raises ConfigError for a name that the JSON file beside the page, or the scores themselves, could have."""
    if place.suffix not in (".html", ".htm"):
        raise ConfigError(
            f"--out {place} is where the page goes; give a name that ends in .html. A JSON file of the same name comes "
            f"beside it. The scores are named by --scores ({scores})."
        )


def _labelled(con: Any, past: PastScores, model: PropensityModel, known_until: int) -> pd.DataFrame:
    """The rows with what `outcomes` says, `matures_at`, and `too_old` (of `model`), by each row's own horizon."""
    assert model.horizon_days is not None, "a history has a horizon"
    waits = model.level.label_delay - model.horizon_days * DAY_US
    parts = []
    for _, rows in past.frame.groupby("horizon_days"):
        horizon = Horizon(int(rows["horizon_days"].iloc[0]), max(0, waits))
        known = outcomes(con, rows, horizon, known_until).set_index(rows.index)
        parts.append(rows.join(known).assign(matures_at=rows["as_of"] + horizon.label_delay))
    if not parts:
        nothing = {"group_id": None, "won": np.nan, "left_out": None, "matures_at": 0}
        return past.frame.assign(**nothing, too_old=False)
    rows = pd.concat(parts).sort_index()
    too_old = model.bands.too_old(rows["age_days"].to_numpy(np.float64))
    return rows.assign(too_old=too_old & (rows["model_id"] == model.model_id).to_numpy())


def _found(
    config: Config,
    model: PropensityModel,
    past: PastScores,
    rows: pd.DataFrame,
    told: list[dict[str, Any]],
    now: int,
) -> dict[str, Any]:
    told = [one for one in told if _at(one) <= now]
    moments = runs.moments(past.counts, rows, told, past.one_in)
    mine = rows[
        rows["won"].notna() & rows["left_out"].isna() & (rows["model_id"] == model.model_id)
    ]
    error = config.monitor.error / 2  # half for all together, half for the last of them
    pooled = matured.together(mine, model.bands.promised, error)
    recent = matured.lately(mine, model.bands.promised, error, config.gate)
    seen = [pooled] if recent is None else [pooled, recent]
    drifts = [one["drift"] for one in moments if one["drift"] and one["model_id"] == model.model_id]
    lasting = runs.lasting_drift(moments, model.model_id)
    reference = {"auc": model.reference.auc, "auc_error": model.reference.auc_error}
    return {
        "moments": moments,
        "pooled": pooled,
        "recent": recent,
        "drift": drifts[-1] if drifts else None,
        "reference": {**reference, "rows": model.reference.rows, "leads": model.reference.leads},
        "advice": advice.advise(seen, lasting, reference, config.gate, config.monitor),
        "warnings": runs.warnings(moments, told, now),
    }


def _at(record: Mapping[str, Any]) -> int:
    """The moment of a record; of one that never got so far the earliest there is."""
    return (
        0
        if record.get("as_of") is None
        else microseconds(datetime.fromisoformat(record["as_of"]), None)
    )

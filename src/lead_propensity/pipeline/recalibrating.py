"""From a model and what matured since it learned, to the same model with another calibration: the straight line."""

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lead_propensity.config import Config
from lead_propensity.data.database import digest, opened
from lead_propensity.data.moments import words
from lead_propensity.data.tables import Check
from lead_propensity.data.targets import alone_in_new
from lead_propensity.errors import ConfigError, ModelError
from lead_propensity.evaluation import recalibrated as judged
from lead_propensity.evaluation.backtest import day_or_row
from lead_propensity.files import write_text
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.recalibrating import KEPT, Choice, choose, recalibrated
from lead_propensity.pipeline.checking import checked
from lead_propensity.progress import Progress, silent
from lead_propensity.reporting import recalibrated as page
from lead_propensity.serving.matured import Cut, Matured, matured
from lead_propensity.tracking import registry
from lead_propensity.tracking.registry import EVALUATED
from lead_propensity.tracking.runs import LoggedRun, log_run


@dataclass(frozen=True)
class RecalibratedRun:
    """What `recalibrate` leaves: the run folder, its figures and, where something changed, a challenger."""

    folder: Path
    scorecard: dict[str, Any]
    model: PropensityModel | None
    """The deployed one. None: calibration and bands still hold, or the new ones were shown to be worse."""
    logged: LoggedRun | None


@dataclass(frozen=True)
class _Source:
    """The model to recalibrate and the scorecard of its run."""

    model: PropensityModel
    card: dict[str, Any]

    @classmethod
    def of(cls, source: str | Path, name: str) -> "_Source":
        """Raises ModelError where there is no such model, or its run left no scorecard."""
        if str(source).startswith("models:/"):
            found = registry.version_of(str(source), name)
            with tempfile.TemporaryDirectory() as scratch:
                model = PropensityModel.load(registry.fetch(found.uri, Path(scratch)))
            return cls(model, registry.scorecard_of(found))
        folder = Path(source)
        model, card = PropensityModel.load(folder / "model"), folder / "scorecard.json"
        if not card.is_file():
            raise ModelError(
                f"{folder} holds no scorecard.json; a run folder as `train` leaves it is needed. Give that, or "
                f"models:/{name}@champion."
            )
        return cls(model, _card(card))


def _card(file: Path) -> dict[str, Any]:
    """Raises ModelError where it is not what `train` writes."""
    try:
        card = json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read: {error}. Take the run from a backup.") from error
    if not isinstance(card, dict):
        raise ModelError(
            f"{file} is no scorecard: a JSON object is needed. Take the run from a backup."
        )
    return card


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def recalibrate(
    config: Config,
    model_source: str | Path,
    out: Path | str | None = None,
    progress: Progress = silent,
) -> RecalibratedRun:
    """Fit calibrator and bands again on deals that matured after the model's last label; all else stays.

    The newer time is cut in two: on the earlier part it is chosen and fitted, on the later one before and
    after are judged. What is deployed is then fitted on both. `model_source` is a run folder or
    `models:/NAME@ALIAS`; `out` as in `train`. Raises Refused where too few have matured (`gate.min_wins`,
    `gate.min_leads`), ConfigError, DataError, ModelError.
    """
    if config.engine.kind == "spark":
        raise ConfigError(
            "recalibrate works on this machine, engine.kind is spark. Give --set engine.kind=local; with "
            "snapshots.max_leads the leads are sampled as in training."
        )
    started, source = datetime.now(UTC), _Source.of(model_source, config.registered_name)
    folder = Path(out) if out else Path("models") / config.name / f"{started:%Y%m%dT%H%M%S_%fZ}"
    with alone_in_new(folder) as scratch:
        with opened(config.engine) as (con, allowance):
            found = checked(con, config, progress, learning=True)
            data_digest = digest(con)
            seen = matured(con, config, found.exported_at, source.model, progress, allowance)
        done = _done(config, source.model, seen, progress)
        card = _facts(config, source, found, seen.cut, started) | done.to_json()
        _write_run(scratch, done, card)
    if not done.worth_registering:
        return RecalibratedRun(folder, card, None, None)
    progress("logging", 0, 1)
    logged = log_run(folder, config, card, done.deployed, page.svg_files(card), data_digest)
    progress("logging", 1, 1)
    return RecalibratedRun(folder, card, done.deployed, logged)


@dataclass(frozen=True)
class _Done:
    """What was chosen, and how it did in the later part."""

    choice: Choice
    off: list[str]
    """Why the old bands no longer hold in the earlier part, in words."""
    judged: PropensityModel
    """Fitted on the earlier part alone; the old one where nothing changed."""
    deployed: PropensityModel
    base_rate: float
    """The constant that knows only how many were won in the earlier part."""
    compared: dict[str, Any]

    @property
    def changed(self) -> bool:
        return self.choice.kind != KEPT or bool(self.off)

    @property
    def worth_registering(self) -> bool:
        """Not where it was shown to be worse: it would only take the alias from another challenger."""
        return self.changed and self.compared["better"] != "before"

    def to_json(self) -> dict[str, Any]:
        told = page.told(self.choice.to_json(), self.off)
        return {
            "changed": self.changed,
            "registered": self.worth_registering,
            "model_id": self.deployed.model_id,
            "evaluated_model_id": self.judged.model_id,
            "base_rate_calibrate": self.base_rate,
            "choice": self.choice.to_json(),
            "off": self.off,
            "recalibration": self.compared,
            "sentence": f"{told} {judged.sentence(self.compared)}",
            "notes": list(self.deployed.notes),
            "figures": judged.figures(self.compared),
        }


def _done(config: Config, model: PropensityModel, seen: Matured, progress: Progress) -> _Done:
    """Choose and fit on the earlier part, judge on the later one, then fit what is deployed on both."""
    progress("calibrating", 0, 1)
    plan = config.bands.hot_per_week if config.bands.policy == "capacity" else None
    earlier = seen.earlier
    choice = choose(model, earlier)
    off = judged.off(seen.told_earlier, model.bands, plan)
    changed = choice.kind != KEPT or bool(off)
    twin = recalibrated(model, earlier, choice, config.bands) if changed else model
    progress("calibrating", 1, 1)
    progress("evaluating", 0, 1)
    said = {"before": seen.told_later, "after": seen.said_by(twin, config.bands.routes)}
    bands = {"before": model.bands, "after": twin.bands}
    compared = judged.before_after(said, bands, plan, config.model.seed)
    deployed = recalibrated(model, seen.all, choice, config.bands) if changed else model
    progress("evaluating", 1, 1)
    won = earlier.train.won
    return _Done(choice, off, twin, deployed, (float(won.sum()) + 0.5) / (len(won) + 1), compared)


def _facts(
    config: Config, source: _Source, found: Check, cut: Cut, started: datetime
) -> dict[str, Any]:
    """What the page, the registry and the gate are told beside the figures."""
    exported = config.data.exported is not None
    return {
        "version": version("lead-propensity"),
        "name": config.name,
        "created": started.isoformat(timespec="seconds"),
        "recalibrated_from": source.model.model_id,
        "horizon_days": source.model.horizon_days,
        "shape": "as exported" if exported else "event history",
        "exported_at": None if exported else words(found.exported_at),
        "seed": config.model.seed,
        "leaks": source.card.get("leaks"),
        "labels_until": day_or_row(cut.earlier_from, exported),
        "fitted": [day_or_row(end, exported) for end in (cut.earlier_from, cut.earlier_until)],
        "judged": [day_or_row(end, exported) for end in (cut.later_from, cut.until)],
    }


def _write_run(folder: Path, done: _Done, card: dict[str, Any]) -> None:
    """A model only where it may become champion."""
    if done.worth_registering:
        done.deployed.save(folder / "model")
        done.judged.save(folder / EVALUATED)
    write_text(json.dumps(card, indent=1, allow_nan=False) + "\n", folder / "scorecard.json")
    write_text(page.render(card), folder / "report.html")
    write_text(page.markdown(card), folder / "model_card.md")

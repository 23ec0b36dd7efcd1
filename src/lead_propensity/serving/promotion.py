"""From challenger to champion: through the gate, past it with a reason, and back."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lead_propensity.config import Config
from lead_propensity.data import tables
from lead_propensity.data.database import digest, opened
from lead_propensity.data.moments import words
from lead_propensity.errors import ConfigError, LeadPropensityError, ModelError
from lead_propensity.evaluation import gate
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.progress import Progress, silent
from lead_propensity.reporting import decision_text
from lead_propensity.serving.fresh import Fresh, fresh
from lead_propensity.tracking import champions, registry
from lead_propensity.tracking.champions import Attempt, Change
from lead_propensity.tracking.registry import Version

UNJUDGED = "not judged"


@dataclass(frozen=True)
class Promotion:
    """What `promote` decided and did."""

    challenger: Version
    champion: Version | None
    """The one before."""
    decision: Mapping[str, Any] | None
    """See `gate.decide`; None where the challenger is the champion already."""
    promoted: bool
    """Whether it is champion now."""
    change: Change | None
    """What was noted in the history; None: nothing changed."""


@dataclass(frozen=True)
class _Judged:
    """A version, the model that its figures speak of, and its scorecard."""

    version: Version
    model: PropensityModel
    card: dict[str, Any]

    @classmethod
    def of(cls, version: Version, scratch: Path, deployed: bool = False) -> "_Judged":
        """The evaluated model or, where it is asked for, the `deployed` one."""
        card = registry.scorecard_of(version)
        if deployed:
            card = {**card, "evaluated_model_id": card["model_id"]}
        folder = registry.fetch_evaluated(version, card, scratch / str(version.number))
        model = PropensityModel.load(folder)
        if model.model_id != card["evaluated_model_id"]:
            raise ModelError(
                f"{version.uri}: the run keeps the model {model.model_id}, its figures speak of "
                f"{card['evaluated_model_id']}. Its artifacts were changed: train it again."
            )
        return cls(version, model, card)


def promote(
    config: Config,
    challenger: str | None = None,
    *,
    force: bool = False,
    reason: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Promotion:
    """Make the challenger champion if it passes the gate, or by `force` with a `reason`; keep the decision.

    `challenger` is a run folder or `models:/NAME@ALIAS` (default: `@challenger`). Judged are the mature
    snapshots of the config's data. With `dry_run` nothing changes, but the attempt is counted: its figures
    were seen. Raises ConfigError, DataError, ModelError.
    """
    if force and not (reason or "").strip():
        raise ConfigError("--force needs --reason: say why the gate is passed by. It is recorded.")
    if force and dry_run:
        raise ConfigError("--force and --dry-run exclude each other. Give one.")
    version = _challenger(config, challenger)
    champion = registry.aliased(config.registered_name, registry.CHAMPION)
    if champion is not None and champion.number == version.number:
        return Promotion(version, champion, None, True, None)
    decision = _decided(config, version, champion, force, progress)
    passed = decision["decision"] == gate.PROMOTE
    if dry_run:
        return Promotion(version, champion, decision, False, None)
    decision |= {"forced": force and not passed, "reason": reason}
    _keep(version, decision)
    if not (passed or force):
        return Promotion(version, champion, decision, False, None)
    change = Change(
        at=decision["at"],
        action=champions.PROMOTED if passed else champions.FORCED,
        before=None if champion is None else champion.number,
        after=version.number,
        model_id=version.model_id,
        reason=reason,
        sentence=decision["sentence"],
        figures=decision["figures"],
    )
    champions.switch(version, change.before, change)
    return Promotion(version, champion, decision, True, change)


def rollback(name: str, reason: str) -> Change:
    """Make the champion before this one champion again. Raises ModelError where there is none."""
    champion = registry.aliased(name, registry.CHAMPION)
    if champion is None:
        raise ModelError(
            f"{name!r} has no champion, so there is nothing to go back from. Promote one first: "
            "`lead-propensity promote CONFIG`."
        )
    number = champions.before(champions.history(name), champion.number)
    if number is None:
        raise ModelError(
            f"version {champion.number} of {name!r} replaced no other champion that is known: there is nothing to "
            "go back to. Promote another version: `lead-propensity promote CONFIG --challenger models:/NAME/VERSION`."
        )
    version = registry.version_of(f"models:/{name}/{number}", name)
    change = Change(
        at=_now(),
        action=champions.ROLLED_BACK,
        before=champion.number,
        after=version.number,
        model_id=version.model_id,
        reason=reason,
    )
    champions.switch(version, champion.number, change)
    return change


def _challenger(config: Config, source: str | None) -> Version:
    name = config.registered_name
    if source is None or source.startswith("models:/"):
        return registry.version_of(source or f"models:/{name}@{registry.CHALLENGER}", name)
    folder = Path(source)
    model = PropensityModel.load(folder / "model" if (folder / "model").is_dir() else folder)
    return registry.version_with(model.model_id, name)


def _decided(
    config: Config, version: Version, champion: Version | None, force: bool, progress: Progress
) -> dict[str, Any]:
    """The gate's decision; by force also where nothing can be judged, with the reason why not."""
    facts = {
        "at": _now(),
        "name": version.name,
        "challenger": _named(version),
        "champion": None if champion is None else _named(champion),
    }
    try:
        return {**_judge(config, version, champion, progress), **facts}
    except LeadPropensityError as error:
        if not force:
            raise
        sentence = f"It could not be judged: {error}"
        return {
            "decision": UNJUDGED,
            "sentence": sentence,
            "conditions": [],
            "figures": {},
            **facts,
        }


def _judge(
    config: Config, version: Version, champion: Version | None, progress: Progress
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        new = _Judged.of(version, Path(scratch))
        # A recalibrated model has the members of the deployed one: no other pair differs in its calibration alone.
        same = champion is not None and new.card.get("recalibrated_from") == champion.model_id
        old = None if champion is None else _Judged.of(champion, Path(scratch), deployed=same)
    seen = _fresh(config, new, old, progress)
    mine = Attempt(new.model.model_id, seen.judged_from, seen.judged_until)
    others = champions.attempts(version.name)
    told = gate.Facts(
        base_rate=float(new.card["base_rate_calibrate"]),
        promised=new.model.bands.promised,
        alarms=(new.card.get("leaks") or {}).get("alarms") or (),
        attempts=1 + sum(_is_another(one, mine) for one in others),
        pace=seen.pace,
    )
    progress("judging", 0, 1)
    decision = gate.decide(seen.judged, seen.stock, told, config.gate, config.model.seed)
    progress("judging", 1, 1)
    if decision["decision"] != gate.WAIT:  # else no figure was seen
        champions.record_attempt(version.name, mine)
    return decision | {"period": _period(seen)} | _models(new, old)


def _fresh(config: Config, new: _Judged, old: _Judged | None, progress: Progress) -> Fresh:
    if config.engine.kind == "spark":
        raise ConfigError(
            "promote works on this machine, engine.kind is spark. Give --set engine.kind=local; with "
            "snapshots.max_leads the leads are sampled as in training."
        )
    with opened(config.engine) as (con, allowance):
        progress("checking", 0, 1)
        found = tables.check(con, config)
        found.raise_problems(learning=True)
        progress("checking", 1, 1)
        if config.data.exported is not None:
            _require_same_export(digest(con), [one for one in (new, old) if one is not None])
        champion = None if old is None else old.model
        return fresh(con, config, found.exported_at, new.model, champion, progress, allowance)


def _require_same_export(here: str, models: list[_Judged]) -> None:
    """Rows as exported are told apart by their rank alone, and another export ranks them otherwise."""
    others = [one.version.uri for one in models if registry.data_digest_of(one.version) != here]
    if others:
        raise ModelError(
            f"{' and '.join(others)} learned from another export, and rows as exported carry no time by which to "
            "tell what they have learned from. Train on this export with the settings of both, or decide yourself: "
            "--force with --reason."
        )


def _is_another(one: Attempt, mine: Attempt) -> bool:
    return one.model_id != mine.model_id and one.meets(mine.judged_from, mine.judged_until)


def _period(seen: Fresh) -> dict[str, Any]:
    if seen.pace is None:
        return {"from": seen.judged_from, "until": seen.judged_until}
    return {"from": words(seen.judged_from), "until": words(seen.judged_until)}


def _models(new: _Judged, old: _Judged | None) -> dict[str, Any]:
    """Which model was judged for which: the deployed one may have learned from the period."""
    return {
        "judged": {
            role: {
                "evaluated_model_id": one.card["evaluated_model_id"],
                "deployed_model_id": one.card["model_id"],
                "labels_until": one.model.labels_until
                if one.model.horizon_days is None
                else words(one.model.labels_until),
            }
            for role, one in (("challenger", new), ("champion", old))
            if one is not None
        }
    }


def _keep(version: Version, decision: dict[str, Any]) -> None:
    texts = {
        "decision.json": json.dumps(decision, indent=1, allow_nan=False) + "\n",
        "decision.md": decision_text.markdown(decision),
    }
    champions.keep_decision(version, decision, texts)


def _named(version: Version) -> dict[str, Any]:
    return {"version": version.number, "model_id": version.model_id}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Who is champion, who was before, and why; the one place where that changes.

Each change is a tag of the registered model, written before the alias moves. MLflow cannot compare and
set: whoever wants to move the alias first claims it with a tag, then looks whether others have, and that the
champion is still the one that was judged against. Of two who meet at least one gives up, and none of them
moves what the other has moved.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from lead_propensity.errors import ModelError
from lead_propensity.tracking.registry import CHAMPION, Version, registered, store

CHANGE, CLAIM, ATTEMPT = "change.", "claim.", "attempt."
"""How the tags of the registered model begin."""
CLAIM_SECONDS = 300
"""A claim older than this was left by a process that died."""
PROMOTED, FORCED, ROLLED_BACK = "promoted", "forced", "rolled back"


@dataclass(frozen=True)
class Change:
    """The champion was replaced."""

    at: str
    """UTC, ISO text."""
    action: str
    """`promoted` through the gate, `forced` past it, or `rolled back`."""
    before: int | None
    """The version that was champion; None: there was none."""
    after: int
    model_id: str
    """Of the champion that came."""
    reason: str | None
    """What the person gave; always there where it was forced or rolled back."""
    sentence: str | None = None
    """What the gate said."""
    figures: Mapping[str, float | None] | None = None


@dataclass(frozen=True)
class Attempt:
    """A model was judged on snapshots from `judged_from` until `judged_until`, in units of `order`."""

    model_id: str
    judged_from: int
    judged_until: int

    def meets(self, judged_from: int, judged_until: int) -> bool:
        """Whether the two periods share a moment.

        >>> Attempt("a", 10, 20).meets(20, 30), Attempt("a", 10, 20).meets(21, 30)
        (True, False)
        """
        return self.judged_from <= judged_until and judged_from <= self.judged_until


def history(name: str) -> list[Change]:
    """All changes of the champion, the oldest first. Raises ModelError where there is no such model."""
    return [Change(**tree) for tree in _tagged(name, CHANGE)]


def attempts(name: str) -> list[Attempt]:
    """Every model that was judged for this place, one entry a model."""
    return [Attempt(**tree) for tree in _tagged(name, ATTEMPT)]


def record_attempt(name: str, attempt: Attempt) -> None:
    """The same model again is no other attempt; its period then spans both."""
    known = next((one for one in attempts(name) if one.model_id == attempt.model_id), attempt)
    both = replace(
        attempt,
        judged_from=min(known.judged_from, attempt.judged_from),
        judged_until=max(known.judged_until, attempt.judged_until),
    )
    with store(f"models:/{name}"):
        _tag(name, ATTEMPT + attempt.model_id, asdict(both))


def before(changes: list[Change], champion: int) -> int | None:
    """Whom this champion replaced when it was last promoted; None: nobody, or nobody knows."""
    came = [one for one in changes if one.after == champion and one.action != ROLLED_BACK]
    return came[-1].before if came else None


def switch(version: Version, expected: int | None, change: Change) -> None:
    """Make `version` the champion in the place of version `expected` (None: there was none), and note why.

    Raises ModelError where another one became champion, or is just becoming it.
    """
    name, key = version.name, CHANGE + _stamp()
    with store(f"models:/{name}"), _claimed(name):
        _require_champion_is(name, expected)
        client = mlflow.MlflowClient()
        _tag(name, key, asdict(change))
        try:
            client.set_registered_model_alias(name, CHAMPION, str(version.number))
            _require_champion_is(name, version.number)
        except (MlflowException, ModelError):
            with suppress(MlflowException):
                client.delete_registered_model_tag(name, key)
            raise


def keep_decision(version: Version, decision: Mapping[str, Any], texts: Mapping[str, str]) -> None:
    """Store `texts` (by file name) as artifacts of the version's run, and the figures as tags of both."""
    told = {"decision": decision["decision"], "sentence": decision["sentence"][:5000]}
    told |= {
        name: f"{value:.6g}" for name, value in decision["figures"].items() if value is not None
    }
    folder = f"gate/{_stamp()}"
    with store(version.uri):
        client = mlflow.MlflowClient()
        for name, text in texts.items():
            client.log_text(version.run_id, text, f"{folder}/{name}")
        for name, value in told.items():
            client.set_tag(version.run_id, f"gate.{name}", value)
            client.set_model_version_tag(version.name, str(version.number), f"gate.{name}", value)


@contextmanager
def _claimed(name: str) -> Iterator[None]:
    """Nobody else moves the alias in the block. Raises ModelError where somebody is about to."""
    mine, client = CLAIM + _stamp(), mlflow.MlflowClient()
    client.set_registered_model_tag(name, mine, datetime.now(UTC).isoformat())
    try:
        tags = client.get_registered_model(name).tags
        others = [key for key in tags if key.startswith(CLAIM) and key != mine]
        alive = [key for key in others if _age(key) < CLAIM_SECONDS]
        if alive:
            raise ModelError(
                f"somebody else is just changing the champion of {name!r}. Nothing was changed. Look who it is "
                "(`lead-propensity history`), and try again."
            )
        for key in others:
            with suppress(MlflowException):
                client.delete_registered_model_tag(name, key)
        yield
    finally:
        with suppress(MlflowException):
            client.delete_registered_model_tag(name, mine)


def _require_champion_is(name: str, expected: int | None) -> None:
    now = mlflow.MlflowClient().get_registered_model(name).aliases.get(CHAMPION)
    if (None if now is None else int(now)) != expected:
        was = "there was none" if expected is None else f"it was version {expected}"
        here = "none" if now is None else f"version {now}"
        raise ModelError(
            f"the champion of {name!r} is {here} now; when the decision was made {was}. Somebody else changed it "
            "meanwhile (`lead-propensity history`). Judge again against the one that is there."
        )


def _stamp() -> str:
    """Sorts by time, and is nobody else's."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S_%f}_{uuid.uuid4().hex[:6]}"


def _age(key: str) -> float:
    """Seconds since a claim was made, by the clocks of two machines."""
    stamp = "_".join(key.removeprefix(CLAIM).split("_")[:2])
    made = datetime.strptime(stamp, "%Y%m%dT%H%M%S_%f").replace(tzinfo=UTC)
    return (datetime.now(UTC) - made).total_seconds()


def _tagged(name: str, kind: str) -> list[dict[str, Any]]:
    with store(f"models:/{name}") as tracking_uri:
        tags = registered(name, tracking_uri).tags
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith(kind)]


def _tag(name: str, key: str, tree: Mapping[str, Any]) -> None:
    text = json.dumps(tree, allow_nan=False)
    mlflow.MlflowClient().set_registered_model_tag(name, key, text)

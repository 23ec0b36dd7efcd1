"""What goes to standard error: text for people, or a JSON object a line for machines."""

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.console import Console

from lead_propensity.config.credentials import without_secrets
from lead_propensity.errors import without_cells

_LOGGER = logging.getLogger("lead_propensity")


class Form(StrEnum):
    """How lines on standard error look."""

    text = "text"
    json = "json"


class _Lines(logging.Formatter):
    """`time` (UTC), `level`, `event`, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname.lower(), "event": record.getMessage()}
        fields: Mapping[str, Any] = getattr(record, "fields", {"logger": record.name})
        return json.dumps(_safe({**line, **fields}), ensure_ascii=False, default=str)


class _Log:
    form = Form.text


def choose(form: Form) -> None:
    """From now on; in JSON also what other packages log."""
    _Log.form = form
    for handler in [one for one in logging.root.handlers if isinstance(one.formatter, _Lines)]:
        logging.root.removeHandler(handler)
    logging.captureWarnings(form is Form.json)
    if form is Form.json:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Lines())
        logging.root.addHandler(handler)
        _LOGGER.setLevel(logging.INFO)


def is_json() -> bool:
    return _Log.form is Form.json


def say(level: int, event: str, **fields: Any) -> None:
    """A line of JSON; nothing in the form of text. Passwords and ids of leads are taken out."""
    if is_json():
        _LOGGER.log(level, event, extra={"fields": fields})


def fail(event: str, words: str, reasons: tuple[str, ...] = ()) -> None:
    """An error or a refusal, in either form."""
    if is_json():
        told = {"reasons": list(reasons)} if reasons else {"message": words}
        say(logging.ERROR, event, **told)
        return
    console = Console(stderr=True, soft_wrap=True)
    console.print(
        f"{event}: {words}" if words else event, style="red", markup=False, highlight=False
    )


def tell_bug(error: BaseException) -> None:
    """A mistake of ours, without its message: that may quote a cell."""
    frames = traceback.format_tb(error.__traceback__)
    say(logging.CRITICAL, "bug", type=type(error).__name__, traceback=frames)


class Phases:
    """A Progress: each phase when it starts, and when it is finished with its seconds."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if phase not in self._began:
            self._began[phase] = now
            say(logging.INFO, "phase started", phase=phase)
        if done >= total:
            seconds = round(now - self._began.pop(phase), 3)
            say(logging.INFO, "phase finished", phase=phase, seconds=seconds)


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return without_cells(without_secrets(value))
    if isinstance(value, Mapping):
        return {str(key): _safe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(one) for one in value]
    return value

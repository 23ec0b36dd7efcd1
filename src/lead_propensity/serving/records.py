"""The records folder of a target: one line for each run of `score`, and what its last run set aside.

```text
scores.records/
  runs.jsonl             one JSON object a line, the oldest first
  not_scored.parquet     lead_id, reason: leads of the last run that it could not score
  quarantine/            rows of the last run that broke the contract, one Parquet a table
```
"""

import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from lead_propensity.config import Config
from lead_propensity.data.locks import Lock
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.serving import sinks

RUNS, NOT_SCORED, QUARANTINE = "runs.jsonl", "not_scored.parquet", "quarantine"
SUFFIX = ".records"


def records_folder(out: str | Path, config: Config) -> Path:
    """Of the target `out`: `score.records`, else beside the file or folder; of a table in the working directory.

    Raises ConfigError unless `out` names a place for scores.
    """
    place = sinks.place_of(str(out))
    if config.score.records is not None:
        return config.resolve(config.score.records)
    if isinstance(place, Path):
        return beside(place)
    table = f"{place.schema}.{place.table}" if place.schema else place.table
    return Path(re.sub(r"[^\w.-]", "_", table).lstrip(".") + SUFFIX)


def beside(target: Path) -> Path:
    """Where the records of a file or folder of scores lie, unless `score.records` says otherwise."""
    ending = target.suffix if target.suffix in sinks.ENDINGS else ""
    return target.parent / (target.name.removesuffix(ending) + SUFFIX)


def require(folder: Path) -> None:
    """Make the folder, and see that nothing stands in the way of what a run leaves there; ask before the work.

    Raises ConfigError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        quarantine, files = folder / QUARANTINE, [folder / RUNS, folder / NOT_SCORED]
        wrong = [file for file in files if file.is_dir()]
        if quarantine.exists() and not quarantine.is_dir():
            wrong.append(quarantine)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the records of the runs cannot be kept in {folder}: {error}. Give another folder in score.records."
        ) from error
    if wrong:
        raise ConfigError(
            f"the records of the runs cannot be kept in {folder}: {', '.join(map(str, wrong))} is in the way. "
            "Remove it, or give another folder in score.records."
        )
    prove(folder)


def append(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a line. Raises ConfigError where the folder cannot be written."""
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    with _at_the_end(folder) as file:
        _put(file, line.encode())


def prove(folder: Path, room: int = 0) -> None:
    """See that a line of so many bytes can be added, and add none. Raises ConfigError where it cannot."""
    with _at_the_end(folder) as file:
        whole = file.tell()
        try:  # without a line's end nobody reads it, also if this run is killed here
            _put(file, b" " * room)
        finally:
            file.truncate(whole)


@contextmanager
def _at_the_end(folder: Path) -> Iterator[FileIO]:
    """The file of the records behind its last whole line: what a killed run left of its own is taken away.

    Raises ConfigError for what the system refuses.
    """
    path = folder / RUNS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Lock.waited(folder / ".lock"), path.open("a+b", buffering=0) as file:
            file.seek(0)
            file.truncate(_whole(file.read()))
            file.seek(0, os.SEEK_END)
            yield file
    except OSError as error:
        raise ConfigError(
            f"the record of the run cannot be written: {path}: {error}. Make room there, or name another folder "
            "in score.records."
        ) from error


def _put(file: FileIO, content: bytes) -> None:
    if file.write(content) < len(content):  # the rest would find no room
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file.fileno())


def read(folder: Path) -> list[dict[str, Any]]:
    """The records, the oldest first; none where there is no folder. A half-written last line is left out.

    Raises DataError for any other line that is no record, and where the file cannot be read.
    """
    path = folder / RUNS
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise DataError(
            f"the records of the runs cannot be read: {path}: {error}. Mend it, or move it away."
        ) from error
    lines = content[: _whole(content)].decode("utf-8", errors="replace").split("\n")[:-1]
    return [_parsed(line, path, number) for number, line in enumerate(lines, 1)]


def _whole(content: bytes) -> int:
    """How many bytes the whole lines take."""
    return content.rfind(b"\n") + 1


def _parsed(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_constant=_no_number)
        json.dumps(record, ensure_ascii=False).encode()  # half a letter is no text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: no JSON ({error}). Remove the line.") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}, line {number}: no JSON object. Remove the line.")
    wrong = [name for name, fits in _FITTING.items() if name in record and not fits(record[name])]
    if wrong:
        raise DataError(
            f"{path}, line {number}: {', '.join(wrong)} is nothing that `score` writes there. Remove the line."
        )
    return record


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _is_moment(value: object) -> bool:
    if not isinstance(value, str):
        return value is None
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(value).astimezone(UTC).tzinfo is UTC
    return False


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


_DRIFT = {"features", "called", "called_share", "top", "scores"}
_FITTING: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("as_of", "data_until"), _is_moment),
    **dict.fromkeys(("why", "warnings"), _are_texts),
    **dict.fromkeys(("outcome", "out"), lambda value: isinstance(value, str)),
    "drift": lambda value: value is None or (isinstance(value, dict) and value.keys() >= _DRIFT),
}
"""Of the facts that others read: what they may be."""

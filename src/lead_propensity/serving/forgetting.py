"""Leads taken out of everything that runs left on this machine, and where else they may be."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lead_propensity.config import Config
from lead_propensity.data import workroom
from lead_propensity.data.erasing import Erased, Eraser, is_table
from lead_propensity.data.targets import alone
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.files import is_there
from lead_propensity.model.storage import DIGESTS
from lead_propensity.serving import before, records, sinks
from lead_propensity.serving.records import SUFFIX

MODELS = Path("models")
_RUNS = ("*/scorecard.json", "*/*/scorecard.json")
"""Where else in the working directory runs of `train` and `recalibrate` lie, which may go to any --out."""
_WITHOUT_ROWS = {"scorecard.json", "report.html", "model_card.md", records.RUNS}


@dataclass(frozen=True)
class Named:
    """The leads of a file of ids."""

    ids: frozenset[str]
    repeated: int
    """Lines that name a lead for the second time."""


@dataclass(frozen=True)
class Forgotten:
    """What went, or would go, and what is left to do by hand."""

    named: Named
    files: tuple[Erased, ...]
    """Those that held one of the leads."""
    looked: int
    """Files that were looked through."""
    passed: tuple[Path, ...]
    """Files without a column of ids."""
    others: tuple[Path, ...]
    """Files of a kind that is not looked into, but for those that runs leave and that hold no row of a lead."""
    unread: tuple[str, ...]
    """Files that could not be looked through or are in use, and why: they may hold the leads still."""
    scratch: workroom.Cleared
    tables: tuple[str, ...]
    """Tables of PostgreSQL that runs wrote to."""
    places: tuple[Path, ...]
    """What was looked through."""
    dry_run: bool

    @property
    def found(self) -> frozenset[str]:
        return frozenset().union(*(one.leads for one in self.files))


def named_in(file: Path) -> Named:
    """The ids of a UTF-8 text file, one a line; empty lines count for nothing.

    Raises ConfigError where it cannot be read, is not UTF-8, or names nobody.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"--lead-id-file {file} cannot be read: {error}. Give a text file in UTF-8, one lead_id a line."
        ) from error
    ids = [line.rstrip("\r") for line in lines if line.strip()]
    if not ids:
        raise ConfigError(f"--lead-id-file {file} names no lead. Give one lead_id a line.")
    return Named(frozenset(ids), len(ids) - len(set(ids)))


def forget(
    named: Named,
    places: Sequence[Path] = (),
    config: Config | None = None,
    dry_run: bool = False,
) -> Forgotten:
    """Take the leads out of every Parquet, CSV and CSV.gz file at or below `places`, one file after the other.

    Default places: `models/`, the runs one or two folders below the working directory, and the records there with
    the targets that they name; the folder `score.records` comes along. Each file is held against other runs and
    replaced at once; one that a run writes to, or that cannot be read, is left and told in `unread`. Raises
    ConfigError where a place is not there, DataError where the records that name the default places cannot be read.
    """
    given = _with_records(places or _default_places(), config)
    eraser = Eraser(named.ids, _columns(config), dry_run)
    erased, unread = [], []
    there = _files(given)
    for path in filter(is_table, there):
        try:
            erased.append(_erased(eraser, path))
        except (ConfigError, DataError) as error:
            unread.append(str(error))
    told: list[dict[str, Any]] = []
    for folder in dict.fromkeys(one for place in given for one in _records_below(place)):
        try:
            told += records.read(folder)
        except DataError as error:
            unread.append(str(error))
    work_folder = None if config is None else config.engine.work_folder
    return Forgotten(
        named,
        tuple(one for one in erased if one.rows),
        sum(one.looked for one in erased),
        tuple(one.path for one in erased if not one.looked),
        tuple(path for path in there if _is_other(path)),
        tuple(unread),
        workroom.clear_jobs(work_folder, dry_run),
        tuple(sorted(_tables(told))),
        tuple(given),
        dry_run,
    )


def _erased(eraser: Eraser, path: Path) -> Erased:
    """Raises ConfigError where a run writes there."""
    with ExitStack() as held:
        for target in () if eraser.dry_run else _targets(path):
            held.enter_context(alone(target))
        return eraser.erase(path, any_column=records.QUARANTINE in path.parts)


def _columns(config: Config | None) -> tuple[str, ...]:
    """How the columns of ids may be called: here, in the CRM's tables, and in the scores."""
    if config is None:
        return ("lead_id",)
    data = config.data
    sources = [data.leads, data.attributes, data.events, data.deals, data.exported]
    theirs = [source.columns.get("lead_id") for source in sources if source is not None]
    names = ["lead_id", config.score.columns.get("lead_id"), *theirs]
    return tuple(dict.fromkeys(name for name in names if name))


def _default_places() -> list[Path]:
    found = [MODELS] if MODELS.is_dir() else []
    runs = sorted(file.parent for pattern in _RUNS for file in Path().glob(pattern))
    found += [run for run in runs if MODELS not in run.parents]
    for folder in sorted(Path().glob(f"*{SUFFIX}")):
        found += [folder, *_scores_of(folder)]
    if not found:
        raise ConfigError(
            "There is neither a run here (models/ or another folder) nor a record of scores (*.records/). Say with "
            "--in where runs and scores lie, or go where the job runs."
        )
    return found


def _with_records(places: Iterable[Path], config: Config | None) -> list[Path]:
    """The places, each with the records that lie beside it, and those that the config names."""
    found = []
    for place in places:
        if not is_there(place):
            raise ConfigError(f"--in {place} is not there. Name a file or folder that is.")
        if place.is_file() and not is_table(place):
            raise ConfigError(
                f"--in {place} is neither Parquet, CSV nor CSV.gz. Look into it yourself, or leave it out."
            )
        beside = records.beside(place)
        found += [place, *([beside] if place.name and beside.is_dir() else [])]
    if config is not None and config.score.records is not None:
        named = config.resolve(config.score.records)
        found += [named] if named.is_dir() else []
    return list(dict.fromkeys(found))


def _files(places: Iterable[Path]) -> list[Path]:
    below = [path for place in places for path in ([place] if place.is_file() else _below(place))]
    return sorted({path.resolve(): path for path in below}.values())


def _below(folder: Path) -> Iterator[Path]:
    """Files below a folder, also behind links; hidden ones are none of ours, but for scratch of runs that died."""
    return (
        path
        for place in _walked(folder)
        for path in place.iterdir()
        if path.is_file() and (path.suffix == ".part" or not path.name.startswith("."))
    )


def _is_other(path: Path) -> bool:
    """Whether it is still there, and may hold rows of leads that nobody looks for: no table, and none of ours."""
    ours = path.name in _WITHOUT_ROWS or (path.parent / DIGESTS).is_file()
    return not is_table(path) and not ours and path.is_file()


def _walked(folder: Path) -> Iterator[Path]:
    """A folder and all below it, each once: links are followed, also those that lead back.

    Raises ConfigError for a folder that cannot be looked into.
    """

    def refuse(error: OSError) -> None:
        raise ConfigError(
            f"{error.filename} cannot be looked into: {error}. It may hold the leads: give yourself access to it."
        ) from error

    seen: set[Path] = set()
    for place, below, _ in os.walk(folder, onerror=refuse, followlinks=True):
        real = Path(place).resolve()
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield Path(place)


def _targets(path: Path) -> list[Path]:
    """What a run that writes this file has locked."""
    if before.is_part(path.parent):
        return [path.parent.parent]
    inside = next((one for one in path.parents if (one / records.RUNS).is_file()), None)
    if inside is None:
        return [path]
    stem = inside.name.removesuffix(SUFFIX)
    beside = [inside.with_name(stem + ending) for ending in ("", *sinks.ENDINGS)]
    told = [*_scores_of(inside), *(one for one in beside if one != inside and one.exists())]
    return list({one.resolve(): one for one in told}.values())


def _scores_of(folder: Path) -> list[Path]:
    """The files and folders of scores that the records in a folder tell of."""
    told = [Path(out) for out in _outs(folder) if not out.startswith(sinks.TABLE)]
    return [out for out in told if is_there(out)]


def _records_below(place: Path) -> list[Path]:
    folders = _walked(place) if place.is_dir() else ()
    return sorted(folder for folder in folders if (folder / records.RUNS).is_file())


def _tables(told: Iterable[Mapping[str, Any]]) -> set[str]:
    outs = [str(one.get("out", "")) for one in told]
    return {out.removeprefix(sinks.TABLE) for out in outs if out.startswith(sinks.TABLE)}


def _outs(folder: Path) -> list[str]:
    """Where runs of `score` wrote, as their records tell."""
    outs = dict.fromkeys(str(record.get("out", "")) for record in records.read(folder))
    return [out for out in outs if out]

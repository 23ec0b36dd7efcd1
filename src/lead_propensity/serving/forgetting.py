"""Leads taken out of everything that runs left on this machine, and where else they may be."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lead_propensity.config import Config
from lead_propensity.data import workroom
from lead_propensity.data.erasing import ENDINGS, Erased, Eraser
from lead_propensity.data.targets import alone
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.serving import records, sinks

MODELS = Path("models")
RECORDS = ".records"
_PART = re.compile(r"as_of_utc=.+")
_TABLE = "postgres:"


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
    unread: tuple[str, ...]
    """Files that could not be looked through, and why: they may hold the leads still."""
    scratch: workroom.Cleared
    tables: tuple[str, ...]
    """Tables of PostgreSQL that runs wrote to."""
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
    """Take the leads out of every Parquet and CSV file at or below `places`, one file after the other.

    Default places: `models/`, and the records in the working directory with the targets that they name. Each
    file is held against other runs and replaced at once. Raises ConfigError where a place is not there or a
    run writes to it; what was done before stays done, and the same call goes on.
    """
    given = _with_records(places) if places else _default_places()
    eraser = Eraser(named.ids, _columns(config), dry_run)
    erased, unread = [], []
    for path in _files(given):
        with ExitStack() as held:
            for target in () if dry_run else _targets(path):
                held.enter_context(alone(target))
            try:
                erased.append(eraser.erase(path, any_column="quarantine" in path.parts))
            except DataError as error:
                unread.append(str(error))
    folders = [folder for place in given for folder in _records_below(place)]
    for folder in folders if not dry_run else ():
        records.redact(folder, named.ids)
    work_folder = None if config is None else config.engine.work_folder
    return Forgotten(
        named,
        tuple(one for one in erased if one.rows),
        sum(one.looked for one in erased),
        tuple(one.path for one in erased if not one.looked),
        tuple(unread),
        workroom.clear_jobs(work_folder, dry_run),
        tuple(sorted(_tables(folders))),
        dry_run,
    )


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
    for folder in sorted(Path().glob(f"*{RECORDS}")):
        found += [folder, *_outs(folder)]
    if not found:
        raise ConfigError(
            "There is neither a folder models/ here nor a record of scores (*.records/). Say with --in where runs and "
            "scores lie, or go where the job runs."
        )
    return _with_records(dict.fromkeys(found))


def _outs(folder: Path) -> list[Path]:
    """The files and folders that runs of `score` wrote, as their records tell."""
    outs = dict.fromkeys(str(record.get("out", "")) for record in records.read(folder))
    return [Path(out) for out in outs if out and not out.startswith(_TABLE) and Path(out).exists()]


def _with_records(places: Iterable[Path]) -> list[Path]:
    """The places, each with the records that lie beside it."""
    found = []
    for place in places:
        if not place.exists():
            raise ConfigError(f"--in {place} is not there. Name a file or folder that is.")
        stem = place.stem if place.suffix in ENDINGS else place.name
        beside = place.parent / (stem + RECORDS)
        found += [place, *([beside] if stem and beside.is_dir() else [])]
    return list(dict.fromkeys(found))


def _files(places: Iterable[Path]) -> list[Path]:
    below = [path for place in places for path in ([place] if place.is_file() else _below(place))]
    return sorted({path.resolve(): path for path in below}.values())


def _below(folder: Path) -> Iterator[Path]:
    """Tables below a folder; scratch files of others begin with a dot."""
    return (
        path
        for path in folder.rglob("*")
        if path.suffix in ENDINGS and path.is_file() and not path.name.startswith(".")
    )


def _targets(path: Path) -> list[Path]:
    """What a run that writes this file has locked."""
    if _PART.fullmatch(path.parent.name):
        return [path.parent.parent]
    inside = [parent for parent in path.parents if parent.name.endswith(RECORDS)]
    if inside:
        stem = inside[0].name.removesuffix(RECORDS)
        beside = [inside[0].with_name(stem + ending) for ending in ("", *sinks.ENDINGS)]
        return [target for target in beside if target.exists()]
    return [path]


def _records_below(place: Path) -> list[Path]:
    folders = [place, *place.rglob(f"*{RECORDS}")] if place.is_dir() else []
    return [folder for folder in folders if (folder / records.RUNS).is_file()]


def _tables(folders: Iterable[Path]) -> set[str]:
    outs = Counter(str(one.get("out", "")) for folder in folders for one in records.read(folder))
    return {out.removeprefix(_TABLE) for out in outs if out.startswith(_TABLE)}

"""Where scores go: a file, a folder with a part for each moment, or a table of PostgreSQL.

Whatever happens, a sink holds the old scores or the new ones, each of them whole.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from lead_propensity.config import Config
from lead_propensity.config.credentials import POSTGRES, is_connection
from lead_propensity.data.merging import sorted_table
from lead_propensity.data.targets import alone, clear
from lead_propensity.errors import ConfigError
from lead_propensity.files import is_there
from lead_propensity.serving import before, postgres
from lead_propensity.serving.naming import Naming
from lead_propensity.serving.postgres import TableName

TABLE = "postgres:"
"""Before the name of a table."""
ENDINGS = (".parquet", ".csv")


class Sink(Protocol):
    """A place for scores, held against other runs; `opened` gives it."""

    def outlook(self, moment: int | None) -> tuple[str, ...]:
        """What `write` would do, in words; nothing is changed."""
        ...

    def previous(self, moment: int | None) -> Iterator[pa.Table]:
        """Who held which band at the latest moment before, by the schema `before.BEFORE`.

        Rows as exported (None) have no moment before. Raises DataError where the old scores cannot be read.
        """
        ...

    def write(self, pieces: Iterable[pa.Table], moment: int | None) -> None:
        """Put the pieces, by the schema that `opened` was given, in the place of the scores of `moment`.

        `moment` in int64 microseconds; None: rows as exported. Raises ConfigError, DataError; the old
        scores stay then.
        """
        ...


@contextmanager
def opened(out: str, config: Config, schema: pa.Schema, dry_run: bool = False) -> Iterator[Sink]:
    """The place `out`, for the block this run's alone, looked at before any work; see `require_name`.

    A dry run only looks. Raises ConfigError where scores of this schema cannot be written there.
    """
    place, naming = place_of(out), Naming(schema, config.score.columns)
    as_exported = config.data.exported is not None
    if isinstance(place, TableName):
        with postgres.opened(place, naming, as_exported, dry_run) as sink:
            yield sink
        return
    if place.suffix not in ENDINGS and as_exported:
        raise ConfigError(
            f"output {out}: rows as exported have no common moment to file them under. "
            "Give a name that ends in .parquet or .csv."
        )
    if place.suffix in ENDINGS and is_there(place) and place.is_dir():
        raise ConfigError(
            f"output {out} is a folder; a file is needed. Remove it, or give another name."
        )
    files = Files(place, place.suffix not in ENDINGS, naming, config.engine.work_folder)
    if dry_run:
        yield files
        return
    with alone(place):
        yield files


def require_name(out: str) -> None:
    """Raises ConfigError unless `out` names a place for scores; ask before the work."""
    place_of(out)


@dataclass(frozen=True)
class Files:
    """One file, or a folder with one file for each moment."""

    path: Path
    parts: bool
    naming: Naming
    work_folder: str | None

    def outlook(self, moment: int | None) -> tuple[str, ...]:
        path = self._file(moment)
        there = "is there and would be replaced" if path.exists() else "would be created"
        return (f"{path} {there}.", f"Columns: {', '.join(self.naming.schema.names)}.")

    def previous(self, moment: int | None) -> Iterator[pa.Table]:
        if moment is None:
            return iter(())
        told = before.of_folder if self.parts else before.of_file
        return told(self.path, self.naming, moment)

    def write(self, pieces: Iterable[pa.Table], moment: int | None) -> None:
        path = self._file(moment)
        clear(path)
        order = [self.naming.columns[name] for name in ("order", "lead_id")]
        with sorted_table(path, order, self.work_folder) as writer:
            piece = None
            for piece in pieces:
                writer.add(self.naming.table(piece).sort_by([(one, "ascending") for one in order]))
            if piece is None:
                writer.add(self.naming.schema.empty_table())

    def _file(self, moment: int | None) -> Path:
        if not self.parts:
            return self.path
        assert moment is not None, "rows as exported are not filed by their moment"
        # The column `as_of` stays in the file, so that it says by itself what it holds. The folder has
        # another name: readers that make a column of it would meet two of one name.
        return self.path / before.folder_of(moment) / "part.parquet"


class Counted:
    """Pieces of scores on their way to a sink, counted as they pass.

    After the last one `judge` looks at the counts; what it raises keeps the sink from replacing anything.
    """

    def __init__(
        self, pieces: Iterable[pa.Table], judge: Callable[["Counted"], None] = lambda _: None
    ) -> None:
        self._pieces, self._judge = pieces, judge
        self.bands: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()

    def bring(self, sink: Sink, moment: int | None, dry_run: bool) -> tuple[str, ...]:
        """Write all pieces to `sink`; a dry run only counts them, and gives the sink's outlook."""
        if not dry_run:
            sink.write(self, moment)
            return ()
        for _ in self:
            pass
        return sink.outlook(moment)

    def __iter__(self) -> Iterator[pa.Table]:
        for piece in self._pieces:
            self.bands.update(piece["band"].to_pylist())
            self.changes.update(piece["band_change"].to_pylist())
            yield piece
        self._judge(self)


def place_of(out: str) -> Path | TableName:
    """The file, the folder or the table that `out` names. Raises ConfigError where it names none."""
    if is_connection(out):
        raise ConfigError(
            "--out holds a connection to a database (not repeated here), and what is typed is kept by shells and "
            f"schedulers. Put it into the environment variable {POSTGRES} and give --out {TABLE}TABLE."
        )
    if out.startswith(TABLE):
        return TableName.parsed(out.removeprefix(TABLE))
    path = Path(out)
    if path.name in ("", ".."):
        raise ConfigError(
            f"output {out} names no place of its own. Give a file, or a folder that ends in /."
        )
    if out.endswith(("/", os.sep)):
        if path.suffix in ENDINGS:
            raise ConfigError(f"output {out} is a folder called like a file. Give it another name.")
        return path
    if path.suffix not in ENDINGS:
        raise ConfigError(
            f"output {out} ends in {path.suffix!r}; give a name that ends in .parquet or .csv, a folder that ends "
            f"in / for one part each moment, or {TABLE}TABLE."
        )
    return path

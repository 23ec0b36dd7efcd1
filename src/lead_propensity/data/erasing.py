"""Files without the rows of some leads; each is rewritten beside itself, so that readers see the old or the new one."""

import csv
import gzip
import json
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lead_propensity.errors import DataError
from lead_propensity.files import replacing, streamed

FORGOTTEN = b"lead_propensity.forgotten"
"""In a Parquet file's own facts: how many rows and leads were taken out of it, as JSON. Counts alone."""
ENDINGS = (".parquet", ".csv", ".csv.gz")
LEAD_ID = b"lead_propensity.lead_id"
"""In a Parquet file's own facts: how the column of the ids is called."""
DELIMITERS = (",", ";", "\t")
_AT_ONCE = 100_000
"""Rows in memory."""
_WIDEST_CELL = 1 << 30


@dataclass(frozen=True)
class Erased:
    """What went out of a file, or would go."""

    path: Path
    rows: int
    leads: frozenset[str]
    looked: bool = True
    """False: no column of it holds the ids of leads."""


def is_table(path: Path) -> bool:
    """Whether its name is that of a file which can be looked through."""
    return path.name.lower().endswith(ENDINGS)


@dataclass(frozen=True)
class Eraser:
    """Who is to be forgotten, and how the columns of their ids may be called."""

    ids: frozenset[str]
    columns: tuple[str, ...] = ("lead_id",)
    dry_run: bool = False

    def erase(self, path: Path, any_column: bool = False) -> Erased:
        """Take the rows of these leads out of a Parquet, CSV or CSV.gz file.

        `any_column`: where no column of `columns` is there, a row goes in which any cell is one of the ids.
        Raises DataError where the file cannot be read, ConfigError where it cannot be written; it is then as
        it was.
        """
        try:
            if path.suffix.lower() == ".parquet":
                return self._parquet(path, any_column)
            return self._csv(path, any_column)
        except (OSError, EOFError, zlib.error, pa.ArrowException, csv.Error, UnicodeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error

    def _asked(
        self, names: Sequence[str], any_column: bool, facts: Mapping[bytes, bytes] | None = None
    ) -> list[int]:
        """Places of the columns to look at."""
        columns = {*self.columns, (facts or {}).get(LEAD_ID, b"").decode()}
        known = [place for place, name in enumerate(names) if name in columns]
        return known or (list(range(len(names))) if any_column else [])

    def _parquet(self, path: Path, any_column: bool) -> Erased:
        wanted = pa.array(sorted(self.ids), pa.string())
        with streamed(path) as file:
            schema = file.schema_arrow
            places = self._asked(schema.names, any_column, schema.metadata)
            if not places:
                return Erased(path, 0, frozenset(), looked=False)
            rows, leads = 0, set[str]()
            for batch in file.iter_batches(_AT_ONCE, columns=[schema.names[p] for p in places]):
                for column in batch.columns:
                    texts = _texts(column)
                    leads.update(texts.filter(pc.is_in(texts, wanted)).to_pylist())
                rows += pc.sum(_hits(batch.columns, wanted)).as_py() or 0
        found = Erased(path, rows, frozenset(leads))
        if rows and not self.dry_run:
            self._rewrite_parquet(found, places)
        return found

    def _rewrite_parquet(self, found: Erased, places: Sequence[int]) -> None:
        wanted = pa.array(sorted(self.ids), pa.string())
        with _in_place_of(found.path) as scratch, streamed(found.path) as file:
            kept = file.schema_arrow.with_metadata(_counted(file.schema_arrow, found))
            with pq.ParquetWriter(scratch, kept, compression="zstd") as writer:
                for batch in file.iter_batches(_AT_ONCE):
                    gone = _hits([batch.column(place) for place in places], wanted)
                    writer.write_batch(batch.filter(pc.invert(gone)))

    def _csv(self, path: Path, any_column: bool) -> Erased:
        rows, leads = 0, set[str]()
        delimiter, places = self._layout(path, any_column)
        if not places:
            return Erased(path, 0, frozenset(), looked=False)
        with _opened(path) as file:
            for number, (_, cells) in enumerate(_records(file, delimiter)):
                found = self._of(cells, places) if number else set()
                rows, leads = rows + bool(found), leads | found
        if rows and not self.dry_run:
            self._rewrite_csv(path, delimiter, places)
        return Erased(path, rows, frozenset(leads))

    def _layout(self, path: Path, any_column: bool) -> tuple[str, list[int]]:
        """What divides the cells, and the places of the columns to look at."""
        for delimiter in DELIMITERS:
            with _opened(path) as file:
                header = next(_records(file, delimiter), ("", []))[1]
            if places := self._asked(header, any_column=False):
                return delimiter, places
        return DELIMITERS[0], self._asked(header, any_column)

    def _rewrite_csv(self, path: Path, delimiter: str, places: Sequence[int]) -> None:
        packed = path.suffix.lower() == ".gz"
        with (
            _in_place_of(path) as scratch,
            _opened(path) as file,
            _opened(scratch, "w", packed) as kept,
        ):
            for number, (raw, cells) in enumerate(_records(file, delimiter)):
                if number == 0 or not self._of(cells, places):
                    kept.write(raw)

    def _of(self, cells: Sequence[str], places: Sequence[int]) -> set[str]:
        """The ids in these cells; one that a spreadsheet would compute was written with a leading `'`."""
        given = {cells[place] for place in places if place < len(cells)}
        return {one for cell in given for one in (cell, cell.removeprefix("'")) if one in self.ids}


@contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    """As `replacing`; who may read the old file may read the new one, and nobody else."""
    with replacing(path) as scratch:
        scratch.touch(mode=0o600)
        yield scratch
        scratch.chmod(stat.S_IMODE(path.stat().st_mode))


def forgotten_in(file: Path) -> dict[str, int]:
    """`rows` and `leads` that were taken out of a Parquet file so far; 0 each where none were."""
    facts = pq.read_schema(file).metadata or {}
    told = json.loads(facts.get(FORGOTTEN, b"{}"))
    return {name: int(told.get(name, 0)) for name in ("rows", "leads")}


def _counted(schema: pa.Schema, found: Erased) -> dict[bytes, bytes]:
    facts = dict(schema.metadata or {})
    before = json.loads(facts.get(FORGOTTEN, b"{}"))
    told = {
        "rows": before.get("rows", 0) + found.rows,
        "leads": before.get("leads", 0) + len(found.leads),
    }
    return {**facts, FORGOTTEN: json.dumps(told).encode()}


def _texts(column: pa.Array) -> pa.Array:
    """Ids as text, however the file holds them; none where the column holds no such thing."""
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        told = (None if one is None else one.decode(errors="replace") for one in column.to_pylist())
        return pa.array(told, pa.string())
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowException:
        return pa.nulls(len(column), pa.string())


def _hits(columns: Sequence[pa.Array], wanted: pa.Array) -> pa.Array:
    """(n,) booleans: whether one of the cells of a row is wanted."""
    found = pc.is_in(_texts(columns[0]), wanted)
    for column in columns[1:]:
        found = pc.or_(found, pc.is_in(_texts(column), wanted))
    return found


def _opened(path: Path, mode: str = "r", packed: bool | None = None) -> TextIO:
    """As UTF-8; bytes that are none go through unchanged. `packed`: with gzip; None: as its name says."""
    is_packed = path.suffix.lower() == ".gz" if packed is None else packed
    content = gzip.GzipFile(path, f"{mode}b") if is_packed else path.open(f"{mode}b")
    return TextIOWrapper(
        cast(BinaryIO, content), encoding="utf-8", errors="surrogateescape", newline=""
    )


def _records(file: TextIO, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Each record as it stands in the file, byte for byte, and its cells."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line.removeprefix("\ufeff")

    csv.field_size_limit(_WIDEST_CELL)
    # Strict: an open quote would hide the rows behind it.
    for cells in csv.reader(lines(), delimiter=delimiter, strict=True):
        yield "".join(taken), cells
        taken.clear()

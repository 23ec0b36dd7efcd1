"""A table that comes in pieces, written in one order to one file; never whole in memory."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from lead_propensity.data.workroom import entered
from lead_propensity.files import defused, replacing, require_table_name, write_table

AT_ONCE_BYTES = 30_000_000
"""Of the rows that are written together."""
WINDOW = 4_096
"""Rows of each piece that are in memory while the pieces are merged."""


class Pieces:
    """What `sorted_table` gives: add the pieces, all of one schema, each of them sorted."""

    def __init__(self, folder: Path, by: Sequence[str]) -> None:
        self._folder, self._by = folder, list(by)
        self._first: pa.Table | None = None
        self._files: list[Path] = []

    def add(self, piece: pa.Table) -> None:
        """The first piece waits in memory: often it is the only one."""
        if self._first is None and not self._files:
            self._first = piece
            return
        if self._first is not None:
            self._put(self._first)
            self._first = None
        self._put(piece)

    def _put(self, piece: pa.Table) -> None:
        self._files.append(self._folder / f"piece-{len(self._files):05d}.arrow")
        with pa.ipc.new_file(self._files[-1], piece.schema) as writer:
            writer.write_table(piece, max_chunksize=WINDOW)

    def write(self, path: Path) -> None:
        if self._first is not None:
            write_table(self._first, path)
            return
        assert self._files, "a table has at least one piece"
        with replacing(path) as scratch:
            schema = pa.ipc.open_file(self._files[0]).schema
            is_csv = path.suffix == ".csv"
            opened = pa.csv.CSVWriter if is_csv else pa.parquet.ParquetWriter
            with opened(scratch, schema, **({} if is_csv else {"compression": "zstd"})) as writer:
                for rows in self._merged():
                    writer.write_table(defused(rows) if is_csv else rows)

    def _merged(self) -> Iterator[pa.Table]:
        """The rows of all pieces in order, some at a time: up to the first key at which a window ends."""
        with ExitStack() as opened:
            files = [opened.enter_context(pa.OSFile(str(file))) for file in self._files]
            windows = [_Window(pa.ipc.open_file(file), self._by) for file in files]
            ready: list[pa.Table] = []
            while windows := [window for window in windows if window.filled()]:
                until = min(window.last for window in windows)
                rows = pa.concat_tables([window.take(until) for window in windows])
                ready.append(rows.sort_by([(name, "ascending") for name in self._by]))
                if sum(table.nbytes for table in ready) >= AT_ONCE_BYTES:
                    yield pa.concat_tables(ready)
                    ready = []
            if ready:
                yield pa.concat_tables(ready)


class _Window:
    """The next rows of one sorted piece."""

    def __init__(self, file: pa.ipc.RecordBatchFileReader, by: Sequence[str]) -> None:
        self._file, self._by, self._next = file, by, 0
        self._rows = file.schema.empty_table()

    def filled(self) -> bool:
        """Read on where all was taken; False at the piece's end."""
        while len(self._rows) == 0 and self._next < self._file.num_record_batches:
            self._rows = pa.Table.from_batches([self._file.get_batch(self._next)])
            self._next += 1
        return len(self._rows) > 0

    @property
    def last(self) -> tuple[Any, ...]:
        return self._key(len(self._rows) - 1)

    def take(self, until: tuple[Any, ...]) -> pa.Table:
        """The rows up to the key `until`; it counts."""
        end = bisect_right(range(len(self._rows)), until, key=self._key)
        taken, self._rows = self._rows.slice(0, end), self._rows.slice(end)
        return taken

    def _key(self, row: int) -> tuple[Any, ...]:
        return tuple(self._rows[name][row].as_py() for name in self._by)


@contextmanager
def sorted_table(path: Path, by: Sequence[str], work_folder: str | None) -> Iterator[Pieces]:
    """Write the pieces that the block adds to `path`, sorted `by` these columns; no two rows are alike there.

    Nothing appears where the block fails. Raises ConfigError for an ending other than .parquet and .csv,
    and where nothing can be written.
    """
    require_table_name(path)
    with entered(work_folder) as room:
        pieces = Pieces(room.events, by)
        yield pieces
        pieces.write(path)

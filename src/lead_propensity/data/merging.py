"""A table that comes in pieces, written in one order to one file; never whole in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from lead_propensity.data.workroom import entered
from lead_propensity.files import defused, replacing, require_table_name, write_table

AT_ONCE_BYTES = 30_000_000
"""Of the rows that are merged together."""


class Pieces:
    """What `sorted_table` gives: add the pieces, all of one schema, each of them sorted."""

    def __init__(self, folder: Path, by: Sequence[str]) -> None:
        self._folder, self._by = folder, list(by)
        self._first: pa.Table | None = None
        self._files: list[Path] = []
        self._keys: list[pa.Table] = []

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
            writer.write_table(piece)
        self._keys.append(piece.select(self._by))

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
        """The rows of all pieces in order, some at a time: each piece gives a slice, found by its ranks."""
        ranks = self._ranks()
        files = [pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in self._files]
        total = sum(map(len, ranks))
        at_once = 1 + AT_ONCE_BYTES * total // sum(file.nbytes for file in files)
        for start in range(0, total, at_once):
            slices, places = [], []
            for rank, file in zip(ranks, files, strict=True):
                low, high = np.searchsorted(rank, (start, start + at_once))
                slices.append(file.slice(low, high - low))
                places.append(rank[low:high])
            yield pa.concat_tables(slices).take(pa.array(np.argsort(np.concatenate(places))))

    def _ranks(self) -> list[np.ndarray]:
        """Of each piece: the place of each of its rows in the whole, ascending."""
        keys = pa.concat_tables(self._keys)
        order = pc.sort_indices(keys, [(name, "ascending") for name in self._by]).to_numpy()
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        ends = np.cumsum([len(one) for one in self._keys])
        return np.split(rank, ends[:-1])


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

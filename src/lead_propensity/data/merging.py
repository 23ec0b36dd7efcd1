"""A table that comes in pieces, written sorted to one file, within the memory limit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from lead_propensity.config import EngineConfig
from lead_propensity.data.database import opened
from lead_propensity.data.engine import identifier, literal
from lead_propensity.files import replacing, require_table_name, write_table


class Pieces:
    """What `sorted_table` gives: add the pieces, all of one schema."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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
        self._files.append(self._folder / f"piece-{len(self._files):05d}.parquet")
        pa.parquet.write_table(piece, self._files[-1], compression="zstd")

    def write(self, con: duckdb.DuckDBPyConnection, path: Path, by: Sequence[str]) -> None:
        if self._first is not None:
            write_table(self._first.sort_by([(name, "ascending") for name in by]), path)
            return
        assert self._files, "a table has at least one piece"
        schema = pa.parquet.read_schema(self._files[0])
        listed = ", ".join(literal(str(file)) for file in self._files)
        order = ", ".join(identifier(name) for name in by)
        with replacing(path) as scratch:
            con.execute(
                f"COPY (SELECT * FROM read_parquet([{listed}]) ORDER BY {order}) "
                f"TO {literal(str(scratch))} ({_form(path, schema)})"
            )


@contextmanager
def sorted_table(path: Path, by: Sequence[str], engine: EngineConfig) -> Iterator[Pieces]:
    """Write the pieces that the block adds to `path`, sorted; nothing appears where it fails.

    Raises ConfigError for an ending other than .parquet and .csv, and where nothing can be written.
    """
    require_table_name(path)
    with opened(engine) as (con, allowance):
        assert allowance.folder is not None
        pieces = Pieces(allowance.folder)
        yield pieces
        pieces.write(con, path, by)


def _form(path: Path, schema: pa.Schema) -> str:
    """How DuckDB is to write the file; a Parquet file keeps the schema's own metadata."""
    if path.suffix == ".csv":
        return "FORMAT csv, HEADER"
    metadata = schema.metadata or {}
    kept = ", ".join(
        f"{literal(key.decode())}: {literal(value.decode())}"
        for key, value in metadata.items()
        if not key.startswith(b"ARROW")
    )
    return "FORMAT parquet, COMPRESSION zstd" + (f", KV_METADATA {{{kept}}}" if kept else "")

"""Raw rows on their way to other machines: packed with their lead's key, and unpacked as raw tables.

A packed row is `lead_key, kind, <table> ...`: the lead's id, the place of its table in HISTORY, and one
struct a table, of which all but its own are null. Files are read with the reader of `sources`, so that
a row means the same everywhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from lead_propensity.config import DataConfig, TableSource
from lead_propensity.data.contract import their_column
from lead_propensity.data.engine import identifier
from lead_propensity.data.sources import (
    HISTORY,
    Column,
    RawTable,
    files_of,
    kind_of,
    or_null,
    reader,
    reading,
)
from lead_propensity.data.values import key_expression
from lead_propensity.errors import ConfigError

ROWS_OF_A_PIECE = 2_000_000
"""A Parquet file is read in pieces of about so many rows; a CSV file is one piece."""
BATCH_ROWS = 20_000
_AS_IT_IS = {
    "BOOLEAN": pa.bool_(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
}
_MOMENTS = {"TIMESTAMP": "make_timestamp", "TIMESTAMP WITH TIME ZONE": "make_timestamptz"}


@dataclass(frozen=True)
class Piece:
    """Some rows of one file."""

    raw: RawTable
    path: Path
    first: int | None = None
    """Number of its first row in a Parquet file; None: the whole file."""
    end: int | None = None


def pieces(raws: Sequence[RawTable], folder_of: dict[str, Path]) -> list[Piece]:
    """All rows of all tables, cut so that several machines can read them. Raises as `files_of` does."""
    return [
        piece
        for raw in raws
        for path in files_of(folder_of[raw.name])
        for piece in _pieces(raw, path)
    ]


def _pieces(raw: RawTable, path: Path) -> list[Piece]:
    if kind_of(path) != "parquet":
        return [Piece(raw, path)]
    rows = pa.parquet.read_metadata(path).num_rows
    if rows <= ROWS_OF_A_PIECE:
        return [Piece(raw, path)]
    starts = range(0, rows, ROWS_OF_A_PIECE)
    return [Piece(raw, path, start, start + ROWS_OF_A_PIECE) for start in starts]


def schema(raws: Sequence[RawTable]) -> pa.Schema:
    """Of packed rows."""
    tables = [(raw.name, _struct(raw)) for raw in raws]
    return pa.schema([("lead_key", pa.string()), ("kind", pa.int32()), *tables])


def packed(
    con: duckdb.DuckDBPyConnection,
    piece: Piece,
    raws: Sequence[RawTable],
    data: DataConfig,
    where: str = "true",
) -> Iterator[pa.RecordBatch]:
    """The piece's rows, packed; `where` is a SQL condition on `lead_key`.

    Raises ConfigError or DataError for a file that cannot be read.
    """
    raw = piece.raw
    cells = ", ".join(f"{_pack(column)} AS {column.sql}" for column in raw.columns.values())
    lead = their_column(raw, "lead_id")
    key = key_expression(lead.sql, lead.type) if lead else "NULL::VARCHAR"
    query = f"SELECT {key} AS lead_key, {cells} FROM ({_rows(piece, data)})"
    with reading(str(piece.path)):
        rows = con.sql(f"SELECT * FROM ({query}) WHERE {where}")
        for batch in rows.to_arrow_reader(BATCH_ROWS):
            yield _one_of(raws, raw, batch)


def _one_of(raws: Sequence[RawTable], raw: RawTable, batch: pa.RecordBatch) -> pa.RecordBatch:
    n, kind = batch.num_rows, HISTORY.index(raw.name)
    cells = [batch[name].cast(field) for name, field in _fields(raw)]
    struct = pa.StructArray.from_arrays(cells, fields=list(_struct(raw)))
    tables = [struct if one.name == raw.name else pa.nulls(n, _struct(one)) for one in raws]
    front = [batch["lead_key"].cast(pa.string()), pa.array([kind] * n, pa.int32())]
    return pa.RecordBatch.from_arrays([*front, *tables], schema=schema(raws))


def unpack(con: duckdb.DuckDBPyConnection, raws: Sequence[RawTable], relation: str) -> None:
    """Create the raw tables from the packed rows of `relation`, a name or expression in SQL."""
    for raw in raws:
        cells = [f"{_unpack(raw.name, c)} AS {c.sql}" for c in raw.columns.values()]
        con.execute(
            f"CREATE TABLE {raw.sql_name} AS SELECT {', '.join(cells) or 'NULL'} "
            f"FROM {relation} WHERE kind = {HISTORY.index(raw.name)}"
        )


def files_of_tables(declared: dict[str, TableSource]) -> dict[str, str]:
    """The declared path of each table. Raises ConfigError for queries: they are one machine's work."""
    queries = [name for name, table in declared.items() if table.path is None]
    if queries:
        listed = " and ".join(
            f"data.{name}.{'sql' if declared[name].sql is not None else 'postgres'}"
            for name in queries
        )
        raise ConfigError(
            f"{listed}: a query runs on one machine, engine.kind is spark. "
            "Write its result to Parquet once, and declare that file or folder as `path`."
        )
    return {name: str(table.path) for name, table in declared.items()}


def _rows(piece: Piece, data: DataConfig) -> str:
    """SQL: the piece's rows by their columns' names in the database, whatever its file has of them."""
    columns = piece.raw.columns
    rows = f"SELECT * FROM {reader([piece.path], data.null_values)}"
    if piece.first is not None:
        numbered = reader([piece.path], data.null_values).removesuffix(")")
        rows = f"""SELECT * EXCLUDE (file_row_number) FROM {numbered}, file_row_number = true)
            WHERE file_row_number >= {piece.first} AND file_row_number < {piece.end}"""
    # All files of a table together have these columns; one of them may have fewer, in another order.
    none = ", ".join(f"NULL::{c.type} AS {identifier(name)}" for name, c in columns.items())
    cells = ", ".join(
        f"{or_null(f'CAST(t.{identifier(name)} AS {c.type})', c.type, data.null_values)} AS {c.sql}"
        for name, c in columns.items()
    )
    return f"""SELECT {cells} FROM (
        SELECT * FROM (SELECT {none}) WHERE false UNION ALL BY NAME {rows}) AS t"""


def _fields(raw: RawTable) -> list[tuple[str, pa.DataType]]:
    return [(column.sql, _transit(column.type)) for column in raw.columns.values()]


def _struct(raw: RawTable) -> pa.DataType:
    return pa.struct(_fields(raw))


def _transit(kind: str) -> pa.DataType:
    if kind in _MOMENTS:
        return pa.int64()
    return _AS_IT_IS.get(kind, pa.string())


def _pack(column: Column) -> str:
    """SQL: the value in a type that every engine has; texts stand for all others."""
    if column.type in _MOMENTS:
        return f"epoch_us({column.sql})"
    if column.type in _AS_IT_IS:
        return column.sql
    return f"CAST({column.sql} AS VARCHAR)"


def _unpack(table: str, column: Column) -> str:
    cell = f"{table}.{column.sql}"
    if column.type in _MOMENTS:
        return f"{_MOMENTS[column.type]}({cell})"
    return f"CAST({cell} AS {column.type})"

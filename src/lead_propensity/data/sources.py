"""Declared sources -> raw tables in DuckDB, every row as it came."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import duckdb
import pyarrow as pa

from lead_propensity.config import Config, DataConfig, TableSource
from lead_propensity.data import postgres
from lead_propensity.data.engine import identifier, literal, lock_down
from lead_propensity.data.headers import CSV_FORM, repeated, require_divided
from lead_propensity.data.postgres import Queries
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.files import is_there

HISTORY = ("leads", "attributes", "events", "deals")
_READERS = {".csv": "csv", ".csv.gz": "csv", ".parquet": "parquet"}


@dataclass(frozen=True)
class Column:
    """One of their columns: what the database calls it, and its DuckDB type."""

    sql: str
    type: str


@dataclass(frozen=True)
class RawTable:
    """A table `raw_<name>` in the database; `source` says where its rows came from.

    A file may call its columns anything, also `row` or `reason`; in the database they are `c0`, `c1` ...
    """

    name: str
    source: str
    declared: TableSource
    columns: dict[str, Column]
    """By their name, without the excluded ones."""
    offered: tuple[str, ...]
    """Their names, with the excluded ones."""
    repeated: tuple[str, ...] = ()
    """Names that more than one column of the file has: nobody can say which is meant."""

    @property
    def sql_name(self) -> str:
        return f"raw_{self.name}"


def declared(data: DataConfig) -> dict[str, TableSource]:
    """The tables of the config by their names."""
    found = {name: getattr(data, name) for name in (*HISTORY, "exported")}
    return {name: table for name, table in found.items() if table is not None}


def load(con: duckdb.DuckDBPyConnection, config: Config) -> list[RawTable]:
    """Read every declared table. The connection may read the declared paths only, from then on.

    Texts in `data.null_values` and NaN become NULL. Raises ConfigError for paths and queries that
    cannot work, DataError for unreadable files and a connection that is lost.
    """
    with _views(con, config) as (raws, queries):
        for raw in raws:
            view = f"FROM {identifier(_view(raw.name))} AS q({_places(raw)})"
            columns = _selected(raw, config.data.null_values)
            with queries.given(con, _view(raw.name), raw.name):
                execute(
                    con, f"CREATE TABLE main.raw_{raw.name} AS SELECT {columns} {view}", raw.source
                )
    return raws


def described(con: duckdb.DuckDBPyConnection, config: Config) -> list[RawTable]:
    """The tables that `load` would create, without reading their rows. Raises as `load` does."""
    with _views(con, config) as (raws, _):
        return raws


@contextmanager
def _views(
    con: duckdb.DuckDBPyConnection, config: Config
) -> Iterator[tuple[list[RawTable], Queries]]:
    """Locks the connection down; for the block there is a view of each declared table.

    Those of PostgreSQL have columns and no rows yet: they flow when the table is read.
    """
    data = config.data
    tables = declared(data)
    paths = {name: config.resolve(path) for name, path in data.raw.items()}
    for name, table in tables.items():
        if table.path is not None:
            paths[_view(name)] = config.resolve(table.path)
    _all_exist(paths)
    readers = {name: reader(files_of(path), data.null_values) for name, path in paths.items()}
    lock_down(con, paths.values())
    _create_views(con, tables, paths, readers)
    asked = {name: table.postgres for name, table in tables.items() if table.postgres is not None}
    with postgres.answered(asked) as queries:
        for name, schema in queries.schemas.items():
            con.register(_view(name), schema.empty_table())
        yield (
            [
                _described(con, name, table, paths.get(_view(name)))
                for name, table in tables.items()
            ],
            queries,
        )
    for name in {*readers, *map(_view, tables)} - set(map(_view, asked)):
        con.execute(f"DROP VIEW {identifier(name)}")
    for name in asked:
        con.unregister(_view(name))


def _origin(name: str, table: TableSource) -> str:
    """The key of the config that says where the rows come from, where it is no path."""
    return f"data.{name}.{'postgres' if table.postgres is not None else 'sql'}"


def _create_views(
    con: duckdb.DuckDBPyConnection,
    declared: dict[str, TableSource],
    paths: dict[str, Path],
    readers: dict[str, str],
) -> None:
    """One view a file, then one a query over them."""
    for name, reader in readers.items():
        # Temporary, so that a raw file may be called `leads`, as our own table will be.
        view = f"CREATE TEMP VIEW {identifier(name)} AS SELECT * FROM {reader}"
        execute(con, view, str(paths[name]))
    for name, table in declared.items():
        if table.sql is not None:
            _require_one_select(con, name, table.sql)
            view = f"CREATE TEMP VIEW {identifier(_view(name))} AS {table.sql}"
            execute(con, view, f"data.{name}.sql")


def _view(table: str) -> str:
    return f"table {table}"


def _described(
    con: duckdb.DuckDBPyConnection, name: str, table: TableSource, path: Path | None
) -> RawTable:
    source = _origin(name, table) if path is None else str(path)
    with reading(source):  # a name in a damaged file need be no text
        described = con.execute(f"DESCRIBE {identifier(_view(name))}").fetchall()
    offered = tuple(row[0] for row in described)
    kept = [(row[0], row[1]) for row in described if row[0] not in table.exclude]
    columns = {theirs: Column(f"c{place}", kind) for place, (theirs, kind) in enumerate(kept)}
    if path is None:
        return RawTable(name, source, table, columns, offered)
    files = files_of(path)
    with reading(source):
        if kind_of(files[0]) == "csv":
            require_divided(con, files, offered)
        twice = repeated(con, files, offered)
    return RawTable(name, source, table, columns, offered, twice)


def _places(raw: RawTable) -> str:
    """SQL: `q0, q1 ...`, a name for each column that the source offers."""
    return ", ".join(f"q{place}" for place in range(len(raw.offered)))


def _selected(raw: RawTable, null_values: tuple[str, ...]) -> str:
    """SQL: the columns to read, by their names in the database."""
    columns = [
        f"{or_null(f'q{place}', raw.columns[theirs].type, null_values)} AS {raw.columns[theirs].sql}"
        for place, theirs in enumerate(raw.offered)
        if theirs in raw.columns
    ]
    return ", ".join(columns) or "NULL"


def or_null(column: str, kind: str, null_values: tuple[str, ...]) -> str:
    """SQL: the column without what means missing."""
    if kind == "VARCHAR":
        missing = ", ".join(literal(value) for value in {"": None, **dict.fromkeys(null_values)})
        return f"CASE WHEN {column} NOT IN ({missing}) THEN {column} END"
    if kind in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN NOT isnan({column}) THEN {column} END"
    return column


def _require_one_select(con: duckdb.DuckDBPyConnection, name: str, sql: str) -> None:
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise ConfigError(f"data.{name}.sql is not SQL that DuckDB reads: {error}") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise ConfigError(
            f"data.{name}.sql holds {kinds}; one SELECT is needed. "
            "Put the whole question into a single query."
        )


def reader(files: Sequence[Path], null_values: tuple[str, ...]) -> str:
    """SQL that reads files of one kind, and no other file that a `*` or `?` in a name would fit."""
    listed = "[" + ", ".join(literal(escape(str(file))) for file in files) + "]"
    if kind_of(files[0]) == "parquet":
        return f"read_parquet({listed}, union_by_name = true)"
    nulls = "[" + ", ".join(literal(value) for value in null_values) + "]"
    return (
        f"read_csv({listed}, all_varchar = true, header = true, union_by_name = true, nullstr = {nulls}, "
        f"{CSV_FORM})"
    )


def files_of(path: Path) -> list[Path]:
    """The files that a declared path stands for. Raises ConfigError, DataError where they cannot be read."""
    if path.is_dir():
        found = sorted(path.rglob("*"))
        files = [file for file in found if kind_of(file) and not file.name.startswith((".", "_"))]
    else:
        files = [path]
    kinds = {kind_of(file) for file in files}
    if kinds == {None}:
        raise ConfigError(f"{path} is neither CSV, CSV.gz nor Parquet. Convert it to one of these.")
    if len(kinds) != 1:
        got = "both CSV and Parquet files" if kinds else "no CSV or Parquet file"
        raise ConfigError(f"folder {path} holds {got}; files of one kind are needed.")
    empty = [str(file) for file in files if file.stat().st_size == 0]
    if empty:
        raise DataError(f"{', '.join(empty)}: an empty file; a header and rows are needed.")
    return files


def kind_of(path: Path) -> str | None:
    """`csv` or `parquet`, by the file's ending; None for others."""
    name = path.name.lower()
    return next((kind for ending, kind in _READERS.items() if name.endswith(ending)), None)


def _all_exist(paths: dict[str, Path]) -> None:
    missing = [
        f"{name.removeprefix('table ')}: {path}"
        for name, path in paths.items()
        if not is_there(path)
    ]
    if missing:
        listed = "\n".join(f"  {line}" for line in missing)
        raise ConfigError(f"declared data is not there:\n{listed}\nCorrect the paths under `data`.")


def execute(con: duckdb.DuckDBPyConnection, statement: str, source: str) -> None:
    """Run a statement that reads `source`. Raises as `reading` does."""
    with reading(source):
        con.execute(statement)


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Raises ConfigError for queries that do not fit the data, DataError for files that cannot be read."""
    try:
        yield
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
        raise ConfigError(f"{source}: the query does not fit the data: {error}") from error
    except duckdb.PermissionException as error:
        raise ConfigError(
            f"{source}: a query may read the files under data.raw only: {error}"
        ) from error
    except duckdb.OutOfMemoryException:
        raise  # no fault of the file: see database.opened
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # the last two: read through Arrow
        raise DataError(
            f"{source} cannot be read: {_shortened(str(error))}{_form(source)}"
        ) from error


def _shortened(message: str) -> str:
    """Without DuckDB's advice on its own options and our own SQL; a line may quote a whole cell of the file."""
    lines = message.split("\nPossible")[0].split("\n\nLINE 1: CREATE")[0].strip().splitlines()
    kept = lines if len(lines) <= 8 else [*lines[:4], "...", *lines[-3:]]
    return "\n".join(f"{line[:300]} ..." if len(line) > 300 else line for line in kept)


def _form(source: str) -> str:
    if source.lower().endswith(".parquet"):
        return "\nWrite the file again: it is damaged, or no Parquet."
    return "\nCSV must be UTF-8 with one header line and as many fields in every line."

"""Declared sources -> raw tables in DuckDB, every row as it came."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from lead_propensity.config import Config, TableSource
from lead_propensity.data.engine import identifier, literal, lock_down
from lead_propensity.errors import ConfigError, DataError

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

    @property
    def sql_name(self) -> str:
        return f"raw_{self.name}"


def load(con: duckdb.DuckDBPyConnection, config: Config) -> list[RawTable]:
    """Read every declared table. The connection may read the declared paths only, from then on.

    Texts in `data.null_values` and NaN become NULL. Raises ConfigError for paths and queries that
    cannot work, DataError for unreadable files.
    """
    data = config.data
    declared: dict[str, TableSource] = {
        name: table for name in (*HISTORY, "exported") if (table := getattr(data, name)) is not None
    }
    paths = {name: config.resolve(path) for name, path in data.raw.items()}
    for name, table in declared.items():
        if table.path is not None:
            paths[_view(name)] = config.resolve(table.path)
    _all_exist(paths)
    readers = {name: _reader(path, data.null_values) for name, path in paths.items()}
    lock_down(con, paths.values())
    _create_views(con, declared, paths, readers)
    raws = []
    for name, table in declared.items():
        source = str(paths.get(_view(name), f"data.{name}.sql"))
        raws.append(_materialise(con, name, table, source, data.null_values))
    for name in {*readers, *map(_view, declared)}:
        con.execute(f"DROP VIEW {identifier(name)}")
    return raws


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
        _run(con, view, str(paths[name]))
    for name, table in declared.items():
        if table.sql is not None:
            _require_one_select(con, name, table.sql)
            view = f"CREATE TEMP VIEW {identifier(_view(name))} AS {table.sql}"
            _run(con, view, f"data.{name}.sql")


def _view(table: str) -> str:
    return f"table {table}"


def _materialise(
    con: duckdb.DuckDBPyConnection,
    name: str,
    table: TableSource,
    source: str,
    null_values: tuple[str, ...],
) -> RawTable:
    view = identifier(_view(name))
    described = [(row[0], row[1]) for row in con.execute(f"DESCRIBE {view}").fetchall()]
    columns: dict[str, Column] = {}
    selected = []
    for place, (theirs, kind) in enumerate(described):
        if theirs in table.exclude:
            continue
        columns[theirs] = Column(f"c{len(columns)}", kind)
        selected.append(f"{_or_null(f'q{place}', kind, null_values)} AS {columns[theirs].sql}")
    aliases = ", ".join(f"q{place}" for place in range(len(described)))
    _run(
        con,
        f"CREATE TABLE main.raw_{name} AS SELECT {', '.join(selected) or 'NULL'} FROM {view} AS q({aliases})",
        source,
    )
    return RawTable(name, source, table, columns, tuple(theirs for theirs, _ in described))


def _or_null(column: str, kind: str, null_values: tuple[str, ...]) -> str:
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


def _reader(path: Path, null_values: tuple[str, ...]) -> str:
    """SQL that reads the files. Only the delimiter of CSV is guessed: a guess of more loses lines."""
    files = _files(path)
    listed = "[" + ", ".join(literal(str(file)) for file in files) + "]"
    if _format(files[0]) == "parquet":
        return f"read_parquet({listed}, union_by_name = true)"
    nulls = "[" + ", ".join(literal(value) for value in null_values) + "]"
    return (
        f"read_csv({listed}, all_varchar = true, header = true, union_by_name = true, nullstr = {nulls}, "
        "quote = '\"', escape = '\"', comment = '', skip = 0, sample_size = 20480)"
    )


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(path.rglob("*"))
        files = [file for file in found if _format(file) and not file.name.startswith((".", "_"))]
    else:
        files = [path]
    kinds = {_format(file) for file in files}
    if kinds == {None}:
        raise ConfigError(f"{path} is neither CSV, CSV.gz nor Parquet. Convert it to one of these.")
    if len(kinds) != 1:
        got = "both CSV and Parquet files" if kinds else "no CSV or Parquet file"
        raise ConfigError(f"folder {path} holds {got}; files of one kind are needed.")
    empty = [str(file) for file in files if file.stat().st_size == 0]
    if empty:
        raise DataError(f"{', '.join(empty)}: an empty file; a header and rows are needed.")
    return files


def _format(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for ending, kind in _READERS.items() if name.endswith(ending)), None)


def _all_exist(paths: dict[str, Path]) -> None:
    missing = [
        f"{name.removeprefix('table ')}: {path}"
        for name, path in paths.items()
        if not path.exists()
    ]
    if missing:
        listed = "\n".join(f"  {line}" for line in missing)
        raise ConfigError(f"declared data is not there:\n{listed}\nCorrect the paths under `data`.")


def _run(con: duckdb.DuckDBPyConnection, statement: str, source: str) -> None:
    try:
        con.execute(statement)
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
        raise ConfigError(f"{source}: the query does not fit the data: {error}") from error
    except duckdb.PermissionException as error:
        raise ConfigError(
            f"{source}: a query may read the files under data.raw only: {error}"
        ) from error
    except duckdb.OutOfMemoryException:
        raise  # no fault of the file: see database.opened
    except duckdb.Error as error:
        message = str(error).split("\nPossible")[0].strip()
        raise DataError(
            f"{source} cannot be read: {message}\n"
            "CSV must be UTF-8 with one header line and as many fields in every line."
        ) from error

"""PostgreSQL: the connection that the environment names, and queries that stream as Arrow.

All queries of a run go through one read-only transaction and see the tables of one moment. Rows are
handed on in batches as the server sends them; a run holds no more than one batch of them itself.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from lead_propensity.config.credentials import POSTGRES, without_secrets
from lead_propensity.errors import ConfigError, DataError, LeadPropensityError

CONNECT_SECONDS = 30
"""So long a server may take to answer at first, unless the connection says otherwise."""
_AS_IT_IS = (
    *(pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string()),
    *(pa.timestamp("us"), pa.timestamp("us", tz="UTC"), pa.date32()),
)
"""Types that mean in Arrow what they mean in PostgreSQL."""
_LOST = ("08", "57P", "25P03", "25P04")
"""SQLSTATEs of a connection that the server or the network ended."""


@contextmanager
def connected(*variables: str, purpose: str, autocommit: bool = False) -> Iterator[Any]:
    """A DBAPI connection to the database that the first set one of `variables` names.

    Without any, libpq finds it: PGSERVICE, PGHOST, PGPASSWORD, PGSSLMODE and the others, `.pgpass`.
    Raises ConfigError where the driver is missing or the server does not let us in; no error tells a
    password.
    """
    driver = _driver(purpose)
    told = next((name for name in variables if os.environ.get(name)), None)
    try:
        con = driver.connect(_address(told and os.environ[told]), autocommit=autocommit)
    except driver.Error as error:
        where = f"the environment variable {told}" if told else "libpq's own settings (PGHOST ...)"
        raise ConfigError(
            f"{purpose}: no connection to PostgreSQL by {where}: {message(error)}\n"
            f"Name the database in {variables[-1]}, e.g. postgresql://user@host/database?sslmode=verify-full, or in "
            "a libpq service file (PGSERVICE); keep the password in PGPASSFILE or percent-encode it in the address."
        ) from None  # the driver's own words may quote the address
    try:
        with telling(purpose, "Nothing was done."):
            execute(con, "SET client_encoding TO 'UTF8'")
            execute(con, "SET TimeZone TO 'UTC'")
            execute(con, "SET application_name TO 'lead-propensity'")
            if not autocommit:
                con.commit()
        yield con
    finally:
        con.close()


def execute(con: Any, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """Run a statement; its rows, or none. Raises the driver's errors: see `telling`."""
    with con.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


def message(error: BaseException) -> str:
    """What the server said, without the driver's words, the query, the rows and any password."""
    lines = str(error).partition("\nQuery was:")[0].splitlines()
    first = re.sub(r"^[A-Z_]+: (\[libpq\] )?", "", lines[0] if lines else "")
    first = re.sub(r"^.*?(?=(ERROR|FATAL|PANIC): )", "", first)
    hints = [line.strip() for line in lines[1:] if line.startswith("HINT:")]
    first = re.sub(r"\. SQLSTATE: \w+$", "", first)
    return without_secrets(" ".join(" ".join((first, *hints)).split()))


def is_lost(error: BaseException) -> bool:
    """Whether the connection ended, rather than a statement failed."""
    state = getattr(error, "sqlstate", None)
    if state:
        return str(state).startswith(_LOST)
    ended = r"(FATAL|PANIC): |closed the connection|connection.*(lost|reset)|no connection"
    return bool(re.search(ended, str(error)))


@contextmanager
def telling(what: str, then: str, *also: type[Exception]) -> Iterator[None]:
    """Raises for the driver's errors (and `also`) ConfigError, or DataError where the connection is lost.

    `what` was done, and `then` how things stand.
    """
    try:
        yield
    except (_driver(what).Error, *also) as error:
        if is_lost(error):
            raise DataError(
                f"{what}: the connection to PostgreSQL was lost: {message(error)}\n{then} Run it again."
            ) from None  # the driver's own words may quote the query and the address
        raise ConfigError(
            f"{what}: PostgreSQL refuses: {message(error)}\n{then} Correct this, or what the user may do."
        ) from None


class Queries:
    """Queries of one run by the name of their table, all answered in one read-only transaction."""

    def __init__(self) -> None:
        self.schemas: dict[str, pa.Schema] = {}
        """What each query gives, by their column names."""
        self._selects: dict[str, str] = {}
        self._con: Any = None
        self._errors: tuple[type[BaseException], ...] = ()

    def ask(self, con: Any, queries: Mapping[str, str]) -> None:
        """Let the server look at the queries. Raises ConfigError where it cannot compute one."""
        self._con, self._errors = con, (_driver("").Error, pa.ArrowException, OSError)
        with _reading(next(iter(queries))):
            execute(con, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for name, query in queries.items():
            with _reading(name):
                self.schemas[name], self._selects[name] = self._described(name, query)

    def _described(self, name: str, query: str) -> tuple[pa.Schema, str]:
        # The line break ends a comment; the brackets keep out what is no SELECT, and a second statement.
        inner = f"({query.strip().rstrip(';')}\n) AS q"
        with self._con.cursor() as cursor:
            theirs = cursor.adbc_execute_schema(f"SELECT * FROM {inner}")
            _refuse_names(name, theirs.names)
            places = [f"q{place}" for place in range(len(theirs))]
            read = [_readable(column, field) for column, field in zip(places, theirs, strict=True)]
            select = f"SELECT {', '.join(read)} FROM {inner}({', '.join(places)})"
            ours = cursor.adbc_execute_schema(select)
        schema = pa.schema([(told.name, got.type) for told, got in zip(theirs, ours, strict=True)])
        return schema, select

    @contextmanager
    def given(self, con: duckdb.DuckDBPyConnection, view: str, name: str) -> Iterator[None]:
        """The rows of a query as `view` of a DuckDB connection, to be read once within the block.

        Nothing is done for a table that is no query. Raises ConfigError for what the server cannot
        compute, DataError for a connection that is lost.
        """
        if name not in self._selects:
            yield
            return
        failed: list[BaseException] = []
        with _reading(name), self._con.cursor() as cursor:
            cursor.execute(self._selects[name])
            batches = self._batches(cursor.fetch_record_batch(), self.schemas[name], failed)
            con.register(view, pa.RecordBatchReader.from_batches(self.schemas[name], batches))
            try:
                yield
            except LeadPropensityError as error:
                raise (failed[0] if failed else error) from None

    def _batches(
        self, reader: Any, schema: pa.Schema, failed: list[BaseException]
    ) -> Iterator[pa.RecordBatch]:
        """The rows under their names. DuckDB forgets what kind of error it met: kept in `failed`."""
        try:
            for batch in reader:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except self._errors as error:
            failed.append(error)
            raise


def _reading(name: str) -> AbstractContextManager[None]:
    return telling(f"data.{name}.postgres", "Nothing was written.", pa.ArrowException, OSError)


@contextmanager
def answered(queries: Mapping[str, str]) -> Iterator[Queries]:
    """The queries on one connection, for the block; no connection where there are none."""
    asked = Queries()
    if not queries:
        yield asked
        return
    source = " and ".join(f"data.{name}.postgres" for name in queries)
    with connected(POSTGRES, purpose=source) as con:
        asked.ask(con, queries)
        yield asked


def _readable(column: str, field: pa.Field) -> str:
    """SQL: the column as one of the types that every source may have; exact numbers as text, as in a CSV."""
    told = field.metadata or {}
    kind = told.get(b"POSTGRESQL:type", told.get(b"ADBC:postgresql:typname", b"")).decode()
    if kind == "numeric":
        return f"trim_scale(nullif({column}, 'NaN'))::text"
    # Money comes as a number of cents, char(n) with blanks at its end.
    as_it_is = field.type in _AS_IT_IS and kind not in ("money", "bpchar")
    return column if as_it_is else f"{column}::text"


def _refuse_names(name: str, columns: list[str]) -> None:
    lowered = [column.lower() for column in columns]
    twice = sorted({one for one in lowered if lowered.count(one) > 1})
    if twice or not columns:
        got = f"the column {twice[0]!r} twice" if twice else "no column"
        raise ConfigError(
            f"data.{name}.postgres gives {got}; each column needs a name of its own. Use `AS`."
        )


def _address(told: str | None) -> str:
    """What libpq is asked to open. One that says nothing of it gets a time limit for the first answer."""
    address = (told or "postgresql://").strip()
    elsewhere = "PGCONNECT_TIMEOUT" in os.environ or "PGSERVICE" in os.environ
    if elsewhere or "connect_timeout" in address or "service=" in address:
        return address
    limit = f"connect_timeout={CONNECT_SECONDS}"
    if "://" not in address:
        return f"{address} {limit}"
    return f"{address}{'&' if '?' in address else '?'}{limit}"


def _driver(purpose: str) -> Any:
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the PostgreSQL driver, which is not installed. "
            "Install it: pip install 'lead-propensity[postgres]'."
        ) from error
    return dbapi

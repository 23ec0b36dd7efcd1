"""Scores in a table of PostgreSQL, keyed by lead and moment: staged first, then put in place at once.

A run's rows go by COPY into a temporary table that dies with its connection. One transaction then
inserts or updates them and deletes what the same moment held besides: before its commit readers see all
old rows, after it all new ones.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from lead_propensity.config.credentials import POSTGRES, POSTGRES_SINK
from lead_propensity.data.engine import identifier, literal
from lead_propensity.data.moments import iso
from lead_propensity.data.postgres import connected, execute, telling
from lead_propensity.errors import ConfigError
from lead_propensity.serving.before import BEFORE
from lead_propensity.serving.naming import Naming
from lead_propensity.serving.score_table import Found, created, differences, looked_up

KEY = ("as_of", "lead_id")
"""In this order: a night's rows lie together, and are found by their moment alone."""
ROWS_AT_ONCE = 50_000
"""Of a piece are sent in one batch."""
PATIENCE_SECONDS = 10
"""So long a run waits for another one: the server needs a moment to see that a killed one is gone."""
UNCHANGED = "The table holds the rows that it held before."
UNKNOWN = "Nobody knows whether the last step was done: the table holds all old rows of this moment, or all new ones."
_STAGED = "lead_propensity_staged"


@dataclass(frozen=True)
class TableName:
    """A table, and its schema where one is given; both are taken letter by letter."""

    schema: str | None
    table: str

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Of `table` or `schema.table`. Raises ConfigError for another text."""
        schema, _, table = text.rpartition(".")
        parts = [part for part in (schema, table) if part or "." in text]
        if not table or "." in schema or any(not 0 < len(part.encode()) < 64 for part in parts):
            raise ConfigError(
                f"--out postgres:{text} names no table; give postgres:TABLE or postgres:SCHEMA.TABLE, "
                "each name of at most 63 bytes and without a point."
            )
        return cls(schema or None, table)

    def __str__(self) -> str:
        return f"postgres:{f'{self.schema}.' if self.schema else ''}{self.table}"


@contextmanager
def opened(
    name: TableName, naming: Naming, as_exported: bool, dry_run: bool = False
) -> Iterator["TableSink"]:
    """The table, checked, and for the block this run's alone; a dry run only looks.

    Raises ConfigError where the server cannot be reached, another run writes the table, or it does not
    fit: then with every difference.
    """
    keys = tuple(naming.columns[column] for column in KEY)
    with connected(POSTGRES_SINK, POSTGRES, purpose=f"--out {name}", autocommit=True) as con:
        with telling(f"--out {name}", UNCHANGED):
            found = looked_up(con, name.schema, name.table)
            if not dry_run:
                _lock(con, found, name)
                found = looked_up(con, name.schema, name.table)  # as the run before us left it
            problems = differences(con, found, naming, keys, as_exported)
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise ConfigError(
                f"--out {name} cannot take the scores:\n{listed}\n"
                "Mend the table, or name one that is not there: it will be created."
            )
        yield TableSink(con, name, found, naming, keys, as_exported)


@dataclass(frozen=True)
class TableSink:
    """A checked table and the connection that holds its lock."""

    con: Any
    name: TableName
    found: Found
    naming: Naming
    keys: tuple[str, ...]
    as_exported: bool

    def outlook(self, moment: int | None) -> tuple[str, ...]:
        if not self.found.exists:
            return (f"The table {self.found.sql} would be created:", self._creation())
        replaced = f"SELECT count(*) FROM {self.found.sql} AS t WHERE {self._same_moment(moment)}"
        with telling(f"--out {self.name}", UNCHANGED):
            rows = execute(self.con, replaced)[0][0]
        at = "without a moment" if moment is None else f"of {iso(moment)}"
        columns = f"Columns: {', '.join(self.naming.schema.names)}."
        return (
            f"The table {self.found.sql} fits; its {rows:,} rows {at} would be replaced.",
            columns,
        )

    def previous(self, moment: int | None) -> Iterator[pa.Table]:
        """Those of the latest moment before, streamed; nothing where the table is not there."""
        if moment is None or not self.found.exists:
            return
        (as_of, lead_id), band = map(identifier, self.keys), identifier(self.naming.columns["band"])
        table, then = self.found.sql, literal(iso(moment))
        asked = (
            f"SELECT {lead_id}::text AS lead_id, {band}::text AS band FROM {table} WHERE {as_of} = "
            f"(SELECT max({as_of}) FROM {table} WHERE {as_of} < {then})"
        )
        with telling(f"--out {self.name}", UNCHANGED), self.con.cursor() as cursor:
            cursor.execute(asked)
            for batch in cursor.fetch_record_batch():
                yield pa.table(batch.columns, schema=BEFORE)

    def write(self, pieces: Iterable[pa.Table], moment: int | None) -> None:
        with telling(f"--out {self.name}", UNCHANGED):
            self._stage(pieces)
            self.con.adbc_connection.set_autocommit(False)
            if not self.found.exists:
                execute(self.con, self._creation())
            execute(self.con, self._removal(moment))
            execute(self.con, self._upsert())
        with telling(f"--out {self.name}", UNKNOWN):
            self.con.adbc_connection.commit()

    def _stage(self, pieces: Iterable[pa.Table]) -> None:
        columns = ", ".join(
            f"{identifier(field.name)} {created(field.type)}" for field in self.naming.schema
        )
        execute(self.con, f"CREATE TEMPORARY TABLE {_STAGED} ({columns})")
        for piece in pieces:
            batches = self.naming.table(piece).to_batches(max_chunksize=ROWS_AT_ONCE)
            rows = pa.RecordBatchReader.from_batches(self.naming.schema, batches)
            with self.con.cursor() as cursor:
                cursor.adbc_ingest(_STAGED, rows, mode="append", temporary=True)
        execute(self.con, f"ANALYZE {_STAGED}")  # else the server plans for an empty table

    def _creation(self) -> str:
        """SQL that makes the table. The moment is null where rows have none, and counts as equal then."""
        keys = ", ".join(map(identifier, self.keys))
        needed = self.keys[1:] if self.as_exported else self.keys
        columns = [
            f"{identifier(field.name)} {created(field.type)}{' NOT NULL' if field.name in needed else ''}"
            for field in self.naming.schema
        ]
        key = f"UNIQUE NULLS NOT DISTINCT ({keys})" if self.as_exported else f"PRIMARY KEY ({keys})"
        return f"CREATE TABLE {self.found.sql} ({', '.join([*columns, key])})"

    def _removal(self, moment: int | None) -> str:
        """SQL: of the same moment the leads that are not scored any more."""
        as_of, lead_id = map(identifier, self.keys)
        same = self._same_moment(moment)
        if moment is None:  # each row has its own
            same += f" OR t.{as_of} IN (SELECT s.{as_of} FROM {_STAGED} AS s)"
        return (
            f"DELETE FROM {self.found.sql} AS t WHERE ({same}) AND NOT EXISTS "
            f"(SELECT FROM {_STAGED} AS s WHERE s.{lead_id} = t.{lead_id} AND s.{as_of} IS NOT DISTINCT FROM t.{as_of})"
        )

    def _same_moment(self, moment: int | None) -> str:
        as_of = identifier(self.keys[0])
        return f"t.{as_of} IS NULL" if moment is None else f"t.{as_of} = {literal(iso(moment))}"

    def _upsert(self) -> str:
        names = self.naming.schema.names
        columns, keys = ", ".join(map(identifier, names)), ", ".join(map(identifier, self.keys))
        values = ", ".join(
            f"{identifier(one.name)}::{self.found.columns.get(one.name, created(one.type))}"
            for one in self.naming.schema
        )
        changed = ", ".join(
            f"{identifier(one)} = excluded.{identifier(one)}"
            for one in names
            if one not in self.keys
        )
        return (
            f"INSERT INTO {self.found.sql} ({columns}) SELECT {values} FROM {_STAGED} "
            f"ON CONFLICT ({keys}) DO UPDATE SET {changed}"
        )


def _lock(con: Any, found: Found, name: TableName) -> None:
    """Hold the table against other runs until the connection ends, however it ends."""
    key = f"hashtextextended({literal('lead-propensity ' + found.sql)}, 0)"
    until = time.monotonic() + PATIENCE_SECONDS
    while not execute(con, f"SELECT pg_try_advisory_lock({key})")[0][0]:
        if time.monotonic() > until:
            raise ConfigError(
                f"--out {name}: another run is writing this table{_holder(con, key)}. Wait until it has ended."
            )
        time.sleep(0.2)


def _holder(con: Any, key: str) -> str:
    rows = execute(
        con,
        f"""SELECT a.pid::bigint, a.backend_start::timestamptz(0)::text
            FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
            WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
              AND l.classid::bigint << 32 | l.objid::bigint = {key}""",
    )
    return "".join(f" (the server's process {pid}, connected since {since})" for pid, since in rows)

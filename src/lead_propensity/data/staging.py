"""Raw columns -> our columns, typed: times as microseconds UTC, numbers as doubles, the rest as text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import duckdb

from lead_propensity.config import DataConfig, ExportedSource
from lead_propensity.data.contract import NUMBERS, OPTIONAL, REQUIRED, TIMES, their_column
from lead_propensity.data.engine import literal
from lead_propensity.data.sources import Column, RawTable
from lead_propensity.data.values import (
    is_time,
    is_zoneless,
    key_expression,
    number_expression,
    time_expression,
)


@dataclass(frozen=True)
class Zoneless:
    """Times of one column that carry no zone, and none is declared."""

    table: str
    source: str
    column: str
    count: int
    example: str

    def __str__(self) -> str:
        return (
            f"{self.table}.{self.column}: {self.count} times carry no zone, e.g. {self.example!r} "
            f"({self.source}). Declare it: data.timezone: UTC, or a name like Europe/Berlin."
        )

    @classmethod
    def sum(cls, several: Sequence[Self]) -> Self:
        """Of one column, found in several parts of the rows."""
        first = min(several, key=lambda one: one.example)
        return replace(first, count=sum(one.count for one in several))


def stage(con: duckdb.DuckDBPyConnection, raw: RawTable, data: DataConfig) -> list[str | Zoneless]:
    """Create `staged_<table>(row, ...)`: our columns, NULL where unreadable. Returns what stops the run."""
    problems: list[str | Zoneless] = []
    columns = []
    for ours in (*REQUIRED[raw.name], *OPTIONAL[raw.name]):
        theirs = their_column(raw, ours)
        if theirs is not None and ours in TIMES:
            problems += _time_problems(con, raw, ours, theirs, data.timezone)
        columns.append(f"{_typed(raw.name, ours, theirs, data.timezone)} AS {ours}")
    if isinstance(raw.declared, ExportedSource):
        if raw.declared.order_by is not None and not _counts(con, raw, raw.declared.order_by):
            order = raw.columns[raw.declared.order_by]
            problems += _time_problems(con, raw, raw.declared.order_by, order, data.timezone)
        columns += _exported_columns(con, raw, raw.declared, data)
    if not problems:
        con.execute(
            f"CREATE TABLE staged_{raw.name} AS SELECT rowid AS row, {', '.join(columns)} FROM {raw.sql_name}"
        )
    return problems


def _typed(table: str, ours: str, theirs: Column | None, zone: str | None) -> str:
    if ours in TIMES:
        return time_expression(theirs.sql, theirs.type, zone) if theirs else "NULL::BIGINT"
    if ours in NUMBERS.get(table, ()):
        return number_expression(theirs.sql) if theirs else "NULL::DOUBLE"
    return key_expression(theirs.sql, theirs.type) if theirs else "NULL::VARCHAR"


def _time_problems(
    con: duckdb.DuckDBPyConnection, raw: RawTable, ours: str, theirs: Column, zone: str | None
) -> list[str | Zoneless]:
    if not is_time(theirs.type):
        filled = con.execute(f"SELECT count({theirs.sql}) FROM {raw.sql_name}").fetchall()[0][0]
        problem = (
            f"{raw.name}.{ours}: {raw.source} holds {theirs.type}, times are needed. "
            "Convert them in a `sql:` source, e.g. to_timestamp(seconds)."
        )
        return [problem] if filled else []
    if zone is not None:
        return []
    count, example = con.execute(
        f"SELECT count(*), min(CAST({theirs.sql} AS VARCHAR)) FROM {raw.sql_name} "
        f"WHERE {is_zoneless(theirs.sql, theirs.type)}"
    ).fetchall()[0]
    return [Zoneless(raw.name, raw.source, ours, count, example)] if count else []


def _exported_columns(
    con: duckdb.DuckDBPyConnection, raw: RawTable, source: ExportedSource, data: DataConfig
) -> list[str]:
    column = "NULL" if source.outcome is None else raw.columns[source.outcome].sql
    outcome = f"CAST({column} AS VARCHAR)"
    won = ", ".join(literal(value) for value in source.won)
    columns = [
        f"CASE WHEN {outcome} IS NULL THEN NULL WHEN {outcome} IN ({won}) THEN 1.0 ELSE 0.0 END AS won"
    ]
    if source.order_by is None:
        return [*columns, "rowid::DOUBLE AS order_value", "-1::BIGINT AS as_of"]
    order = raw.columns[source.order_by]
    if _counts(con, raw, source.order_by):
        return [*columns, f"{number_expression(order.sql)} AS order_value", "-1::BIGINT AS as_of"]
    time = time_expression(order.sql, order.type, data.timezone)
    return [*columns, f"({time})::DOUBLE AS order_value", f"coalesce({time}, -1) AS as_of"]


def _counts(con: duckdb.DuckDBPyConnection, raw: RawTable, theirs: str) -> bool:
    """Whether the column holds numbers rather than times."""
    column = raw.columns[theirs]
    if not is_time(column.type):
        return True
    if column.type != "VARCHAR":
        return False
    numbers, times = con.execute(
        f"SELECT count({number_expression(column.sql)}), count({time_expression(column.sql, column.type, None)}) "
        f"FROM {raw.sql_name}"
    ).fetchall()[0]
    return bool(numbers > times)

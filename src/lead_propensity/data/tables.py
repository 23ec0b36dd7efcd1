"""The contracts of leads, attributes, events and deals: every violation listed, bad rows set aside.

Times become int64 microseconds UTC, texts stay texts. A row that breaks the contract goes to
`quarantine_<table>` with its reason; what no row can mend stops the run.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from lead_propensity.config import Config, DataConfig, DealsSource, ExportedSource
from lead_propensity.data import sources
from lead_propensity.data.contract import column_problems
from lead_propensity.data.engine import count_rows
from lead_propensity.data.moments import ending
from lead_propensity.data.parts import Check, Part, TableCount, whole
from lead_propensity.data.quarantine import Finding, findings_of, judge, keep
from lead_propensity.data.sources import RawTable
from lead_propensity.data.staging import Zoneless, stage
from lead_propensity.files import write_parquet

__all__ = ["Check", "TableCount", "check", "check_part", "check_rows", "write_quarantine"]


def check(con: duckdb.DuckDBPyConnection, config: Config) -> Check:
    """Load the declared tables and hold them to their contracts.

    Leaves `leads(lead_id, created_at, group_id)`, `lead_attributes(lead_id, ...)`, `attributes`, `events`,
    `deals` and `unclear_leads(lead_id)` (whose deal was set aside, so that nobody knows how they ended),
    or `exported(lead_id, group_id, won, order_value, as_of)` in the database, and `quarantine_<table>`
    for each. A lead without a group is one of its own: `lead:<lead_id>`, or, where no group column is
    declared, its `lead_id`. Nothing is raised for bad rows: see `Check.problems`.
    """
    return check_rows(con, sources.load(con, config), config)


def check_rows(con: duckdb.DuckDBPyConnection, raws: Sequence[RawTable], config: Config) -> Check:
    """The same for raw tables that are in the database already."""
    part, unlearnable = _judged(con, raws, config)
    found = whole([part], raws, config, part.end)
    return replace(found, unlearnable=tuple(unlearnable))


def check_part(con: duckdb.DuckDBPyConnection, raws: Sequence[RawTable], config: Config) -> Part:
    """The same for all rows of some leads, to be added up by `parts.whole`.

    Every rule looks at the rows of one lead, so a lead's rows are judged in a part as in the whole.
    A table may be empty in a part. `data.exported_at` is to be declared: a part cannot see the end.
    """
    return _judged(con, raws, config)[0]


def _judged(
    con: duckdb.DuckDBPyConnection, raws: Sequence[RawTable], config: Config
) -> tuple[Part, list[str]]:
    broken = {raw.name: tuple(_table_problems(con, raw, config.data)) for raw in raws}
    usable = [] if broken.get("leads") else [raw for raw in raws if not broken[raw.name]]
    end = ending(con, config.data, [raw.name for raw in usable])
    findings: list[Finding] = []
    for raw in usable:
        judge(con, raw, config.data, end.at)
        findings += findings_of(con, raw)
        keep(con, raw, end.at)
    rows = {raw.name: count_rows(con, raw.sql_name) for raw in raws}
    counts = [TableCount(r.name, r.source, rows[r.name], count_rows(con, r.name)) for r in usable]
    unlearnable = [text for raw in usable if rows[raw.name] for text in _one_class(con, raw)]
    names = _version_names(con) if "attributes" in {raw.name for raw in usable} else ()
    _tidy(con, raws)
    return Part(rows, broken, tuple(counts), tuple(findings), names, end), unlearnable


def _table_problems(
    con: duckdb.DuckDBPyConnection, raw: RawTable, data: DataConfig
) -> Sequence[str | Zoneless]:
    return list(column_problems(raw)) or stage(con, raw, data)


def write_quarantine(con: duckdb.DuckDBPyConnection, check: Check, folder: Path) -> None:
    """Write the rows set aside, as they came plus `reason`, to `folder/<table>.parquet`."""
    for table in sorted({finding.table for finding in check.quarantined}):
        rows = con.sql(f"SELECT * FROM quarantine_{table} ORDER BY ALL").to_arrow_table()
        write_parquet(rows, folder / f"{table}.parquet")


def _tidy(con: duckdb.DuckDBPyConnection, raws: Sequence[RawTable]) -> None:
    """Drop what only the check needs, and add empty tables where none are declared."""
    for raw in raws:
        con.execute(f"DROP TABLE IF EXISTS staged_{raw.name}")
        con.execute(f"DROP TABLE IF EXISTS judged_{raw.name}; DROP TABLE {raw.sql_name}")
    shapes = {
        "attributes": "lead_id VARCHAR, attribute VARCHAR, value VARCHAR, known_at BIGINT",
        "events": "lead_id VARCHAR, occurred_at BIGINT, event_type VARCHAR, channel VARCHAR, topic VARCHAR, "
        "value DOUBLE, known_at BIGINT",
        "unclear_leads": "lead_id VARCHAR",
    }
    for name in set(shapes) - {raw.name for raw in raws}:
        con.execute(f"CREATE TABLE IF NOT EXISTS {name} ({shapes[name]})")


def _version_names(con: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    rows = con.execute("SELECT DISTINCT attribute FROM attributes ORDER BY 1").fetchall()
    return tuple(row[0] for row in rows)


def _one_class(con: duckdb.DuckDBPyConnection, raw: RawTable) -> list[str]:
    """Why nothing could be learned. In a history the leads without a deal are the ones not won."""
    if not isinstance(raw.declared, DealsSource | ExportedSource):
        return []
    won, lost = con.execute(
        f"SELECT count(*) FILTER (won::BOOLEAN), count(*) FILTER (NOT won::BOOLEAN) FROM {raw.name}"
    ).fetchall()[0]
    exported = isinstance(raw.declared, ExportedSource)
    theirs = raw.declared.outcome if isinstance(raw.declared, ExportedSource) else "outcome"
    if theirs is None or (won and (lost or not exported)):
        return []
    needed = "both" if exported else "at least one that was won"
    column = raw.columns[raw.declared.columns.get(theirs, theirs)].sql
    values = con.execute(
        f"SELECT CAST({column} AS VARCHAR), count(*) FROM {raw.sql_name} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
    ).fetchall()
    seen = ", ".join(f"{value!r} ({count} rows)" for value, count in values)
    return [
        f"{raw.name}.outcome: {won} won and {lost} lost; a model needs {needed}. {raw.source} holds {seen}; "
        f"data.{raw.name}.won is {list(raw.declared.won)}."
    ]

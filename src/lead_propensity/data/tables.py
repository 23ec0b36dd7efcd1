"""The contracts of leads, attributes, events and deals: every violation listed, bad rows set aside.

Times become int64 microseconds UTC, texts stay texts. A row that breaks the contract goes to
`quarantine_<table>` with its reason; what no row can mend stops the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lead_propensity.config import Config, DataConfig, DealsSource, ExportedSource
from lead_propensity.data import sources
from lead_propensity.data.contract import attribute_columns, column_problems, name_problems
from lead_propensity.data.engine import count_rows
from lead_propensity.data.moments import ending
from lead_propensity.data.quarantine import Finding, findings_of, judge, keep
from lead_propensity.data.sources import RawTable
from lead_propensity.data.staging import stage
from lead_propensity.errors import DataError
from lead_propensity.files import write_parquet


@dataclass(frozen=True)
class TableCount:
    table: str
    source: str
    rows: int
    kept: int


@dataclass(frozen=True)
class Check:
    """What the contracts found. `rows` of a table = `kept` + its quarantined findings."""

    counts: tuple[TableCount, ...]
    """Of the tables whose rows could be judged: all of them, unless there are problems."""
    quarantined: tuple[Finding, ...]
    problems: tuple[str, ...]
    """What stops the run; empty when the tables can be used."""
    exported_at: int
    """int64 microseconds UTC; -1 as exported."""
    ends_by: str = ""
    """Why the data ends then, in words: what was declared, or whose time is the latest."""
    unlearnable: tuple[str, ...] = ()
    """What stops learning only: without a won or a lost deal, leads can still be scored."""

    def raise_problems(self, learning: bool = False) -> None:
        """Raises DataError with every problem that stops the run."""
        problems = (*self.problems, *self.unlearnable) if learning else self.problems
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise DataError(f"the data breaks its contract:\n{listed}")


def check(con: duckdb.DuckDBPyConnection, config: Config) -> Check:
    """Load the declared tables and hold them to their contracts.

    Leaves `leads(lead_id, created_at, group_id)`, `lead_attributes(lead_id, ...)`, `attributes`, `events`,
    `deals` and `unclear_leads(lead_id)` (whose deal was set aside, so that nobody knows how they ended),
    or `exported(lead_id, group_id, won, order_value, as_of)` in the database, and `quarantine_<table>`
    for each. A lead without a group is one of its own: `lead:<lead_id>`, or, where no group column is
    declared, its `lead_id`. Nothing is raised for bad rows: see `Check.problems`.
    """
    raws = sources.load(con, config)
    found = {raw.name: _table_problems(con, raw, config.data) for raw in raws}
    problems = [*_of_config(config), *(problem for raw in raws for problem in found[raw.name])]
    # Without usable leads every other row would be an orphan: nothing is learned by judging it.
    usable = [] if found.get("leads") else [raw for raw in raws if not found[raw.name]]
    end = ending(con, config.data, [raw.name for raw in usable])
    problems += [end.problem] if end.problem else []
    findings: list[Finding] = []
    for raw in usable:
        judge(con, raw, config.data, end.at)
        findings += findings_of(con, raw)
        keep(con, raw, end.at)
    counts = [_count(con, raw) for raw in usable]
    problems += _stops(counts, findings, config.data)
    problems += _version_names(con, usable)
    unlearnable = [text for raw in usable for text in _one_class(con, raw)]
    _tidy(con, raws)
    return Check(
        tuple(counts), tuple(findings), tuple(problems), end.at, end.why, tuple(unlearnable)
    )


def _count(con: duckdb.DuckDBPyConnection, raw: RawTable) -> TableCount:
    return TableCount(
        raw.name, raw.source, count_rows(con, raw.sql_name), count_rows(con, raw.name)
    )


def _table_problems(con: duckdb.DuckDBPyConnection, raw: RawTable, data: DataConfig) -> list[str]:
    return list(column_problems(raw)) or stage(con, raw, data)


def write_quarantine(con: duckdb.DuckDBPyConnection, check: Check, folder: Path) -> None:
    """Write the rows set aside, as they came plus `reason`, to `folder/<table>.parquet`."""
    for table in sorted({finding.table for finding in check.quarantined}):
        rows = con.sql(f"SELECT * FROM quarantine_{table} ORDER BY ALL").to_arrow_table()
        write_parquet(rows, folder / f"{table}.parquet")


def _of_config(config: Config) -> list[str]:
    """What does not fit the shape of the data."""
    if config.data.exported is None or config.bands.hot_per_week is None:
        return []
    return ["bands.hot_per_week: as exported there are no weeks; give bands.hot_share instead."]


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


def _stops(
    counts: Sequence[TableCount], findings: Sequence[Finding], data: DataConfig
) -> list[str]:
    problems = []
    for table in counts:
        aside = table.rows - table.kept
        if aside > data.max_quarantine_share * table.rows:
            reasons = "; ".join(
                f"{f.reason}: {f.count}, e.g. {f.example}"
                for f in findings
                if f.table == table.table
            )
            problems.append(
                f"{table.table}: {aside} of {table.rows} rows ({aside / table.rows:.1%}) break the contract, "
                f"at most {data.max_quarantine_share:.1%} may ({reasons}). "
                "Correct the export, or raise data.max_quarantine_share if this is expected."
            )
        elif table.kept == 0:
            problems.append(f"{table.table}: no usable row is left of {table.rows}.")
    return problems


def _version_names(con: duckdb.DuckDBPyConnection, raws: Sequence[RawTable]) -> list[str]:
    """Attribute versions whose names the matrix, or a column of the leads, makes unusable."""
    tables = {raw.name: raw for raw in raws}
    if "attributes" not in tables:
        return []
    versioned = con.execute("SELECT DISTINCT attribute FROM attributes ORDER BY 1").fetchall()
    names = dict.fromkeys([*attribute_columns(tables["leads"]), *(row[0] for row in versioned)])
    return list(name_problems(names, tables["attributes"]))


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

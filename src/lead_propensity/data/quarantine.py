"""Which rows are kept and which are set aside, each with its reason."""

from dataclasses import dataclass

import duckdb

from lead_propensity.config import DataConfig, DealsSource, ExportedSource
from lead_propensity.data.contract import (
    NUMBERS,
    OPTIONAL,
    REQUIRED,
    TIMES,
    attribute_columns,
    their_column,
)
from lead_propensity.data.engine import identifier, literal
from lead_propensity.data.moments import KNOWN_AT
from lead_propensity.data.sources import RawTable

LATE = "row after the export"


@dataclass(frozen=True)
class Finding:
    """One kind of violation in one table."""

    table: str
    source: str
    column: str
    """Ours; empty where the row as a whole is at fault."""
    reason: str
    count: int
    example: str

    def __str__(self) -> str:
        where = f"{self.table}.{self.column}" if self.column else self.table
        reason = self.reason.removesuffix(f": {self.column}")
        rows = f"{self.count:,} row{'' if self.count == 1 else 's'}"
        return f"{where}: {reason}: {rows}, e.g. {self.example} ({self.source})"


@dataclass(frozen=True)
class Rule:
    """What a row must not be."""

    reason: str
    column: str
    broken: str
    """SQL over the raw row r, the staged row s, and the lead l that it names."""


_KEYS = {
    "leads": ("lead_id", "created_at"),
    "attributes": ("lead_id, attribute, known_at", "value DESC NULLS LAST"),
    "events": ("lead_id, occurred_at, event_type", "row"),
    "deals": ("lead_id", "closed_at, known_at NULLS FIRST"),
    "exported": ("lead_id", "order_value"),
}
"""What names a row, and which of several rows of one name is kept: the first in this order."""


def judge(
    con: duckdb.DuckDBPyConnection, raw: RawTable, data: DataConfig, exported_at: int
) -> None:
    """Create `judged_<table>`: the staged rows with `reason`, NULL for rows that are kept."""
    rules = _rules(raw, exported_at)
    cases = " ".join(f"WHEN {rule.broken} THEN {literal(rule.reason)}" for rule in rules)
    lead = "" if raw.name in ("leads", "exported") else "LEFT JOIN leads AS l USING (lead_id)"
    cells = ", ".join(f"CAST(r.{column.sql} AS VARCHAR)" for column in raw.columns.values())
    key, order = _KEYS[raw.name]
    con.execute(f"""
        CREATE TABLE judged_{raw.name} AS
        WITH single_row AS (
            SELECT s.*, {f"CASE {cases} END" if cases else "NULL"}::VARCHAR AS own_reason,
                   md5(CAST([{cells}] AS VARCHAR)) AS content
            FROM staged_{raw.name} AS s JOIN {raw.sql_name} AS r ON r.rowid = s.row {lead}
        ), ranked AS (
            SELECT *,
                row_number() OVER (PARTITION BY own_reason IS NULL, {key} ORDER BY {order}, content, row) AS place,
                row_number() OVER (PARTITION BY own_reason IS NULL, {key}, content ORDER BY row) AS copy
            FROM single_row
        )
        SELECT * EXCLUDE (own_reason, content, place, copy),
            CASE WHEN own_reason IS NOT NULL THEN own_reason {_repeat_cases(raw, data)} END AS reason
        FROM ranked
    """)


def _repeat_cases(raw: RawTable, data: DataConfig) -> str:
    if raw.name == "events":
        keep = data.repeated_events == "keep"
        return "" if keep else "WHEN copy > 1 THEN 'exact duplicate'"
    other = "second deal" if raw.name == "deals" else "conflicting duplicate"
    named = "AND lead_id IS NOT NULL" if raw.name == "exported" else ""
    return (
        f"WHEN copy > 1 {named} THEN 'exact duplicate' WHEN place > 1 {named} THEN {literal(other)}"
    )


def _rules(raw: RawTable, exported_at: int) -> list[Rule]:
    """The first rule that a row breaks is its reason."""
    rules = _unreadable(raw)
    needed = [
        column for column in REQUIRED[raw.name] if (raw.name, column) != ("attributes", "value")
    ]
    if raw.name == "exported" and their_column(raw, "lead_id"):
        needed.append("lead_id")
    rules += [Rule(f"no {column}", column, f"s.{column} IS NULL") for column in needed]
    if raw.name not in ("leads", "exported"):
        aside = "s.lead_id IN (SELECT lead_id FROM judged_leads WHERE reason IS NOT NULL)"
        rules += [
            Rule("lead in quarantine", "lead_id", f"l.created_at IS NULL AND {aside}"),
            Rule("orphan: no such lead", "lead_id", "l.created_at IS NULL"),
        ]
    if isinstance(raw.declared, DealsSource):
        words = ", ".join(literal(word) for word in (*raw.declared.won, *raw.declared.lost))
        rules += [
            Rule("unknown outcome", "outcome", f"s.outcome NOT IN ({words})"),
            Rule("deal before creation", "closed_at", "s.closed_at < l.created_at"),
            Rule("negative amount", "amount", "s.amount < 0"),
        ]
    if isinstance(raw.declared, ExportedSource):
        if raw.declared.order_by is not None:
            rules.append(Rule("no usable order_by value", "order_by", "s.order_value IS NULL"))
        return rules
    late = f"{KNOWN_AT[raw.name]} > {exported_at}"
    return [*rules, Rule(LATE, TIME_OF[raw.name], late)]


def _unreadable(raw: RawTable) -> list[Rule]:
    rules = []
    for ours in (*REQUIRED[raw.name], *OPTIONAL[raw.name]):
        theirs = their_column(raw, ours)
        kind = "time" if ours in TIMES else "number" if ours in NUMBERS.get(raw.name, ()) else None
        if theirs is not None and kind is not None:
            broken = f"r.{theirs.sql} IS NOT NULL AND s.{ours} IS NULL"
            rules.append(Rule(f"bad {kind}: {ours}", ours, broken))
    return rules


TIME_OF = {
    "leads": "created_at",
    "attributes": "known_at",
    "events": "occurred_at",
    "deals": "closed_at",
}


def keep(con: duckdb.DuckDBPyConnection, raw: RawTable, exported_at: int) -> None:
    """Create the clean tables and `quarantine_<table>` (`reason`, then the row as it came).

    With the deals comes `unclear_leads`, see `_keep_unclear`.
    """
    kept = f"FROM judged_{raw.name} AS j WHERE j.reason IS NULL"
    con.execute(f"CREATE TABLE {raw.name} AS SELECT {_clean_columns(raw)} {kept}")
    if raw.name == "leads":
        _keep_attributes(con, raw, "j.lead_id")
    elif raw.name == "exported":
        _keep_attributes(con, raw, _PLACE)
    elif raw.name == "deals":
        _keep_unclear(con, exported_at)
    theirs = "".join(f", r.{c.sql} AS {identifier(name)}" for name, c in raw.columns.items())
    con.execute(f"""
        CREATE TABLE quarantine_{raw.name} AS
        SELECT j.reason{theirs} FROM {raw.sql_name} AS r JOIN judged_{raw.name} AS j ON j.row = r.rowid
        WHERE j.reason IS NOT NULL""")


_PLACE = "coalesce(j.lead_id, CAST(j.row + 1 AS VARCHAR))"
"""As exported: the lead's id, or the row's place where the table has none."""


def _clean_columns(raw: RawTable) -> str:
    """SQL: the columns of a clean table, from its judged rows j."""
    if isinstance(raw.declared, ExportedSource):
        group = _group(raw, _PLACE)
        return f"{_PLACE} AS lead_id, {group} AS group_id, won, order_value, as_of"
    if isinstance(raw.declared, DealsSource):
        won = ", ".join(literal(word) for word in raw.declared.won)
        known = KNOWN_AT["deals"]
        return f"lead_id, closed_at, outcome IN ({won}) AS won, amount, {known} AS known_at"
    return {
        "leads": f"lead_id, created_at, {_group(raw, 'lead_id')} AS group_id",
        "attributes": "lead_id, attribute, value, known_at",
        "events": "lead_id, occurred_at, event_type, channel, topic, value, "
        f"{KNOWN_AT['events']} AS known_at",
    }[raw.name]


def _group(raw: RawTable, lead: str) -> str:
    """SQL: the group of a lead; without a group it is one of its own, whatever the groups are called.

    Where the table has no groups, a lead's group is called like the lead.
    """
    if their_column(raw, "group_id") is None:
        return lead
    # A group that looks like one of ours is renamed, so that no lead falls into it.
    theirs = "CASE WHEN regexp_matches(group_id, '^(lead|group):') THEN 'group:' || group_id ELSE group_id END"
    return f"coalesce({theirs}, 'lead:' || {lead})"


CLEAR = (LATE, "exact duplicate", "second deal")
"""Reasons to set a deal aside that leave no doubt how its lead stands."""


def _keep_unclear(con: duckdb.DuckDBPyConnection, exported_at: int) -> None:
    """Create `unclear_leads(lead_id)`: whose deal was set aside, so that they seem open and may not be.

    A deal that was known after the export leaves its lead open, whatever else is wrong with it.
    """
    clear = ", ".join(literal(reason) for reason in CLEAR)
    con.execute(f"""
        CREATE TABLE unclear_leads AS
        SELECT DISTINCT lead_id FROM judged_deals SEMI JOIN leads USING (lead_id) ANTI JOIN deals USING (lead_id)
        WHERE reason NOT IN ({clear}) AND coalesce({KNOWN_AT["deals"]} <= {exported_at}, true)""")


def _keep_attributes(con: duckdb.DuckDBPyConnection, raw: RawTable, lead: str) -> None:
    columns = "".join(
        f", CAST(r.{column.sql} AS VARCHAR) AS {identifier(name)}"
        for name, column in attribute_columns(raw).items()
    )
    con.execute(f"""
        CREATE TABLE lead_attributes AS SELECT {lead} AS "lead_id"{columns}
        FROM judged_{raw.name} AS j JOIN {raw.sql_name} AS r ON r.rowid = j.row WHERE j.reason IS NULL""")


def findings_of(con: duckdb.DuckDBPyConnection, raw: RawTable) -> list[Finding]:
    """Every reason of `judged_<table>` with its count and one value; the same in any order of the rows."""
    columns = {rule.reason: rule.column for rule in _rules(raw, 0)}
    rows = con.execute(
        f"SELECT reason, count(*) FROM judged_{raw.name} WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return [
        Finding(raw.name, raw.source, column, reason, count, _example(con, raw, column, reason))
        for reason, count in rows
        for column in [columns.get(reason, "lead_id")]
    ]


def _example(con: duckdb.DuckDBPyConnection, raw: RawTable, column: str, reason: str) -> str:
    theirs = their_column(raw, column)
    if isinstance(raw.declared, ExportedSource) and column == "order_by":
        theirs = raw.columns[raw.declared.order_by or ""]
    value, lead = con.execute(
        f"""SELECT left(CAST({f"r.{theirs.sql}" if theirs else "NULL"} AS VARCHAR), 80) AS value, left(j.lead_id, 80)
            FROM judged_{raw.name} AS j JOIN {raw.sql_name} AS r ON r.rowid = j.row
            WHERE j.reason = ? ORDER BY 1, 2 LIMIT 1""",
        [reason],
    ).fetchall()[0]
    return repr(value) + (f" of lead {lead!r}" if lead is not None and column != "lead_id" else "")

"""Attributes as they were known at a snapshot: columns of the leads, and versions known later."""

from collections.abc import Sequence
from typing import Literal

import duckdb

from lead_propensity.data.engine import identifier, literal
from lead_propensity.errors import DataError
from lead_propensity.features.names import nearest
from lead_propensity.features.windows import current_version

Origin = Literal["lead column", "versions", "both"]

_PREFIX = "attribute "
"""So that an attribute may have the name of a column of ours."""


def text_of(attribute: str) -> str:
    """SQL: an attribute's text in `known AS k`."""
    return f"k.{identifier(_PREFIX + attribute)}"


def origins(con: duckdb.DuckDBPyConnection) -> dict[str, Origin]:
    """Every attribute and where it stands: the columns of the leads in order, then the others by name."""
    columns, versioned = _lead_columns(con), _versioned(con)
    found: dict[str, Origin] = {
        name: "both" if name in versioned else "lead column" for name in columns
    }
    return found | {name: "versions" for name in versioned if name not in columns}


def known(con: duckdb.DuckDBPyConnection, names: Sequence[str], learned: dict[str, Origin]) -> str:
    """SQL of `known`: one row for each snapshot of `$bucket`, with the text of every attribute as known then.

    `learned` are the origins at training. Raises DataError for an attribute that was a column of the
    leads and is none any more. One that only had versions may have none yet: NULL, not filled in so far.
    """
    now = origins(con)
    wanted = dict.fromkeys(names)
    _require(list(wanted), learned, now)
    _make_versions(con, [name for name, origin in now.items() if origin == "both"])
    changing = [name for name in wanted if now.get(name) in ("versions", "both")]
    values = {name: "NULL::VARCHAR" for name in wanted if name not in now}
    values |= {name: f"a.{identifier(name)}" for name in wanted if name in now}
    values |= {name: f"v.{identifier(name)}" for name in changing}
    listed = "".join(f", {values[name]} AS {identifier(_PREFIX + name)}" for name in wanted)
    sql = f"""
        SELECT s.snapshot_id, s.as_of{listed}
        FROM snapshots AS s LEFT JOIN lead_attributes AS a ON a.lead_id = s.lead_id"""
    if changing:
        sql += f" LEFT JOIN ({_current_versions(changing)}) AS v ON v.snapshot_id = s.snapshot_id"
    return f"{sql} WHERE s.bucket = $bucket"


def _require(names: Sequence[str], learned: dict[str, Origin], now: dict[str, Origin]) -> None:
    columns = [name for name, origin in now.items() if origin != "versions"]
    gone = [name for name in names if _is_gone(name, learned, now)]
    if gone:
        listed = "\n".join(f"  {name!r}; {nearest(name, columns)}" for name in gone)
        raise DataError(
            f"the model or its rules use columns of the leads that are not there:\n{listed}\n"
            "Add the columns, or map them by data.leads.columns (as exported: data.exported.columns)."
        )


def _is_gone(name: str, learned: dict[str, Origin], now: dict[str, Origin]) -> bool:
    if learned.get(name) in ("lead column", "both"):
        return now.get(name) not in ("lead column", "both")
    return name not in learned and name not in now


def _current_versions(names: Sequence[str]) -> str:
    """SQL: one row a snapshot with the version of each attribute that was the latest known."""
    pivot = "".join(
        f", max(CASE WHEN v.attribute = {literal(name)} THEN v.value END) AS {identifier(name)}"
        for name in names
    )
    return f"""
        SELECT s.snapshot_id{pivot} FROM snapshots AS s
        JOIN versions AS v ON v.lead_id = s.lead_id AND {current_version("v", "s")}
        WHERE s.bucket = $bucket GROUP BY s.snapshot_id"""


def _make_versions(con: duckdb.DuckDBPyConnection, both: Sequence[str]) -> None:
    """Create `versions`: every attribute version with the time that replaced it.

    A column of the leads that also has versions is the first of them, known from creation.
    """
    first = "".join(
        f"""UNION ALL SELECT a.lead_id, {literal(name)}, a.{identifier(name)}, l.created_at, 0
            FROM lead_attributes AS a JOIN leads AS l USING (lead_id) WHERE a.{identifier(name)} IS NOT NULL """
        for name in both
    )
    con.execute(f"""
        CREATE OR REPLACE TABLE versions AS
        SELECT lead_id, attribute, value, known_at,
               lead(known_at) OVER (PARTITION BY lead_id, attribute ORDER BY known_at, late) AS replaced_at
        FROM (SELECT lead_id, attribute, value, known_at, 1 AS late FROM attributes {first})""")


def _lead_columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in con.execute("DESCRIBE lead_attributes").fetchall()][1:]


def _versioned(con: duckdb.DuckDBPyConnection) -> list[str]:
    rows = con.execute("SELECT DISTINCT attribute FROM attributes ORDER BY 1").fetchall()
    return [row[0] for row in rows]

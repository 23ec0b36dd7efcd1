"""Attributes as they were known at a snapshot: columns of the leads, and versions known later.

A version goes to one place only: the first snapshot of its lead that can see it. From there the lead's
later snapshots carry it on, until a newer one comes. So the work grows with the versions and with the
snapshots, not with their pairs.
"""

from collections.abc import Sequence
from typing import Literal

import duckdb

from lead_propensity.data.engine import identifier, literal
from lead_propensity.errors import DataError
from lead_propensity.features.names import nearest
from lead_propensity.features.windows import since_creation, version_known

Origin = Literal["lead column", "versions", "both"]

_PREFIX = "attribute "
"""So that an attribute may have the name of a column of ours."""


def text_of(attribute: str) -> str:
    """SQL: an attribute's text in `known AS k`."""
    return f"k.{_column(attribute)}"


def origins(con: duckdb.DuckDBPyConnection) -> dict[str, Origin]:
    """Every attribute and where it stands: the columns of the leads in order, then the others by name."""
    columns, versioned = _lead_columns(con), _versioned(con)
    found: dict[str, Origin] = {
        name: "both" if name in versioned else "lead column" for name in columns
    }
    return found | {name: "versions" for name in versioned if name not in columns}


def known(con: duckdb.DuckDBPyConnection, names: Sequence[str], learned: dict[str, Origin]) -> str:
    """SQL of `known`: one row for each snapshot of `$bucket`, with the text of every attribute as known then.

    Reads three tables made here for the `snapshots` of this moment: call it again when they change.
    `learned` are the origins at training. Raises DataError for an attribute that was a column of the
    leads and is none any more. One that only had versions may have none yet: NULL, not filled in so far.
    """
    now = origins(con)
    wanted = dict.fromkeys(names)
    _require(list(wanted), learned, now)
    columns = [name for name in wanted if now.get(name) in ("lead column", "both")]
    changing = [name for name in wanted if now.get(name) in ("versions", "both")]
    _make_seen_leads(con)
    _make_seen_columns(con, columns)
    _make_seen_versions(con, changing, [name for name in columns if name in changing])
    texts = "".join(
        f", {_text(name, name in columns, name in changing)} AS {_column(name)}" for name in wanted
    )
    return f"""
        WITH moment AS (
            SELECT s.snapshot_id, s.as_of, l.number FROM snapshots AS s JOIN seen_leads AS l USING (lead_id)
            WHERE s.bucket = $bucket AND l.bucket = $bucket
        ){_latest_versions(changing)}
        SELECT v.snapshot_id, v.as_of{texts} FROM {"latest" if changing else "moment"} AS v
        LEFT JOIN seen_columns AS c ON c.number = v.number AND c.bucket = $bucket"""


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


def _make_seen_leads(con: duckdb.DuckDBPyConnection) -> None:
    """Create `seen_leads`: a number for each lead that has a snapshot, its bucket and its last `as_of`."""
    con.execute("""
        CREATE OR REPLACE TABLE seen_leads AS
        SELECT row_number() OVER () AS number, * FROM (
            SELECT lead_id, any_value(bucket) AS bucket, max(as_of) AS as_of FROM snapshots GROUP BY lead_id)""")


def _make_seen_columns(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> None:
    """Create `seen_columns`: these columns of the seen leads; a bucket's rows lie together, to be read alone."""
    listed = "".join(f", a.{identifier(name)} AS {_column(name)}" for name in names)
    con.execute(f"""
        CREATE OR REPLACE TABLE seen_columns AS
        SELECT l.bucket, l.number{listed} FROM lead_attributes AS a JOIN seen_leads AS l USING (lead_id)
        ORDER BY l.bucket""")


def _make_seen_versions(
    con: duckdb.DuckDBPyConnection, changing: Sequence[str], both: Sequence[str]
) -> None:
    """Create `seen_versions`: the versions that a snapshot can see, with `said`, see `_SAID`.

    A column of the leads is known from creation: it stands for every version from before. Only where
    it is empty do those count.
    """
    listed = ", ".join(literal(name) for name in changing) or "NULL"
    joined, counts = "", ""
    if both:
        own = " ".join(f"WHEN {literal(name)} THEN c.{_column(name)}" for name in both)
        joined = "JOIN leads AS o USING (lead_id) LEFT JOIN seen_columns AS c USING (number)"
        counts = f"AND ({since_creation('v', 'o')} OR CASE v.attribute {own} END IS NULL)"
    con.execute(f"""
        CREATE OR REPLACE TABLE seen_versions AS
        SELECT l.bucket, l.number, v.attribute, {_SAID} AS said, v.known_at
        FROM attributes AS v JOIN seen_leads AS l USING (lead_id) {joined}
        WHERE v.attribute IN ({listed}) AND {version_known("v", "l")} {counts}
        ORDER BY l.bucket""")


_SAID = "CASE WHEN v.value IS NULL THEN '-' ELSE '=' || v.value END"
"""SQL: what a version says. One that clears says so; NULL is where there is no version."""


def _latest_versions(names: Sequence[str]) -> str:
    """SQL: `latest`, each moment with what the latest version of each attribute said.

    `news` is what a moment was the first to see. Snapshots of one moment share it.
    """
    if not names:
        return ""
    said = "".join(
        f", arg_max(v.said, v.known_at) FILTER (v.attribute = {literal(name)}) AS {_column(name)}"
        for name in names
    )
    carried = "".join(
        f", last_value(n.{_column(name)} IGNORE NULLS) OVER so_far AS {_column(name)}"
        for name in names
    )
    return f""", version AS (
            SELECT * FROM seen_versions WHERE bucket = $bucket
        ), news AS (
            SELECT m.number, m.as_of{said} FROM version AS v
            ASOF JOIN moment AS m ON m.number = v.number AND {version_known("v", "m")}
            GROUP BY m.number, m.as_of
        ), latest AS (
            SELECT m.snapshot_id, m.as_of, m.number{carried}
            FROM moment AS m LEFT JOIN news AS n ON n.number = m.number AND n.as_of = m.as_of
            WINDOW so_far AS (PARTITION BY m.number ORDER BY m.as_of)
        )"""


def _text(name: str, is_column: bool, is_changing: bool) -> str:
    """SQL: an attribute's text, from its latest version `v` and the lead's own column `c`."""
    own = f"c.{_column(name)}" if is_column else "NULL::VARCHAR"
    if not is_changing:
        return own
    said = f"v.{_column(name)}"
    return f"CASE WHEN {said} IS NULL THEN {own} WHEN {said} <> '-' THEN substr({said}, 2) END"


def _column(name: str) -> str:
    return identifier(_PREFIX + name)


def _lead_columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in con.execute("DESCRIBE lead_attributes").fetchall()][1:]


def _versioned(con: duckdb.DuckDBPyConnection) -> list[str]:
    rows = con.execute("SELECT DISTINCT attribute FROM attributes ORDER BY 1").fetchall()
    return [row[0] for row in rows]

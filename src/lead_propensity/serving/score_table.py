"""Whether a table of PostgreSQL fits the scores: its columns, their types, its key, and what is allowed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lead_propensity.data.engine import identifier
from lead_propensity.data.postgres import execute
from lead_propensity.serving.naming import Naming

_TYPES: dict[pa.DataType, tuple[str, ...]] = {
    pa.string(): ("text", "character varying", "json", "jsonb"),
    pa.float64(): ("double precision", "numeric"),
    pa.int64(): ("bigint", "numeric"),
    pa.int32(): ("integer", "bigint", "numeric"),
    pa.bool_(): ("boolean",),
    pa.date32(): ("date",),
    pa.timestamp("us", tz="UTC"): ("timestamp with time zone",),
}
"""What a column may be in the table; the first is what we create."""
_JSON = "reasons"
"""The one text that is JSON."""
_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Found:
    """A table as the server describes it, or the place where it would be created."""

    sql: str
    """Its name, quoted, with its schema."""
    exists: bool
    columns: dict[str, str]
    """Their types as the server writes them, e.g. `character varying(20)`."""


def created(kind: pa.DataType) -> str:
    """The type of a column that we create."""
    return _TYPES[kind][0]


def looked_up(con: Any, schema: str | None, table: str) -> Found:
    """The table by the search path of the connection, as any query would find it."""
    written = f"{identifier(schema)}.{identifier(table)}" if schema else identifier(table)
    rows = execute(
        con,
        "SELECT n.nspname::text, c.oid::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE c.oid = to_regclass($1)",
        (written,),
    )
    if not rows:
        there = schema or execute(con, "SELECT current_schema()::text")[0][0] or "public"
        return Found(f"{identifier(there)}.{identifier(table)}", False, {})
    columns = execute(
        con,
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (rows[0][1],),
    )
    return Found(f"{identifier(rows[0][0])}.{identifier(table)}", True, dict(columns))


def differences(
    con: Any, found: Found, naming: Naming, keys: Sequence[str], as_exported: bool
) -> list[str]:
    """Everything that keeps the scores from the table; nothing where it can take, or be made to hold them."""
    if execute(con, "SELECT current_setting('transaction_read_only')")[0][0] == "on":
        return [
            "the server lets nobody write: it is a standby, or default_transaction_read_only is on"
        ]
    if not found.exists:
        return list(_not_creatable(con, found, as_exported))
    kind = execute(
        con, "SELECT relkind::text FROM pg_class WHERE oid = $1::regclass", (found.sql,)
    )[0][0]
    if kind not in ("r", "p"):
        return ["it is no table, but a view or the like of it"]
    return [
        *_columns(found, naming),
        *_left_out(con, found, naming),
        *_key(con, found, keys, as_exported),
        *_forbidden(con, found),
    ]


def _columns(found: Found, naming: Naming) -> Iterator[str]:
    for ours, field in zip(naming.columns, naming.schema, strict=True):
        if field.name not in found.columns:
            add = (
                f"ALTER TABLE {found.sql} ADD COLUMN {identifier(field.name)} {created(field.type)}"
            )
            yield f"the column {field.name!r} is missing: {add};"
            continue
        theirs = found.columns[field.name]
        taken = (
            _TYPES[field.type]
            if ours == _JSON
            else [one for one in _TYPES[field.type] if "json" not in one]
        )
        if theirs.partition("(")[0] not in taken:
            yield f"the column {field.name!r} is {theirs}; it must be {' or '.join(taken)}"


def _left_out(con: Any, found: Found, naming: Naming) -> Iterator[str]:
    """Columns that need a value and get none, or make their own where we bring one."""
    rows = execute(
        con,
        "SELECT attname::text, attgenerated <> '' OR attidentity = 'a', "
        "attnotnull AND NOT atthasdef AND attidentity = '' FROM pg_attribute "
        "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (found.sql,),
    )
    for name, generated, needed in rows:
        if generated and name in naming.schema.names:
            yield f"the column {name!r} is computed by the server; scores bring its value"
        if needed and name not in naming.schema.names:
            yield f"the column {name!r} needs a value that scores do not have: give it a default, or let it be null"


def _key(con: Any, found: Found, keys: Sequence[str], as_exported: bool) -> Iterator[str]:
    """The server itself is to see that a lead has one row a moment."""
    rows = execute(
        con,
        """SELECT (SELECT array_agg(a.attname::text) FROM pg_attribute AS a
                   WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])),
                  coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)
           FROM pg_index AS i
           WHERE i.indrelid = $1::regclass AND i.indisunique AND i.indimmediate AND i.indisvalid
             AND i.indpred IS NULL AND i.indexprs IS NULL""",
        (found.sql,),
    )
    fitting = [alike for columns, alike in rows if set(columns) == set(keys)]
    listed = ", ".join(map(identifier, keys))
    if not fitting:
        yield f"no primary key or unique index is on ({listed}) and nothing else"
    elif as_exported and not any(fitting):
        yield f"its key must be UNIQUE NULLS NOT DISTINCT ({listed}): rows as exported may carry no moment"


def _not_creatable(con: Any, found: Found, as_exported: bool) -> Iterator[str]:
    schema = found.sql.split(".")[0]
    there = execute(con, "SELECT to_regnamespace($1) IS NOT NULL", (schema,))[0][0]
    if not there:
        yield f"the schema {schema} is not there: CREATE SCHEMA {schema};"
    elif not execute(
        con, "SELECT has_schema_privilege(to_regnamespace($1)::oid, 'CREATE')", (schema,)
    )[0][0]:
        yield f"it is not there, and this user may not create it: GRANT CREATE ON SCHEMA {schema} TO the user;"
    version = int(execute(con, "SELECT current_setting('server_version_num')")[0][0])
    if as_exported and version < 150000:
        yield f"PostgreSQL 15 or newer is needed for scores that may carry no moment; this is {version // 10000}"


def _forbidden(con: Any, found: Found) -> Iterator[str]:
    checks = ", ".join(f"has_table_privilege($1::regclass, '{one}')" for one in _NEEDED)
    may = execute(con, f"SELECT {checks}", (found.sql,))[0]
    lacking = [one for one, allowed in zip(_NEEDED, may, strict=True) if not allowed]
    if lacking:
        yield f"this user may not {', '.join(lacking)}: GRANT {', '.join(lacking)} ON {found.sql} TO the user;"

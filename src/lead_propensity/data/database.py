"""One run's database: opened with its spill folder, cleaned up after, and its content's digest."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lead_propensity.config import EngineConfig
from lead_propensity.data.engine import connect
from lead_propensity.errors import DataError

TABLES = (
    *("attributes", "deals", "events", "exported", "lead_attributes", "leads"),
    "unclear_leads",
)


@contextmanager
def opened(engine: EngineConfig) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that lasts for the block; what it spilled to disk is removed with it.

    Raises DataError where the block needs more memory than the engine may take.
    """
    with tempfile.TemporaryDirectory(prefix="lead-propensity-") as spill:
        con = connect(engine, Path(spill))
        limit = con.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
        try:
            yield con
        except duckdb.OutOfMemoryException as error:
            raise DataError(
                f"the SQL engine's memory of {limit} does not suffice: {error}\n"
                "Raise engine.memory_limit, lower engine.threads (each takes its share), or make room "
                f"in {tempfile.gettempdir()}, where work that does not fit is spilled."
            ) from error
        finally:
            con.close()


def digest(con: duckdb.DuckDBPyConnection) -> str:
    """A digest of the clean tables that does not depend on the order of their rows (16 hex digits)."""
    there = {row[0] for row in con.execute("SHOW TABLES").fetchall()}
    parts = []
    for table in (name for name in TABLES if name in there):
        columns = [(row[0], row[1]) for row in con.execute(f"DESCRIBE {table}").fetchall()]
        rows = con.execute(
            f"SELECT count(*), sum(md5_number_lower(CAST(t AS VARCHAR))::HUGEINT) FROM {table} AS t"
        ).fetchall()[0]
        parts.append(f"{table} {columns} {rows[0]} {rows[1]}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

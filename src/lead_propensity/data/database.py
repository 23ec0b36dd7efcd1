"""One run's database: opened within the memory limit, cleaned up after, and its content's digest."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from lead_propensity.config import EngineConfig
from lead_propensity.data import memory
from lead_propensity.data.engine import Room, connect
from lead_propensity.data.memory import Split
from lead_propensity.data.workroom import Allowance, Workroom, entered
from lead_propensity.errors import DataError

TABLES = (
    *("attributes", "deals", "events", "exported", "lead_attributes", "leads"),
    "unclear_leads",
)


@contextmanager
def opened(engine: EngineConfig) -> Iterator[tuple[duckdb.DuckDBPyConnection, Allowance]]:
    """A connection and what may be used beside it, for the block; scratch files are removed with it.

    Raises DataError where the block needs more memory than the process may take, ConfigError where the
    limit leaves nothing to work with or the work folder cannot be used.
    """
    with (
        entered(engine.work_folder) as room,
        _fitting(memory.split(engine.memory_limit), room) as split,
    ):
        con = connect(engine, Room(split.database, room.spill, room.events))
        threads = con.execute("SELECT current_setting('threads')").fetchall()[0][0]
        try:
            yield con, Allowance(split.arrays, threads, room.folder, room)
        finally:
            con.close()


@contextmanager
def _fitting(split: Split, room: Workroom) -> Iterator[Split]:
    """Say what to do where the block runs out of memory."""
    limit = f"engine.memory_limit ({memory.words(split.limit)})"
    try:
        yield split
    except duckdb.OutOfMemoryException as error:
        raise DataError(
            f"the SQL engine's share of {limit}, {memory.words(split.database)}, does not suffice: {error}\n"
            "Raise engine.memory_limit, lower engine.threads (each takes its share), or make room "
            f"in {room.folder.parent}, where work that does not fit is spilled (engine.work_folder)."
        ) from error
    except MemoryError as error:
        raise DataError(
            f"the machine gave no memory for arrays within {limit}: {error}. Lower engine.memory_limit, so that "
            "more of the work goes to disk, or stop other programs."
        ) from error


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

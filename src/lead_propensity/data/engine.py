"""The DuckDB connection: threads, memory limit, spilling, and locked down before user SQL runs."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lead_propensity.config import EngineConfig


@dataclass(frozen=True)
class Room:
    """What a database may use of the machine."""

    memory_bytes: int
    spill_folder: Path
    """Work beyond `memory_bytes` goes here."""
    open_folder: Path
    """It may read and write here, also once it is locked down."""


def connect(engine: EngineConfig, room: Room | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory database; without `room`, memory and spilling are DuckDB's own defaults."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,  # no download behind the user's back
        "autoload_known_extensions": False,
    }
    if engine.threads is not None:
        settings["threads"] = engine.threads
    if room is not None:
        settings["memory_limit"] = f"{room.memory_bytes}B"
        settings["temp_directory"] = str(room.spill_folder)
    con = duckdb.connect(":memory:", config=settings)
    if room is not None:
        con.execute(f"SET allowed_directories = {_texts([str(room.open_folder)])}")
    con.execute("SET TimeZone = 'UTC'")
    # The caller's terminal is not ours to draw on. In notebooks without widgets DuckDB refuses the
    # setting: there is no bar to stop.
    with suppress(duckdb.InvalidInputException):
        con.execute("SET enable_progress_bar = false")
    return con


def lock_down(con: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> None:
    """Let the connection open `paths`, its own room and no other file, for good."""
    resolved = [path.resolve() for path in paths]
    own = con.execute("SELECT current_setting('allowed_directories')").fetchall()[0][0]
    folders = own + [str(path) for path in resolved if path.is_dir()]
    files = [str(path) for path in resolved if not path.is_dir()]
    con.execute(f"SET allowed_directories = {_texts(folders)}")
    con.execute(f"SET allowed_paths = {_texts(files)}")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def identifier(name: str) -> str:
    """`name` quoted for SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a SQL string, for the places where DuckDB takes no bound parameter."""
    return "'" + text.replace("'", "''") + "'"


def count_rows(con: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def _texts(values: list[str]) -> str:
    return "[" + ", ".join(literal(value) for value in values) + "]"

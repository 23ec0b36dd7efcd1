"""Atomic outputs: a reader sees the old file or the new one, never half of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from lead_propensity.errors import ConfigError

_SIGN = r"[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"
"""How a cell begins that a spreadsheet would compute; the last four are the wide forms of the first."""
DEFUSED = f"^'({_SIGN})"
"""How `defused` leaves such a cell: a pattern of RE2, as Arrow and DuckDB read it; its group is what to keep."""


def is_there(path: Path) -> bool:
    """Also where the name is none that a file could have: then there is no such file."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def streamed(path: Path) -> pyarrow.parquet.ParquetFile:
    """A Parquet file to read piece by piece: with Arrow's default it would keep all that was read.

    Raises what Arrow raises, and OSError.
    """
    return pyarrow.parquet.ParquetFile(path, pre_buffer=False)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch path beside `path` that takes its place when the block ends without an error.

    Raises ConfigError where nothing can be written: no permission, a full disk, a folder in the way.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        scratch.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}. Give another place.") from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A scratch folder beside `path` that takes its place when the block ends without an error.

    Raises ConfigError where `path` holds something already, or nothing can be written.
    """
    if is_there(path) and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(
            f"{path} is not an empty folder. Give a new one: a run overwrites nothing."
        )
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.mkdir(parents=True)
        yield scratch
        if path.exists():
            path.rmdir()
        scratch.rename(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}. Give another place.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(text: str, path: Path) -> None:
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_parquet(table: pa.Table, path: Path) -> None:
    with replacing(path) as scratch:
        pa.parquet.write_table(table, scratch, compression="zstd")


def write_table(table: pa.Table, path: Path) -> None:
    """Parquet or CSV (`defused`), by the ending of `path`. Raises ConfigError for another ending."""
    require_table_name(path)
    if path.suffix == ".parquet":
        write_parquet(table, path)
    else:
        with replacing(path) as scratch:
            pa.csv.write_csv(defused(table), scratch)


def defused(table: pa.Table) -> pa.Table:
    """The table as a CSV may show it: texts that a spreadsheet would take for a formula get a leading `'`.

    Numbers, times and empty cells stay as they are.
    """
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = table.column(place)
            dangerous = pc.fill_null(pc.match_substring_regex(column, f"^{_SIGN}"), False)
            quoted = pc.binary_join_element_wise(
                pa.scalar("'", field.type), column, pa.scalar("", field.type)
            )
            table = table.set_column(place, field, pc.if_else(dangerous, quoted, column))
    return table


def require_table_name(path: Path) -> None:
    """Raises ConfigError unless `path` is one that `write_table` can write; ask before the work."""
    if path.suffix not in (".parquet", ".csv"):
        raise ConfigError(
            f"output {path} ends in {path.suffix!r}; give a name that ends in .parquet or .csv."
        )

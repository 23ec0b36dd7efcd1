"""What a file calls its columns: names that stand there twice, and lines that nothing divides."""

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

from lead_propensity.data.engine import literal
from lead_propensity.errors import DataError

_DELIMITER = re.compile(r"[,;|\t]")
_NUMBERED = re.compile(r"(.+)_\d+")
CSV_FORM = "quote = '\"', escape = '\"', comment = '', skip = 0, sample_size = 20480"
"""Only the delimiter of CSV is guessed: a guess of more loses lines."""


def require_divided(
    con: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Sequence[str]
) -> None:
    """Raises DataError where the header of a CSV is one name that holds a delimiter, or holds binary zeros.

    The reader takes a file so whose lines it cannot divide alike, or whose letters take two bytes, and
    "there is no column lead_id" would lead astray. `columns` are those of all files together.
    """
    zeros = [name for name in columns if "\0" in name]
    if zeros:
        raise DataError(
            f"{files[0].parent if len(files) > 1 else files[0]} cannot be read: its first line holds binary zeros, "
            f"as UTF-16 does ({zeros[0][:40]!r}). CSV must be UTF-8: convert it, e.g. iconv -f UTF-16 -t UTF-8."
        )
    if not any(_DELIMITER.search(name) for name in columns):
        return
    for file in files:
        names = columns if len(files) == 1 else _header(con, file)
        if len(names) == 1 and _DELIMITER.search(names[0]):
            raise DataError(
                f"{file} cannot be read: its lines do not divide into the same fields. Its first line is "
                f"{names[0][:200]!r}. Look for a quote that is not closed, a line with too many or too few fields, "
                "a line cut off at the end, or binary zeros; CSV must be UTF-8."
            )


def repeated(
    con: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Sequence[str]
) -> tuple[str, ...]:
    """Names that more than one column of a file has, of the `columns` that DuckDB has kept apart by numbers."""
    numbered = {match[1] for name in columns if (match := _NUMBERED.fullmatch(name))}
    if not numbered & set(columns):
        return ()
    found: set[str] = set()
    for file in files:
        names = _header(con, file)
        found |= {name for name in numbered if names.count(name) > 1}
    return tuple(sorted(found))


def _header(con: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    if file.name.lower().endswith(".parquet"):
        schema = f"SELECT name FROM parquet_schema({literal(str(file))})"
        return [str(row[0]) for row in con.execute(schema).fetchall()]
    first = f"FROM read_csv({literal(str(file))}, all_varchar = true, header = false, {CSV_FORM}) LIMIT 1"
    return [str(name) for row in con.execute(first).fetchall() for name in row]

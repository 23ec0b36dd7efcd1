"""What the whole process may use, and how it is shared out between the database and arrays."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lead_propensity.errors import ConfigError

if sys.platform != "win32":
    import resource

MEGABYTE = 1_000_000
OVERHEAD = 150 * MEGABYTE
"""Counted by nobody: the SQL engine's buffers for reading files and handing out results (100 MB over
its own limit were measured, whatever that limit), compiled code."""
LEAST = 2 * OVERHEAD
"""With less beside what the process holds already no work is worth beginning."""
MOST = 1 << 60
"""More than any machine has; the SQL engine refuses to hear of yet more."""
DEFAULT_SHARE = 0.6
"""Of the machine or container, where no limit is set."""
DATABASE_SHARE = 0.5
ARRAY_SHARE = 0.35

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class Split:
    """The process's memory, in bytes. `resident + database + arrays < limit`."""

    limit: int
    """`engine.memory_limit`, or the default."""
    resident: int
    """Held before the work begins: the interpreter, the libraries, whatever the caller has loaded."""
    database: int
    arrays: int


def split(memory_limit: str | None) -> Split:
    """Share out the limit, less what the process holds already and less `OVERHEAD`.

    Half of that goes to the SQL engine, 35% to arrays. The rest stays unassigned: allocators keep
    part of what was freed.

    Raises ConfigError where the limit leaves less than `LEAST`.
    """
    limit = machine_share() if memory_limit is None else min(size(memory_limit), MOST)
    resident = resident_bytes()
    spare = limit - resident
    if spare < LEAST:
        raise ConfigError(
            f"engine.memory_limit is {words(limit)}, for the whole process, which holds {words(resident)} "
            f"before it reads a row. Set it to {words(resident + LEAST)} or more; twice that is comfortable."
        )
    shared = spare - OVERHEAD
    return Split(limit, resident, int(shared * DATABASE_SHARE), int(shared * ARRAY_SHARE))


def machine_share() -> int:
    """Bytes: the default share of the memory that the machine or container offers."""
    with duckdb.connect(":memory:") as con:  # it knows containers; its own default is 80%
        offered = con.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
    return int(size(offered) / 0.8 * DEFAULT_SHARE)


def size(text: str) -> int:
    """Bytes.

    >>> size("1.5 GB"), size("2MiB")
    (1500000000, 2097152)
    """
    match = re.fullmatch(r"([\d.]+)\s*([KMGT]?)(i?)B", text)
    assert match, f"{text!r} is no size that the config or the SQL engine writes"
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _UNITS[match[2]])


def words(size_bytes: int) -> str:
    """
    >>> words(1_234_567_890)
    '1235 MB'
    """
    return f"{size_bytes / MEGABYTE:.0f} MB"


def resident_bytes() -> int:
    """Physical memory that the process holds now (where the system does not tell: the most it ever held)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _peak_bytes()
    return pages * resource.getpagesize()


def _peak_bytes() -> int:
    if sys.platform == "win32":
        return (
            400 * MEGABYTE
        )  # what the libraries take elsewhere; nothing in the standard library tells
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

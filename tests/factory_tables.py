"""Small CRM exports in a folder, and what the contract makes of them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lead_propensity.config import Config
from lead_propensity.data.engine import connect
from lead_propensity.data.tables import Check, check

HEADERS = {
    "leads": ("lead_id", "created_at", "group_id", "industry"),
    "attributes": ("lead_id", "attribute", "value", "known_at"),
    "events": ("lead_id", "occurred_at", "event_type", "channel", "value", "known_at"),
    "deals": ("lead_id", "closed_at", "outcome", "amount", "known_at"),
}
CLEAN: dict[str, list[tuple[str, ...]]] = {
    "leads": [(f"L{n}", f"2024-01-{n + 1:02}T00:00:00Z", "", "steel") for n in range(20)],
    "attributes": [(f"L{n}", "budget", "met", "2024-02-01T00:00:00Z") for n in range(20)],
    "events": [
        (f"L{n}", f"2024-02-{n + 1:02}T10:00:00Z", "visit", "web", "1", "") for n in range(20)
    ],
    "deals": [
        (f"L{n}", "2024-03-01T00:00:00Z", ("won", "lost")[n % 2], "100", "") for n in range(10)
    ],
}
"""Twenty leads, each with one event and one attribute version, ten of them with a deal."""


@dataclass(frozen=True)
class Checked:
    """The database after a check, and what was found."""

    con: duckdb.DuckDBPyConnection
    found: Check

    def reasons(self) -> dict[str, int]:
        return {f"{f.table}: {f.reason}": f.count for f in self.found.quarantined}

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.con.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def checked(folder: Path, data: dict[str, Any], threads: int = 1, **keys: Any) -> Checked:
    config = Config.model_validate(
        {"name": "t", "data": data, "engine": {"threads": threads}, **keys},
        context={"folder": folder},
    )
    con = connect(config.engine)
    return Checked(con, check(con, config))


def history(
    folder: Path,
    rows: dict[str, Sequence[Sequence[str]]] | None = None,
    threads: int = 1,
    tolerant: bool = True,
    **data: Any,
) -> Checked:
    """The clean tables, with those of `rows` in their place; keys of `data` replace or add to it."""
    tables = CLEAN | (rows or {})
    for name, lines in tables.items():
        write_csv(folder / f"{name}.csv", HEADERS[name], lines)
    declared: dict[str, Any] = {name: {"path": f"{name}.csv"} for name in tables}
    share = {"max_quarantine_share": 1.0} if tolerant else {}
    return checked(folder, declared | share | data, threads)

"""Training on some of the leads: which ones, and how many each of them stands for."""

from dataclasses import dataclass
from typing import Self

import duckdb

from lead_propensity.data.database import TABLES
from lead_propensity.data.engine import count_rows


@dataclass(frozen=True)
class Sample:
    """Of `leads` leads the `kept` ones, one in `one_in`."""

    leads: int
    kept: int
    one_in: int

    @classmethod
    def all_of(cls, leads: int) -> Self:
        return cls(leads, leads, 1)

    @property
    def weight(self) -> float:
        """How many leads each one that was kept stands for, the same for all."""
        return float(self.one_in)

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> count; nothing where no lead was left out."""
        return {"leads not sampled": self.leads - self.kept} if self.one_in > 1 else {}

    @property
    def notes(self) -> tuple[str, ...]:
        if self.one_in == 1:
            return ()
        return (
            f"1 in {self.one_in} leads was sampled ({self.kept:,} of {self.leads:,}, by snapshots.max_leads): "
            "every n and interval is the sample's own, numbers a week are scaled up to all leads.",
        )


def one_in(rows: int, most: int) -> int:
    """One in how many to keep of `rows`, so that about `most` or fewer are left.

    >>> one_in(1_000, most=1_000), one_in(1_001, most=1_000), one_in(0, most=1_000)
    (1, 2, 1)
    """
    return max(1, -(-rows // most))


def is_kept(column: str, every: int) -> str:
    """SQL: whether a lead is one of the sample, by a hash of its id.

    The last 8 bytes of the id's MD5, the lowest first, as a whole number: no row moves another one
    in or out, and every engine can compute it.
    """
    return f"md5_number_lower({column}) % {every} = 0"


def tells_level(column: str, every: int) -> str:
    """SQL: the same for the leads that tell the level.

    Another draw than that of `is_kept`, else they would all be leads that the model has learned from.
    """
    return is_kept(f"({column} || ' tells the level')", every)


def sample(con: duckdb.DuckDBPyConnection, max_leads: int | None) -> Sample:
    """Keep the checked tables' rows of about `max_leads` leads (None: all), and drop the others.

    Everything that follows sees the sample alone: delays, vocabulary and kinds, snapshots of both
    populations, and what is left out. Tables are written anew: deleted rows would keep their memory.
    """
    leads = count_rows(con, "leads")
    every = 1 if max_leads is None else one_in(leads, max_leads)
    if every > 1:
        there = {row[0] for row in con.execute("SHOW TABLES").fetchall()}
        for table in (name for name in TABLES if name in there):
            con.execute(
                f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} WHERE {is_kept('lead_id', every)}"
            )
    return Sample(leads, count_rows(con, "leads"), every)

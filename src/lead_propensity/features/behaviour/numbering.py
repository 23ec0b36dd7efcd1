"""Which lead an event belongs to, told by the hash of its id: half the time of a join on text.

It is exact: the hashes of all leads of the data are made to differ, and no event has another lead.
"""

from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from lead_propensity.data.engine import literal
from lead_propensity.features.behaviour.compiling import compiled

NOBODY = -1


class Numbers:
    """The numbers of some leads, found by hash."""

    def __init__(self, hashes: np.ndarray, numbers: np.ndarray, salt: str) -> None:
        size = 1 << int(2 * len(hashes)).bit_length()
        self._hashes, self._numbers = np.zeros(size, np.uint64), np.full(size, NOBODY, np.int32)
        self._salt = salt
        put(hashes, numbers.astype(np.int32), self._hashes, self._numbers)

    @classmethod
    def of(cls, con: duckdb.DuckDBPyConnection, leads: pa.Array, numbers: np.ndarray) -> Self:
        """`numbers` (n,) of the n `leads` (text), each one of the table `leads`; also as `numbered_leads`."""
        salt = _salt(con)
        con.register("given_leads", pa.table({"lead_id": leads, "number": numbers}))
        con.execute(
            f"""CREATE OR REPLACE TABLE numbered_leads AS
                SELECT g.lead_id, g.number, {_hash("g", salt)} AS hash FROM given_leads AS g"""
        )
        con.unregister("given_leads")
        table = con.sql("SELECT hash, number FROM numbered_leads").to_arrow_table()
        return cls(table["hash"].to_numpy(), table["number"].to_numpy(), salt)

    def sql(self, row: str) -> str:
        """SQL: what `find` wants to know of a row."""
        return _hash(row, self._salt)

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """(n,) int32: the lead of each row; NOBODY where it is none of these."""
        found = np.empty(len(hashes), np.int32)
        look_up(hashes, self._hashes, self._numbers, found)
        return found


def _hash(row: str, salt: str) -> str:
    return f"hash({row}.lead_id || {literal(salt)})" if salt else f"hash({row}.lead_id)"


def _salt(con: duckdb.DuckDBPyConnection) -> str:
    """A text with which no two leads have one hash; it takes a second one in a world in ten million."""
    salt = ""
    while True:
        leads, hashes = con.execute(
            f"SELECT count(*), count(DISTINCT {_hash('l', salt)}) FROM leads AS l"
        ).fetchall()[0]
        if leads == hashes:
            return salt
        salt += "+"


@compiled
def put(hashes: Any, numbers: Any, keys: Any, places: Any) -> None:
    """Fill a table of open addressing; its size is a power of two and at least twice what it holds."""
    last = np.uint64(len(keys) - 1)
    for i in range(len(hashes)):
        slot = hashes[i] & last
        while places[slot] != NOBODY:
            slot = (slot + np.uint64(1)) & last
        keys[slot] = hashes[i]
        places[slot] = numbers[i]


@compiled
def look_up(hashes: Any, keys: Any, places: Any, found: Any) -> None:
    last = np.uint64(len(keys) - 1)
    for i in range(len(hashes)):
        slot = hashes[i] & last
        while places[slot] != NOBODY and keys[slot] != hashes[i]:
            slot = (slot + np.uint64(1)) & last
        found[i] = places[slot]

"""What is known of leads beside their features: the band they had before, and their last event.

Both lie in the database, which spills; a piece of leads looks up its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.data.engine import literal
from lead_propensity.model.bands import BANDS
from lead_propensity.serving.before import BEFORE

CHANGES = ("up", "down", "same", "new")


@dataclass(frozen=True)
class Known:
    """Of some leads, in their order."""

    previous_band: np.ndarray
    """(n,) object: cold, warm, hot, or None."""
    last_event_at: pa.ChunkedArray
    """(n,) int64 microseconds, null where there is none."""


def remember(con: duckdb.DuckDBPyConnection, pieces: Iterable[pa.Table] = ()) -> None:
    """Create `previous_bands(lead_id, band)`; a lead that comes twice counts once, and so does no other band."""
    con.execute("CREATE OR REPLACE TEMP TABLE told_bands (lead_id VARCHAR, band VARCHAR)")
    try:
        for piece in pieces:
            con.register("piece_of_bands", piece.cast(BEFORE))
            con.execute("INSERT INTO told_bands FROM piece_of_bands")
            con.unregister("piece_of_bands")
    finally:
        bands = ", ".join(map(literal, BANDS))
        con.execute(f"""
            CREATE OR REPLACE TABLE previous_bands AS
            SELECT lead_id, min(band) AS band FROM told_bands WHERE band IN ({bands}) GROUP BY lead_id;
            DROP TABLE told_bands""")


def known(con: duckdb.DuckDBPyConnection, leads: pd.Series) -> Known:
    """By the tables `previous_bands` and `last_events`."""
    given = pa.table({"row": np.arange(len(leads)), "lead_id": pa.array(leads, pa.string())})
    own = con.cursor()  # the caller's may be in the middle of something
    own.register("given", given)
    rows = own.sql("""
        SELECT b.band, e.last_event_at FROM given AS g
        LEFT JOIN previous_bands AS b USING (lead_id) LEFT JOIN last_events AS e USING (lead_id)
        ORDER BY g.row""").to_arrow_table()
    own.close()
    assert len(rows) == len(leads), "a lead is looked up once"
    band = rows["band"].to_numpy(zero_copy_only=False).astype(object)
    band[pd.isna(band)] = None
    return Known(band, rows["last_event_at"])


def changes(band: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """(n,) object: up, down, same, or new where there was no band before.

    >>> changes(np.array(["hot", "cold", "warm", "warm"]), np.array(["warm", "hot", "warm", None])).tolist()
    ['up', 'down', 'same', 'new']
    """
    rank = {name: place for place, name in enumerate(BANDS)}
    now = np.array([rank[one] for one in band], dtype=np.int64)
    then = np.array([rank.get(one, -1) for one in previous], dtype=np.int64)
    words = np.array(["down", "same", "up"], dtype=object)
    return np.where(then < 0, "new", words[np.sign(now - then) + 1])

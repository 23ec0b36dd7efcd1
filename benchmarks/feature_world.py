"""A large, seeded CRM export as Parquet: events in time order, written in chunks of bounded memory.

Leads differ widely in how much they do (lognormal), event types in how often they occur. One event in
twenty is known later than it occurred, one in a thousand lies exactly at midnight, where snapshots lie.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_US = 86_400_000_000
START = 19_358 * DAY_US  # 2023-01-01
DAYS = 730
TYPES = {
    "page_view": 0.40,
    "email_open": 0.22,
    "price_page": 0.10,
    "email_click": 0.10,
    "download": 0.07,
    "webinar": 0.05,
    "call": 0.04,
    "unsubscribe": 0.02,
}
CHANNELS = ("web", "email", "phone", "event")
TOPICS = ("pricing", "product", "support", "careers", "security", "integration")
VALUED = ("page_view", "webinar", "call")
"""Types with a value: how many seconds it took."""
CODED = ["event_type", "channel", "topic"]
"""Columns with a dictionary. A writer drops that of the lead where leads are many; here at every size."""
CHUNK = 1_000_000
BULK_SPREAD = 1.3
"""Sigma of the log of a lead's activity: the busiest of 100,000 leads does about a hundred times the mean."""


@dataclass(frozen=True)
class Size:
    """How much of everything. Snapshots lie on a grid of midnights that all leads share."""

    events: int
    leads: int
    late_share: float = 0.05
    seed: int = 7


@dataclass(frozen=True)
class World:
    """A folder with `events.parquet` and `leads.parquet`."""

    folder: Path
    size: Size

    @property
    def events(self) -> Path:
        return self.folder / "events.parquet"

    def grid(self, dates: int) -> list[int]:
        """So many midnights (microseconds UTC), evenly spread, the last one at the data's end."""
        return [START + (DAYS - k * DAYS // dates) * DAY_US for k in reversed(range(dates))]


def made(folder: Path, size: Size) -> World:
    """The world of this size; one that lies there already is used again."""
    world, note = World(folder, size), folder / "size.json"
    wanted = json.dumps(vars(size))
    if note.exists() and note.read_text() == wanted:
        return world
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(size.seed)
    weight = rng.lognormal(sigma=BULK_SPREAD, size=size.leads)
    names = pa.array([f"L{number:08d}" for number in range(size.leads)])
    writer = None
    for chunk in _chunks(size, np.cumsum(weight / weight.sum()), names, rng):
        writer = writer or pq.ParquetWriter(world.events, chunk.schema, use_dictionary=CODED)
        writer.write_table(chunk)
    if writer is not None:
        writer.close()
    created = START - rng.integers(0, 365 * DAY_US, size.leads)
    leads = pa.table({"lead_id": names, "group_id": names, "created_at": created})
    pq.write_table(leads, folder / "leads.parquet")
    note.write_text(wanted)
    return world


def load(con: duckdb.DuckDBPyConnection, world: World) -> None:
    """The clean tables of our package: `events` stays in its file, the others are small."""
    con.execute(f"CREATE VIEW events AS SELECT * FROM '{world.events}'")
    con.execute(f"CREATE TABLE leads AS SELECT * FROM '{world.folder / 'leads.parquet'}'")
    con.execute("CREATE TABLE lead_attributes AS SELECT lead_id FROM leads")
    con.execute(
        "CREATE TABLE attributes (lead_id VARCHAR, attribute VARCHAR, value VARCHAR, known_at BIGINT)"
    )
    con.execute(
        """CREATE TABLE deals (
            lead_id VARCHAR, closed_at BIGINT, won BOOLEAN, amount DOUBLE, known_at BIGINT)"""
    )
    con.execute("CREATE TABLE unclear_leads (lead_id VARCHAR)")


def _chunks(
    size: Size, cumulative: np.ndarray, names: pa.Array, rng: np.random.Generator
) -> Iterator[pa.Table]:
    """Each chunk takes its share of the time line, so that the file is in time order."""
    for first in range(0, size.events, CHUNK):
        n = min(CHUNK, size.events - first)
        span = np.array([first, first + n]) * (DAYS * DAY_US / size.events)
        occurred = START + np.sort(rng.integers(*span.astype(np.int64), n))
        midnight = occurred - occurred % DAY_US
        occurred = np.where((rng.random(n) < 0.001) & (midnight >= occurred[0]), midnight, occurred)
        lead = np.minimum(np.searchsorted(cumulative, rng.random(n)), size.leads - 1)
        type_id = _drawn(np.array(list(TYPES.values())), n, rng)
        late = np.where(rng.random(n) < size.late_share, rng.exponential(2 * DAY_US, n), 0)
        seconds = np.round(rng.exponential(60, n), 1)
        silent = ~np.isin(type_id, [list(TYPES).index(name) for name in VALUED])
        topic = rng.integers(0, len(TOPICS), n)
        yield pa.table(
            {
                "lead_id": _words(lead, names),
                "occurred_at": occurred,
                "event_type": _words(type_id, pa.array(list(TYPES))),
                "channel": _words(rng.integers(0, len(CHANNELS), n), pa.array(CHANNELS)),
                "topic": _words(topic, pa.array(TOPICS), rng.random(n) < 0.5),
                "value": pa.array(seconds, mask=silent),
                "known_at": occurred + late.astype(np.int64),
            }
        ).sort_by("occurred_at")


def _drawn(share: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    cumulative = np.cumsum(share / share.sum())
    return np.minimum(np.searchsorted(cumulative, rng.random(n)), len(share) - 1)


def _words(number: np.ndarray, words: pa.Array, missing: np.ndarray | None = None) -> pa.Array:
    return words.take(pa.array(number, mask=missing))

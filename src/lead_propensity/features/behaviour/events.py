"""The events of some leads, delivered by the database and laid out lead by lead in their total order."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

import duckdb
import numpy as np
import pyarrow as pa

from lead_propensity.errors import ConfigError
from lead_propensity.features import kept
from lead_propensity.features.behaviour import arrays, sorting
from lead_propensity.features.behaviour.numbering import Numbers
from lead_propensity.features.behaviour.program import Texts
from lead_propensity.features.behaviour.threads import by_leads
from lead_propensity.features.windows import known_before

BATCH_ROWS = 122_880
"""DuckDB's own row group: larger batches gain nothing."""
EVENT_BYTES = sorting.EVENT.itemsize
DELIVERED_BYTES = 56
"""Of one event as the database delivers it, with the number of its lead."""
READ_EVENTS = 500_000
"""At a time, from a file."""
_EXCLUDED = -1


@dataclass(frozen=True)
class Events:
    """Of leads numbered from 0; those of lead k are `rows[starts[k]:starts[k + 1]]`, in total order."""

    starts: np.ndarray
    """(leads + 1,) int64."""
    rows: np.ndarray
    """(events,) of `sorting.EVENT`. Numbers of types, channels and topics are places in `Texts`; -1 is no
    channel or topic, one beyond the last type is any other."""

    def of_leads(self, first: int, end: int) -> Self:
        """Those of the leads `first` to `end` - 1, numbered from 0; the rows are not copied."""
        starts = self.starts[first : end + 1]
        return type(self)(starts - starts[0], self.rows[starts[0] : starts[-1]])


@dataclass(frozen=True)
class Wanted:
    """Which events, and what of them."""

    leads: Numbers
    texts: Texts
    excluded: tuple[str, ...]
    values: bool
    until: int
    """Only what occurred and was known before: the last moment that is looked from."""


def shown_types(con: duckdb.DuckDBPyConnection, texts: Texts) -> Texts:
    """With the types as the data call them; a mark that no event bears stays."""
    called = {name: text for text, name in kept.meant(con, "event_type", texts.types).items()}
    return replace(texts, types=tuple(called.get(name, name) for name in texts.types))


def all_texts(con: duckdb.DuckDBPyConnection, texts: Texts) -> Texts:
    """With every channel and topic of the data, for those who want to see them as texts."""
    found = [
        con.execute(f"SELECT DISTINCT {c} FROM events WHERE {c} IS NOT NULL ORDER BY 1").fetchall()
        for c in ("channel", "topic")
    ]
    channels, topics = (tuple(row[0] for row in rows) for rows in found)
    return Texts(texts.types, channels, topics)


def _delivered(con: duckdb.DuckDBPyConnection, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    """Batches of lead, occurred_at, known_at, type, channel, topic, value, in no order; see `_columns`."""
    types = [*wanted.texts.types]
    numbers = {name: place for place, name in enumerate(types)}
    numbers |= dict.fromkeys(wanted.excluded, _EXCLUDED)
    _number(con, "event_type", numbers)
    _number(con, "channel", {n: p for p, n in enumerate(wanted.texts.channels)})
    _number(con, "topic", {n: p for p, n in enumerate(wanted.texts.topics)})
    channels, topics = bool(wanted.texts.channels), bool(wanted.texts.topics)
    selected = [
        *(f"{wanted.leads.sql('e')} AS lead", "e.occurred_at", "e.known_at"),
        f"coalesce(t.number, {len(types)})::INTEGER AS type_id",
        *(["coalesce(c.number, -1)::INTEGER AS channel_id"] if channels else []),
        *(["coalesce(p.number, -1)::INTEGER AS topic_id"] if topics else []),
        *(["coalesce(e.value, 'NaN'::DOUBLE) AS value"] if wanted.values else []),
    ]
    joins = [
        "LEFT JOIN numbered_event_type AS t ON t.name = e.event_type",
        *(["LEFT JOIN numbered_channel AS c ON c.name = e.channel"] if channels else []),
        *(["LEFT JOIN numbered_topic AS p ON p.name = e.topic"] if topics else []),
    ]
    conditions = [known_before("e", str(wanted.until))]
    if wanted.excluded:
        conditions.append(f"t.number IS DISTINCT FROM {_EXCLUDED}")
    query = f"""
        SELECT {", ".join(selected)} FROM events AS e {" ".join(joins)}
        WHERE {" AND ".join(conditions)}"""
    yield from con.sql(query).to_arrow_reader(BATCH_ROWS)


def _number(con: duckdb.DuckDBPyConnection, column: str, numbers: dict[str, int]) -> None:
    """Create `numbered_<column>`: the texts of the data (`name`) that these names stand for, see `kept.meant`."""
    found = kept.meant(con, column, numbers)
    con.execute(
        f"""CREATE OR REPLACE TABLE numbered_{column} AS
            SELECT unnest($names::VARCHAR[]) AS name, unnest($numbers::INTEGER[]) AS number""",
        {"names": list(found), "numbers": [numbers[name] for name in found.values()]},
    )


def laid_out(con: duckdb.DuckDBPyConnection, wanted: Wanted, n_leads: int, threads: int) -> Events:
    """The events lead by lead, everything in memory."""
    delivered = [_columns(batch, wanted.leads) for batch in _delivered(con, wanted)]
    itself = np.arange(n_leads)
    counts = np.zeros(n_leads, np.int64)
    for columns in delivered:
        sorting.count(columns[0], itself, counts)
    starts = _starts(counts)
    rows, free = arrays.empty((int(starts[-1]),), sorting.EVENT), starts[:-1].copy()
    while (
        delivered
    ):  # in the order of arrival, which is nearly that of time; each is free afterwards
        sorting.scatter(delivered.pop(0), itself, free, rows)
    by_leads(sorting.arrange, threads, starts, rows)
    return Events(starts, rows)


@dataclass(frozen=True)
class Buckets:
    """Events on disk, a file for each bucket of leads."""

    folder: Path
    bucket_starts: np.ndarray
    """(buckets + 1,) int64: bucket b holds the leads bucket_starts[b]:bucket_starts[b + 1]."""
    counts: np.ndarray
    """(leads,) int64: how many events each lead has."""
    digests: np.ndarray
    """(buckets,) uint64: of the events of each bucket, in any order."""

    def take(self, bucket: int, threads: int) -> Events:
        """The events of one bucket; its file is gone then."""
        first, end = self.bucket_starts[bucket : bucket + 2]
        starts = _starts(self.counts[first:end])
        rows, free = arrays.empty((int(starts[-1]),), sorting.EVENT), starts[:-1].copy()
        path = _bucket_file(self.folder, bucket)
        with path.open("rb") as file:
            while len(some := np.fromfile(file, sorting.EVENT, READ_EVENTS)):
                sorting.move(some, int(first), free, rows)
        path.unlink()
        by_leads(sorting.arrange, threads, starts, rows)
        return Events(starts, rows)


def cut(
    con: duckdb.DuckDBPyConnection, wanted: Wanted, bucket_starts: np.ndarray, folder: Path
) -> Buckets:
    """Write the events to `folder` in one pass, a file for each bucket of leads."""
    n_buckets, n_leads = len(bucket_starts) - 1, int(bucket_starts[-1])
    bucket_of = np.repeat(np.arange(n_buckets), np.diff(bucket_starts))
    counts, itself = np.zeros(n_leads, np.int64), np.arange(n_leads)
    digests = np.zeros(n_buckets, np.uint64)
    files: list[BinaryIO] = []
    try:
        files += [_bucket_file(folder, bucket).open("wb") for bucket in range(n_buckets)]
        for batch in _delivered(con, wanted):
            columns = _columns(batch, wanted.leads)
            sorting.count(columns[0], itself, counts)
            in_bucket = np.zeros(n_buckets, np.int64)
            sorting.count(columns[0], bucket_of, in_bucket)
            ends = _starts(in_bucket)
            rows = arrays.empty((int(ends[-1]),), sorting.EVENT)
            sorting.scatter(columns, bucket_of, ends[:-1].copy(), rows)
            words = rows.view(np.uint64).reshape(-1, sorting.EVENT_WORDS)
            sorting.add_digests(words, ends, digests)
            for bucket, file in enumerate(files):
                file.write(rows[ends[bucket] : ends[bucket + 1]].data)
    except OSError as error:
        raise ConfigError(
            f"{folder}: events cannot be cut into buckets: {error}. Make room there, name a folder on a larger "
            "disk in engine.work_folder, or raise engine.memory_limit."
        ) from error
    finally:
        for file in files:
            with suppress(OSError):
                file.close()
    return Buckets(folder, bucket_starts, counts, digests)


def _bucket_file(folder: Path, bucket: int) -> Path:
    return folder / f"bucket-{bucket:05d}.events"


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _columns(batch: pa.RecordBatch, leads: Numbers) -> tuple[np.ndarray, ...]:
    """In the order of `sorting.scatter`; a column that was left out is empty."""
    types: dict[str, Any] = {"channel_id": np.int32, "topic_id": np.int32, "value": np.float64}
    found = [leads.find(batch.column("lead").to_numpy())]
    for name in ("occurred_at", "known_at", "type_id", *types):
        if name in batch.schema.names:
            found.append(batch.column(name).to_numpy())
        else:
            nothing = np.empty(0, types[name])
            nothing.flags.writeable = False  # as the others, else numba would compile anew
            found.append(nothing)
    return tuple(found)

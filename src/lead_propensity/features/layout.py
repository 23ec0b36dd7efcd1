"""How the snapshots are laid out for the work: in their order, by lead, and cut into buckets of leads."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.features.behaviour.sorting import number_rows

KEYS = (
    *("lead_id", "group_id", "as_of", "place", "label_known_at"),
    *("population", "part", "age_days", "won", "amount"),
)


@dataclass(frozen=True)
class Layout:
    """The rows of the table `snapshots` by `snapshot_id`, and their leads numbered bucket by bucket."""

    keys: pa.Table
    """`snapshot_id` and KEYS."""
    leads: pa.Array
    """Text: the lead of each number."""
    bucket_starts: np.ndarray
    """(buckets + 1,) int64: bucket b holds the leads bucket_starts[b]:bucket_starts[b + 1]."""
    starts: np.ndarray
    """(leads + 1,) int64: the snapshots of lead k are the rows by_lead[starts[k]:starts[k + 1]]."""
    by_lead: np.ndarray
    """(snapshots,) int64 row numbers, ascending within a lead."""

    def __len__(self) -> int:
        return len(self.by_lead)

    @property
    def n_buckets(self) -> int:
        return len(self.bucket_starts) - 1

    def leads_of(self, bucket: int) -> slice:
        return slice(int(self.bucket_starts[bucket]), int(self.bucket_starts[bucket + 1]))

    def rows_of(self, bucket: int) -> np.ndarray:
        """The rows of a bucket, by lead."""
        leads = self.leads_of(bucket)
        return self.by_lead[self.starts[leads.start] : self.starts[leads.stop]]


def lay_out(con: duckdb.DuckDBPyConnection, n_buckets: int) -> Layout:
    """Put each lead of `snapshots` into one of `n_buckets` by a hash of its id; the table says so, too."""
    bucket = f"hash(lead_id) % {n_buckets}" if n_buckets > 1 else "0"
    con.execute(f"UPDATE snapshots SET bucket = {bucket} WHERE bucket <> {bucket}")
    keys = con.sql(f"SELECT snapshot_id, bucket, {', '.join(KEYS)} FROM snapshots").to_arrow_table()
    if not _ascending(keys["snapshot_id"].to_numpy()):
        keys = keys.sort_by("snapshot_id")
    keys = _with_coded_texts(keys)
    coded = keys["lead_id"].chunk(0)
    codes = coded.indices.to_numpy(zero_copy_only=False)
    bucket_of = np.zeros(len(coded.dictionary), np.int64)
    bucket_of[codes] = keys["bucket"].to_numpy()
    order = np.argsort(bucket_of, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    lead = number[codes]
    starts, by_lead = grouped(lead, len(order))
    return Layout(
        keys,
        coded.dictionary.take(pa.array(order)),
        np.searchsorted(bucket_of[order], np.arange(n_buckets + 1)).astype(np.int64),
        starts,
        by_lead,
    )


def _with_coded_texts(keys: pa.Table) -> pa.Table:
    """Texts as numbers and a dictionary: a piece takes its rows several times faster."""
    columns = [column.combine_chunks() for column in keys.columns]
    coded = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in columns]
    return pa.table([pa.chunked_array([c]) for c in coded], names=keys.column_names)


def grouped(lead: np.ndarray, n_leads: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows by lead: `starts` (leads + 1,) and the row numbers (rows,), ascending within a lead."""
    starts = np.zeros(n_leads + 1, np.int64)
    np.cumsum(np.bincount(lead, minlength=n_leads), out=starts[1:])
    rows = np.empty(len(lead), np.int64)
    number_rows(lead, starts[:-1].copy(), rows)
    return starts, rows


def frame(keys: pa.Table) -> pd.DataFrame:
    """The keys as `Dataset` has them."""
    columns = {
        "lead_id": _objects(keys["lead_id"]),
        "group_id": _objects(keys["group_id"]),
        "as_of": keys["as_of"].to_numpy(),
        "order": keys["place"].to_numpy(),
        "label_known_at": keys["label_known_at"].to_numpy(),
        "population": _objects(keys["population"]),
        "part": _objects(keys["part"]),
        "age_days": floats(keys["age_days"]),
        "won": floats(keys["won"]),
        "amount": floats(keys["amount"]),
    }
    return pd.DataFrame(columns, copy=False)


def _objects(column: pa.ChunkedArray) -> pd.Series:
    return pd.Series(texts(column), dtype=object)  # else pandas would make another type of it


def texts(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) object: text, or None. Equal texts are one object."""
    if column.null_count == len(column):
        return np.full(len(column), None, dtype=object)
    coded = column.combine_chunks()
    if not pa.types.is_dictionary(coded.type):
        coded = coded.dictionary_encode()
    words = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
    found: np.ndarray = words[
        coded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    ]
    return found


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) float64, NaN where missing."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _ascending(numbers: np.ndarray) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())

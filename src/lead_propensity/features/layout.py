"""How the snapshots are laid out for the work: in their order, by lead, and cut into buckets of leads."""

from dataclasses import dataclass
from typing import Self

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.features.behaviour.sorting import number_rows

TEXTS = ("lead_id", "group_id", "population", "part")
NUMBERS = ("snapshot_id", "bucket", "as_of", "place", "label_known_at", "age_days", "won", "amount")


@dataclass(frozen=True)
class Coded:
    """Texts, each different one kept once."""

    codes: np.ndarray
    """(n,) int32: places in `words`."""
    words: np.ndarray
    """object: text; the last one is None."""

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        coded = column.combine_chunks().dictionary_encode()
        words = np.array([*coded.dictionary.to_pylist(), None], dtype=object)
        return cls(coded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False), words)


@dataclass(frozen=True)
class Layout:
    """The rows of the table `snapshots` by `snapshot_id`, and their leads numbered bucket by bucket."""

    texts: dict[str, Coded]
    numbers: dict[str, np.ndarray]
    """(snapshots,) each: TEXTS and NUMBERS of the table; NaN where a float is missing."""
    leads: np.ndarray
    """object: the lead of each number."""
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
    rows = con.sql(f"SELECT {', '.join((*TEXTS, *NUMBERS))} FROM snapshots").to_arrow_table()
    if not _ascending(rows["snapshot_id"].to_numpy()):
        rows = rows.sort_by("snapshot_id")
    texts = {name: Coded.of(rows[name]) for name in TEXTS}
    numbers = {name: rows[name].to_numpy() for name in NUMBERS}
    leads = texts["lead_id"]
    bucket_of = np.zeros(len(leads.words) - 1, np.int64)
    bucket_of[leads.codes] = numbers["bucket"]
    order = np.argsort(bucket_of, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    starts, by_lead = grouped(number[leads.codes], len(order))
    return Layout(
        texts,
        numbers,
        leads.words[order],
        np.searchsorted(bucket_of[order], np.arange(n_buckets + 1)).astype(np.int64),
        starts,
        by_lead,
    )


def grouped(lead: np.ndarray, n_leads: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows by lead: `starts` (leads + 1,) and the row numbers (rows,), ascending within a lead."""
    starts = np.zeros(n_leads + 1, np.int64)
    np.cumsum(np.bincount(lead, minlength=n_leads), out=starts[1:])
    rows = np.empty(len(lead), np.int64)
    number_rows(lead, starts[:-1].copy(), rows)
    return starts, rows


def frame(laid_out: Layout, rows: np.ndarray | slice) -> pd.DataFrame:
    """The keys of these rows, as `Dataset` has them."""

    def text(name: str) -> pd.Series:
        coded = laid_out.texts[name]  # dtype: else pandas would make another type of it
        return pd.Series(coded.words[coded.codes[rows]], dtype=object)

    numbers = laid_out.numbers
    columns = {
        "lead_id": text("lead_id"),
        "group_id": text("group_id"),
        "as_of": numbers["as_of"][rows],
        "order": numbers["place"][rows],
        "label_known_at": numbers["label_known_at"][rows],
        "population": text("population"),
        "part": text("part"),
        "age_days": numbers["age_days"][rows],
        "won": numbers["won"][rows],
        "amount": numbers["amount"][rows],
    }
    return pd.DataFrame(columns, copy=False)


def texts(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) object: text, or None. Equal texts are one object."""
    if column.null_count == len(column):
        return np.full(len(column), None, dtype=object)
    coded = Coded.of(column)
    found: np.ndarray = coded.words[coded.codes]
    return found


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """(n,) float64, NaN where missing."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _ascending(numbers: np.ndarray) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())

"""The work between the table `snapshots` and the matrix: bucket by bucket of leads, within an allowance."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa

from lead_propensity.data.engine import count_rows
from lead_propensity.data.workroom import Allowance, Job
from lead_propensity.errors import DataError
from lead_propensity.features import custom, kept, layout, plugins, versions
from lead_propensity.features.behaviour import arrays, events, families, program
from lead_propensity.features.behaviour.measures import Measure
from lead_propensity.features.behaviour.measuring import Asked, TooLargeError, compile_for, measure
from lead_propensity.features.behaviour.numbering import Numbers
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.layout import Layout
from lead_propensity.features.points import CompiledRules
from lead_propensity.features.profile import features as features_of_profile
from lead_propensity.progress import Progress

COPIES = 2
"""Of the results of a bucket at one time: as an array, and as a table to be kept or written."""
KEY_BYTES = 150
"""Of one snapshot's keys, about."""
FILLED = 0.8
"""How much of the allowance buckets fill: their sizes differ."""
PIECE_BYTES = 200_000_000
"""Of the results of one bucket, where they are wanted in pieces: memory that is used again costs nothing."""


@dataclass(frozen=True)
class Columns:
    """Every column and where it comes from."""

    numbers: tuple[str, ...]
    """Features, then rules: the columns of `Filled.numbers`."""
    categories: tuple[str, ...]
    measured: dict[str, Measure]
    said: dict[str, str]
    """SQL over `known AS k`."""
    custom: tuple[str, ...]

    @classmethod
    def of(cls, catalogue: Catalogue, rules: CompiledRules) -> Self:
        definition = catalogue.definition
        measured = {feature.name: row for feature, row in families.features(definition)}
        said = {feature.name: sql for feature, sql in features_of_profile(definition)}
        categories = [f.name for f in catalogue.features if f.column_type == "category"]
        numbers = [f.name for f in catalogue.features if f.column_type == "number"]
        return cls(
            (*numbers, *sorted([*rules.done, *rules.said])),
            tuple(categories),
            measured | rules.done,
            said | rules.said,
            tuple(feature.name for feature in plugins.features(definition)),
        )


@dataclass(frozen=True)
class Filled:
    """The columns of some snapshots."""

    numbers: np.ndarray
    """(rows, numbers) float64, a row side by side: NaN missing."""
    categories: dict[str, np.ndarray]
    """(rows,) object each: text, or None."""

    @classmethod
    def empty(cls, columns: Columns, rows: int) -> Self:
        texts = {name: np.full(rows, None, dtype=object) for name in columns.categories}
        return cls(arrays.empty((rows, len(columns.numbers)), np.float64), texts)

    def put(self, rows: np.ndarray, part: Self) -> None:
        self.numbers[rows] = part.numbers
        for name, texts in part.categories.items():
            self.categories[name][rows] = texts

    def to_table(self) -> pa.Table:
        """The numbers of a row are one cell: they are written and read as they lie in memory."""
        n_rows, n_numbers = self.numbers.shape
        columns = {"row": pa.array(np.arange(n_rows))}
        if n_numbers:
            cells = np.ascontiguousarray(self.numbers)
            columns["numbers"] = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(8 * n_numbers), n_rows, [None, pa.py_buffer(cells)]
            )
        for place, words in enumerate(self.categories.values()):
            columns[f"t{place}"] = pa.array(words, pa.string())
        return pa.table(columns)

    @classmethod
    def from_table(cls, columns: Columns, table: pa.Table) -> Self:
        filled = cls.empty(columns, table.num_rows)
        row = 0
        for chunk in table["numbers"].chunks if columns.numbers else ():
            cells = np.frombuffer(chunk.buffers()[1], np.float64).reshape(-1, len(columns.numbers))
            filled.numbers[row : row + len(chunk)] = cells[chunk.offset : chunk.offset + len(chunk)]
            row += len(chunk)
        for place, name in enumerate(columns.categories):
            filled.categories[name][:] = layout.texts(table[f"t{place}"])
        return filled


@dataclass(frozen=True)
class Work:
    """All that is decided before the first bucket."""

    con: duckdb.DuckDBPyConnection
    catalogue: Catalogue
    columns: Columns
    layout: Layout
    known: str
    """SQL, see `versions.known`."""
    on_disk: bool
    """Whether the events are cut into buckets on disk, and finished buckets kept there."""
    allowance: Allowance

    @classmethod
    def begun(
        cls,
        con: duckdb.DuckDBPyConnection,
        catalogue: Catalogue,
        rules: CompiledRules,
        allowance: Allowance,
        whole: bool,
    ) -> Self:
        """`whole`: the results of all buckets are to stand in memory at the end.

        Raises DataError where they are too large for that.
        """
        columns = Columns.of(catalogue, rules)
        n_buckets, on_disk = _buckets(con, columns, allowance, whole)
        laid_out = layout.lay_out(con, n_buckets)
        definition = catalogue.definition
        attributes = [*(row["name"] for row in definition["attributes"]), *rules.attributes]
        known = versions.known(con, attributes, definition["origins"]) if columns.said else ""
        return cls(con, catalogue, columns, laid_out, known, on_disk, allowance)

    def filled(self, progress: Progress) -> Iterator[tuple[np.ndarray, Filled]]:
        """Each bucket: the rows of the layout, ascending, and their columns."""
        n_buckets = self.layout.n_buckets
        # What a custom feature gives may change without a sign: buckets with one are not kept.
        keeps = self.on_disk and not self.columns.custom
        job = self.allowance.job(self._key()) if keeps else None
        source = _Source(self, progress)
        for bucket in range(n_buckets):
            progress("features", bucket, n_buckets)
            rows = self._rows(bucket)
            part = None if job is None else self._kept(job, bucket, source.digest(bucket))
            if part is None:
                part = self._computed(bucket, rows, source)
                if job is not None:
                    job.keep(bucket, source.digest(bucket), part.to_table())
            yield rows, part
        progress("features", n_buckets, n_buckets)

    def _kept(self, job: Job, bucket: int, digest: str) -> Filled | None:
        table = job.kept(bucket, digest)
        return None if table is None else Filled.from_table(self.columns, table)

    def _computed(self, bucket: int, rows: np.ndarray, source: "_Source") -> Filled:
        part = Filled.empty(self.columns, len(rows))
        asked = self._asked(bucket, rows)
        if source.is_asked:
            self._measure(bucket, source.take(bucket), source, asked, part)
        if families.AGE.name in self.columns.numbers:
            ages = self.layout.numbers["age_days"]
            part.numbers[:, self.columns.numbers.index(families.AGE.name)] = ages[rows]
        if self.columns.said:
            self._say(bucket, rows, part)
        return part

    def _key(self) -> str:
        """A digest of all that the results are made from beside the events, which have a digest a bucket."""
        contents = []
        for table in ("attributes", "lead_attributes", "snapshots", "leads"):
            rows = f"SELECT count(*), sum(hash(*COLUMNS(*))::HUGEINT) FROM {table}"
            columns = self.con.execute(f"DESCRIBE {table}").fetchall()
            contents.append([columns, self.con.execute(rows).fetchall()])
        measured = [*map(repr, self.columns.measured.items())]
        made_from = [
            contents,
            self.columns.numbers,
            measured,
            self.columns.said,
            self.layout.n_buckets,
        ]
        text = f"{version('lead-propensity')} {duckdb.__version__} {self.catalogue.fingerprint} {made_from}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _rows(self, bucket: int) -> np.ndarray:
        if self.layout.n_buckets == 1:
            return np.arange(len(self.layout))
        return np.sort(self.layout.rows_of(bucket))

    def _asked(self, bucket: int, rows: np.ndarray) -> Asked:
        leads, by_lead = self.layout.leads_of(bucket), self.layout.rows_of(bucket)
        starts = self.layout.starts[leads.start : leads.stop + 1]
        as_of = self.layout.numbers["as_of"]
        places = by_lead if len(rows) == len(self.layout) else np.searchsorted(rows, by_lead)
        return Asked(starts - starts[0], as_of[by_lead], places)

    def _measure(
        self, bucket: int, found: events.Events, source: "_Source", asked: Asked, part: Filled
    ) -> None:
        try:
            measure(source.compiled, found, asked, self.allowance.threads, part.numbers)
        except TooLargeError as error:
            lead = self.layout.leads[self.layout.leads_of(bucket).start + error.lead]
            raise DataError(
                f"events.value: the values of lead {lead!r} add up to more than 9.2e12, which their exact sum "
                "cannot hold. Give them in larger units by a `sql:` source, e.g. value / 1000."
            ) from error
        if source.custom:
            types = source.definition
            seen = custom.of_types(
                found, source.texts, {*types["event_types"], *types["other_event_types"]}
            )
            try:
                told = custom.columns(source.custom, seen, source.shown, asked.starts, asked.as_of)
            except custom.AnswerError as error:
                lead = self.layout.leads[self.layout.leads_of(bucket).start + error.lead]
                raise error.of(lead) from error.__cause__
            for name, column in zip(self.columns.custom, told, strict=True):
                part.numbers[asked.rows, self.columns.numbers.index(name)] = column

    def _say(self, bucket: int, rows: np.ndarray, part: Filled) -> None:
        said = "".join(
            f", {sql} AS c{place}" for place, sql in enumerate(self.columns.said.values())
        )
        table = self.con.sql(
            f"""WITH known AS ({self.known})
                SELECT s.snapshot_id{said} FROM snapshots AS s JOIN known AS k USING (snapshot_id)
                WHERE s.bucket = $bucket""",
            params={"bucket": bucket},
        ).to_arrow_table()
        ids = self.layout.numbers["snapshot_id"][rows]
        at = np.searchsorted(ids, table["snapshot_id"].to_numpy())
        assert len(at) == len(rows), "an attribute feature has one row a snapshot"
        for place, name in enumerate(self.columns.said):
            if name in part.categories:
                part.categories[name][at] = layout.texts(table[f"c{place}"])
            else:
                column = self.columns.numbers.index(name)
                part.numbers[at, column] = layout.floats(table[f"c{place}"])


class _Source:
    """The events of the buckets, and what is measured of them."""

    def __init__(self, work: Work, progress: Progress) -> None:
        measured, numbers = work.columns.measured, work.columns.numbers
        asked = [one.of.name for one in measured.values() if one.of.by == "type"]
        self.definition = definition = kept.spelled(work.catalogue.definition, asked)
        self._cut: events.Buckets | None = None
        self.custom = plugins.load(definition)
        self.is_asked = bool(measured or self.custom)
        if not self.is_asked:
            return
        self.texts = program.texts_of(definition, measured.values())
        if self.custom:
            self.texts = events.all_texts(work.con, self.texts)
            self.shown = events.shown_types(work.con, self.texts)
        placed = [(numbers.index(name), one) for name, one in measured.items()]
        self.compiled = program.compiled(definition, placed, self.texts)
        progress("compiling", 0, 1)
        compile_for(self.compiled)
        progress("compiling", 1, 1)
        self._threads, self._bucket_starts = work.allowance.threads, work.layout.bucket_starts
        until = work.layout.numbers["as_of"].max(initial=0)
        excluded = tuple(definition["exclude_events"])
        values = self.compiled.uses_values or bool(self.custom)
        wanted = events.Wanted(_numbers(work), self.texts, excluded, values, int(until))
        progress("reading events", 0, 1)
        if work.on_disk:
            assert work.allowance.folder is not None
            folder = work.allowance.folder / "events"
            self._cut = events.cut(work.con, wanted, self._bucket_starts, folder)
        else:
            self._all = events.laid_out(work.con, wanted, len(work.layout.leads), self._threads)
        progress("reading events", 1, 1)

    def digest(self, bucket: int) -> str:
        """Of the bucket's events, where they were cut."""
        return "0" if self._cut is None else f"{self._cut.digests[bucket]:016x}"

    def take(self, bucket: int) -> events.Events:
        if self._cut is not None:
            return self._cut.take(bucket, self._threads)
        first, end = self._bucket_starts[bucket : bucket + 2]
        return self._all.of_leads(int(first), int(end))


def _numbers(work: Work) -> Numbers:
    leads = work.layout.leads
    return Numbers.of(work.con, pa.array(leads, pa.string()), np.arange(len(leads)))


def _buckets(
    con: duckdb.DuckDBPyConnection, columns: Columns, allowance: Allowance, whole: bool
) -> tuple[int, bool]:
    """How many buckets keep the arrays within the allowance, and whether the events must go to disk."""
    n_events = count_rows(con, "events") if columns.measured or columns.custom else 0
    n_snapshots, n_columns = (
        count_rows(con, "snapshots"),
        len(columns.numbers) + len(columns.categories),
    )
    keys, results = n_snapshots * KEY_BYTES, n_snapshots * n_columns * 8
    piece = results if whole else min(PIECE_BYTES, allowance.array_bytes // (2 * COPIES))
    n_pieces = max(1, -(-results // max(piece, 1)))
    in_memory = n_events * (events.EVENT_BYTES + events.DELIVERED_BYTES) + keys
    in_memory += results if whole else COPIES * min(piece, results)
    if in_memory <= allowance.array_bytes or allowance.folder is None:
        return n_pieces, False
    at_once = keys + (results if whole else 0)
    left = allowance.array_bytes - at_once
    if left < allowance.array_bytes * (1 - FILLED):
        what = f"{n_columns} columns" if whole else "their keys alone"
        raise DataError(
            f"{n_snapshots:,} snapshots with {what} take {at_once / 1e9:.1f} GB at once, engine.memory_limit "
            f"leaves {allowance.array_bytes / 1e9:.1f} GB for arrays. Raise it, train on a sample of the leads "
            "(snapshots.max_leads), look less often (snapshots.every_days), or make fewer features."
        )
    needed = n_events * events.EVENT_BYTES + COPIES * results
    return max(2, -(-int(needed) // int(left * FILLED))), True

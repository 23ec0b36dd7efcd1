"""The work on one chunk of whole leads, wherever it is done: packed rows in, result rows and counts out.

Leads are independent of each other. So a chunk is a small dataset of its own: the same contract, the
same features and the same model as on one machine.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from lead_propensity import errors
from lead_propensity.config import Config, EngineConfig
from lead_propensity.data import packing, tables
from lead_propensity.data.engine import Room, connect
from lead_propensity.data.packing import Piece
from lead_propensity.data.parts import Part
from lead_propensity.data.sources import RawTable
from lead_propensity.errors import ConfigError, LeadPropensityError
from lead_propensity.serving.tasks import Task

ERROR, END = -1, -2
"""Kinds of packed rows beside the tables: the key is an error, as JSON, that stops the run on the driver;
a piece of a file was read to its end."""
ROWS, LINES = "rows", "lines"
"""What an output row holds: a result, or what was counted and found in a chunk."""
PARTITIONS = "partitions"
"""Among the counts: partitions that were worked on to their end."""
WORKER_BYTES = 1_000_000_000
"""Of the database that works on a chunk; beyond it spills. Spark limits Java's memory, not Python's."""


@contextmanager
def _alone() -> Iterator[duckdb.DuckDBPyConnection]:
    """The database of one chunk: Spark gives each worker one core."""
    with tempfile.TemporaryDirectory(prefix="lead-propensity-") as folder:
        room = Room(WORKER_BYTES, Path(folder) / "spill", Path(folder))
        with connect(EngineConfig(threads=1), room) as con:
            yield con


@dataclass(frozen=True)
class Line:
    """What a chunk tells beside its result rows."""

    part: Part | None = None
    facts: dict[str, int] = field(default_factory=dict)
    error: tuple[str, str] | None = None
    """Class and message of one of our errors."""

    def raise_error(self) -> None:
        """Raises the error, where there is one, as the worker met it."""
        if self.error is not None:
            raise getattr(errors, self.error[0])(self.error[1])


_JSON = TypeAdapter(Line)


def line_of(text: str) -> Line:
    """From the JSON of an output row."""
    return _JSON.validate_json(text)


@dataclass(frozen=True)
class Setting:
    """What every worker is told."""

    config: Config
    raws: tuple[RawTable, ...]
    pieces: tuple[Piece, ...]


def packed_rows(
    numbers: Iterator[pa.RecordBatch], setting: Setting, where: str
) -> Iterator[pa.RecordBatch]:
    """The packed rows of the pieces with these `numbers` (column `id`); `where` as in `packing.packed`."""
    for batch in numbers:
        for number in batch["id"].to_pylist():
            with _alone() as con:
                try:
                    yield from packing.packed(
                        con, setting.pieces[number], setting.raws, setting.config.data, where
                    )
                except LeadPropensityError as error:
                    key = json.dumps([type(error).__name__, str(error)])
                    yield _mark(ERROR, key, setting.raws)
            yield _mark(END, None, setting.raws)


def _mark(kind: int, key: str | None, raws: Sequence[RawTable]) -> pa.RecordBatch:
    row = {"lead_key": key, "kind": kind}
    return pa.RecordBatch.from_pylist([row], schema=packing.schema(raws))


def require_all(arrived: int, needed: int, folder: Path) -> None:
    """Raises ConfigError where some of the work is not in `folder`, though every worker ended well."""
    if arrived != needed:
        raise ConfigError(
            f"{folder}: {arrived:,} of {needed:,} parts of the work are here, though the workers wrote all. "
            "The output must lie in a folder that this machine and all workers share."
        )


def raise_error_rows(keys: Sequence[str]) -> None:
    """Raises the first of the errors that packed rows of the kind ERROR carry."""
    for key in sorted(keys):
        name, message = json.loads(key)
        Line(error=(name, message)).raise_error()


def whole_leads(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Packed rows sorted by `lead_key` in chunks of about `rows`, no lead in two of them.

    Rows without a key belong to no lead and may part anywhere.
    """
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows == 0:
            continue
        held.append(batch)
        count = sum(one.num_rows for one in held)
        cut = _last_lead_begins(held) if count >= rows else 0
        if cut > 0:
            table = pa.Table.from_batches(held)
            yield table.slice(0, cut)
            held = table.slice(cut).to_batches()
    if held:
        yield pa.Table.from_batches(held)


def _last_lead_begins(held: Sequence[pa.RecordBatch]) -> int:
    """Where the last lead's rows begin, as far as its newest batch tells; 0: nowhere yet."""
    newest = held[-1]["lead_key"]
    before = sum(int(one.num_rows) for one in held[:-1])
    last = newest[-1].as_py()
    if last is None:
        return before + len(newest)
    begins = len(newest) - int(pc.sum(pc.equal(newest, last)).as_py())
    if begins == 0 and len(held) > 1 and held[-2]["lead_key"][-1].as_py() == last:
        return 0
    return before + begins


def output_schema(task: Task) -> pa.Schema:
    """`what` (ROWS or LINES), `line` (JSON of a Line), `row` (a struct of the task's result)."""
    row = pa.struct(list(task.schema))
    return pa.schema([("what", pa.string()), ("line", pa.string()), ("row", row)])


def worked(
    batches: Iterator[pa.RecordBatch], setting: Setting, task: Task
) -> Iterator[pa.RecordBatch]:
    """Output rows for sorted packed rows: the task's result and one Line for each chunk."""
    for chunk in whole_leads(batches, setting.config.engine.spark.chunk_rows):
        result, line = _work(chunk, setting, task)
        yield _said(line, task)
        for batch in result.to_batches() if result is not None else ():
            rows = pa.StructArray.from_arrays(batch.columns, fields=list(task.schema))
            yield _output(ROWS, [None] * len(rows), rows, task)
    yield _said(Line(facts={PARTITIONS: 1}), task)


def _said(line: Line, task: Task) -> pa.RecordBatch:
    text = _JSON.dump_json(line).decode()
    return _output(LINES, [text], pa.nulls(1, pa.struct(list(task.schema))), task)


def _output(what: str, lines: list[str | None], rows: pa.Array, task: Task) -> pa.RecordBatch:
    columns = [pa.array([what] * len(rows), pa.string()), pa.array(lines, pa.string()), rows]
    return pa.RecordBatch.from_arrays(columns, schema=output_schema(task))


def _work(chunk: pa.Table, setting: Setting, task: Task) -> tuple[pa.Table | None, Line]:
    broken = chunk.filter(pc.equal(chunk["kind"], ERROR))["lead_key"].to_pylist()
    with _alone() as con:
        try:
            raise_error_rows(broken)
            con.register("packed", chunk)
            packing.unpack(con, setting.raws, "packed")
            con.unregister("packed")
            part = tables.check_part(con, setting.raws, setting.config)
            if any(part.broken.values()):
                return None, Line(part)
            rows, facts = task.work(con, setting.config)
            return rows, Line(part, {**facts, ROWS: len(rows)})
        except LeadPropensityError as error:
            return None, Line(error=(type(error).__name__, str(error)))

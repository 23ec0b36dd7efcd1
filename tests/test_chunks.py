"""Work on chunks of leads gives what one machine gives: the same rows read, judged and counted.

Here the chunks are cut and worked on in this process; tests/test_spark.py lets Spark do it.
"""

from collections.abc import Iterator, Sequence
from datetime import date, time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_tables import CLEAN, HEADERS, write_csv
from lead_propensity.config import Config, EngineConfig
from lead_propensity.data import packing, sources, tables
from lead_propensity.data.engine import connect
from lead_propensity.data.parts import Check
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.serving import chunks
from lead_propensity.serving.chunks import Line, Setting
from lead_propensity.serving.distributed import added, setting_of
from lead_propensity.serving.tasks import Look

ALONE = EngineConfig(threads=1)
EXPORTED_AT = "2024-06-01T00:00:00Z"


def config_of(folder: Path, tables: Sequence[str], **data: Any) -> Config:
    declared = {name: {"path": f"{name}.csv"} for name in tables}
    given = {"exported_at": EXPORTED_AT, "max_quarantine_share": 1.0, **declared, **data}
    return Config.model_validate({"name": "t", "data": given}, context={"folder": folder})


def export(folder: Path, rows: dict[str, Sequence[Sequence[str]]], **data: Any) -> Config:
    """The clean tables, with those of `rows` in their place."""
    for name, lines in (CLEAN | rows).items():
        write_csv(folder / f"{name}.csv", HEADERS[name], lines)
    return config_of(folder, list(CLEAN | rows), **data)


def packed(setting: Setting, where: str = "true") -> pa.Table:
    """All packed rows, as a shuffle would deliver them: sorted by lead."""
    numbers = pa.RecordBatch.from_pydict({"id": list(range(len(setting.pieces)))})
    rows = pa.Table.from_batches(
        chunks.packed_rows(iter([numbers]), setting, where), packing.schema(setting.raws)
    )
    return rows.sort_by([("lead_key", "ascending")])


def in_chunks(config: Config, chunk_rows: int) -> Check:
    """The check by Look, in chunks of whole leads."""
    engine = ALONE.model_copy(
        update={"spark": ALONE.spark.model_copy(update={"chunk_rows": chunk_rows})}
    )
    setting = setting_of(config.model_copy(update={"engine": engine}))
    batches = packed(setting).to_batches(max_chunksize=7)
    done = pa.Table.from_batches(chunks.worked(iter(batches), setting, Look()))
    lines = [chunks.line_of(text) for text in done["line"].to_pylist()]
    for line in lines:
        line.raise_error()
    return added(setting, lines).found


def at_once(config: Config) -> Check:
    return tables.check(connect(ALONE), config)


DIRT: dict[str, Sequence[Sequence[str]]] = {
    "leads": [
        *CLEAN["leads"],
        CLEAN["leads"][3],
        ("L4", "2024-01-01T12:00:00Z", "", "wood"),
        ("", "2024-01-05T00:00:00Z", "", "steel"),
        ("L90", "never", "", "steel"),
        ("L91", "2025-01-01T00:00:00Z", "", "steel"),
    ],
    "events": [
        *CLEAN["events"],
        CLEAN["events"][5],
        ("", "2024-02-01T00:00:00Z", "visit", "web", "1", ""),
        ("", "2024-02-02T00:00:00Z", "visit", "web", "1", ""),
        ("gone", "2024-02-01T00:00:00Z", "visit", "web", "1", ""),
        ("L90", "2024-02-01T00:00:00Z", "visit", "web", "1", ""),
        ("L7", "2024-02-30T00:00:00Z", "visit", "web", "1", ""),
        ("L9", "2024-02-30T00:00:00Z", "visit", "web", "1", ""),
        ("L8", "2024-02-03T00:00:00Z", "visit", "web", "much", ""),
    ],
    "deals": [
        *CLEAN["deals"],
        ("L3", "2024-03-05T00:00:00Z", "won", "100", ""),
        ("L12", "2024-03-05T00:00:00Z", "maybe", "100", ""),
        ("L13", "2023-03-05T00:00:00Z", "won", "100", ""),
        ("L14", "2024-03-05T00:00:00Z", "won", "-1", ""),
    ],
}


@pytest.mark.parametrize("chunk_rows", [1, 10, 10_000])
def test_counts_and_findings_are_those_of_one_machine(tmp_path: Path, chunk_rows: int) -> None:
    """Also of rows without a lead, and where a chunk lacks a table; they add up to the input."""
    config = export(tmp_path, DIRT)
    found, whole = in_chunks(config, chunk_rows), at_once(config)
    assert found.counts == whole.counts
    assert found.quarantined == whole.quarantined
    assert found.problems == whole.problems == found.excess == ()
    assert len({finding.reason for finding in found.quarantined}) == 13
    aside = sum(finding.count for finding in found.quarantined)
    assert aside == sum(count.rows - count.kept for count in found.counts)


def test_the_share_in_quarantine_is_that_of_all_rows(tmp_path: Path) -> None:
    """A chunk may be all dirt: that alone stops nothing, and too much of it in all stops the run."""
    stopped = export(tmp_path, DIRT, max_quarantine_share=0.2)
    allowed = export(tmp_path, DIRT, max_quarantine_share=0.3)
    assert in_chunks(stopped, 1).excess == at_once(stopped).excess
    assert len(in_chunks(stopped, 1).excess) == 2
    assert in_chunks(allowed, 1).excess == ()


def test_times_without_a_zone_are_counted_over_all_chunks(tmp_path: Path) -> None:
    events = [(lead, when.removesuffix("Z"), *rest) for lead, when, *rest in CLEAN["events"]]
    config = export(tmp_path, {"events": events})
    problems = in_chunks(config, 3).problems
    assert problems == at_once(config).problems
    assert "events.occurred_at: 20 times carry no zone, e.g. '2024-02-01T10:00:00'" in problems[0]


@pytest.mark.parametrize("name", ["leads", "events", "deals"])
def test_a_table_without_rows_stops_the_run_and_a_chunk_without_them_does_not(
    tmp_path: Path, name: str
) -> None:
    config = export(tmp_path, {name: []})
    assert in_chunks(config, 3).problems == at_once(config).problems
    assert f"{name}.csv holds no row" in in_chunks(config, 3).problems[0]


def test_attribute_names_are_compared_over_all_chunks(tmp_path: Path) -> None:
    versions = [("L1", "budget", "1", "2024-02-01T00:00:00Z"), ("L2", "Budget", "2", EXPORTED_AT)]
    config = export(tmp_path, {"attributes": versions})
    assert in_chunks(config, 1).problems == at_once(config).problems
    assert "differ by capitals only" in in_chunks(config, 1).problems[0]


def test_a_missing_column_is_said_before_any_row_is_read(tmp_path: Path) -> None:
    config = export(tmp_path, {}, events={"path": "events.csv", "columns": {"event_type": "kind"}})
    with pytest.raises(DataError) as told:
        setting_of(config)
    with pytest.raises(DataError) as expected:
        at_once(config).raise_problems()
    assert str(told.value) == str(expected.value)


def test_a_file_that_breaks_off_stops_the_run_with_its_name(tmp_path: Path) -> None:
    """Far behind what is looked at before the start."""
    config = export(tmp_path, {})
    with (tmp_path / "events.csv").open("a") as file:
        file.writelines(f"L1,2024-02-01T00:00:{n % 60:02}Z,visit,web,{n},\n" for n in range(30_000))
        file.write("L1,2024-02-01T00:00:00Z,visit\n")
    with pytest.raises(DataError, match=r"events\.csv cannot be read"):
        in_chunks(config, 1000)


def test_an_error_of_a_worker_is_raised_as_it_was() -> None:
    line = Line(error=("DataError", "the leads lost a column"))
    with pytest.raises(DataError, match="the leads lost a column"):
        line.raise_error()


def test_work_that_did_not_arrive_is_missed(tmp_path: Path) -> None:
    """As where a worker writes to a disk of its own."""
    chunks.require_all(3, 3, tmp_path)
    with pytest.raises(ConfigError, match="2 of 3 parts of the work are here"):
        chunks.require_all(2, 3, tmp_path)


def test_every_piece_and_every_partition_says_that_it_was_done(tmp_path: Path) -> None:
    setting = setting_of(export(tmp_path, {}))
    rows = packed(setting)
    assert rows["kind"].to_pylist().count(chunks.END) == len(setting.pieces) == 4
    for part in (rows, rows.slice(0, 0)):
        done = pa.Table.from_batches(chunks.worked(iter(part.to_batches()), setting, Look()))
        lines = [chunks.line_of(text) for text in done["line"].to_pylist()]
        assert sum(line.facts.get(chunks.PARTITIONS, 0) for line in lines) == 1


def test_rows_come_out_of_their_packing_as_they_went_in(tmp_path: Path) -> None:
    """Types that no other engine has, files of other columns, delimiters and line breaks in quotes."""
    n = 5
    rows = {
        "lead_id": pa.array([1.0, 2.0, None, 4.0, 1e7]),
        "created_at": pa.array([10**18 + k for k in range(n)], pa.timestamp("ns")),
        "seen at": pa.array([None, *range(1, n)], pa.timestamp("us", tz="Europe/Berlin")),
        "local": pa.array(range(n), pa.timestamp("us")),
        "huge": pa.array([2**63 + 1] * n, pa.uint64()),
        "day": pa.array([date(2024, 2, 29)] * n),
        "clock": pa.array([time(1, 2, 3)] * n),
        "third": pa.array([0.1, float("nan"), 1 / 3, None, -0.0], pa.float32()),
        "price": pa.array([1] * n, pa.decimal128(9, 2)),
        "raw": pa.array([b"\x00\xff'"] * n),
        "tags": pa.array([["a", "b, c"]] * n),
        "text": pa.array(["", "NULL", "a\nb", "é", None]),
    }
    pq.write_table(pa.table(rows), tmp_path / "leads.parquet", row_group_size=2)
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "a.csv").write_text(
        'lead_id;occurred_at;event_type\n1;2024-01-01;"a\nb;""c"\n;;NULL\n'
    )
    (tmp_path / "events" / "b.csv").write_text(
        "event_type,value,occurred_at,lead_id\nx,NULL,2024-01-01, 2\n"
    )
    write_csv(tmp_path / "deals.csv", ("lead_id", "closed_at", "outcome"), [("1", "2024", "won")])
    files = {"leads": {"path": "leads.parquet"}, "events": {"path": "events"}}
    config = config_of(tmp_path, ["deals"], timezone="UTC", null_values=["NULL"], **files)
    setting = setting_of(config)
    assert list(packed(setting)["lead_key"].to_pylist()).count("10000000") == 1
    here, there = connect(ALONE), connect(ALONE)
    assert sources.load(here, config) == list(setting.raws)
    there.register("packed", packed(setting))
    packing.unpack(there, setting.raws, "packed")
    for raw in setting.raws:
        query = f"SELECT CAST(r AS VARCHAR) FROM {raw.sql_name} AS r ORDER BY 1"
        assert there.execute(query).fetchall() == here.execute(query).fetchall()
        types = f"SELECT DISTINCT typeof(COLUMNS(*)) FROM {raw.sql_name}"
        assert there.execute(types).fetchall() == here.execute(types).fetchall()


def test_a_large_parquet_file_is_read_in_pieces_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "ROWS_OF_A_PIECE", 30)
    config = export(tmp_path, {})
    ids = [f"L{n:03}" for n in range(100)]
    leads = pa.table({"lead_id": ids, "created_at": ["2024-01-01T00:00:00Z"] * 100})
    pq.write_table(leads, tmp_path / "leads.parquet", row_group_size=7)
    data = config.data.model_copy(
        update={"leads": config.data.leads.model_copy(update={"path": "leads.parquet"})}
    )
    setting = setting_of(
        Config.model_validate(
            {"name": "t", "data": data.model_dump()}, context={"folder": tmp_path}
        )
    )
    assert sum(piece.raw.name == "leads" for piece in setting.pieces) == 4
    rows = packed(setting).filter(pa.compute.field("kind") == 0)
    assert rows["lead_key"].to_pylist() == ids


def keyed(keys: Sequence[str | None], sizes: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Rows of these keys, numbered, in batches of these sizes, the last one of all that is left."""
    table = pa.table({"lead_key": pa.array(keys, pa.string()), "row": list(range(len(keys)))})
    bounds = [0, *(min(sum(sizes[: k + 1]), len(keys)) for k in range(len(sizes))), len(keys)]
    for start, end in pairwise(bounds):
        yield from table.slice(start, end - start).combine_chunks().to_batches() or [
            pa.RecordBatch.from_pylist([], schema=table.schema)
        ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([None, "a", "b", "c", "d"]), max_size=30),
    st.lists(st.integers(0, 7), max_size=8),
    st.integers(1, 12),
)
def test_no_lead_stands_in_two_chunks_however_its_rows_arrive(
    keys: list[str | None], sizes: list[int], rows: int
) -> None:
    """Batches may end within a lead, hold many leads, one, or nothing. No row is lost or doubled."""
    keys = sorted(keys, key=lambda key: (key is not None, key or ""))
    made = list(chunks.whole_leads(keyed(keys, sizes), rows))
    assert [row for chunk in made for row in chunk["row"].to_pylist()] == list(range(len(keys)))
    for before, after in pairwise(made):
        seen = set(before["lead_key"].to_pylist()) - {None}
        assert seen.isdisjoint(after["lead_key"].to_pylist())
    assert all(len(chunk) > 0 for chunk in made)


def test_a_chunk_holds_little_more_than_it_should() -> None:
    keys = [f"L{n // 3:04}" for n in range(3000)]
    sizes = [len(chunk) for chunk in chunks.whole_leads(keyed(keys, [50] * 60), 200)]
    assert max(sizes) <= 200 + 50
    assert len(sizes) > 10

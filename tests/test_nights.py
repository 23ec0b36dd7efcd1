"""Night after night: what was the band before, and what has changed; the same for files, folders and tables.

Seen failing once each: with the later moment taken for an earlier one, with a rerun that compares with itself,
with the latest part in the place of the latest before, with the band in the place of the one before, with an
event at the moment, and with a read that takes no care of our apostrophe.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from factory_postgres import Database
from factory_scores import DAY, NIGHT, config, scores
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.features import snapshots, standing
from lead_propensity.serving import before, history, sinks
from lead_propensity.serving.naming import Naming
from lead_propensity.serving.scoring import SCORES
from worlds import config as small_config
from worlds import database

BANDS = ["hot", "warm", "cold", "hot"]
NAMES = {"lead_id": "Id", "band": "Band__c", "as_of": "at", "previous_band": "band"}


def night(
    out: str, moment: int, band: list[str], first: int = 0, **keys: Any
) -> dict[str, str | None]:
    """One run of the sink, as `score` does it; gives each lead's band before."""
    table = scores(len(band), moment, band=band, first=first)
    with database([]) as con, sinks.opened(out, config(**keys), SCORES) as sink:
        con.execute("CREATE TABLE last_events (lead_id VARCHAR, last_event_at BIGINT)")
        history.remember(con, sink.previous(moment))
        leads = table["lead_id"].to_pandas()
        known = history.known(con, leads).previous_band
        before = pa.array(known, pa.string())
        place = SCORES.get_field_index("previous_band")
        sink.write([table.set_column(place, SCORES.field(place), before)], moment)
    return dict(zip(leads, known, strict=True))


def nights(out: str, **keys: Any) -> None:
    """Two nights, each run twice, a lead that comes and one that goes; then nights of long ago."""
    ids = [f"L{n:07d}" for n in range(5)]
    assert night(out, NIGHT, BANDS, **keys) == dict.fromkeys(ids[:4])
    expected = {ids[1]: "warm", ids[2]: "cold", ids[3]: "hot", ids[4]: None}
    for _ in range(2):
        told = night(out, NIGHT + DAY, ["cold", "cold", "cold", "warm"], first=1, **keys)
        assert told == expected
    assert night(out, NIGHT - DAY, ["hot"], first=1, **keys) == {ids[1]: None}
    assert night(out, NIGHT, ["cold"], first=1, **keys) == {ids[1]: "hot"}


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s/"])
@pytest.mark.parametrize("columns", [{}, NAMES])
def test_the_band_before_is_that_of_the_last_night(
    tmp_path: Path, name: str, columns: dict[str, str]
) -> None:
    nights(f"{tmp_path}/{name}", score={"columns": columns})


@pytest.mark.slow
@pytest.mark.parametrize("columns", [{}, NAMES])
def test_the_band_before_is_that_of_the_last_night_in_a_table(
    postgres: Database, columns: dict[str, str]
) -> None:
    nights("postgres:lead_scores", score={"columns": columns})


@pytest.mark.slow
def test_a_table_without_the_new_columns_is_told_how_to_get_them(postgres: Database) -> None:
    night("postgres:lead_scores", NIGHT, BANDS)
    postgres.run("ALTER TABLE lead_scores DROP COLUMN previous_band, DROP COLUMN data_until")
    with pytest.raises(ConfigError) as told:
        night("postgres:lead_scores", NIGHT, BANDS)
    assert 'ADD COLUMN "previous_band" text' in str(told.value)
    assert 'ADD COLUMN "data_until" timestamp with time zone' in str(told.value)


def test_a_file_of_an_older_version_tells_what_it_has(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    old = scores(4, NIGHT, band=BANDS).drop(["previous_band", "band_change", "data_until"])
    pq.write_table(old, out)
    assert set(night(str(out), NIGHT, BANDS).values()) == {None}, "a rerun knows of nothing before"
    pq.write_table(old, out)
    assert list(night(str(out), NIGHT + DAY, BANDS).values()) == BANDS


def test_scores_are_read_back_without_keeping_what_was_read(tmp_path: Path) -> None:
    rows = 400_000
    ids = [f"L{number * 7919:012d}" for number in range(rows)]
    bands = np.random.default_rng(1).choice(["cold", "warm", "hot"], rows).tolist()
    out = tmp_path / "s.parquet"
    pq.write_table(scores(rows, NIGHT, band=bands, lead_id=ids), out, row_group_size=20_000)
    told = [
        pa.total_allocated_bytes() for _ in before.of_file(out, Naming(SCORES, {}), NIGHT + DAY)
    ]
    assert max(told[1:]) <= told[0] + 100_000


@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["id"], "no column 'lead_id' and no column 'as_of' and no column 'band'"),
        (["lead_id", "as_of", "Band__c"], "no column 'band'; have score.columns changed"),
        (["lead_id", "as_of", "band", "band"], "the column 'band' twice"),
    ],
)
def test_a_file_of_other_columns_is_said(
    tmp_path: Path, name: str, columns: list[str], told: str
) -> None:
    """Every lead would count as new without a word."""
    out = tmp_path / name
    table = pa.table([pa.array(["2025-01-01T00:00:00Z"])] * len(columns), names=columns)
    if name.endswith("parquet"):
        pq.write_table(table, out)
    else:
        pa_csv.write_csv(table, out)
    with sinks.opened(str(out), config(), SCORES) as sink, pytest.raises(DataError, match=told):
        list(sink.previous(NIGHT))


@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_a_broken_file_is_said(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    out.write_bytes(b'lead_id,as_of,band\n"a,b\x00\xff')
    with sinks.opened(str(out), config(), SCORES) as sink, pytest.raises(DataError, match="read"):
        list(sink.previous(NIGHT))


@pytest.mark.parametrize("lead", ["=1+1", "-7", "007", "a,b", "a\nb", '"', "'x", "＝x", "NULL"])
@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_ids_are_found_again_as_they_were(tmp_path: Path, name: str, lead: str) -> None:
    out = f"{tmp_path}/{name}"
    with sinks.opened(out, config(), SCORES) as sink:
        sink.write([scores(1, NIGHT, lead_id=[lead], band=["warm"])], NIGHT)
        (told,) = (piece.to_pylist() for piece in sink.previous(NIGHT + 1))
    assert told == [{"lead_id": lead, "band": "warm"}]


def test_rows_as_exported_have_no_night_before(tmp_path: Path) -> None:
    out = f"{tmp_path}/s.parquet"
    with sinks.opened(out, config(as_exported=True), SCORES) as sink:
        sink.write([scores(3, None)], None)
        assert list(sink.previous(None)) == []


def test_a_lead_that_comes_twice_counts_once_and_strange_bands_do_not() -> None:
    def pieces() -> Iterator[pa.Table]:
        yield pa.table({"lead_id": ["a", "a", "b"], "band": ["hot", "hot", "lukewarm"]})
        yield pa.table({"lead_id": ["c"], "band": ["cold"]})

    with database([]) as con:
        con.execute("CREATE TABLE last_events AS SELECT 'b' AS lead_id, 5::BIGINT AS last_event_at")
        history.remember(con, pieces())
        known = history.known(con, pd.Series(["c", "b", "a", "a"]))
    assert known.previous_band.tolist() == ["cold", None, "hot", "hot"]
    assert known.last_event_at.to_pylist() == [None, 5, None, None]


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        ("cold", "hot", "up"),
        ("hot", "warm", "down"),
        ("warm", "warm", "same"),
        (None, "hot", "new"),
    ],
)
def test_a_change_of_band_has_a_direction(before: str | None, now: str, change: str) -> None:
    told = history.changes(np.array([now]), np.array([before], dtype=object))
    assert told.tolist() == [change]


def test_the_last_event_is_the_last_one_known_before_the_moment() -> None:
    """Not one at the moment, not one known later, not an excluded one; before 1970 as well."""
    events = [
        ("a", NIGHT - 3, "visit", None, None, None, NIGHT - 3),
        ("a", NIGHT - 1, "visit", None, None, None, NIGHT),
        ("a", NIGHT - 2, "outcome", None, None, None, NIGHT - 2),
        ("a", NIGHT, "visit", None, None, None, NIGHT),
        ("b", -5, "visit", None, None, None, -5),
    ]
    leads = [(name, NIGHT - DAY, name) for name in "abc"]
    with database(leads, events=events) as con:
        snapshots.make_open(con, small_config().snapshots, NIGHT)
        standing.make_last_events(con, ["outcome"], NIGHT)
        found = con.execute("SELECT * FROM last_events ORDER BY 1").fetchall()
    assert found == [("a", NIGHT - 3), ("b", -5)]

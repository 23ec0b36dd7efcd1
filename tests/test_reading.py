"""Scores are read back as they were written, and what is no table of scores is said.

Seen failing once each: with a guess of how CSV is quoted, with our apostrophe left in place, and with a damaged
file that ends in DuckDB's own error.
"""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from factory_scores import DAY, NIGHT, config, scores
from lead_propensity.errors import DataError
from lead_propensity.serving import reading, sinks
from lead_propensity.serving.scoring import SCORES

IDS = ["=1+1", "a,b", "a\nb", '"', "'x", "＝x", "007"]


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s/"])
def test_ids_are_read_back_as_they_were(tmp_path: Path, name: str) -> None:
    out = f"{tmp_path}/{name}"
    with sinks.opened(out, config(), SCORES) as sink:
        n = len(IDS)
        sure = {"probability": [0.5] * n, "horizon_days": [60] * n}
        sink.write([scores(n, NIGHT, lead_id=IDS, **sure)], NIGHT)
    past = reading.past_scores(out, config(), NIGHT)
    assert set(past.frame["lead_id"]) == set(IDS)
    assert past.counts == {NIGHT: len(IDS)}
    assert reading.past_scores(out, config(), NIGHT - DAY).counts == {}


@pytest.mark.parametrize("asked", ["1.parquet", "2.parquet", ""])
def test_folders_as_spark_writes_them_are_read_alone_or_together(
    tmp_path: Path, asked: str
) -> None:
    nights = {"1.parquet": NIGHT - DAY, "2.parquet": NIGHT}
    for name, night in nights.items():
        (tmp_path / name).mkdir()
        for part in ("part-00000-x.snappy.parquet", "part-00001-x.snappy.parquet"):
            ids = [f"{part}{n}" for n in range(2)]
            table = scores(2, night, lead_id=ids, probability=[0.5] * 2, horizon_days=[60] * 2)
            pq.write_table(table, tmp_path / name / part)
    past = reading.past_scores(f"{tmp_path}/{asked}", config(), NIGHT)
    assert past.counts == {night: 4 for name, night in nights.items() if asked in ("", name)}


@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_what_is_no_table_of_scores_is_said(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    with sinks.opened(str(out), config(), SCORES) as sink:
        sink.write([scores(3, NIGHT)], NIGHT)
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) // 2] if name == "s.parquet" else whole + b"L9,too,few\n")
    with pytest.raises(DataError, match="cannot be read"):
        reading.past_scores(str(out), config(), NIGHT)

"""A real Spark cluster of two executors gives the rows of one machine, cell by cell, and every row once."""

import importlib.util
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pyarrow.parquet as pq
import pytest

from lead_propensity import pipeline
from lead_propensity.config import Config, Family, load
from lead_propensity.data import tables
from lead_propensity.data.database import digest, opened
from lead_propensity.data.simulate import simulate, write
from lead_propensity.errors import ConfigError, Refused
from lead_propensity.features import snapshots
from lead_propensity.features.sampling import sample
from lead_propensity.serving import distributed, reading, records, spark

PARTITIONS = 3
TWO_EXECUTORS = {
    "master": "local-cluster[2,1,1024]",
    "partitions": PARTITIONS,
    "chunk_rows": 10_000,
    "options": {"spark.sql.execution.arrow.maxRecordsPerBatch": "100"},
}


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crm")
    write(simulate(1200, seed=5), folder)
    return folder


def config_of(crm: Path, engine: dict[str, Any] | None = None, *overrides: str) -> Config:
    few = ["model.trials=1", "split.test_days=56", "bands.hot_per_week=10"]
    return load(crm / "config.yaml", [*few, f"engine={engine or {}}", *overrides])


def on_spark(crm: Path, *overrides: str) -> Config:
    return config_of(crm, {"kind": "spark", "spark": TWO_EXECUTORS}, *overrides)


@pytest.fixture(scope="module")
def cluster(crm: Path) -> Iterator[Any]:
    """Started as a run would start it; runs of the tests find it there."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed: pip install 'lead-propensity[spark]'")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("no Java: Spark needs a JDK or JRE 17, e.g. openjdk-17-jre-headless")
    with habits_installed(), spark.session(on_spark(crm).engine.spark) as session:
        place = Path(os.environ.get("SPARK_HOME", Path(spark_package()).parent))
        yield session
        shutil.rmtree(place / "work" / session.sparkContext.applicationId, ignore_errors=True)


@contextmanager
def habits_installed() -> Iterator[None]:
    """The package `lead-habits`, here and at the workers: see the fixture `plugin`."""
    with pytest.MonkeyPatch.context() as patch:
        folder = Path(__file__).parent / "plugin"
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


def spark_package() -> str:
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None and spec.origin is not None
    return spec.origin


def rows_of(folder: Path, *by: str) -> pd.DataFrame:
    return pq.read_table(folder).to_pandas().sort_values(list(by), ignore_index=True)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    assert len(left) > 100
    pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.mark.slow
def test_the_matrix_is_that_of_one_machine(cluster: Any, crm: Path, tmp_path: Path) -> None:
    """With every family and custom features. Leads straddle the Arrow batches of 100 rows."""
    everything = (
        f"features.families={[*get_args(Family)]}",
        "features.custom=[price_share, visit_gap]",
        "features.timezone=America/New_York",
    )
    here = pipeline.write_features(config_of(crm, None, *everything), tmp_path / "here.parquet")
    there = pipeline.write_features(on_spark(crm, *everything), tmp_path / "there.parquet")
    assert here.features > 150
    assert (here.snapshots, here.features) == (there.snapshots, there.features)
    by = ("lead_id", "order")
    same(rows_of(here.out, *by), rows_of(there.out, *by))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.parquet", "there.parquet"]


@pytest.mark.slow
def test_scores_are_those_of_one_machine(
    cluster: Any, crm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the level, which a sample of all leads tells, the notes, every count of the quarantine, and the words
    of the reasons, whose file no worker reads."""
    monkeypatch.setattr(snapshots, "COHORT_ROWS", 800)
    monkeypatch.setattr(distributed, "COHORT_ROWS", 800)
    pipeline.train(config_of(crm, None, "model.refit=never"), tmp_path / "run")
    model, night = tmp_path / "run", datetime(2025, 10, 1)
    german = "score.reasons=package:lead_propensity.model/wording/de.yaml"
    here = pipeline.score(config_of(crm, None, german), model, tmp_path / "here.parquet", night)
    out = tmp_path / "there.parquet"
    dry = pipeline.score(on_spark(crm, german), model, out, night, dry_run=True)
    assert "would be created" in dry.outlook[0]
    assert [one for one in tmp_path.iterdir() if "there" in one.name] == [], "nor a record"
    there = pipeline.score(on_spark(crm, german), model, out, night)
    assert (dry.bands, dry.notes) == (there.bands, there.notes)
    left, right = (rows_of(one.out, "lead_id").drop(columns="scored_at") for one in (here, there))
    assert (left["level_shift"] != 0).all()
    assert right["reasons"].str.contains("Kriterien erfüllt").any()
    same(left, right)
    assert there.bands == here.bands
    assert there.notes == here.notes
    assert len(reading.past_scores(there.out, on_spark(crm), 2**62).frame) == there.rows
    assert there.found.counts == here.found.counts
    assert there.found.quarantined == here.found.quarantined
    refused_before_spark_starts(crm, model, tmp_path / "not.parquet")


def refused_before_spark_starts(crm: Path, model: Path, out: Path) -> None:
    with pytest.raises(Refused, match="the data end at 2025-12-31"):
        pipeline.score(on_spark(crm), model, out, datetime(2026, 2, 1))
    (record,) = records.read(records.beside(out))
    assert list(record["seconds"]) == ["loading the model", "total"]
    with pytest.raises(ConfigError, match=r"score\.columns is for one machine"):
        pipeline.score(on_spark(crm, "score.columns.band=Band__c"), model, out)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="executors are found in /proc")
def test_a_killed_executor_costs_no_row_and_doubles_none(
    cluster: Any, crm: Path, tmp_path: Path
) -> None:
    """All open leads, by the vocabulary that a sample taught."""
    night, some = datetime(2025, 9, 1), "snapshots.max_leads=500"
    here = pipeline.write_features(config_of(crm, None, some), tmp_path / "here.parquet", night)
    killed: list[int] = []
    killer = threading.Thread(target=kill_one, args=(cluster.sparkContext, killed), daemon=True)
    killer.start()
    there = pipeline.write_features(on_spark(crm, some), tmp_path / "there.parquet", night)
    killer.join()
    assert len(killed) == 1
    left, right = rows_of(here.out, "lead_id"), rows_of(there.out, "lead_id")
    assert right["lead_id"].is_unique
    same(left, right)


def kill_one(context: Any, killed: list[int]) -> None:
    """Kills an executor while it works on chunks: the stage behind the shuffle has PARTITIONS tasks."""
    tracker, until = context.statusTracker(), time.monotonic() + 120
    while time.monotonic() < until:
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
        if any(s and s.numTasks == PARTITIONS and s.numActiveTasks > 1 for s in stages):
            victim = executors(context.applicationId)[0]
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)
            return
        time.sleep(0.02)


def executors(application: str) -> list[int]:
    """Process ids of the executors of one application."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if application in words and any("ExecutorBackend" in word for word in words):
            found.append(int(place.name))
    return sorted(found)


@pytest.mark.slow
def test_training_takes_the_sample_that_one_machine_takes(
    cluster: Any, crm: Path, tmp_path: Path
) -> None:
    """From the same clean rows of the same leads the same model follows."""
    some = "snapshots.max_leads=500"
    with opened(config_of(crm).engine) as (con, _):
        here = tables.check(con, config_of(crm))
        taken = sample(con, 500)
        digest_here = digest(con)
    assert taken.one_in == 3
    with opened(config_of(crm).engine) as (con, _):
        there, brought = distributed.sampled(
            con, on_spark(crm, some), tmp_path / "run", lambda *_: None
        )
        assert digest(con) == digest_here
    assert brought == taken
    assert (there.counts, there.quarantined) == (here.counts, here.quarantined)


def refused(config: Config, tmp_path: Path) -> pytest.ExceptionInfo[ConfigError]:
    with pytest.raises(ConfigError) as told:
        pipeline.write_features(config, tmp_path / "f.parquet")
    assert list(tmp_path.glob("*.parquet")) == []
    return told


def test_queries_are_refused_before_spark_starts(crm: Path, tmp_path: Path) -> None:
    query = "data.deals={sql: SELECT 1}"
    assert "Write its result to Parquet" in str(refused(on_spark(crm, query), tmp_path).value)


def test_without_an_export_time_spark_is_refused(crm: Path, tmp_path: Path) -> None:
    told = refused(on_spark(crm, "data.exported_at=null"), tmp_path)
    assert "no machine sees the latest time of all" in str(told.value)


def test_rows_as_exported_are_refused(crm: Path, tmp_path: Path) -> None:
    rows = "data={exported: {path: leads.csv, outcome: source, won: web}}"
    assert "fit one machine" in str(refused(on_spark(crm, rows), tmp_path).value)


def test_an_output_that_is_no_folder_of_parquet_is_refused(crm: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in '\.csv'; Spark writes a folder"):
        pipeline.write_features(on_spark(crm), tmp_path / "f.csv")


def test_the_matrix_as_a_frame_is_refused(crm: Path) -> None:
    with pytest.raises(ConfigError, match="Use write_features"):
        pipeline.features(on_spark(crm))


def test_without_java_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ConfigError, match="openjdk-17-jre-headless"):
        spark.require_java()


def test_without_pyspark_the_message_names_the_extra(
    crm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'lead-propensity[spark]'" in str(refused(on_spark(crm), tmp_path).value)

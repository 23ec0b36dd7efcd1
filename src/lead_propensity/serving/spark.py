"""Spark hands our work to many machines and sorts the leads between them. Imported here only."""

import importlib.util
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset

from lead_propensity.config import SparkConfig
from lead_propensity.data import packing
from lead_propensity.errors import ConfigError
from lead_propensity.progress import Progress
from lead_propensity.serving.chunks import (
    END,
    LINES,
    PARTITIONS,
    ROWS,
    Line,
    Setting,
    line_of,
    output_schema,
    packed_rows,
    require_all,
    worked,
)
from lead_propensity.serving.tasks import Task

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BYTES_OF_A_PARTITION = 64 * 1024 * 1024
_ALWAYS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
}
_AT_START = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.log.level": "ERROR",
}
_LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


@contextmanager
def session(settings: SparkConfig) -> Iterator["SparkSession"]:
    """A session for the block; one that runs already is used, and left running.

    Raises ConfigError where pyspark or Java is missing, or Spark does not start.
    """
    require_pyspark()
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    spark = _started(settings) if running is None else running.newSession()
    for name, value in {**_ALWAYS, **_of_sql(settings)}.items():
        spark.conf.set(name, value)
    try:
        yield spark
    finally:
        if running is None:
            spark.stop()


def _started(settings: SparkConfig) -> "SparkSession":
    from pyspark.sql import SparkSession

    require_java()
    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ.setdefault(variable, sys.executable)
    local = settings.master.startswith("local")
    if local:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    given = {**_AT_START, **(_LOOPBACK if local else {}), **settings.options}
    builder = SparkSession.builder.master(settings.master).appName("lead-propensity")
    for name, value in given.items():
        builder = builder.config(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of pandas 3, which works here
            return builder.getOrCreate()
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"Spark did not start with engine.spark.master {settings.master!r}: {first} "
            "Correct engine.spark, and see that a JDK 17 or newer is used."
        ) from error


def _of_sql(settings: SparkConfig) -> dict[str, str]:
    return {
        n: value
        for n, value in settings.options.items()
        if n.startswith("spark.sql.execution.arrow.")
    }


def require_pyspark() -> None:
    """Raises ConfigError, with what to install, where pyspark is missing."""
    if importlib.util.find_spec("pyspark") is None:
        raise ConfigError(
            "engine.kind is spark, but pyspark is not installed. "
            "Install it: `pip install 'lead-propensity[spark]'`, or set engine.kind: local."
        )


def require_java() -> None:
    """Raises ConfigError, with what to install, where there is no Java."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and (Path(home) / "bin" / "java").exists()):
        raise ConfigError(
            "engine.kind is spark, but no Java is found. Install a JDK 17 or newer (Debian, Ubuntu: "
            "`apt-get install openjdk-17-jre-headless`) or set JAVA_HOME, or set engine.kind: local."
        )


class Cluster:
    """The raw tables of one config, and a session to work on them."""

    def __init__(self, spark: "SparkSession", setting: Setting, progress: Progress) -> None:
        self.spark = spark
        self.setting = setting
        self.progress = progress

    def map(self, task: Task, folder: Path, phase: str, where: str = "true") -> list[Line]:
        """Do the task with every chunk of leads; its rows stay in `folder` until `write` or `rows`.

        `where` is a SQL condition on `lead_key`. Raises the first error of ours that a worker met.
        """
        leads = self._packed(where).repartition(self._partitions(), "lead_key")
        done = leads.sortWithinPartitions("lead_key").mapInArrow(
            partial(worked, setting=self.setting, task=task), _spark_schema(output_schema(task))
        )
        with self._watched(phase):
            # What a task wrote counts once it is committed, and once only, however often it was tried.
            done.write.partitionBy("what").parquet(_uri(folder))
        lines = [line_of(text) for text in _column(folder / f"what={LINES}", "line")]
        for line in lines:
            line.raise_error()
        finished = sum(line.facts.get(PARTITIONS, 0) for line in lines)
        require_all(finished, self._partitions(), folder)
        return lines

    def gather(self, folder: Path, where: str, phase: str) -> None:
        """Write the packed rows of the leads for which `where` holds to `folder`."""
        with self._watched(phase):
            self._packed(where).write.parquet(_uri(folder))
        kinds = pa.dataset.dataset(folder, format="parquet")
        ended = int(kinds.count_rows(filter=pa.dataset.field("kind") == END))
        require_all(ended, len(self.setting.pieces), folder)

    def write(self, task: Task, folder: Path, out: Path) -> None:
        """The rows that `map` left in `folder` as a folder of Parquet files, without a line between them."""
        whole = _spark_schema(output_schema(task))
        rows = self.spark.read.schema(whole).parquet(_uri(folder)).where(f"what = '{ROWS}'")
        with self._watched("writing"):
            rows.select("row.*").write.mode("overwrite").parquet(_uri(out))
        require_all(_count(out), _count(folder / f"what={ROWS}"), out)

    def rows(self, task: Task, folder: Path) -> pa.Table:
        """The rows that `map` left in `folder`; for results that one machine can hold."""
        place = folder / f"what={ROWS}"
        if not place.exists():
            return task.schema.empty_table()
        table = pa.dataset.dataset(place, format="parquet").to_table(columns=["row"])
        flat = pa.Table.from_struct_array(table["row"].combine_chunks())
        return flat.cast(task.schema)

    def _packed(self, where: str) -> Any:
        n = max(1, len(self.setting.pieces))
        read = partial(packed_rows, setting=self.setting, where=where)
        schema = _spark_schema(packing.schema(self.setting.raws))
        return self.spark.range(0, len(self.setting.pieces), 1, n).mapInArrow(read, schema)

    def _partitions(self) -> int:
        given = self.setting.config.engine.spark.partitions
        size = sum(path.stat().st_size for path in {piece.path for piece in self.setting.pieces})
        cores = self.spark.sparkContext.defaultParallelism
        return given or max(cores, -(-size // BYTES_OF_A_PARTITION))

    @contextmanager
    def _watched(self, phase: str) -> Iterator[None]:
        """Reports how many of Spark's tasks are done, every second."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(phase, over), daemon=True)
        self.progress(phase, 0, 1)
        watcher.start()
        try:
            yield
        except Exception as error:
            if "No module named 'lead_propensity" not in str(error):
                raise
            raise ConfigError(
                "Spark's workers run a Python without this package. Install it there, and name that "
                "Python in the environment variable PYSPARK_PYTHON."
            ) from error
        finally:
            over.set()
            watcher.join()
        self.progress(phase, 1, 1)

    def _watch(self, phase: str, over: threading.Event) -> None:
        tracker = self.spark.sparkContext.statusTracker()
        while not over.wait(1.0):
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            known = [stage for stage in stages if stage is not None]
            if known:
                done = sum(stage.numCompletedTasks for stage in known)
                self.progress(phase, done, sum(stage.numTasks for stage in known))


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def _uri(folder: Path) -> str:
    return folder.resolve().as_uri()


def _count(folder: Path) -> int:
    if not folder.exists():
        return 0
    return int(pa.dataset.dataset(folder, format="parquet").count_rows())


def _column(folder: Path, name: str) -> list[str]:
    if not folder.exists():
        return []
    table = pa.dataset.dataset(folder, format="parquet").to_table(columns=[name])
    texts: list[str] = table[name].to_pylist()
    return texts

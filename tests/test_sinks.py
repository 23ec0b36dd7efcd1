"""Files of scores: whole or not there, one run at a time, and safe to open in a spreadsheet.

Seen failing once each: with the lock released at once, with a file that counts as a lock, with old scratch
files left, without `defused` and without the wide signs, with the file written in its place, with pieces
unsorted, with the names ignored, and with a dry run that takes the lock.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory_scores import DAY, NIGHT, config, scores
from lead_propensity.data.locks import Lock
from lead_propensity.errors import ConfigError
from lead_propensity.files import defused
from lead_propensity.serving import sinks
from lead_propensity.serving.scoring import SCORES


def write(out: Path | str, *pieces: pa.Table, moment: int | None = NIGHT, **keys: object) -> None:
    with sinks.opened(str(out), config(moment is None, **keys), SCORES) as sink:
        sink.write(iter(pieces), moment)


def left_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pieces_become_one_sorted_file_and_nothing_else(tmp_path: Path) -> None:
    whole = scores(3_000)
    shuffled = whole.take(pa.array([*range(2_999, 1_499, -1)]))
    write(tmp_path / "s.parquet", shuffled, whole.slice(0, 700), whole.slice(700, 800))
    assert pq.read_table(tmp_path / "s.parquet").equals(whole)
    write(tmp_path / "s.parquet", shuffled)
    assert pq.read_table(tmp_path / "s.parquet").equals(whole.slice(1_500))
    assert left_in(tmp_path) == {"s.parquet"}


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s/"])
def test_no_lead_gives_a_file_without_rows(tmp_path: Path, name: str) -> None:
    write(f"{tmp_path}/{name}")
    (file,) = left_in(tmp_path)
    assert file == {"s/": "s/as_of_utc=2024-10-04/part.parquet"}.get(name, name)
    if not name.endswith("csv"):
        assert pq.read_schema(tmp_path / file).equals(SCORES)


def test_a_folder_has_one_part_a_moment_and_readers_see_one_table(tmp_path: Path) -> None:
    noon = NIGHT + DAY // 2
    write(f"{tmp_path}/s/", scores(5), moment=NIGHT)
    write(f"{tmp_path}/s/", scores(4, noon), moment=noon)
    write(f"{tmp_path}/s/", scores(3, seed=1), moment=NIGHT)
    assert left_in(tmp_path) == {
        "s/as_of_utc=2024-10-04/part.parquet",
        "s/as_of_utc=2024-10-04T12-00-00.000000/part.parquet",
    }
    read = pd.read_parquet(tmp_path / "s")
    assert read["as_of"].astype("int64").value_counts().to_dict() == {noon: 4, NIGHT: 3}


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s/"])
def test_columns_take_the_names_of_the_crm(tmp_path: Path, name: str) -> None:
    names = {"probability": "Propensity__c", "lead_id": "Id", "order": "z", "as_of": "lead_id"}
    write(f"{tmp_path}/{name}", scores(5), scores(5, first=5), score={"columns": names})
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    table = pyarrow.csv.read_csv(file) if name.endswith("csv") else pq.ParquetFile(file).read()
    assert table.column_names == [names.get(one, one) for one in SCORES.names]
    assert table["Id"].to_pylist() == [f"L{n:07d}" for n in range(10)]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"probabilty": "p"}, "no column 'probabilty'; did you mean `probability`"),
        ({"probability": "band"}, "two columns would be called 'band'"),
    ],
)
def test_columns_that_cannot_be_named_so_are_refused(
    tmp_path: Path, names: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        write(tmp_path / "s.csv", score={"columns": names})


def test_two_columns_of_one_name_are_refused_in_the_config() -> None:
    with pytest.raises(ValueError, match="cannot share the name 'x'"):
        config(score={"columns": {"probability": "x", "band": "x"}})


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("x")', "-"]
)
def test_a_formula_in_a_text_column_is_shown_as_text(tmp_path: Path, cell: str) -> None:
    table = scores(1, lead_id=[cell], reasons=[cell], probability=[-0.5])
    write(tmp_path / "s.csv", table)
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    read = pyarrow.csv.read_csv(tmp_path / "s.csv", parse_options=options)
    assert read["lead_id"].to_pylist() == read["reasons"].to_pylist() == ["'" + cell]
    assert read["probability"].to_pylist() == [-0.5], "numbers stay numbers"
    write(tmp_path / "s.parquet", table)
    assert pq.read_table(tmp_path / "s.parquet")["lead_id"].to_pylist() == [cell]


@given(st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=20))
def test_only_cells_that_begin_a_formula_get_an_apostrophe(cells: list[str | None]) -> None:
    shown = defused(pa.table({"x": pa.array(cells, pa.string())}))["x"].to_pylist()
    for before, after in zip(cells, shown, strict=True):
        begins = (
            before is not None and before[:1] in {*"=+-@\t\r\n＝＋－＠"} - {""} and before != ""
        )
        assert after == ("'" + str(before) if begins else before)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("scores.xlsx", "ends in '.xlsx'; give a name that ends in .parquet or .csv"),
        ("scores", "ends in ''"),
        ("scores.csv/", "a folder called like a file"),
        ("postgres:", "names no table"),
        ("postgres:a.b.c", "names no table"),
        ("postgres:.b", "names no table"),
        ("postgresql://crm:geheim@db/crm", "holds a connection"),
        ("host=db password=geheim dbname=crm", "holds a connection"),
    ],
)
def test_a_place_that_is_none_is_refused_before_the_work(out: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        sinks.require_name(out)
    assert "geheim" not in str(caught.value)


def test_rows_as_exported_are_not_filed_by_moments(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no common moment"):
        write(f"{tmp_path}/s/", moment=None)


def test_a_dry_run_writes_nothing_and_says_what_it_would(tmp_path: Path) -> None:
    out = tmp_path / "new" / "s.csv"
    counted = sinks.Counted([scores(3), scores(2, first=3)])
    with sinks.opened(str(out), config(), SCORES, dry_run=True) as sink:
        (first, columns) = counted.bring(sink, NIGHT, dry_run=True)
    assert counted.bands == {"cold": 5}
    assert first == f"{out} would be created."
    assert columns.startswith("Columns: lead_id, as_of, ")
    assert list(tmp_path.iterdir()) == []


def test_what_fails_in_the_middle_leaves_the_old_scores(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    write(out, scores(5))

    def broken() -> Iterator[pa.Table]:
        yield scores(3, seed=1)
        raise ConfigError("out of a sudden")

    with (
        pytest.raises(ConfigError, match="sudden"),
        sinks.opened(str(out), config(), SCORES) as sink,
    ):
        sink.write(broken(), NIGHT)
    assert pq.read_table(out).equals(scores(5))
    assert left_in(tmp_path) == {"s.parquet"}


_FULL = """
import resource, sys
from factory_scores import NIGHT, config, scores
from lead_propensity.errors import ConfigError
from lead_propensity.serving import sinks
from lead_propensity.serving.scoring import SCORES
with sinks.opened(sys.argv[1], config(), SCORES) as sink:
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    try:
        sink.write(iter([scores(4_000)]), NIGHT)
    except ConfigError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to set")
@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_a_full_disk_leaves_the_old_scores(tmp_path: Path, name: str) -> None:
    """The system lets no file grow beyond 30,000 bytes: the write breaks off half-way."""
    write(tmp_path / name, scores(5))
    before = (tmp_path / name).read_bytes()
    command = [sys.executable, "-c", _FULL, str(tmp_path / name)]
    tests = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    told = subprocess.run(command, env=tests, capture_output=True, text=True, check=True).stdout
    assert "cannot be written" in told
    assert (tmp_path / name).read_bytes() == before
    assert left_in(tmp_path) == {name}


# One run at a time.


def test_a_second_run_at_the_same_file_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    with (
        sinks.opened(str(out), config(), SCORES),
        pytest.raises(
            ConfigError, match=f"is being written by another run .process {os.getpid()} "
        ),
        sinks.opened(str(out), config(), SCORES),
    ):
        pass
    write(out, scores(1))


def test_other_files_of_a_folder_are_free(tmp_path: Path) -> None:
    with sinks.opened(f"{tmp_path}/a.csv", config(), SCORES):
        write(tmp_path / "b.csv", scores(1))


@pytest.mark.parametrize("left", ["", "no json", '{"process": 1, "host": "gone", "since": "x"}'])
def test_a_lock_file_that_nobody_holds_stops_nobody(tmp_path: Path, left: str) -> None:
    """Whatever it says, also of another machine: a container that is started again has another name."""
    (tmp_path / ".s.csv.lock").write_text(left)
    (tmp_path / ".s.csv.123.part").write_text("half")
    write(tmp_path / "s.csv", scores(1))
    assert left_in(tmp_path) == {"s.csv"}


_WRITER = """
import sys, time
from factory_scores import NIGHT, config, scores
from lead_propensity.serving import sinks
from lead_propensity.serving.scoring import SCORES

def pieces():
    yield scores(2_000, seed=2)
    yield scores(2_000, seed=2, first=2_000)
    print("halfway", flush=True)
    time.sleep(float(sys.argv[2]))

with sinks.opened(sys.argv[1], config(), SCORES) as sink:
    sink.write(pieces(), NIGHT)
print("done", flush=True)
"""


def writer(out: str, seconds: float) -> "subprocess.Popen[str]":
    """Another process that writes 4,000 scores, and waits before the last step."""
    command = [sys.executable, "-c", _WRITER, out, str(seconds)]
    tests = {"PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | tests)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_a_killed_run_leaves_the_old_scores_and_blocks_nobody(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    write(out, scores(5))
    before = out.read_bytes()
    with writer(str(out), 60) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "halfway\n"
        with pytest.raises(ConfigError, match=f"process {killed.pid} "):
            write(out, scores(1))
        killed.send_signal(signal.SIGKILL)
    assert out.read_bytes() == before
    write(out, scores(7))
    assert left_in(tmp_path) == {name}


def test_a_reader_sees_old_or_new_rows_while_runs_write(tmp_path: Path) -> None:
    out = tmp_path / "s.parquet"
    write(out, scores(10))
    seen = set()
    with writer(str(out), 0) as running:
        while running.poll() is None:
            seen.add(len(pq.read_table(out)))
            time.sleep(0.01)
    seen.add(len(pq.read_table(out)))
    assert seen == {10, 4_000}


def test_a_lock_on_a_file_that_was_removed_holds_nothing(tmp_path: Path) -> None:
    """Between our opening and our locking its owner may have ended, and the next run made a new one."""
    with Lock.waited(tmp_path / "lock") as lock:
        assert lock.is_of(tmp_path / "lock")
        (tmp_path / "lock").unlink()
        assert not lock.is_of(tmp_path / "lock")
        (tmp_path / "lock").touch()
        assert not lock.is_of(tmp_path / "lock")

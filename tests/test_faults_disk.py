"""A disk that is full while a run writes: a message that says where, no traceback, and the old files whole."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lead_propensity import pipeline
from lead_propensity.config import load
from lead_propensity.data.simulate import simulate, write
from lead_propensity.errors import ConfigError
from lead_propensity.serving import records

Run = Callable[[str], tuple[int, str, str]]
FEW = (
    "--set model.trials=1 --set model.backtest_periods=0 --set model.refit=never "
    "--set snapshots.every_days=28 --set split.test_days=56 --set engine.threads=1"
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Gives a folder that takes so many kilobytes; skips where nothing may be mounted."""
    mounted: list[Path] = []

    def make(kilobytes: int) -> Path:
        folder = tmp_path / f"disk {len(mounted)}"
        folder.mkdir()
        command = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={kilobytes}k,mode=700",
            "tmpfs",
            str(folder),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no small disk can be made here: {error}")
        if done.returncode:
            pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    if sys.platform != "linux":
        pytest.skip("a small disk is made of a tmpfs, which Linux has")
    try:
        yield make
    finally:
        for folder in mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk")
    write(simulate(1_000, seed=3), folder / "world")
    from lead_propensity import cli

    line = f"train {folder}/world/config.yaml --out {folder}/run {FEW} --quiet"
    cli.app(line.split(), standalone_mode=False)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_scores_that_do_not_fit_leave_the_old_ones(
    world: Path, disk: Callable[[int], Path], command_line: Run, ending: str
) -> None:
    place = disk(24)
    (place / f"s.{ending}").write_bytes(b"old scores")
    line = f"score {world}/world/config.yaml --model {world}/run --out '{place}/s.{ending}' {FEW} --quiet"
    code, _, err = command_line(line)
    assert (code, "cannot be written" in err, "Traceback" in err) == (2, True, False), err
    assert (place / f"s.{ending}").read_bytes() == b"old scores"
    assert not list(place.glob(".*.part"))


def test_a_record_that_does_not_fit_is_seen_before_the_scores_are_replaced(
    world: Path, disk: Callable[[int], Path], tmp_path: Path
) -> None:
    place, out = disk(200), tmp_path / "s.csv"
    config = load(world / "world" / "config.yaml", [f"score.records={place}"])
    out.write_bytes(b"old scores")

    def fill(phase: str, done: int, total: int) -> None:
        if (phase, done) == ("scoring", 1):
            with suppress(OSError), (place / "filler").open("wb", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass

    with pytest.raises(ConfigError, match=r"record of the run cannot be written: .*No space left"):
        pipeline.score(config, world / "run", out, progress=fill)
    assert out.read_bytes() == b"old scores"
    assert (place / "runs.jsonl").read_bytes() == b"", "half a line is taken away"
    (place / "filler").unlink()
    pipeline.score(config, world / "run", out)
    assert [one["outcome"] for one in records.read(place)] == ["done"]


def test_a_run_folder_that_does_not_fit_is_not_there_and_nothing_of_it_stays(
    world: Path, disk: Callable[[int], Path], command_line: Run
) -> None:
    place = disk(200)
    code, _, err = command_line(
        f"train {world}/world/config.yaml --out '{place}/run' {FEW} --quiet"
    )
    assert (code, "cannot be written" in err, "Traceback" in err) == (2, True, False), err
    assert list(place.iterdir()) == []


TRAIN = "train {0}/world/config.yaml --out {0}/full"
SCORE = "score {0}/world/config.yaml --model {0}/run --out {0}/full.parquet"


@pytest.mark.parametrize(("command", "kilobytes"), [(TRAIN, 40), (SCORE, 4), (SCORE, 40)])
def test_a_work_folder_that_takes_nothing_is_said_or_not_needed(
    world: Path, disk: Callable[[int], Path], command_line: Run, command: str, kilobytes: int
) -> None:
    """Small tables fit into memory: a run that needs no scratch file ends well on a full disk."""
    place = disk(kilobytes)
    (place / "filler").write_bytes(b"x" * 1024 * (kilobytes - 4) if kilobytes > 4 else b"")
    line = f"{command.format(world)} {FEW} --set 'engine.work_folder={place}' --quiet"
    code, _, err = command_line(line)
    assert "Traceback" not in err
    assert code == 0 or ("engine.work_folder" in err and code == 2), err


def test_what_was_set_aside_and_does_not_fit_is_said(
    world: Path, disk: Callable[[int], Path], command_line: Run
) -> None:
    place = disk(8)
    (place / "filler").write_bytes(b"x" * 4096)
    for line in (f"check {world}/world/config.yaml --out '{place}/aside'",
                 f"features {world}/world/config.yaml --out '{place}/matrix.parquet'"):  # fmt: skip
        code, _, err = command_line(f"{line} --quiet")
        assert "Traceback" not in err
        assert (code, "cannot be written" in err) == (2, True), err
    assert {path.name for path in place.iterdir()} <= {"filler", "aside"}

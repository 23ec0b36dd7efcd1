"""kill -9 at random moments of train and score: nothing is lost, doubled or half-written, and nothing blocks.

Seen failing once: with `new_folder` alone, whose half-made folder stayed.
"""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from factory_kills import Server, serving
from lead_propensity.data.simulate import simulate, write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched in /proc")

SOAK = int(os.environ.get("SOAK", "0"))
KILLS = 10 * max(1, SOAK)
"""Of train, and as many of score; with SOAK at other moments each time."""
TRAIN = (
    "checking",
    "compiling",
    "reading events",
    "features",
    "fitting",
    "calibrating",
    "evaluating",
    "logging",
)
SCORE = ("checking", "compiling", "reading events", "features")
SETTINGS = (
    "model.trials=2", "model.backtest_periods=0", "model.refit=never", "split.test_days=56",
    "snapshots.every_days=28", "bands.hot_per_week=10", "engine.threads=1",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A world of 2,000 leads, a process that forks commands, and what they leave when nobody kills them."""

    server: Server
    folder: Path

    def train(self, out: str) -> tuple[object, ...]:
        return ("train", "world/config.yaml", "--out", out, *self._settings())

    def score(self, out: str, as_of: str) -> tuple[object, ...]:
        asked = ("--model", "reference", "--out", out, "--as-of", as_of)
        return ("score", "world/config.yaml", *asked, *self._settings())

    def _settings(self) -> list[str]:
        work = f"engine.work_folder={self.folder / 'work'}"
        return [word for setting in (*SETTINGS, work) for word in ("--set", setting)]

    def left_over(self) -> list[str]:
        """Half-made files, locks and scratch files of runs that are over; a records folder keeps its `.lock`."""
        halves = self.folder.rglob(".?*.part"), self.folder.rglob(".?*.lock")
        runs = self.folder.glob("work/*/runs/*")
        return sorted(str(path) for path in (*halves[0], *halves[1], *runs))


EVENTS = {"email_open": '<script>alert("opened")</script>', "newsletter_read": "'; DROP TABLE leads; --",
          "survey_answer": "../../{{7*7}}\n${HOME}\u202e"}  # fmt: skip
COLUMN = '"><img src=x onerror=alert(1)>'


def made_hostile(world: Path) -> None:
    """Names of events, of a channel, of a column, its values and the leads become what an attacker would write."""
    events = pd.read_parquet(world / "events.parquet").astype({"event_type": str, "channel": str})
    events = events.replace(
        {"event_type": EVENTS, "channel": {"email": "<script>alert(2)</script>"}}
    )
    events["lead_id"] = "../<i>" + events["lead_id"].astype(str)
    events.to_parquet(world / "events.parquet")
    attributes = pd.read_parquet(world / "attributes.parquet")
    attributes["lead_id"] = "../<i>" + attributes["lead_id"].astype(str)
    attributes.to_parquet(world / "attributes.parquet")
    for name in ("leads", "deals"):
        table = pd.read_csv(world / f"{name}.csv", dtype=str, keep_default_na=False)
        table["lead_id"] = "../<i>" + table["lead_id"]
        if name == "leads":
            table[COLUMN] = "<script>alert(3)</script>" + table["industry"]
        table.to_csv(world / f"{name}.csv", index=False)
    text = (world / "config.yaml").read_text()
    column = COLUMN.replace('"', '\\"')
    (world / "config.yaml").write_text(text.replace("[source, industry]", f'[source, "{column}"]'))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kills")
    write(simulate(2_000, seed=5), folder / "world")
    made_hostile(folder / "world")
    (folder / "work").mkdir()
    address = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
    with serving(folder, MLFLOW_TRACKING_URI=address) as server:
        made = Place(server, folder)
        server.run(*made.train("reference"))
        yield made


def model_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "model").iterdir())}


def rows(scores: Path) -> list[dict[str, object]]:
    return pq.read_table(scores).drop_columns(["scored_at"]).to_pylist()


def moments(phases: tuple[str, ...], longest: float, seed: int) -> Iterator[tuple[str, float]]:
    """Every phase in turn, and so long after its beginning."""
    draw = random.Random(None if SOAK else seed)
    for number in range(KILLS):
        yield phases[number % len(phases)], draw.uniform(0, longest) ** 2 / longest


def kill(place: Place, line: tuple[object, ...], phase: str, seconds: float) -> bool:
    """Whether the command was still at work so long after the phase began."""
    import time

    run = place.server.start(*line)
    run.reached(phase)
    time.sleep(seconds)
    code = run.kill()
    assert code in (0, -9), run.text()
    return code == -9


def test_hostile_names_stand_in_the_report_as_text_and_write_nothing_elsewhere(
    place: Place,
) -> None:
    page = (place.folder / "reference" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert "onerror=alert(1)&gt;" in page
    for raw in ("<script>alert", "<img src=x", "../<i>"):
        assert raw not in page
    made = {path.name for path in place.folder.iterdir()}
    assert {name for name in made if not name.startswith("output ")} <= {
        "world", "work", "reference", "mlflow.db", "mlartifacts", "mlruns"
    }  # fmt: skip


def test_a_killed_training_leaves_nothing_half_made_and_its_rerun_the_same_model(
    place: Place,
) -> None:
    """Each folder is tried twice: what another name left behind goes with the next run, too."""
    reference, killed = model_bytes(place.folder / "reference"), 0
    for number, (phase, seconds) in enumerate(moments(TRAIN, 1.0, seed=1)):
        out = place.folder / f"night {number // 2}"
        killed += kill(place, place.train(out.name), phase, seconds)
        if out.exists():  # killed while it logged: the folder is whole
            assert model_bytes(out) == reference
            shutil.rmtree(out)
        if number % 5 == 4 or number == KILLS - 1:
            place.server.run(*place.train(out.name))
            assert model_bytes(out) == reference
            assert place.left_over() == []
            shutil.rmtree(out)
    assert killed >= 0.8 * KILLS


def test_a_killed_scoring_leaves_the_old_scores_whole_and_its_rerun_writes_the_new_ones(
    place: Place,
) -> None:
    place.server.run(*place.score("old.parquet", "2024-09-01"))
    shutil.copy(place.folder / "old.parquet", place.folder / "new.parquet")
    for _ in range(2):  # a rerun of its own moment gives the same rows
        place.server.run(*place.score("new.parquet", "2024-10-01"))
    old, new = (rows(place.folder / f"{name}.parquet") for name in ("old", "new"))
    assert old != new
    out, killed = place.folder / "scores.parquet", 0
    for phase, seconds in moments(SCORE, 0.4, seed=2):
        shutil.copy(place.folder / "old.parquet", out)
        killed += kill(place, place.score("scores.parquet", "2024-10-01"), phase, seconds)
        assert rows(out) in (old, new)
        place.server.run(*place.score("scores.parquet", "2024-10-01"))
        assert rows(out) == new
        assert place.left_over() == []
    assert killed >= 0.6 * KILLS


def test_two_trainings_into_one_folder_are_one_and_a_refusal(place: Place) -> None:
    first = place.server.start(*place.train("both"))
    assert first.reached("checking")
    second = place.server.start(*place.train("both"))
    assert second.wait() == 2
    assert "both is being written by another run (process" in second.text()
    assert first.kill() == -9
    third = place.server.start(*place.train("reference"))
    assert third.wait() == 2
    assert "is not an empty folder" in third.text()

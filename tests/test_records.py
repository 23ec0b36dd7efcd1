"""The record of every run of `score`, and where each row of the leads went.

Seen failing once each: with `<=` in `not_created`, with `<=` in `has_closed`, with `>=` in `too_old`, with unclear
leads forgotten, with a half-written line that is not taken away, with scores written before whom they lack, with the
tables judged after the features, with a share of few leads refused, and with a record that nobody makes sure of.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lead_propensity import pipeline
from lead_propensity.config import Config, LimitsConfig, load
from lead_propensity.data.simulate import simulate, write
from lead_propensity.errors import ConfigError, DataError, ModelError, Refused, without_cells
from lead_propensity.features import snapshots, standing
from lead_propensity.features.catalogue import VERSION
from lead_propensity.pipeline import TrainedRun
from lead_propensity.serving import limits, records
from worlds import DAY, database
from worlds import config as small_config

NOW = 20_000 * DAY
MOMENTS = st.sampled_from([NOW - 365 * DAY, NOW]).flatmap(
    lambda at: st.integers(at - 1, at + 1)
) | st.integers(NOW - 400 * DAY, NOW + DAY)


# Where each lead stands.


@settings(max_examples=20, deadline=None)
@example([(NOW - DAY, (NOW + late, True), False) for late in (-1, 0, 1)])
@given(
    st.lists(
        st.tuples(MOMENTS, st.none() | st.tuples(MOMENTS, st.booleans()), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_every_lead_is_open_or_has_one_reason(leads: list[Any]) -> None:
    """Created at the moment, closed at the moment, exactly as old as allowed: one microsecond decides."""
    created = [(f"L{n}", at, f"L{n}") for n, (at, _, _) in enumerate(leads)]
    deals = [
        (f"L{n}", deal[0], deal[1], None, deal[0]) for n, (_, deal, _) in enumerate(leads) if deal
    ]
    with database(created, deals=deals) as con:
        unclear = [f"L{n}" for n, (_, deal, odd) in enumerate(leads) if odd and not deal]
        for lead in unclear:
            con.execute("INSERT INTO unclear_leads VALUES (?)", [lead])
        config = small_config().snapshots
        snapshots.make_open(con, config, NOW)
        standing.make(con, config, NOW)
        told = con.execute("SELECT lead_id, 'open' FROM snapshots UNION ALL FROM unscored")
        found = sorted(told.fetchall())
    assert found == sorted((f"L{n}", expected(*lead)) for n, lead in enumerate(leads))


def expected(created: int, deal: tuple[int, bool] | None, odd: bool) -> str:
    if created >= NOW:
        return "not created yet"
    if deal is not None and deal[0] < NOW:
        return "closed: won" if deal[1] else "closed: lost"
    if deal is None and odd:
        return "deal in quarantine"
    return "too old" if NOW - created > 365 * DAY else "open"


# The folder.


@pytest.mark.parametrize(
    ("out", "folder"),
    [
        ("s.parquet", "s.records"),
        ("a/s.csv", "a/s.records"),
        ("a/nightly/", "a/nightly.records"),
        ("v1.2/", "v1.2.records"),
        ("postgres:lead_scores", "lead_scores.records"),
        ("postgres:crm.Lead Scores", "crm.Lead_Scores.records"),
        ("postgres:/etc/x", "_etc_x.records"),
    ],
)
def test_each_target_has_its_folder(out: str, folder: str) -> None:
    assert records.records_folder(out, small_config()) == Path(folder)
    given = small_config(score={"records": "logs"})
    assert records.records_folder(out, given) == given.resolve("logs")


def test_a_half_written_line_of_a_killed_run_is_left_out_and_taken_away(tmp_path: Path) -> None:
    records.append(tmp_path, {"name": "é\u2028", "n": 1})
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"name": "hal')
    assert records.read(tmp_path) == [{"name": "é\u2028", "n": 1}]
    records.append(tmp_path, {"n": 2})
    assert [one["n"] for one in records.read(tmp_path)] == [1, 2]
    assert (tmp_path / "runs.jsonl").read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize(
    "line", ["no json", "[1]", "[" * 100_000, '{"n": NaN}', '{"n": "\\ud800"}']
)
def test_another_line_that_is_no_record_is_refused(tmp_path: Path, line: str) -> None:
    records.append(tmp_path, {"n": 1})
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"runs\.jsonl, line 2: no JSON"):
        records.read(tmp_path)


@pytest.mark.parametrize(
    "fact",
    [
        *({"as_of": value} for value in (5, "never", "9999-12-31T23:00:00-23:00")),
        *({"data_until": "x"}, {"why": "x"}, {"why": [1]}, {"outcome": None}, {"out": 5}),
        *({"drift": value} for value in ([1], {"a": 1}, 0.5)),
    ],
)
def test_facts_that_others_read_are_of_their_kind(tmp_path: Path, fact: dict[str, Any]) -> None:
    records.append(tmp_path, fact)
    with pytest.raises(
        DataError, match=f"line 1: {next(iter(fact))} is nothing that `score` writes"
    ):
        records.read(tmp_path)


def test_a_folder_in_the_place_of_the_records_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        records.read(tmp_path)


def test_where_nothing_ran_there_is_no_record(tmp_path: Path) -> None:
    assert records.read(tmp_path / "none") == []


# The runs.


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crm")
    write(simulate(1_000, seed=1), folder)
    return folder


@pytest.fixture(scope="module")
def config(crm: Path) -> Config:
    few = ["model.trials=1", "model.backtest_periods=0", "model.refit=never"]
    return load(crm / "config.yaml", [*few, "model.min_wins_trees=9999", "engine.threads=1"])


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return pipeline.train(config, tmp_path_factory.mktemp("runs") / "first")


NIGHT = datetime(2025, 11, 1, tzinfo=UTC)


def test_a_run_leaves_its_record_and_whom_it_could_not_score(
    config: Config, crm: Path, run: TrainedRun, tmp_path: Path
) -> None:
    out, folder = tmp_path / "s.parquet", tmp_path / "s.records"
    scored = pipeline.score(config, run.folder, out, NIGHT)
    (record,) = records.read(folder)
    given = ("command", "outcome", "why", "name", "as_of", "data_until", "out")
    assert {key: record[key] for key in given} == {
        "command": "score",
        "outcome": "done",
        "why": [],
        "name": config.name,
        "as_of": "2025-11-01T00:00:00+00:00",
        "data_until": "2025-12-31T00:00:00+00:00",
        "out": str(out),
    }
    assert record["model_id"] == run.scorecard["model_id"]
    assert record["drift"]["rows"] == scored.rows
    assert record["bands"] == scored.bands
    assert record["counts"] == scored.counts
    counts, aside = record["counts"], pd.read_parquet(folder / "quarantine" / "leads.parquet")
    assert counts["read"] == len(pd.read_csv(crm / "leads.csv"))
    assert counts["read"] == counts["scored"] + sum(counts["not_scored"].values())
    assert counts["scored"] == scored.rows
    assert {"closed: won", "closed: lost", "not created yet"} <= set(counts["not_scored"])
    assert record["quarantined"]["leads"] == len(aside)
    listed = pd.read_parquet(folder / "not_scored.parquet")["reason"].value_counts().to_dict()
    assert listed == {
        reason: count
        for reason, count in counts["not_scored"].items()
        if not reason.startswith("closed")
    }
    assert {"checking", "features", "scoring", "writing", "total"} <= set(record["seconds"])
    assert json.dumps(record)


def test_what_fails_is_recorded_and_a_dry_run_is_not(
    config: Config, run: TrainedRun, tmp_path: Path
) -> None:
    out, folder = tmp_path / "s.parquet", tmp_path / "s.records"
    pipeline.score(config, run.folder, out, NIGHT, dry_run=True)
    assert not folder.exists()
    with pytest.raises(ModelError):
        pipeline.score(config, tmp_path / "none", out, NIGHT)
    with pytest.raises(ConfigError):
        pipeline.score(config, run.folder, out, every_row=True)
    first, second = records.read(folder)
    assert first["outcome"] == second["outcome"] == "failed"
    assert (first["model_id"], "none" in first["why"][0]) == (None, True)
    assert "every_row" in second["why"][0]
    assert not out.exists()


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("s.records", None),
        ("s.records/quarantine", None),
        (None, "s.records/runs.jsonl"),
        (None, "s.records/not_scored.parquet"),
    ],
)
def test_what_stands_in_the_way_of_the_records_is_said_before_anything_is_written(
    config: Config, run: TrainedRun, tmp_path: Path, file: str | None, folder: str | None
) -> None:
    if file is not None:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("x")
    if folder is not None:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(ConfigError, match="records of the runs cannot be kept"):
        pipeline.score(config, run.folder, tmp_path / "s.parquet", NIGHT)
    assert not (tmp_path / "s.parquet").exists()


def test_a_folder_for_records_that_cannot_be_is_said(
    config: Config, run: TrainedRun, tmp_path: Path
) -> None:
    long = config.score.model_copy(update={"records": "x" * 300})
    with pytest.raises(ConfigError, match="records of the runs cannot be kept"):
        pipeline.score(
            config.model_copy(update={"score": long}), run.folder, tmp_path / "s.parquet", NIGHT
        )


def test_a_moment_beyond_the_calendar_is_said(
    config: Config, run: TrainedRun, tmp_path: Path
) -> None:
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(ConfigError, match="no year from 1 to 9999"):
        pipeline.score(config, run.folder, tmp_path / "s.parquet", late)


# When a run refuses.


def scored(config: Config, run: TrainedRun, out: Path, days: float = 0, **changes: Any) -> Any:
    """A run so many days after the export, with other limits or data."""
    limits = config.score.limits.model_copy(
        update={name: one for name, one in changes.items() if name in LIMITS}
    )
    data = config.data.model_copy(
        update={name: one for name, one in changes.items() if name not in LIMITS}
    )
    score = config.score.model_copy(update={"limits": limits})
    moment = datetime(2025, 12, 31, tzinfo=UTC) + timedelta(days=days)
    changed = config.model_copy(update={"data": data, "score": score})
    return pipeline.score(changed, run.folder, out, moment)


LIMITS = LimitsConfig.model_fields


@pytest.fixture
def world(config: Config, crm: Path, tmp_path: Path) -> dict[str, Any]:
    """The tables with a strange industry and a strange type of events, as changes of `data`."""
    leads = pd.read_csv(crm / "leads.csv", dtype=str)
    leads.loc[leads.index % 2 == 0, "industry"] = "Space travel"
    leads.to_csv(tmp_path / "leads.csv", index=False)
    events = pd.read_parquet(crm / "events.parquet")
    events["event_type"] = events["event_type"].astype(str)
    events.loc[events.index % 3 == 0, "event_type"] = "hologram"
    events.to_parquet(tmp_path / "events.parquet")
    return {
        name: getattr(config.data, name).model_copy(update={"path": str(tmp_path / file)})
        for name, file in (("leads", "leads.csv"), ("events", "events.parquet"))
    }


def test_every_limit_that_is_passed_is_named_at_once_and_the_old_scores_stay(
    config: Config, run: TrainedRun, tmp_path: Path, world: dict[str, Any]
) -> None:
    out = tmp_path / "s.parquet"
    scored(config, run, out)
    before = out.read_bytes()
    with pytest.raises(Refused) as told:
        scored(config, run, out, 7.001, max_quarantine_share=0.0, **world)
    assert out.read_bytes() == before
    record = records.read(tmp_path / "s.records")[-1]
    assert list(record["seconds"]) == ["loading the model", "checking", "total"], "at once"
    kept = [without_cells(reason) for reason in told.value.reasons]
    assert (record["outcome"], record["why"]) == ("refused", kept)
    assert "of lead '" in told.value.reasons[0]
    assert "of lead '" not in (tmp_path / "s.records" / "runs.jsonl").read_text()
    text = str(told.value)
    for part in (
        r"leads: [\d,]+ of [\d,]+ rows .* data\.max_quarantine_share",
        r"the data end at 2025-12-31T00:00:00\+00:00, 7\.0 days before .*at most 7 days .*max_data_age_days",
        r"events: .*\('hologram'\); at most 20\.0% may.*score\.limits\.max_unknown_events_share",
        r"No scores are written; those that were there stay as they are\.$",
    ):
        assert re.search(part, text, re.MULTILINE)


def test_values_that_the_model_does_not_know_are_refused_once_the_leads_are_looked_at(
    config: Config, run: TrainedRun, tmp_path: Path, world: dict[str, Any]
) -> None:
    out = tmp_path / "s.parquet"
    scored(config, run, out)
    before = out.read_bytes()
    said = r"industry: .* when it was trained 0\.0% did, and at most 20\.0% more.*score\.limits\.max_unseen_share"
    with pytest.raises(Refused, match=said):
        scored(config, run, out, leads=world["leads"])
    assert out.read_bytes() == before
    record = records.read(tmp_path / "s.records")[-1]
    assert (record["outcome"], record["counts"]["read"] > 0) == ("refused", True)


@pytest.mark.parametrize(("few", "says"), [(limits.FEWEST - 1, 0), (limits.FEWEST, 2)])
def test_a_share_of_few_leads_or_events_is_no_reason(
    config: Config, run: TrainedRun, few: int, says: int
) -> None:
    model = pipeline.load_model(run.folder)
    counts = {limits.LEADS: few, limits.UNSEEN + "industry": few, limits.EVENTS: few}
    counts |= {limits.UNKNOWN: few, f"{limits.UNKNOWN}: hologram": few}
    told = [*limits.unseen(config, model, counts), *limits.unknown_events(config, counts)]
    assert len(told) == says


def test_at_a_limit_a_run_is_done_and_just_beyond_it_is_refused(
    config: Config, run: TrainedRun, tmp_path: Path, world: dict[str, Any]
) -> None:
    out = tmp_path / "s.parquet"
    scored(config, run, out, 7)
    with pytest.raises(Refused, match="max_data_age_days"):
        scored(config, run, out, 7 + 1 / 86_400)
    free = dict.fromkeys(("max_unseen_share", "max_unknown_events_share"), 1.0)
    scored(config, run, out, **world, **free)
    shares = {
        "max_unseen_share": r"leads \(([\d.]+)%\)",
        "max_unknown_events_share": r"window \(([\d.]+)%\)",
    }
    for name, pattern in shares.items():
        with pytest.raises(Refused) as told:
            scored(config, run, out, **world, **(free | {name: 0.0}))
        (found,) = re.findall(pattern, str(told.value))
        scored(config, run, out, **world, **(free | {name: float(found) / 100 + 0.0005}))
        with pytest.raises(Refused, match=name):
            scored(config, run, out, **world, **(free | {name: float(found) / 100 - 0.0005}))


def test_an_old_model_gets_a_warning(config: Config, run: TrainedRun, tmp_path: Path) -> None:
    out, folder = tmp_path / "s.parquet", tmp_path / "s.records"
    until = datetime.fromisoformat(records_of(scored, config, run, out, folder)["labels_until"])
    age = (datetime(2025, 12, 31, tzinfo=UTC) - until).total_seconds() / 86_400
    assert records_of(scored, config, run, out, folder, max_model_age_days=age)["warnings"] == []
    (warning,) = records_of(scored, config, run, out, folder, max_model_age_days=age - 0.001)[
        "warnings"
    ]
    assert "score.limits.max_model_age_days" in warning


def records_of(
    score: Any, config: Config, run: TrainedRun, out: Path, folder: Path, **changes: Any
) -> dict[str, Any]:
    """The record of one run."""
    score(config, run, out, **changes)
    return records.read(folder)[-1]


def test_features_of_another_program_are_refused(
    config: Config, run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERSION", VERSION + 1)
    with pytest.raises(
        Refused, match=rf"version {VERSION}, this program makes version {VERSION + 1}"
    ):
        scored(config, run, tmp_path / "s.parquet")
    (record,) = records.read(tmp_path / "s.records")
    assert list(record["seconds"]) == ["loading the model", "total"], "before a table is read"


# When the record cannot be written.


@pytest.mark.parametrize(
    ("moment", "says", "new"),
    [
        (("checking", 0), "the record of the run cannot be written: ", False),
        (
            ("writing", 1),
            "the new scores are in .*s.parquet, but the record of the run cannot",
            True,
        ),
    ],
)
def test_a_record_that_cannot_be_written_is_seen_before_scores_are_replaced_or_said_after(
    config: Config, run: TrainedRun, tmp_path: Path, moment: tuple[str, int], says: str, new: bool
) -> None:
    out, runs = tmp_path / "s.parquet", tmp_path / "s.records" / "runs.jsonl"
    pipeline.score(config, run.folder, out, NIGHT)
    before = out.read_bytes()

    def block(phase: str, done: int, total: int) -> None:
        if (phase, done) == moment:
            runs.unlink()
            runs.mkdir()

    with pytest.raises(ConfigError, match=says):
        pipeline.score(config, run.folder, out, progress=block)
    assert (out.read_bytes() != before) == new


def test_the_scores_of_two_nights(config: Config, run: TrainedRun, tmp_path: Path) -> None:
    """What changed adds up, a rerun gives the same rows, and each band has its interval."""
    out, later = f"{tmp_path}/s/", datetime(2025, 11, 15, tzinfo=UTC)
    first = pipeline.score(config, run.folder, out, NIGHT).table.to_pandas()
    assert set(first["band_change"]) == {"new"}
    told = [
        pipeline.score(config, run.folder, out, later).table.to_pandas().drop(columns="scored_at")
        for _ in range(2)
    ]
    pd.testing.assert_frame_equal(*told)
    now = told[0][told[0]["as_of"] == later].merge(first, "left", "lead_id", suffixes=("", "_then"))
    assert now["previous_band"].fillna("-").tolist() == now["band_then"].fillna("-").tolist()
    moved = now["band_change"].value_counts().to_dict()
    changes = records.read(tmp_path / "s.records")[-1]["band_changes"]
    assert {name: count for name, count in changes.items() if count} == moved
    assert {"same", "new"} <= set(moved)
    assert (now["last_event_at"].dropna() < later).all()
    assert now["last_event_at"].notna().any()
    assert set(now["data_until"]) == {pd.Timestamp("2025-12-31", tz="UTC")}
    for one in pipeline.load_model(run.folder).bands.promises:
        rows = now[now["band"] == one.band]
        if one.n:
            assert np.allclose(rows["band_rate_low"], one.lower)
            assert np.allclose(rows["band_rate_high"], one.upper)
        else:
            assert rows[["band_rate_low", "band_rate_high"]].isna().all(axis=None)


# What a scheduler reads.

Run = Callable[[str], tuple[int, str, str]]


def lines_of(err: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in err.splitlines()]
    assert all(list(line)[:3] == ["time", "level", "event"] for line in lines)
    assert all(datetime.fromisoformat(line["time"]).tzinfo is UTC for line in lines)
    return lines


def test_a_run_tells_a_machine_its_phases_its_warnings_and_its_record(
    command_line: Run, crm: Path, run: TrainedRun, tmp_path: Path
) -> None:
    old = "--set score.limits.max_model_age_days=1"
    line = f"score {crm}/config.yaml --model {run.folder} --out {tmp_path}/s.csv {old}"
    code, out, err = command_line(f"--log-format json {line}")
    lines = lines_of(err)
    events = [one["event"] for one in lines]
    assert (code, "leads scored" in out) == (0, True)
    assert events[-3:] == ["warning", "scored", "finished"]
    assert lines[-1]["exit_code"] == 0
    assert {"phase started", "phase finished"} == set(events[:-3])
    assert all(one["seconds"] >= 0 for one in lines if one["event"] == "phase finished")
    (record,) = records.read(tmp_path / "s.records")
    assert {key: lines[-2][key] for key in ("model_id", "counts", "seconds")} == {
        key: record[key] for key in ("model_id", "counts", "seconds")
    }
    code, out, err = command_line(f"{line} --quiet --log-format=json")
    assert ([one["event"] for one in lines_of(err)], out) == (["warning", "finished"], "")
    assert "checking ..." in command_line(line)[2], "text is the default, and as it was"


def test_a_run_tells_people_what_has_changed_and_a_dry_run_is_named_one(
    command_line: Run, crm: Path, run: TrainedRun, tmp_path: Path
) -> None:
    line = f"score {crm}/config.yaml --model {run.folder} --out {tmp_path}/s/ --as-of"
    _, first, _ = command_line(f"{line} 2025-11-01")
    assert "since the moment before" not in first, "every lead is new"
    code, out, err = command_line(f"--log-format json {line} 2025-11-15 --dry-run")
    (told,) = (one for one in lines_of(err) if one["event"] == "scored")
    assert (code, told["outcome"], told["seconds"]["total"] > 0) == (0, "dry run", True)
    counts = ", ".join(f"{count} {change}" for change, count in told["band_changes"].items())
    assert f"bands since the moment before: {counts}\n" in out
    closed = told["counts"]["not_scored"]["closed: won"]
    assert f"closed: won ({closed})" in out
    assert len(records.read(tmp_path / "s.records")) == 1


def test_refusals_and_errors_are_lines_without_ids_of_leads_and_passwords(
    command_line: Run, crm: Path, run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"score {crm}/config.yaml --model {run.folder} --out {tmp_path}/s.csv"
    limits = "--set data.max_quarantine_share=0 --as-of 2026-02-01"
    code, _, err = command_line(f"{line} {limits}")
    assert (code, err.rpartition("refused: ")[2].startswith("leads: ")) == (3, True)
    monkeypatch.setenv("LEAD_PROPENSITY_LOG_FORMAT", "json")
    code, _, err = command_line(f"{line} {limits}")
    (refused,) = (one for one in lines_of(err) if one["event"] == "refused")
    assert (code, refused["level"], len(refused["reasons"])) == (3, "error", 5)
    ids = set(pd.read_csv(crm / "leads.csv", dtype=str)["lead_id"].dropna())
    assert not [one for one in ids if one in err]
    monkeypatch.setenv("PGPASSWORD", "c0rrect-h0rse")
    code, _, err = command_line(f"check {tmp_path}/c0rrect-h0rse.yaml")
    told, end = lines_of(err)
    assert (code, told["event"], told["level"]) == (2, "error", "error")
    assert (end["event"], end["exit_code"]) == ("finished", 2)
    assert "c0rrect-h0rse" not in err

"""Past scores, watched: what is said of them, when, and what is advised.

Broken on purpose, seen red: an outcome judged a microsecond before it is final; a deal after the horizon; a lead
that had closed before; snapshots taken for leads in the errors; an interval for one look where every night looks;
a level off by its value alone; a promise of cold; another model's scores pooled; scores after `--as-of` looked at;
exit code 0 for an advice; leads older than those of training in the level; drift of one night taken for lasting;
the last quarter not judged by itself; a later run's refusal told as of an earlier day; events read where a day is
given, and not read where nothing else tells when the data end.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from factory_nights import KEYS, NIGHTS, Nights, copied, lived, table_of
from factory_watched import found as made_up
from factory_watched import world
from lead_propensity import pipeline
from lead_propensity.config import GateConfig, MonitorConfig
from lead_propensity.data.moments import iso
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.evaluation import advice, matured, runs
from lead_propensity.evaluation.anytime import multiplier
from lead_propensity.features.outcomes import CLOSED, GONE, UNCLEAR, outcomes
from lead_propensity.features.windows import Horizon
from lead_propensity.pipeline import Monitored
from lead_propensity.reporting import monitoring as page
from lead_propensity.serving import reading, records
from test_reporting import check
from worlds import DAY, database

HORIZON = Horizon(60, 2 * DAY)
AT = 20_000 * DAY


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    return lived(tmp_path_factory.mktemp("nights"))


def watch(nights: Nights, folder: Path, world: Path | None = None, **options: Any) -> Monitored:
    config = nights.config(*options.pop("keys", ()), world=world)
    given = {"scores": nights.scores, "model_source": nights.run.folder, "log": False, **options}
    return pipeline.monitor(config, out=folder / "monitor.html", **given)


@pytest.fixture(scope="module")
def quiet(nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    """The world goes on as it was."""
    return watch(nights, tmp_path_factory.mktemp("quiet"))


def line(nights: Nights, folder: Path, world: Path | None = None, more: str = "") -> str:
    keys = " ".join(f"--set {key}" for key in KEYS)
    place = (world or nights.world) / "config.yaml"
    return (
        f"monitor {place} --scores {nights.scores} --model {nights.run.folder} "
        f"--out {folder / 'page.html'} --no-log-mlflow {keys} {more}"
    )


def busier(deals: pd.DataFrame, share: float) -> pd.DataFrame:
    """So many of the deals lost after the training are won instead."""
    late = (deals["outcome"] == "lost") & (deals["closed_at"] >= f"{NIGHTS[0]:%Y-%m-%d}")
    drawn = np.random.default_rng(1).random(len(deals)) < share
    return deals.assign(outcome=deals["outcome"].mask(late & drawn, "won"))


# The simulated nights


def test_a_world_that_goes_on_gives_no_reason_to_act(quiet: Monitored) -> None:
    found = quiet.found
    assert (quiet.advice, found["advice"]["enough"]) == ("ok", True)
    assert [one["state"] for one in found["moments"]] == ["judged"] * 5 + ["open"] * 2
    assert [one["drift"]["called"] for one in found["moments"]] == [0] * 7
    assert found["warnings"] == []
    ratio = found["pooled"]["expected_to_observed"]
    assert ratio["lower"] < 1 < ratio["upper"]


def test_nothing_is_judged_before_its_outcome_is_final(nights: Nights, quiet: Monitored) -> None:
    still = quiet.found["moments"][-2]
    wait = timedelta(microseconds=nights.run.model.level.label_delay)
    assert still["figures"] is None
    assert still["judged_from"] == (NIGHTS[-2] + wait).isoformat()
    assert still["scored"] > 100
    ends = pd.Timestamp(quiet.found["data_until"])
    assert [NIGHTS[k] + wait <= ends for k in range(7)] == [True] * 5 + [False] * 2


def test_what_became_known_later_is_not_seen_as_of_then(nights: Nights, tmp_path: Path) -> None:
    """The first moment can be judged the day its last outcome is final, and not before."""
    keys = [f"score.records={tmp_path}"]
    shutil.copy(f"{nights.scores.rstrip('/')}.records/runs.jsonl", tmp_path)
    refused = {"outcome": "refused", "as_of": NIGHTS[-1].isoformat(), "why": ["too old"]}
    records.append(tmp_path, refused)
    final = NIGHTS[0] + timedelta(microseconds=nights.run.model.level.label_delay)
    before = watch(nights, tmp_path, as_of=final - timedelta(seconds=1), keys=keys).found
    then = watch(nights, tmp_path, as_of=final, keys=keys).found
    assert not [one for one in then["warnings"] if "refused" in one]
    assert {one["state"] for one in before["moments"]} == {"open"}
    assert [one["state"] for one in then["moments"]].count("judged") == 1
    assert all(one["as_of"] <= final.isoformat() for one in then["moments"])
    assert len(then["moments"]) == sum(night <= final for night in NIGHTS)


def test_events_are_read_only_where_they_may_tell_when_the_data_end(
    nights: Nights, tmp_path: Path
) -> None:
    """With a day or `data.exported_at` what leads did is not opened: here it is no Parquet at all."""
    broken = copied(nights.world, tmp_path / "broken")
    (broken / "events.parquet").write_bytes(b"no table")
    declared = watch(nights, tmp_path, broken).found
    end = pd.Timestamp(declared["data_until"]).to_pydatetime()
    keys = ["data.exported_at=null"]
    given = watch(nights, tmp_path, broken, as_of=end, keys=keys).found
    with pytest.raises(DataError, match=r"events\.parquet"):
        watch(nights, tmp_path, broken, keys=keys)
    assert declared["pooled"] == watch(nights, tmp_path).found["pooled"]
    assert [one["state"] for one in given["moments"]] == [
        one["state"] for one in declared["moments"]
    ]


def test_where_far_more_deals_come_recalibration_is_advised(
    nights: Nights, tmp_path: Path, command_line: Callable[[str], tuple[int, str, str]]
) -> None:
    deals = busier(table_of(nights.world / "deals.csv"), 0.25)
    world = copied(nights.world, tmp_path / "busy", deals=deals)
    code, out, err = command_line(line(nights, tmp_path, world))
    assert code == 3
    assert "Recalibrate: the level is off" in err.replace("\n", " ")
    assert "page:" in out
    told = json.loads((tmp_path / "page.json").read_text())
    assert told["pooled"]["expected_to_observed"]["upper"] < 1 / 1.25
    assert told["advice"]["advice"] == "recalibrate"


def test_a_sound_world_ends_with_exit_code_0(
    nights: Nights, tmp_path: Path, command_line: Callable[[str], tuple[int, str, str]]
) -> None:
    code, out, _ = command_line(line(nights, tmp_path))
    assert code == 0
    assert "No reason to act" in out
    told = json.loads((tmp_path / "page.json").read_text())
    waiting = [one["judged_from"][:10] for one in told["moments"] if one["figures"] is None]
    assert waiting
    assert all(re.search(rf"│ open +│ until {day} ", out) for day in waiting)
    (tmp_path / "early").mkdir()
    early = watch(nights, tmp_path / "early", keys=["gate.min_wins=10000"])
    assert "too few outcomes to judge" in early.page.read_text(encoding="utf-8")


def test_features_that_moved_are_called_and_retraining_is_advised(
    nights: Nights, tmp_path: Path
) -> None:
    """Before the last night most events are not tracked any more."""
    events = table_of(nights.world / "events.parquet")
    late = pd.to_datetime(events["occurred_at"], utc=True, format="ISO8601", errors="coerce")
    gone = (late >= NIGHTS[-2]) & (np.random.default_rng(2).random(len(events)) < 0.97)
    world = copied(nights.world, tmp_path / "silent", events=events[~gone])
    scores = f"{tmp_path / 'scores'}/"
    later = NIGHTS[-1] + timedelta(days=30)
    pipeline.score(nights.config(world=world), nights.run.folder, scores, later)
    found = watch(nights, tmp_path, world, scores=scores, keys=["monitor.drifted_share=0.1"])
    drift = found.found["drift"]
    assert drift["called"] > 5
    assert drift["top"][0]["psi"] > drift["top"][0]["expected"] + 0.1
    assert found.advice == "retrain"
    assert "drifted widely" in found.found["advice"]["sentence"]


def test_the_page_is_one_file_that_says_it_all(quiet: Monitored) -> None:
    text = quiet.page.read_text()
    check(text)
    assert text == page.render(json.loads(quiet.page.with_suffix(".json").read_text()))
    assert "can be judged from 2026-01" in text
    assert text.count("<svg") == 2


def test_every_text_on_the_page_is_escaped() -> None:
    told = made_up(name="<script>alert(1)</script>", feature="<b>x</b>")
    text = page.render(told)
    check(text)
    assert "<b>x</b>" not in text
    assert "Retraining is advised" in text


def test_no_lead_is_named_in_what_is_left(nights: Nights, quiet: Monitored) -> None:
    ids = table_of(nights.world / "leads.csv")["lead_id"]
    for file in (quiet.page, quiet.page.with_suffix(".json")):
        text = file.read_text()
        assert not any(lead in text for lead in ids.unique() if len(lead) > 6)


def test_mlflow_keeps_the_figures_and_the_page(nights: Nights, tmp_path: Path) -> None:
    done = watch(nights, tmp_path, log=True)
    run = mlflow.MlflowClient().get_run(done.run_id or "")
    assert run.data.tags["advice"] == "ok"
    ratio = done.found["pooled"]["expected_to_observed"]
    assert run.data.metrics["monitor.expected_to_observed"] == pytest.approx(ratio["value"])
    assert run.data.metrics["monitor.moments_open"] == 2
    names = {one.path for one in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert names == {"monitor.html", "monitor.json"}


def test_another_models_scores_are_shown_and_not_pooled(nights: Nights, tmp_path: Path) -> None:
    scores = told_by(["another", nights.run.model.model_id], nights, tmp_path)
    found = watch(nights, tmp_path, scores=scores).found
    assert [one["model_id"] for one in found["moments"]] == ["another", nights.run.model.model_id]
    assert found["pooled"]["n"] == found["moments"][1]["figures"]["n"]


def told_by(models: list[str], nights: Nights, folder: Path) -> str:
    """The scores of the first nights as if these models had told them."""
    parts = sorted(Path(nights.scores).glob("*/part.parquet"))
    for part, model_id in zip(parts, models, strict=False):
        there = folder / "scores" / part.parent.name
        there.mkdir(parents=True)
        told = pd.read_parquet(part).assign(model_id=model_id)
        told.to_parquet(there / part.name, index=False)
    return f"{folder / 'scores'}/"


def test_the_level_is_that_of_the_ages_the_model_learned_from(
    nights: Nights, tmp_path: Path
) -> None:
    model = nights.run.model
    young = replace(model, bands=replace(model.bands, oldest_age_days=30.0))
    young.save(tmp_path / "run" / "model")
    scores = told_by([young.model_id], nights, tmp_path)
    found = watch(nights, tmp_path, scores=scores, model_source=tmp_path / "run").found["pooled"]
    leads = table_of(nights.world / "leads.csv").drop_duplicates("lead_id").set_index("lead_id")
    seen = pd.read_parquet(scores)["lead_id"].map(
        pd.to_datetime(leads["created_at"], utc=True, format="ISO8601", errors="coerce")
    )
    older = int((NIGHTS[0] - seen > timedelta(days=30)).sum())
    assert 0 < older < found["n"]
    assert found["older"]["n"] == older


@pytest.mark.parametrize("out", ["scores.csv", "scores.parquet", "postgres:seen"])
def test_a_file_or_a_table_with_the_crms_names_says_the_same(
    out: str, nights: Nights, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if out.startswith("postgres:"):
        request.getfixturevalue("postgres")
    keys = [
        "score.columns={lead_id: Id, probability: P__c, as_of: Seen}",
        f"score.records={tmp_path}/r",
    ]
    target = out if out.startswith("postgres:") else str(tmp_path / out)
    config = nights.config(*keys)
    pipeline.score(config, nights.run.folder, target, NIGHTS[0])
    one = reading.past_scores(target, config, 2**62)
    same = reading.past_scores(nights.scores, nights.config(), min(one.counts))
    assert one.counts == same.counts
    pd.testing.assert_frame_equal(one.frame, same.frame, check_dtype=False)


def test_of_very_many_scores_a_sample_of_whole_leads_is_judged(nights: Nights) -> None:
    all_rows = reading.past_scores(nights.scores, nights.config(), 2**62)
    some = reading.past_scores(nights.scores, nights.config(), 2**62, most=600)
    assert some.one_in == -(-len(all_rows.frame) // 600)
    assert some.counts == all_rows.counts
    kept = all_rows.frame[all_rows.frame["lead_id"].isin(some.frame["lead_id"])]
    pd.testing.assert_frame_equal(kept.reset_index(drop=True), some.frame)


def test_scores_that_are_not_there_and_rows_without_time_are_refused(
    nights: Nights, tmp_path: Path
) -> None:
    config = nights.config()
    with pytest.raises(DataError, match="there are no scores"):
        reading.past_scores(str(tmp_path / "none.parquet"), config, 2**62)
    short = tmp_path / "short.parquet"
    pd.DataFrame({"lead_id": ["a"]}).to_parquet(short)
    with pytest.raises(DataError, match="lacks the columns band"):
        reading.past_scores(str(short), config, 2**62)
    with pytest.raises(ConfigError, match="carry none"):
        exported = {"exported": {"path": "x.csv", "outcome": "o", "won": "1"}}
        data = config.data.model_validate({**exported})
        pipeline.monitor(config.model_copy(update={"data": data}), nights.scores)


def another(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The scores with one value changed, as another program may leave them."""
    return lambda rows: rows.assign(**{column: rows[column].where(rows.index > 0, value)})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *((another("probability", value), "probability: 1 rows") for value in (None, np.inf, 1.7)),
        (another("raw_score", None), "raw_score: 1 rows"),
        *((another("horizon_days", value), "horizon_days: 1 rows") for value in (0, 7.5, 1e18)),
        (another("band", "blazing"), "band: 1 rows"),
        (another("lead_id", None), "lead_id: 1 rows"),
        (another("as_of", None), "1 rows without a moment"),
        (lambda rows: pd.concat([rows, rows[:3]]), "3 rows repeat"),
        (lambda rows: rows.assign(as_of="21/07/2025 00:00"), "cannot be read"),
        (lambda rows: rows.assign(probability="0,05"), "cannot be read"),
    ],
)
def test_scores_that_another_program_changed_are_refused(
    nights: Nights, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], told: str
) -> None:
    rows = pd.read_parquet(next(Path(nights.scores).glob("*/part.parquet")))
    change(rows.reset_index(drop=True)).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(DataError, match=told):
        reading.past_scores(str(tmp_path / "s.parquet"), nights.config(), 2**62)


def test_a_target_is_that_file_and_no_other_of_a_like_name(nights: Nights, tmp_path: Path) -> None:
    rows = pd.read_parquet(next(Path(nights.scores).glob("*/part.parquet")))
    for name in ("s*.parquet", "s1.parquet", "s[1].parquet", "s?.parquet"):
        rows.to_parquet(tmp_path / name)
        past = reading.past_scores(str(tmp_path / name), nights.config(), 2**62)
        assert sum(past.counts.values()) == len(rows)


@pytest.mark.parametrize("content", [b"", b"junk", b"PAR1\x00\xffPAR1"])
def test_a_damaged_target_is_said(nights: Nights, tmp_path: Path, content: bytes) -> None:
    for name in ("s.parquet", "s.csv"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read|lacks the columns"):
            reading.past_scores(str(tmp_path / name), nights.config(), 2**62)


def test_chances_that_are_all_0_have_no_ratio() -> None:
    rows = world(1, 300).assign(probability=0.0)
    assert matured.judged(rows)["expected_to_observed"] is None


@pytest.mark.parametrize("name", ["page.json", "scores.parquet", "page"])
def test_the_page_takes_the_place_of_nothing_else(
    nights: Nights, tmp_path: Path, name: str
) -> None:
    """A `.json` would be written over by the figures, the scores by the page."""
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        pipeline.monitor(
            nights.config(), nights.scores, nights.run.folder, out=tmp_path / name, log=False
        )


def test_records_of_another_version_lack_facts(nights: Nights, tmp_path: Path) -> None:
    scores = f"{shutil.copytree(nights.scores, tmp_path / 'scores')}/"
    records.append(tmp_path / "scores.records", {"command": "score"})
    records.append(tmp_path / "scores.records", {"outcome": "failed"})
    assert watch(nights, tmp_path, scores=scores).found["moments"][0]["data_until"] is None


# What happened to single leads


def test_each_lead_has_its_outcome_or_a_reason_or_is_open() -> None:
    deal = [
        ("in", AT + 10 * DAY, True, None, AT + 10 * DAY),
        ("start", AT, True, None, AT),
        ("end", AT + 60 * DAY, True, None, AT + 60 * DAY),
        ("late", AT + 10 * DAY, True, None, AT + 61 * DAY),
        ("too late", AT + 10 * DAY, True, None, AT + 62 * DAY),
        ("lost", AT + 10 * DAY, False, None, AT + 10 * DAY),
        ("before", AT - 1, True, None, AT + DAY),
    ]
    names = [*(row[0] for row in deal), "none", "unclear"]
    scored = pd.DataFrame({"lead_id": [*names, "gone"], "as_of": AT})
    with database([(name, AT - 9 * DAY, f"of {name}") for name in names], deals=deal) as con:
        con.execute("INSERT INTO unclear_leads VALUES ('unclear')")
        final = outcomes(con, scored, HORIZON, AT + 62 * DAY)
        still = outcomes(con, scored, HORIZON, AT + 62 * DAY - 1)
    told = dict(
        zip(scored["lead_id"], zip(final["won"], final["left_out"], strict=True), strict=True)
    )
    won = {name: told[name][0] for name in names[:6]}
    assert won == {"in": 1, "start": 1, "end": 0, "late": 1, "too late": 0, "lost": 0}
    assert [told[name][1] for name in ("before", "unclear", "gone")] == [CLOSED, UNCLEAR, GONE]
    assert final["left_out"].isna().sum() == 7
    assert final["group_id"].tolist()[0] == "of in"
    assert final["age_days"].tolist()[:-1] == [9.0] * len(names)
    assert still["won"].isna().all()


# The looks, and the advice


def advised(rows: pd.DataFrame, promised: dict | None = None, **reference: float) -> dict:
    pooled = matured.together(rows, promised or {}, 0.05)
    known = {"auc": None, "auc_error": None, **reference}
    return advice.advise([pooled], None, known, GateConfig(), MonitorConfig())


def test_leads_scored_three_times_tell_what_they_tell_once() -> None:
    thrice = world(1)
    once = thrice[thrice["as_of"] == 0]
    for name in ("expected_to_observed", "log_loss", "brier", "auc", "auc_minus_rules"):
        a, b = (matured.judged(rows)[name] for rows in (once, thrice))
        assert b == pytest.approx(a, rel=2e-3), name


def test_a_sound_model_is_seldom_called_off_however_often_one_looks() -> None:
    """Looks after every 25 won leads; a fixed interval leaves the truth out far more often."""
    rng, off, naive = np.random.default_rng(2), 0, 0
    looks = np.arange(50, 2_000, 25)
    for _ in range(400):
        away = np.cumsum(rng.normal(size=2_000))[looks - 1] / np.sqrt(looks)
        off += bool((np.abs(away) > [multiplier(n, 0.05) for n in looks]).any())
        naive += bool((np.abs(away) > 1.96).any())
    assert off <= 0.05 * 400
    assert naive > 0.2 * 400


def test_the_level_is_off_only_where_the_whole_interval_says_so() -> None:
    assert advised(world(3))["advice"] == "ok"
    assert advised(world(3, leads=900, true=0.7))["advice"] == "ok"  # off, and not yet shown
    found = advised(world(3, leads=8_000, true=0.4))
    assert found["advice"] == "recalibrate"
    assert "the level is off" in found["reasons"][0]


def test_what_changes_late_is_not_lost_among_good_months() -> None:
    """Four quarters of a sound model, then one whose level is off: all together it is still within the limits."""
    quarters = [
        world(seed, leads=3_000 if seed else 2_500, true=1.0 if seed else 0.4).query("as_of == 0")
        for seed in (1, 2, 3, 4, 0)
    ]
    names = ["lead_id", "group_id"]
    rows = pd.concat(
        [
            one.assign(as_of=90 * k * DAY, **{name: f"{k}" + one[name] for name in names})
            for k, one in enumerate(quarters)
        ]
    )
    pooled = matured.together(rows, {}, 0.025)
    recent = matured.lately(rows, {}, 0.025, GateConfig())
    assert recent is not None
    reference = {"auc": None, "auc_error": None}
    told = [
        advice.advise(seen, None, reference, GateConfig(), MonitorConfig())
        for seen in ([pooled], [pooled, recent])
    ]
    assert [one["advice"] for one in told] == ["ok", "recalibrate"]
    assert told[1]["reasons"][0].startswith("since 1970-12-27 the level is off")
    assert recent["width"] == multiplier(recent["wins"], 0.025 / 20)
    before = matured.lately(rows[rows["as_of"] < 360 * DAY], {}, 0.025, GateConfig())
    assert (before or {})["since"].startswith("1970-09-28")
    few = pd.concat([rows[rows["as_of"] < 360 * DAY], rows[rows["as_of"] == 360 * DAY].head(300)])
    assert (matured.lately(few, {}, 0.025, GateConfig()) or {})["since"] == before["since"]
    assert matured.lately(rows[rows["as_of"] == 0], {}, 0.025, GateConfig()) is None


def test_leads_older_than_those_of_training_do_not_tell_the_level() -> None:
    """Whoever is still open then converts less; the order and the bands are judged on them, too."""
    young, old = world(3), world(3, leads=8_000, true=0.4)
    rows = pd.concat([young, old.assign(too_old=True)], ignore_index=True)
    assert advised(rows)["advice"] == "ok"
    assert advised(rows.assign(too_old=False))["advice"] == "recalibrate"
    told = matured.judged(rows)
    assert told["expected_to_observed"] == matured.judged(young)["expected_to_observed"]
    assert (told["older"]["n"], told["n"]) == (len(old), len(rows))
    few = pd.concat([world(3, leads=200, true=0.2), old.assign(too_old=True)], ignore_index=True)
    assert advised(few)["advice"] == "ok"


def test_a_promise_that_is_surely_broken_asks_for_recalibration() -> None:
    assert advised(world(4), {"hot": 0.3, "warm": 0.1})["advice"] == "ok"
    found = advised(world(4), {"hot": 0.8, "cold": 0.9})
    assert found["reasons"][0].startswith("hot leads promised at least 80.0%")
    assert len(found["reasons"]) == 1


def test_order_that_is_lost_asks_for_another_model() -> None:
    rows = world(5)
    good = matured.judged(rows)["auc"]["value"]
    assert advised(rows, auc=good, auc_error=0.01)["advice"] == "ok"
    found = advised(rows, auc=good + 0.2, auc_error=0.01)
    assert (found["advice"], "order of the leads is lost" in found["reasons"][0]) == (
        "retrain",
        True,
    )
    swapped = rows.assign(raw_score=rows["rules_points"], rules_points=rows["raw_score"])
    assert "the rules put leads into a better order" in advised(swapped)["reasons"][0]


def test_too_few_deals_are_no_evidence() -> None:
    found = advised(world(6, leads=150, true=0.2))
    assert (found["advice"], found["enough"]) == ("ok", False)
    assert "too little to judge" in found["sentence"]


# Volume and freshness


def moment(day: int, scored: int = 100, age: float = 0.0) -> dict[str, Any]:
    return {
        "as_of": iso(AT + day * DAY),
        "scored": scored,
        "gap_days": None if day == 0 else 1.0,
        "data_age_days": age,
        "drift": {"called": 0},
    }


def test_drift_lasts_where_every_moment_of_a_week_sees_it() -> None:
    """A weekend is no drift, nor is a night whose events came late; who scores by the week has one moment."""
    called = {"called_share": 0.5}
    nights = [moment(day) | {"model_id": "m", "drift": called} for day in range(9)]

    def calm(*days: int) -> list[dict[str, Any]]:
        return [
            one | {"drift": {"called_share": 0.0}} if day in days else one
            for day, one in enumerate(nights)
        ]

    assert runs.lasting_drift(calm(0, 1), "m") == called
    assert runs.lasting_drift(calm(2), "m") == {"called_share": 0.0}
    assert runs.lasting_drift(calm(0)[::7], "m") == called
    other = [*calm(2), moment(9) | {"model_id": "n", "drift": called}]
    assert runs.lasting_drift(other, "m") == {"called_share": 0.0}
    assert runs.lasting_drift(other, "another") is None


def test_gaps_old_data_small_volume_and_a_refused_run_are_told() -> None:
    usual = [moment(day) for day in range(5)]
    assert runs.warnings(usual, [], AT + 5 * DAY) == []
    odd = [*usual, moment(12, scored=20, age=3.0) | {"gap_days": 8.0}]
    refused = [{"outcome": "refused", "why": ["the data are too old"]}]
    told = "\n".join(runs.warnings(odd, refused, AT + 20 * DAY))
    for words in (
        *("No scores for 8.0 days before", "The last scores are 8.0 days old"),
        *("The last run scored 20 leads", "the data ended 3.0 days before"),
        "ended as refused; its record says why",
    ):
        assert words in told

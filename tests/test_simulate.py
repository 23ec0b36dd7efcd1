"""The simulated world: what it holds, and that its truth is true."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from lead_propensity import config
from lead_propensity.data.simulate import World, simulate, write
from lead_propensity.data.simulate.dynamics import DAYS, START
from lead_propensity.errors import ConfigError, DataError

DAY_US = 86_400_000_000
TABLES = ("leads", "attributes", "events", "deals")
EVENT_TYPES = {
    *("page_view", "pricing_page_view", "email_open", "email_click", "newsletter_read"),
    *("survey_answer", "webinar", "download", "demo_request", "question", "call"),
    *("meeting_booked", "unsubscribe"),
}
CRITERIA = ("need", "fit", "budget", "influence", "timeline")


@pytest.fixture(scope="module")
def clean() -> World:
    return simulate(12_000, seed=5, dirty=False)


@pytest.fixture(scope="module")
def dirty() -> World:
    return simulate(1_500, seed=3)


def microseconds(day: float) -> int:
    return int(START.timestamp() * 1_000_000 + day * DAY_US)


def snapshots(world: World, days: list[float], horizon_days: int) -> pd.DataFrame:
    """Leads open on these days with truth and outcome, from the exported tables only."""
    deals = world.deals.set_index("lead_id")[["closed_at", "outcome"]]
    leads = world.leads.set_index("lead_id").join(deals)
    parts = []
    for day in days:
        as_of = pd.Timestamp(microseconds(day), unit="us", tz="UTC")
        still_open = ~(leads["closed_at"] < as_of)
        part = leads[(leads["created_at"] < as_of) & still_open]
        end = as_of + pd.Timedelta(days=horizon_days)
        won = (part["outcome"] == "won") & (part["closed_at"] < end)
        parts.append(
            pd.DataFrame({"lead_id": part.index, "as_of": microseconds(day), "won": won.array})
        )
    rows = pd.concat(parts, ignore_index=True)
    rows["truth"] = world.true_probability(rows["lead_id"], rows["as_of"], horizon_days)
    return rows


def surprise(rows: pd.DataFrame) -> float:
    """Observed less expected wins in standard errors; horizons must not overlap."""
    spread = np.sqrt((rows["truth"] * (1 - rows["truth"])).sum())
    return float((rows["won"].sum() - rows["truth"].sum()) / spread)


@pytest.fixture(scope="module")
def judged(clean: World) -> pd.DataFrame:
    return snapshots(clean, [60, 121, 182, 243, 304, 365, 426, 487], 60)


def test_same_seed_same_world(dirty: World) -> None:
    again, other = simulate(1_500, seed=3), simulate(1_500, seed=4)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(dirty, name), getattr(again, name))
        assert not getattr(dirty, name).equals(getattr(other, name))
    assert dirty.planted == again.planted


def test_dirt_hides_no_clean_row(dirty: World) -> None:
    bare = simulate(1_500, seed=3, dirty=False)
    assert bare.planted == {}
    for name in TABLES:
        planted = sum(n for kind, n in dirty.planted.items() if kind.startswith(f"{name}."))
        assert len(getattr(dirty, name)) == len(getattr(bare, name)) + planted
        assert planted < 0.01 * len(getattr(bare, name)) + 8
    assert all(count > 0 for count in dirty.planted.values())


def test_each_planted_kind_is_found_again(dirty: World) -> None:
    planted, leads, deals = dirty.planted, dirty.leads, dirty.deals
    created = pd.to_datetime(leads["created_at"], errors="coerce", utc=True)
    assert created.isna().sum() == planted["leads.bad_time"]
    assert (created > dirty.exported_at).sum() == planted["leads.after_export"]
    assert leads.duplicated().sum() == planted["leads.exact_duplicate"]
    same_id = leads.drop_duplicates()["lead_id"].duplicated().sum()
    assert same_id == planted["leads.conflicting_duplicate"]
    events = dirty.events
    occurred = pd.to_datetime(events["occurred_at"], errors="coerce", utc=True)
    assert occurred.isna().sum() == planted["events.bad_time"]
    assert (occurred > dirty.exported_at).sum() == planted["events.after_export"]
    assert events.duplicated().sum() == planted["events.exact_duplicate"]
    assert (~events["lead_id"].isin(leads["lead_id"])).sum() == planted["events.orphan"]
    assert (deals["amount"] < 0).sum() == planted["deals.negative_amount"]
    assert (~deals["outcome"].isin(["won", "lost"])).sum() == planted["deals.unknown_outcome"]
    closed = pd.to_datetime(deals["closed_at"], errors="coerce", utc=True)
    assert closed.isna().sum() == planted["deals.bad_time"]
    first = deals["lead_id"].map(created.groupby(leads["lead_id"]).min())
    assert (closed < first).sum() == planted["deals.deal_before_creation"]


def test_sizes_and_words(clean: World) -> None:
    assert 45 < len(clean.events) / len(clean.leads) < 55
    assert set(clean.events["event_type"]) == EVENT_TYPES
    assert clean.leads["lead_id"].is_unique
    assert clean.deals["lead_id"].is_unique
    assert clean.leads["company_id"].duplicated().any()
    share = clean.deals["outcome"].value_counts() / len(clean.leads)
    assert 0.06 < share["won"] < 0.15
    assert share["lost"] > 0.6
    assert share.sum() < 0.97, "some leads stay open"
    lag = clean.deals.merge(clean.leads, on="lead_id").query("outcome == 'won'")
    days = (lag["closed_at"] - lag["created_at"]).dt.days
    assert 20 < days.median() < 60
    assert (clean.deals["amount"].dropna() > 0).all()


def test_nothing_is_known_after_the_export(clean: World) -> None:
    for table in (clean.attributes, clean.events, clean.deals):
        assert (table["known_at"] < clean.exported_at).all()
    assert (clean.deals["known_at"] >= clean.deals["closed_at"]).all()
    late = (clean.deals["known_at"] - clean.deals["closed_at"]).dt.days
    assert set(late) == {0, 1, 2, 3}


def test_events_before_the_lead_and_meetings_before_their_time(clean: World) -> None:
    events = clean.events.merge(clean.leads[["lead_id", "created_at"]], on="lead_id")
    anonymous = events["occurred_at"] < events["created_at"]
    assert 0.02 < anonymous.mean() < 0.3
    meetings = events[events["event_type"] == "meeting_booked"]
    assert (meetings["known_at"] < meetings["occurred_at"]).all()
    assert (meetings["known_at"] >= meetings["created_at"]).all()
    read = events[events["event_type"] == "newsletter_read"]
    assert (read["known_at"] > read["occurred_at"]).all(), "imported at night"


def test_leaks_are_known_only_after_the_end(clean: World) -> None:
    versions = clean.attributes.merge(
        clean.deals[["lead_id", "closed_at", "outcome"]], on="lead_id"
    )
    leaks = versions[versions["attribute"].isin(["sales_note_quality", "last_sales_touch"])]
    assert leaks["attribute"].nunique() == 2
    assert (leaks["known_at"] >= leaks["closed_at"]).all()
    quality = leaks[leaks["attribute"] == "sales_note_quality"].groupby("outcome")["value"]
    assert quality.min()["won"] > quality.max()["lost"], "who joins it naively sees the outcome"


def test_criteria_fill_in_corrected_and_cleared(clean: World) -> None:
    versions = clean.attributes[clean.attributes["attribute"].isin(CRITERIA)]
    assert set(versions["attribute"]) == set(CRITERIA)
    assert set(versions["value"].dropna()) == {"met", "not_met"}
    created = versions["lead_id"].map(clean.leads.set_index("lead_id")["created_at"])
    age = (versions["known_at"] - created).dt.days
    assert age.min() >= 0
    assert age.quantile(0.2) >= 1
    assert age.quantile(0.9) > 30
    ordered = versions.sort_values("known_at").groupby(["lead_id", "attribute"])["value"]
    before = ordered.shift()
    assert ((before == "met") & (versions["value"] == "not_met")).sum() > 20, "corrected"
    assert (versions["value"].isna()).sum() > 20, "cleared"
    assert (before[versions["value"].isna()].notna()).all(), "only what was known is cleared"


def test_free_mail_is_no_verdict(clean: World) -> None:
    won = set(clean.deals.query("outcome == 'won'")["lead_id"])
    free = ~clean.leads["email"].str.endswith(".example")
    rate = clean.leads["lead_id"].isin(won).groupby(free).mean()
    assert 0.2 < free.mean() < 0.4
    assert 0.6 < rate[True] / rate[False] < 1.0


def test_truth_expects_what_happens(judged: pd.DataFrame) -> None:
    assert len(judged) > 8_000
    assert judged["truth"].between(0, 1).all()
    assert 0.04 < judged["won"].mean() < 0.10
    assert abs(surprise(judged)) < 3.5
    tenth = judged["truth"].rank(pct=True).mul(10).apply(np.ceil)
    for _, rows in judged.groupby(tenth):
        assert abs(surprise(rows)) < 4


def test_truth_holds_in_the_middle_of_a_day(clean: World) -> None:
    rows = snapshots(clean, [100.55, 131.55, 162.55, 193.55, 224.55], 30)
    assert abs(surprise(rows)) < 3.5


def test_horizon_is_half_open(clean: World) -> None:
    """Two days hold two days' wins: one more would be half as many again."""
    rows = snapshots(clean, list(range(60, 580, 10)), 2)
    assert abs(surprise(rows)) < 3.5


def test_truth_tells_leads_apart(judged: pd.DataFrame) -> None:
    won = judged["won"]
    rank = judged["truth"].rank()
    lost = (~won).sum()
    auc = (rank[won].sum() - won.sum() * (won.sum() + 1) / 2) / (won.sum() * lost)
    assert 0.77 < auc < 0.88
    base = won.mean()
    constant = -(base * np.log(base) + (1 - base) * np.log(1 - base))
    truth = judged["truth"].clip(1e-6, 1 - 1e-6)
    assert -np.where(won, np.log(truth), np.log(1 - truth)).mean() < 0.93 * constant


def test_truth_is_a_fact_of_the_snapshot(judged: pd.DataFrame, clean: World) -> None:
    some = judged.sample(150, random_state=1)
    again = clean.true_probability(some["lead_id"], some["as_of"], 60)
    np.testing.assert_array_equal(again, some["truth"])
    longer = clean.true_probability(some["lead_id"], some["as_of"], 90)
    assert (longer >= some["truth"]).all()


def test_the_error_is_that_of_the_mean_of_futures(judged: pd.DataFrame, clean: World) -> None:
    some = judged.sample(400, random_state=2)
    few, error = clean.true_probability_with_error(some["lead_id"], some["as_of"], 60)
    np.testing.assert_array_equal(few, some["truth"])
    many, smaller = clean.true_probability_with_error(some["lead_id"], some["as_of"], 60, draws=768)
    expected = error**2 - smaller**2  # the first 96 futures are among the 768
    assert 0.75 < np.mean((few - many) ** 2) / np.mean(expected) < 1.3
    assert 2.5 < np.mean(error) / np.mean(smaller) < 3.1, "eight times the draws"


def test_an_error_needs_two_draws(clean: World) -> None:
    lead, as_of = clean.leads["lead_id"].iloc[:1], [microseconds(300)]
    _, error = clean.true_probability_with_error(lead, as_of, 60, draws=2)
    assert error.shape == (1,)
    with pytest.raises(ConfigError, match=r"draws=1: an error needs at least 2"):
        clean.true_probability_with_error(lead, as_of, 60, draws=1)


def test_truth_of_leads_that_are_not_open(clean: World) -> None:
    deal = clean.deals.iloc[0]
    after = deal["closed_at"] + pd.Timedelta(seconds=1)
    as_of = np.array([after.value // 1000, microseconds(-40)])
    assert np.isnan(clean.true_probability([deal["lead_id"]] * 2, as_of, 60)).all()
    at_closing = np.array([deal["closed_at"].value // 1000])
    assert not np.isnan(clean.true_probability([deal["lead_id"]], at_closing, 60)).any()
    with pytest.raises(DataError, match=r"1 lead_id are not of this world, e\.g\. 'nobody'"):
        clean.true_probability(["nobody"], [microseconds(100)], 60)


def test_latent_intent_has_no_visible_truth() -> None:
    world = simulate(300, seed=1, latent=True)
    with pytest.raises(DataError, match=r"latent intent.*Simulate it without `latent`"):
        world.true_probability(["L0000001"], [microseconds(300)], 60)


def test_drift_lowers_the_base_rate_and_truth_knows() -> None:
    world = simulate(8_000, seed=5, dirty=False, drift=True)
    rows = snapshots(world, [60, 121, 182, 365, 426, 487], 60)
    early = rows["as_of"] < microseconds(200)
    assert rows.loc[~early, "won"].mean() < 0.8 * rows.loc[early, "won"].mean()
    assert abs(surprise(rows[early])) < 3.5
    assert abs(surprise(rows[~early])) < 3.5


def test_written_world_is_ready_to_train(dirty: World, tmp_path: Path) -> None:
    write(dirty, tmp_path / "world")
    files = {path.name for path in (tmp_path / "world").iterdir()}
    tables = {"leads.csv", "attributes.parquet", "events.parquet", "deals.csv"}
    assert files == tables | {"config.yaml", "rules.yaml"}
    loaded = config.load(tmp_path / "world" / "config.yaml")
    assert pd.Timestamp(loaded.data.exported_at) == dirty.exported_at
    assert dirty.exported_at == pd.Timestamp(START) + pd.Timedelta(days=DAYS)
    for name in TABLES:
        source = getattr(loaded.data, name)
        path = loaded.resolve(source.path)
        rows = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        assert len(rows) == len(getattr(dirty, name))
        assert set(source.columns.values()) <= set(rows.columns)
    deals = pd.read_csv(tmp_path / "world" / "deals.csv")
    assert deals["known_at"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    assert loaded.rules is not None


def test_every_rule_has_a_reason(tmp_path: Path, dirty: World) -> None:
    write(dirty, tmp_path)
    rules = yaml.safe_load((tmp_path / "rules.yaml").read_text())
    lines = [*rules["explicit"], *rules["implicit"], *rules["criteria"], *rules["disqualify"]]
    assert len(lines) >= 20
    assert all(line["why"].endswith(".") for line in lines)
    events = {line["event"] for line in rules["implicit"] if "event" in line}
    assert events <= set(dirty.events["event_type"])
    columns = {line["attribute"] for line in rules["explicit"] + rules["disqualify"]}
    assert columns <= set(dirty.leads.columns)
    assert {line["criterion"] for line in rules["criteria"]} <= set(CRITERIA)


def test_too_few_leads() -> None:
    with pytest.raises(ConfigError, match="at least 100 leads"):
        simulate(99, seed=1)


def test_a_place_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        write(simulate(100, seed=1), tmp_path / "file" / "world")

"""A feature is what was known before the snapshot, whatever comes later and however it is computed.

Each fact below was seen to fail once: `<` turned into `<=` in `windows.py` (both conditions, one at a
time), the window's start into `>`, a float sum instead of fixed point, a version kept until its
successor *occurs*, a windowed count for negative types.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lead_propensity.config import EngineConfig
from lead_propensity.data.database import opened
from lead_propensity.data.workroom import IN_MEMORY, Allowance
from lead_propensity.errors import ConfigError, DataError, ModelError
from lead_propensity.features import dataset, kept, matrix, snapshots
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import NO_RULES, Scorecard
from worlds import DAY, config, database

T = 19_000 * DAY + 3_600_000_000
"""The snapshot that the tests look from."""
TYPES = ("visit", "price", "unsubscribe")
WINDOWS, HALF_LIFE = (7, 30), 14
SETTINGS = config(
    features={"windows_days": WINDOWS, "half_lives_days": [HALF_LIFE]},
    snapshots={"horizon_days": 30, "max_age_days": 3650},
)
CATALOGUE_WORLD = [
    (f"seen{number}", T - 300 * DAY, name, channel, None, 1.0, T - 300 * DAY)
    for number in range(20)
    for name, channel in zip(TYPES, ("web", "mail", "mail"), strict=True)
]
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Times at the boundaries: the snapshot, the edges of the windows, a microsecond around them.
edges = st.sampled_from([0, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY])
moments = st.builds(
    lambda edge, step: T - edge + step, edges, st.sampled_from([-DAY, -1, 0, 1, 3 * DAY])
)
event_rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        moments,
        st.sampled_from(TYPES),
        st.sampled_from(["web", "mail", None]),
        st.none(),
        st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)),
        moments,
    ),
    max_size=12,
)


def learned(con: duckdb.DuckDBPyConnection) -> Catalogue:
    return matrix.learn(con, SETTINGS, T - DAY).catalogue


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    leads = [(row[0], T - 400 * DAY, row[0]) for row in CATALOGUE_WORLD]
    return learned(database(sorted(set(leads)), CATALOGUE_WORLD))


def seen_at(
    catalogue: Catalogue,
    events: Sequence[tuple],
    as_of: int = T,
    threads: int = 1,
    allowance: Allowance = IN_MEMORY,
) -> Dataset:
    """The features of the leads a and b at one moment."""
    leads = [("a", T - 400 * DAY, "a"), ("b", T - 400 * DAY, "b")]
    con = database(leads, events, threads=threads)
    snapshots.make_open(con, SETTINGS.snapshots, as_of)
    return matrix.build(con, catalogue, NO_RULES, allowance=allowance)


def oracle(events: Sequence[tuple], lead: str, as_of: int) -> dict[str, float]:
    """The same features, one by one in plain Python."""
    seen = [row for row in events if row[0] == lead and row[1] < as_of and row[6] < as_of]
    positive = [row for row in seen if row[2] != "unsubscribe"]

    def recent(rows: list[tuple], days: int, skip: int = 0) -> list[tuple]:
        start, end = as_of - (days + skip) * DAY, as_of - skip * DAY
        return [row for row in rows if start <= row[1] < end]

    def since_last(rows: list[tuple]) -> float:
        return (as_of - max(row[1] for row in rows)) / DAY if rows else math.nan

    def decayed(rows: list[tuple]) -> float:
        return sum(2.0 ** (-(as_of - row[1]) / (HALF_LIFE * DAY)) for row in rows)

    found = {
        "days_since_creation": (as_of - (T - 400 * DAY)) / DAY,
        "count_all": float(len(positive)),
        "days_since_event": since_last(positive),
        f"decayed_{HALF_LIFE}d": decayed(positive),
        "days_since_first_event": (
            (as_of - min(row[1] for row in positive)) / DAY if positive else math.nan
        ),
        "count_all__unsubscribe": float(len(seen) - len(positive)),
    }
    for days in WINDOWS:
        rows = recent(positive, days)
        found |= {
            f"count_{days}d": float(len(rows)),
            f"active_days_{days}d": float(len({row[1] // DAY for row in rows})),
            f"event_types_{days}d": float(len({row[2] for row in rows})),
            f"channels_{days}d": float(len({row[3] for row in rows} - {None})),
            f"trend_{days}d": float(len(rows) - len(recent(positive, days, skip=days))),
            f"value_sum_{days}d": sum(row[5] or 0.0 for row in rows),
        }
    for name in ("visit", "price"):
        of_type = [row for row in seen if row[2] == name]
        found |= {f"count_{days}d__{name}": float(len(recent(of_type, days))) for days in WINDOWS}
        found |= {
            f"count_all__{name}": float(len(of_type)),
            f"days_since__{name}": since_last(of_type),
            f"decayed_{HALF_LIFE}d__{name}": decayed(of_type),
        }
    return found


@quick
@given(events=event_rows)
def test_every_implicit_feature_is_what_its_words_say(
    catalogue: Catalogue, events: list[tuple]
) -> None:
    data = seen_at(catalogue, events)
    for row, lead in enumerate(data.keys["lead_id"]):
        expected = oracle(events, lead, T)
        assert set(expected) == set(data.X.columns)
        got = data.X.iloc[row].to_dict()
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, rel=1e-9, abs=1e-5, nan_ok=True), name


@quick
@given(events=event_rows, later=event_rows)
def test_rows_not_yet_there_or_not_yet_known_change_nothing(
    catalogue: Catalogue, events: list[tuple], later: list[tuple]
) -> None:
    unseen = [(*row[:6], max(row[6], T)) if row[1] < T else row for row in later]
    assert seen_at(catalogue, events).X.equals(seen_at(catalogue, [*events, *unseen]).X)


@quick
@given(events=event_rows, order=st.randoms(use_true_random=False))
def test_order_threads_and_buckets_change_no_bit(
    catalogue: Catalogue, events: list[tuple], order: object
) -> None:
    shuffled = list(events)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    before = seen_at(catalogue, events).X
    with opened(EngineConfig(threads=2)) as (_, allowance):
        small = replace(allowance, array_bytes=6_000)
        after = seen_at(catalogue, shuffled, threads=2, allowance=small).X
    assert before.equals(after)


def test_sums_of_many_events_have_the_same_bits_in_any_order(catalogue: Catalogue) -> None:
    draw = np.random.default_rng(5)
    at = [T - int(step) for step in draw.integers(1, 90 * DAY, 1500)]
    values = draw.normal(size=1500) * 1e3
    events = [
        ("a", when, "visit", "web", None, float(value), when)
        for when, value in zip(at, values, strict=True)
    ]
    shuffled = [events[place] for place in draw.permutation(1500)]
    first, second = seen_at(catalogue, events), seen_at(catalogue, shuffled, threads=2)
    assert first.X.equals(second.X)


@quick
@given(events=event_rows, silence=st.sampled_from([1, DAY, 7 * DAY, 30 * DAY, 400 * DAY]))
def test_silence_raises_no_count_and_lowers_no_recency(
    catalogue: Catalogue, events: list[tuple], silence: int
) -> None:
    known = [row for row in events if row[1] < T and row[6] < T]
    now, later = seen_at(catalogue, known).X, seen_at(catalogue, known, T + silence).X
    for feature in catalogue.features:
        before, after = now[feature.name].to_numpy(), later[feature.name].to_numpy()
        if feature.name.startswith("count_all__unsubscribe"):
            assert feature.interest == "down"
            assert (before == after).all(), "a negative event never fades"
        elif feature.interest == "up":
            assert (after <= before).all(), feature.name
        elif feature.interest == "down":
            assert ((after >= before) | np.isnan(before)).all(), feature.name


def test_features_that_can_climb_in_silence_stay_out_of_interest(catalogue: Catalogue) -> None:
    out = {f.name for f in catalogue.features if f.interest == "not_in_interest"}
    assert {"days_since_creation", "trend_7d", "value_sum_7d", "days_since_first_event"} <= out


versions = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["budget", "size"]),
              st.sampled_from(["1", "2", "3", None]), moments),
    max_size=8, unique_by=lambda row: (row[0], row[1], row[3]),
)  # fmt: skip


@quick
@given(rows=versions)
def test_an_attribute_is_its_latest_version_known_before_the_snapshot(rows: list[tuple]) -> None:
    leads = [("a", T - 20 * DAY, "a"), ("b", T - 20 * DAY, "b")]
    own = pd.DataFrame({"lead_id": ["a", "b"], "size": ["7", None]})
    always = [("a", name, "9", T - 900 * DAY) for name in ("budget",)]
    con = database(leads, attributes=[*rows, *always], lead_attributes=own)
    snapshots.make_open(con, SETTINGS.snapshots, T)
    kinds = config(features={"kinds": {"budget": "category", "size": "category"}})
    found = matrix.build(con, matrix.learn(con, kinds, T).catalogue, NO_RULES)
    for place, lead in enumerate(found.keys["lead_id"]):
        for name in ("budget", "size"):
            known = [
                (row[3], row[2])
                for row in [*rows, *always]
                if row[:2] == (lead, name) and row[3] < T
            ]
            if name == "size" and lead == "a":
                known.append(
                    (T - 20 * DAY - 0.5, "7")
                )  # from creation; a version of that instant is newer
            expected = max(known, key=lambda version: version[0])[1] if known else None
            got = found.X[name].iloc[place] if name in found.X else None
            assert got == expected or (got is None and expected is None)


def test_an_email_domain_is_a_feature_and_no_verdict() -> None:
    mails = ["ann@gmail.com", "bob@acme.example", "eve@uni.edu", "nobody", None] + [
        "x@y.example"
    ] * 200
    leads = [(f"l{number:03d}", T - 9 * DAY, "g") for number in range(len(mails))]
    own = pd.DataFrame({"lead_id": [lead[0] for lead in leads], "email": mails})
    con = database(leads, lead_attributes=own)
    snapshots.make_open(con, SETTINGS.snapshots, T)
    data = matrix.build(con, matrix.learn(con, SETTINGS, T).catalogue, NO_RULES)
    assert data.X["email_domain"].tolist()[:5] == [
        "free mail", "company", "education", "invalid", None,
    ]  # fmt: skip


def test_training_and_scoring_compute_the_same_row() -> None:
    """Invariant 3: a lead's snapshot in the training grid equals its row when it is scored."""
    rng = np.random.default_rng(1)
    leads = [(f"l{n:02d}", T - int(rng.integers(1, 200)) * DAY, f"g{n % 7}") for n in range(60)]
    events = [
        (leads[rng.integers(60)][0], T - int(rng.integers(0, 200 * DAY)), str(rng.choice(TYPES)), "web", None,
         float(rng.normal()), T - int(rng.integers(0, 200 * DAY)))
        for _ in range(600)
    ]  # fmt: skip
    deals = [
        (leads[n][0], T - int(rng.integers(0, 20)) * DAY, n % 2 == 0, 5.0, T)
        for n in range(0, 60, 3)
    ]
    tables = {name: {"path": f"{name}.csv"} for name in ("leads", "events", "deals")}
    made = config(
        data=tables,
        snapshots={"every_days": 7, "horizon_days": 10},
        split={"calibrate_days": 20, "test_days": 20},
        features={"windows_days": WINDOWS},
    )
    con = database(leads, events, deals)
    plan = dataset.plan(con, made, T)
    trained = dataset.training(con, plan, lambda *_: None)
    moment = int(trained.keys["as_of"].max())
    training = trained.rows((trained.keys["as_of"] == moment).to_numpy())
    training = training.rows((training.keys["population"] == "training").to_numpy())
    scored = dataset.open_leads(con, made, plan.catalogue, NO_RULES, moment, lambda *_: None)
    assert training.keys["lead_id"].tolist() == scored.keys["lead_id"].tolist()
    pd.testing.assert_frame_equal(training.X, scored.X, check_exact=True)


def test_the_fingerprint_changes_with_the_definition(catalogue: Catalogue) -> None:
    other = Catalogue(catalogue.features, {**catalogue.definition, "windows_days": [8]})
    assert other.fingerprint != catalogue.fingerprint
    assert Catalogue.from_json(catalogue.to_json()).fingerprint == catalogue.fingerprint


def test_rules_change_no_feature() -> None:
    """A type that only rules count is no kind of event more to the features."""
    leads = [(f"l{n:02d}", T - 100 * DAY, f"l{n:02d}") for n in range(20)]
    events = [(lead[0], T - 5 * DAY, "view", None, None, None, T - 5 * DAY) for lead in leads]
    events += [
        ("l00", T - 3 * DAY, name, None, None, None, T - 3 * DAY) for name in ("rare a", "rare b")
    ]
    con = database(leads, events)
    snapshots.make_open(con, SETTINGS.snapshots, T)
    own = matrix.learn(con, SETTINGS, T).catalogue
    marks = sorted(kept.mark("event_type", name) for name in ("rare a", "rare b"))
    assert own.definition["other_event_types"] == marks
    lines = [
        {"event": name, "points": 5, "why": "rare"} for name in ("rare a", "rare b", "none such")
    ]
    card = Scorecard.model_validate(
        {"name": "rare", "thresholds": {"warm": 1, "hot": 2}, "implicit": lines}
    )
    with_rules = matrix.build(con, own, card)
    pd.testing.assert_frame_equal(with_rules.X, matrix.build(con, own, NO_RULES).X)
    assert with_rules.rules.iloc[0].tolist() == [1.0, 1.0, 0.0]


# What the config and the rules may name, and what a model may be scored on.


def small_world(
    attributes: Sequence[tuple] = (), own: dict[str, list] | None = None
) -> duckdb.DuckDBPyConnection:
    """Twenty leads with a view each, and one `unsubscribe`."""
    leads = [(f"l{n:02d}", T - 100 * DAY, f"l{n:02d}") for n in range(20)]
    events = [(lead[0], T - 5 * DAY, "view", None, None, None, T - 5 * DAY) for lead in leads]
    events.append(("l00", T - 4 * DAY, "unsubscribe", None, None, None, T - 4 * DAY))
    columns = {"lead_id": [lead[0] for lead in leads]} | (own or {"industry": ["a", "b"] * 10})
    con = database(leads, events, attributes=attributes, lead_attributes=pd.DataFrame(columns))
    snapshots.make_open(con, SETTINGS.snapshots, T)
    return con


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ({"exclude_events": ["veiw"]}, "exclude_events names 'veiw'.*did you mean 'view'"),
        ({"implicit": ["view", "vieuw"]}, "implicit names 'vieuw'.*did you mean 'view'"),
        ({"negative_events": ["unsubscribed"]}, "negative_events names 'unsubscribed'.*'unsub"),
        ({"explicit": ["industri"]}, "explicit names 'industri'.*did you mean 'industry'"),
        ({"kinds": {"Industry ": "category"}}, "kinds names 'Industry '.*did you mean 'industry'"),
        ({"criteria": {"budget": "bugdet"}}, "criteria names 'bugdet'.*'industry'"),
    ],
)
def test_a_name_that_the_data_do_not_have_is_a_typing_error(features: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        matrix.learn(small_world(), config(features=features), T)


def test_all_typing_errors_are_told_at_once() -> None:
    wrong = {"exclude_events": ["veiw"], "implicit": ["vieuw"], "explicit": ["industri"]}
    with pytest.raises(ConfigError) as error:
        matrix.learn(small_world(), config(features=wrong), T)
    assert all(name in str(error.value) for name in ("veiw", "vieuw", "industri"))


def test_names_first_met_after_the_fit_part_are_no_typing_errors() -> None:
    """They are in the data; and the default negative event may be absent."""
    con = small_world([("l00", "size", "9", T - 2 * DAY)])
    con.execute("UPDATE events SET event_type = 'late' WHERE event_type = 'unsubscribe'")
    matrix.learn(con, config(), T)
    named = config(
        features={
            "exclude_events": ["late"],
            "explicit": ["size", "industry"],
            "kinds": {"size": "number"},
            "criteria": {"fit": "size"},
        }
    )
    learned = matrix.learn(con, named, T - 4 * DAY)
    assert "size: no value known before the fit part ends" in " ".join(learned.notes)
    assert "size" not in learned.catalogue.names
    assert "industry" in learned.catalogue.names


def test_without_windows_and_half_lives_the_totals_stay() -> None:
    bare = config(features={"windows_days": [], "half_lives_days": []})
    con = small_world()
    data = matrix.build(con, matrix.learn(con, bare, T).catalogue, NO_RULES)
    assert data.X["count_all"].tolist() == [1.0] * 20
    assert not [name for name in data.X if name.endswith("d")]


def test_where_only_negative_events_count_nothing_says_how_active_a_lead_is() -> None:
    con = small_world()
    only = config(features={"implicit": ["unsubscribe"]})
    assert "days_since_event" not in matrix.learn(con, only, T).catalogue.names


def test_a_lead_column_that_is_gone_stops_the_scoring_and_versions_may_wait() -> None:
    """Also where an attributes table exists: a column must not turn into NULL without a word."""
    versions = [(f"l{n:02d}", "size", str(n), T - 50 * DAY) for n in range(20)]
    con = small_world(versions, {"industry": ["a", "b"] * 10, "size": ["1", None] * 10})
    catalogue = matrix.learn(con, config(), T).catalogue
    assert catalogue.definition["origins"] == {"industry": "lead column", "size": "both"}
    for gone in ("industry", "size"):
        con.execute(f"ALTER TABLE lead_attributes RENAME {gone} TO {gone}_x")
        with pytest.raises(DataError, match=f"'{gone}'.*did you mean '{gone}_x'"):
            matrix.build(con, catalogue, NO_RULES)
        con.execute(f"ALTER TABLE lead_attributes RENAME {gone}_x TO {gone}")
    con = small_world(versions)
    catalogue = matrix.learn(con, config(), T).catalogue
    con.execute("DELETE FROM attributes")
    assert matrix.build(con, catalogue, NO_RULES).X["size"].isna().all(), "not filled in yet"


def test_rules_look_at_lead_columns_as_strictly_and_enter_no_fingerprint() -> None:
    versions = [("l00", "size", "7", T - 50 * DAY)]
    card = Scorecard.model_validate({
        "name": "x", "thresholds": {"warm": 1, "hot": 2},
        "explicit": [
            {"attribute": "industry", "in": ["a"], "points": 1, "why": "w"},
            {"attribute": "size", "at_least": 5, "points": 1, "why": "w"},
        ],
    })  # fmt: skip
    con = small_world(versions)
    asked = ("industry", "size")  # else one lead's attribute has no name in the catalogue
    catalogue = matrix.learn(con, config(features={"explicit": []}), T, asked).catalogue
    assert matrix.build(con, catalogue, card).rules.iloc[0].tolist() == [1.0, 1.0]
    con.execute("DELETE FROM attributes")
    assert matrix.build(con, catalogue, card).rules.iloc[0].tolist() == [1.0, 0.0]
    con.execute("ALTER TABLE lead_attributes RENAME industry TO branch")
    with pytest.raises(DataError, match="'industry'"):
        matrix.build(con, catalogue, card)
    assert matrix.build(con, catalogue, NO_RULES).rules.empty


def test_features_of_another_shape_or_program_are_refused() -> None:
    con = small_world()
    catalogue = matrix.learn(con, config(), T).catalogue
    other = Catalogue(catalogue.features, {**catalogue.definition, "shape": "exported"})
    with pytest.raises(DataError, match=r"learned from rows as exported.*an event history"):
        matrix.build(con, other, NO_RULES)
    con.execute("CREATE TABLE exported (lead_id VARCHAR)")
    with pytest.raises(DataError, match=r"learned from an event history.*rows as exported"):
        matrix.build(con, catalogue, NO_RULES)
    older = Catalogue(catalogue.features, {**catalogue.definition, "version": 0})
    with pytest.raises(ModelError, match=r"version 0.*Train it again"):
        matrix.build(con, older, NO_RULES)


def test_a_model_that_looks_at_a_table_needs_it() -> None:
    con = small_world([(f"l{n:02d}", "size", "9", T - 50 * DAY) for n in range(20)])
    catalogue = matrix.learn(con, config(), T).catalogue
    with pytest.raises(DataError, match=r"data\.attributes.*data\.events"):
        dataset.open_leads(con, config(), catalogue, NO_RULES, T, lambda *_: None)
    leads = {"leads": {"path": "l.csv"}, "deals": {"path": "d.csv"}}
    full = {**leads, "events": {"path": "e.csv"}, "attributes": {"path": "a.csv"}}
    dataset.require_tables(config(data=full), catalogue, NO_RULES)


def test_ages_are_looked_at_once_in_order_and_none_beyond_the_oldest() -> None:
    assert config(snapshots={"ages_days": [7, 1, 7]}).snapshots.ages_days == (1, 7)
    assert config(snapshots={"ages_days": [90], "max_age_days": 90}).snapshots.ages_days == (90,)
    with pytest.raises(ValueError, match=r"ages_days \[91\] exceed max_age_days \(90\)"):
        config(snapshots={"ages_days": [7, 91], "max_age_days": 90})

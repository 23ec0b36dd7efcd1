"""Reasons add up to the score, are grouped by meaning, and are sentences; words can be changed, never code.

Each test was seen failing once with the code broken for it.
"""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from lead_propensity.config import CRITERIA, Config, load
from lead_propensity.errors import ConfigError, ModelError
from lead_propensity.evaluation.why import _topics
from lead_propensity.features import plugins, profile, vocabulary
from lead_propensity.features.behaviour import families
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.model import reasons, treetext, wording
from lead_propensity.model.encoding import Encoding, NumberColumn
from lead_propensity.model.fitting import refit
from lead_propensity.model.learners import (
    BaseRate,
    Blend,
    BoostedTrees,
    Learner,
    Logistic,
    binned,
    tree_parameters,
)
from lead_propensity.model.lines import Lesson
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.reasons import Reasons, explain
from lead_propensity.model.smooth import AGE, SmoothEncoding
from lead_propensity.model.subjects import subjects
from lead_propensity.model.telling import Teller
from lead_propensity.model.wording import Wording, english, fill
from model_world import config, dataset

CONFIGS = Path(__file__).parent.parent / "configs"
GERMAN = Path(wording.__file__).parent / "wording" / "de.yaml"
ALL_FAMILIES = sorted({*families._OF_TYPE, *families._OF_ALL})
KINDS = {
    "industry": "category",
    "employees": "number",
    "does_not_call": "boolean",
    "contract_end": "date",
    "work_email": "email",
    "Total Time Spent on Website": "number",
    "emp.var.rate": "number",
    "budget": "category",
    "timeline": "category",
}
TYPES = ("pricing_page_view", "meeting_booked", "W_Completeren aanvraag", "A_SENT_BACK", "reply")


def catalogue(**changed: Any) -> Catalogue:
    """Every family over TYPES and an unsubscribe, every kind of attribute, two criteria, a custom feature."""
    attributes = [{"name": n, "kind": k, "side": "explicit"} for n, k in KINDS.items()]
    row = {"name": "gap", "meaning": "days between two visits", "window": "all time"}
    definition = {
        **vocabulary.NOTHING,
        "event_types": [*TYPES, "unsubscribe"],
        "negative_events": ["unsubscribe"],
        "channels": ["web"],
        "topics": ["data_export"],
        "valued_types": ["pricing_page_view"],
        "windows_days": [1, 7, 30],
        "half_lives_days": [14],
        "families": ALL_FAMILIES,
        "attributes": attributes,
        "criteria": {"budget": "budget", "timeline": "timeline"},
        "met": ["met"],
        "timezone": None,
        "custom": [{**row, "version": "1", "package": "p"}],
        **changed,
    }
    rows = [] if not definition["event_types"] else [families.AGE]
    rows += [feature for feature, _ in families.features(definition)]
    rows += plugins.features(definition)
    rows += [feature for feature, _ in profile.features(definition)]
    return Catalogue(tuple(rows), definition)


WHOLE = catalogue()
EXPORTED = catalogue(
    event_types=[], families=[], custom=[], topics=[], valued_types=[], windows_days=[]
)
BPIC_LIKE = catalogue(
    event_types=["A_PARTLYSUBMITTED", "W_Nabellen offertes"], families=["counts", "decay"]
)
"""No recency: nothing tells of silence."""
LEVELS = ["software", "retail_trade", "steel", None]


def matrix(of: Catalogue, n: int, seed: int = 0) -> pd.DataFrame:
    """Values that the features could have, many missing."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for name, subject in subjects(of).items():
        if subject.feature.column_type == "category":
            levels = {"email": ["free mail", "company", None]}.get(subject.form, LEVELS)
            columns[name] = pd.Series(rng.choice(np.array(levels, dtype=object), n), dtype=object)
        elif subject.form in ("yes_no", "criteria") or name.startswith("criterion__"):
            columns[name] = rng.choice([0.0, 1.0, np.nan], n)
        else:
            gone = rng.random(n) < 0.2
            counted = subject.form in reasons_counts()
            values = rng.poisson(2.0, n) if counted else rng.normal(20, 30, n)
            free = subject.form in ("number", "date", "trend", "other")
            values = values if free else np.abs(values)
            columns[name] = np.where(gone & ~counted, np.nan, values.astype(np.float64))
    return pd.DataFrame(columns, columns=of.names)


def reasons_counts() -> tuple[str, ...]:
    return ("count", "sessions", "active_days", "types", "channels", "topics", "value_sum")


TRAIN = matrix(WHOLE, 600)
WON = (
    np.random.default_rng(1).random(600)
    < expit(
        TRAIN["decayed_14d__pricing_page_view"].fillna(0) / 20
        + (TRAIN["industry"] == "software")
        - 1.5
    )
).astype(np.float64)
LEADS = pd.Series([f"lead-{row}" for row in range(600)])


def trees(encoding: Encoding, rounds: int = 20, seed: int = 7, leaves: int = 15) -> BoostedTrees:
    data = binned(encoding.for_trees(TRAIN), WON, encoding.categories)
    settings = {"num_leaves": leaves, "min_data_in_leaf": 5, "num_iterations": rounds}
    return BoostedTrees.fit(encoding, data, tree_parameters(seed, settings))


@cache
def learners() -> dict[str, Learner]:
    encoding = Encoding.fit(TRAIN, LEADS, WHOLE.features)
    varying = [feature for feature in WHOLE.features if feature.name in encoding.names]
    smooth = SmoothEncoding.fit(TRAIN, LEADS, WON, varying)
    assert smooth.index is not None
    assert len(smooth.index.names) > 2
    lines = [Logistic.fit(e, Lesson(e.for_linear(TRAIN), WON), 0.3) for e in (encoding, smooth)]
    grown = trees(encoding)
    blend = Blend((*lines, grown, trees(encoding, seed=8)), (0.2, 0.3, 0.15, 0.1), -0.4)
    again = refit(
        Dataset(
            pd.DataFrame({"lead_id": LEADS, "won": WON}), TRAIN, pd.DataFrame(index=LEADS), WHOLE
        ),
        {
            "learner": "blend",
            "line_strength": 0.1,
            "smooth_strength": 0.1,
            "blend": {"line": 0.2, "smooth": 0.5, "trees": 0.3},
            "slope": 0.7,
            "trees": [{"parameters": {"num_leaves": 7, "min_data_in_leaf": 5}, "rounds": 9}],
        },
        config(),
    )
    return {
        "base rate": BaseRate.fit(WON),
        "logistic": lines[0],
        "smooth": lines[1],
        "trees": grown,
        "blend with weights and a slope": blend,
        "fitted again": again,
    }


ANY_NUMBER = st.one_of(
    st.just(np.nan),
    st.just(0.0),
    st.sampled_from([1e300, -1e300, 1e-40, np.inf]),
    st.floats(-1e6, 1e6),
    st.floats(0, 40),
)
ANY_LEVEL = st.one_of(st.none(), st.sampled_from(LEVELS), st.text(max_size=5))


@st.composite
def any_row(draw: st.DrawFn) -> pd.DataFrame:
    """A row of the training matrix with some values replaced by anything."""
    row = TRAIN.iloc[[draw(st.integers(0, len(TRAIN) - 1))]].reset_index(drop=True)
    for name in draw(st.lists(st.sampled_from(WHOLE.names), max_size=12)):
        text = row[name].dtype == object
        row[name] = pd.Series(
            [draw(ANY_LEVEL if text else ANY_NUMBER)], dtype=object if text else np.float64
        )
    return row


@pytest.mark.parametrize("name", list(learners()))
@settings(max_examples=20, deadline=None)
@given(row=any_row())
def test_contributions_add_up_to_the_raw_score(name, row):
    """Also with values that are missing, unseen or absurd."""
    learner = learners()[name]
    parts = learner.contributions(row)
    assert parts.shape == (1, len(learner.names) + 1)
    assert np.isfinite(parts).all()
    sizes = max(1.0, float(np.abs(parts).max()))
    assert parts.sum() == pytest.approx(learner.raw_score(row)[0], abs=1e-9 * sizes)


@pytest.mark.parametrize("name", list(learners()))
def test_a_row_is_explained_alike_among_others(name):
    X = matrix(WHOLE, 200, seed=5)
    learner = learners()[name]
    whole, few = learner.contributions(X), learner.contributions(X.iloc[70:73])
    assert np.array_equal(whole[70:73], few)


@pytest.mark.parametrize(("rounds", "leaves"), [(30, 31), (5, 2), (40, 7)])
def test_the_trees_say_what_lightgbm_says(rounds, leaves):
    """The oracle: its own exact TreeSHAP."""
    encoding = Encoding.fit(TRAIN, LEADS, WHOLE.features)
    grown = trees(encoding, rounds, leaves=leaves)
    X = encoding.for_trees(matrix(WHOLE, 300, seed=3))
    ours = grown.forest.contributions(X)
    theirs = grown.booster.predict(X, pred_contrib=True)
    assert np.abs(ours - theirs).max() < 1e-12


def test_trees_that_never_split_are_a_constant():
    encoding = Encoding.fit(TRAIN, LEADS, WHOLE.features)
    data = binned(encoding.for_trees(TRAIN), WON, encoding.categories)
    grown = BoostedTrees.fit(
        encoding,
        data,
        tree_parameters(7, {"min_data_in_leaf": 10_000, "num_iterations": 2}),
    )
    parts = grown.contributions(TRAIN)
    assert not parts[:, :-1].any()
    assert parts[:, -1] == pytest.approx(grown.raw_score(TRAIN))


def test_a_text_of_trees_is_read_as_it_was_grown():
    encoding = Encoding.fit(TRAIN, LEADS, WHOLE.features)
    read = treetext.trees(trees(encoding).text)
    assert len(read) == 20
    assert all(len(tree.leaf_value) == len(tree.column) + 1 for tree in read)
    assert any(tree.sets for tree in read)


def test_engagement_is_credited_to_the_event_types_it_comes_from():
    """Of two leads that differ in one type's deeds alone, only that type differs in what it adds."""
    smooth = learners()["smooth"]
    assert isinstance(smooth, Logistic)
    assert isinstance(smooth.encoding, SmoothEncoding)
    index = smooth.encoding.index
    assert index is not None
    loud = index.names[int(np.argmax(np.array(index.weights) * index.tops))]
    assert smooth.encoding.interaction is not None
    middle = np.expm1(smooth.encoding.interaction.age.mean)  # there the age says nothing of deeds
    still = TRAIN.iloc[[0]].assign(
        **dict(zip(index.names, index.means, strict=True)), **{AGE: middle}
    )
    busy = still.assign(**{loud: index.tops[index.names.index(loud)]})
    parts = dict(zip(smooth.names, smooth.contributions(busy)[0], strict=False))
    assert abs(parts[loud]) > 0.01
    (before,), (after,) = smooth.raw_score(still), smooth.raw_score(busy)
    assert parts[loud] == pytest.approx(after - before)
    others = [parts[name] for name in index.names if name != loud]
    assert np.abs(others).max() < 1e-12


def test_what_deeds_and_age_say_together_is_shared_by_halves():
    """Of three leads: one at the mean of deeds, one at that of the age, one as far from both."""
    smooth = learners()["smooth"]
    assert isinstance(smooth, Logistic)
    assert isinstance(smooth.encoding, SmoothEncoding)
    index, both = smooth.encoding.index, smooth.encoding.interaction
    assert index is not None
    assert both is not None
    middle = np.expm1(both.age.mean)
    calm = TRAIN.iloc[[0]].assign(
        **dict(zip(index.names, index.means, strict=True)), **{AGE: middle}
    )
    busy = calm.assign(
        **{name: 2 * mean for name, mean in zip(index.names, index.means, strict=True)}
    )
    new = calm.assign(**{AGE: middle / 4})
    rows = pd.concat([calm, busy, new, busy.assign(**{AGE: middle / 4})])
    score = smooth.raw_score(rows)
    together = score[3] - score[1] - score[2] + score[0]
    assert abs(together) > 0.001
    parts = dict(zip(smooth.names, smooth.contributions(rows).T, strict=False))
    age, done = parts[AGE], sum(parts[name] for name in index.names)
    for one in (age, done):
        assert one[3] - one[1] - one[2] + one[0] == pytest.approx(together / 2)


# A line whose every part is known: what a feature adds is its value x its coefficient.


def line_of(coefficients: dict[str, float]) -> Logistic:
    columns = tuple(NumberColumn(name, False, 0.0, 1.0, -1e9, 1e9, False) for name in coefficients)
    zeros = np.zeros(len(columns))
    return Logistic(Encoding(columns, ()), 0.0, np.array([*coefficients.values()]), zeros, zeros)


def lead(of: Catalogue = WHOLE, **values: Any) -> pd.DataFrame:
    """One lead: nothing is known, it did nothing, unless told."""
    row: dict[str, Any] = {}
    for name, subject in subjects(of).items():
        text = subject.feature.column_type == "category"
        row[name] = None if text else 0.0 if subject.form in reasons_counts() else np.nan
    frame = pd.DataFrame([{**row, **values}], columns=of.names)
    texts = [n for n, s in subjects(of).items() if s.feature.column_type == "category"]
    return frame.astype({name: object if name in texts else np.float64 for name in of.names})


def told(learner: Learner, X: pd.DataFrame, words: Wording | None = None) -> list[str]:
    (row,) = explain(learner, WHOLE, words or english(), X, np.array([0])).to_json()
    return [one["text"] for one in json.loads(row)]


PAGE = "pricing_page_view"


def test_all_features_of_an_event_type_are_one_reason():
    line = line_of({f"count_7d__{PAGE}": 0.2, f"count_30d__{PAGE}": 0.1, "employees": 0.01})
    X = lead(days_since_event=1.0, **{f"count_7d__{PAGE}": 3, f"count_30d__{PAGE}": 4}, employees=5)
    (row,) = explain(line, WHOLE, english(), X, np.array([0])).to_json()
    assert json.loads(row) == [
        {"text": "3 pricing page views in the last 7 days (+)", "sign": "+", "strength": 1.0}
    ]  # what the number of employees adds is too little beside it


def test_how_long_a_lead_is_known_is_one_reason():
    line = line_of({"days_since_creation": -0.01, "days_since_first_event": -0.005})
    X = lead(days_since_creation=90.0, days_since_first_event=89.0, days_since_event=1.0)
    assert told(line, X) == ["Created 90 days ago (-)"]


def test_a_decayed_sum_is_told_by_what_it_counted():
    line = line_of(
        {f"decayed_14d__{PAGE}": 1.0, f"count_7d__{PAGE}": 1e-9, f"count_all__{PAGE}": 0.0}
    )
    X = lead(days_since_event=9, **{f"decayed_14d__{PAGE}": 0.324, f"count_all__{PAGE}": 2})
    assert told(line, X) == ["2 pricing page views so far (+)"]
    names = [f"count_7d__{PAGE}", f"count_all__{PAGE}"]
    against = line_of({f"decayed_14d__{PAGE}": -1.0, **dict.fromkeys(names, 0.0)})
    assert told(against, X) == [
        "2 pricing page views so far (-)"
    ]  # they are what speaks against it
    nothing = line_of({f"decayed_14d__{PAGE}": 1.0})
    assert told(nothing, X) == ["Pricing page views lately (+)"]


def test_absence_is_told_as_absence():
    line = line_of({f"days_since__{PAGE}": -0.1, f"count_30d__{PAGE}": 1.0})
    assert told(line, lead(**{f"days_since__{PAGE}": 41.4}, days_since_event=1)) == [
        "Last pricing page view 41 days ago (-)"
    ]


def test_presence_speaks_for_a_lead_where_both_could_be_told():
    names = {f"count_7d__{PAGE}": -1.0, f"count_30d__{PAGE}": 1.0}
    encoding = Encoding(
        tuple(NumberColumn(name, False, 0.0, 1.0, -9, 9, False) for name in names), ()
    )
    centre = np.array([1.0, 0.0])  # most leads visit within a week: not to have done so adds 1.0
    line = Logistic(encoding, 0.0, np.array([*names.values()]), centre, np.zeros(2))
    X = lead(days_since_event=9, **{f"count_30d__{PAGE}": 1})
    assert told(line, X) == ["1 pricing page view in the last 30 days (+)"]


def test_the_five_criteria_are_one_reason():
    line = line_of({"criterion__budget": 1.0, "criterion__timeline": 1.0, "criteria_met": 0.5})
    both = lead(criterion__budget=1.0, criterion__timeline=1.0, criteria_met=2.0)
    assert told(line, both) == ["2 of 2 criteria met: budget and timeline (+)"]
    against = line_of({"criteria_met": -0.5})
    one = lead(criterion__budget=1.0, criteria_met=1.0)
    assert told(against, one) == ["Timeline not known (-)"]


def test_silence_is_one_reason():
    """A deed of long ago may still speak for the lead; all that it lacks lately is said once."""
    counts = [f"count_30d__{name}" for name in TYPES]
    encoding = Encoding(
        tuple(
            NumberColumn(name, False, 0.0, 1.0, -9, 9, False)
            for name in (*counts, "count_all__reply")
        ),
        (),
    )
    centre = np.array([1.0] * len(TYPES) + [0.0])
    line = Logistic(encoding, 0.0, np.ones(len(centre)), centre, centre)
    quiet = lead(days_since_event=63.0, count_all__reply=3)
    assert told(line, quiet) == ["3 replies so far (+)", "Last event 63 days ago (-)"]
    assert told(line, lead())[-1:] == ["No event so far (-)"]
    sent_back = line_of({"count_all__A_SENT_BACK": -1.0, "days_since_event": -0.01})
    known = lead(days_since_event=63.0, count_all__A_SENT_BACK=2)
    assert told(sent_back, known) == ["2 A sent backs so far (-)", "Last event 63 days ago (-)"]
    busy = told(line, lead(days_since_event=30.0))
    assert len(busy) == 2
    assert all("event" not in text for text in busy)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"employees": 20000.0}, "Employees: 20,000 (+)"),
        ({"employees": 1998.0}, "Employees: 1998 (+)"),
        ({"does_not_call": 1.0}, "Does not call: yes (+)"),
        ({"days_since__contract_end": 12.0}, "Contract end 12 days ago (+)"),
        ({"known_attributes": 7.0}, "7 of 9 details known (+)"),
        ({"share_weekend": 0.4}, "40% of the events at the weekend (+)"),
        ({"count_1d__meeting_booked": 2.0}, "Meeting booked 2 times in the last 24 hours (+)"),
        ({"count_all__reply": 2.0}, "2 replies so far (+)"),
        ({"trend_7d": 3.0}, "3 more events in the last 7 days than in the 7 days before (+)"),
        ({"topic_30d__data_export": 2.0}, "2 events about data export in the last 30 days (+)"),
        ({"days_since_first_event": 9.9}, "First event 9 days ago (+)"),
        ({"custom__gap": 4.5}, "Days between two visits: 4.5 (+)"),
    ],
)
def test_a_value_is_told_as_people_say_it(values, text):
    line = line_of(dict.fromkeys(values, 1.0))
    assert told(line, lead(days_since_event=0.0, **values)) == [text]


def teller(words: Wording | None = None, **levels: frozenset[str]) -> Teller:
    return Teller(words or english(), levels)


def test_levels_are_told_by_name():
    industry, email = (subjects(WHOLE)[name] for name in ("industry", "work_email_domain"))
    some = teller(industry=frozenset({"software", "retail_trade"}))
    assert some.phrase(industry, "retail_trade") == "industry is retail trade"
    assert some.phrase(industry, "steel") == "industry is steel, which is rare"
    assert some.phrase(industry, None) == "industry not known"
    assert some.phrase(industry, float("nan")) == "industry not known"
    assert some.phrase(email, "free mail") == "work email is a free mail address"


ODD = re.compile(r"_|nan|None|float|inf\b|\{|\}|decay|fading|  |: \(", re.IGNORECASE)


def sentences(of: Catalogue, words: Wording) -> list[tuple[str, str]]:
    """(feature, text) for each feature with values from its edges and its middle."""
    found, some = [], teller(words)
    for name, subject in subjects(of).items():
        number = subject.feature.column_type == "number"
        values = (
            [np.nan, 0.0, 0.4, 1.0, 2.0, 37.25, 123456.0]
            if number
            else [*LEVELS, "invalid", "", " "]
        )
        if subject.form == "criteria":
            states = {"budget": 1.0, "timeline": np.nan}
            found += [(name, some.sentence(some.criteria(states, good), "+")) for good in (0, 1)]
            continue
        found += [(name, some.sentence(some.phrase(subject, value), "+")) for value in values]
    return found


@pytest.mark.parametrize("of", [WHOLE, EXPORTED, BPIC_LIKE], ids=["whole", "exported", "bpic"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_feature_has_a_readable_sentence(of, language):
    words = english() if language == "en" else wording.load(GERMAN)
    found = sentences(of, words)
    assert {name for name, _ in found} == set(of.names)
    for name, text in found:
        assert not ODD.search(text), (name, text)
        assert text[0].isupper() or text[0].isdigit(), (name, text)
        assert text.endswith(" (+)"), (name, text)
        assert len(text) <= 110, (name, text)


@cache
def explained(language: str) -> Reasons:
    words = english() if language == "en" else wording.load(GERMAN)
    learner = learners()["blend with weights and a slope"]
    X = matrix(WHOLE, 400, seed=9)
    return explain(learner, WHOLE, words, X, np.arange(len(X)))


def test_at_most_three_for_and_two_against_the_strongest_first():
    for row in map(json.loads, explained("en").to_json()):
        strengths = [one["strength"] for one in row]
        good = [s for s in strengths if s > 0]
        bad = [s for s in strengths if s < 0]
        assert strengths == good + bad
        assert good == sorted(good, reverse=True)
        assert bad == sorted(bad)
        assert len(good) <= 3
        assert len(bad) <= 2
        for one in row:
            assert one["sign"] == ("+" if one["strength"] > 0 else "-")
            assert one["text"].endswith(f"({one['sign']})")
    assert {len(json.loads(row)) for row in explained("en").to_json()} >= {4, 5}


def test_no_topic_is_told_twice():
    for row in explained("en").topic:
        shown = row[row >= 0]
        assert len(set(shown.tolist())) == len(shown)


def test_a_translation_changes_the_words_and_nothing_else():
    ours, theirs = explained("en"), explained("de")
    assert np.array_equal(ours.topic, theirs.topic)
    assert np.array_equal(ours.strength, theirs.strength)
    pairs = zip(ours.text[ours.text >= 0], theirs.text[theirs.text >= 0], strict=True)
    same = {ours.texts[o] for o, t in pairs if ours.texts[o] == theirs.texts[t]}
    assert same <= {text for text in ours.texts if re.match(r"[A-Z][\w ]*: [\d.-]+ \(", text)}
    assert len(ours.topics) == len(set(theirs.topics))


def test_what_few_leads_share_is_marked():
    found = explained("en")
    marked = {text for place, text in enumerate(found.texts) if place in found.particular}
    others = set(found.texts) - marked
    assert {text for text in found.texts if "which is rare" in text} <= marked
    assert any(re.match(r"Employees: [\d,]+ ", text) for text in marked)
    assert not any("times" in text or "not known" in text for text in marked)
    assert any(text.startswith("Industry is ") for text in others)


@pytest.mark.parametrize(
    ("n", "example"), [(19, "Industry is steel (+)"), (20, "Income is 52,301 (+)")]
)
def test_the_report_shows_no_value_that_few_hot_leads_share(n, example):
    texts = ("Income is 52,301 (+)", "Industry is steel (+)")
    text = np.full((n + 5, 5), -1)
    text[:, 0] = [0] * n + [1] * 5
    topic = np.where(text >= 0, 0, -1)
    found = Reasons(texts, text, ("one topic",), topic, np.ones(text.shape), frozenset({0}))
    (row,) = _topics(found, slice(0, 3))
    assert (row["n"], row["example"]) == (n + 5, example)


def test_a_topic_told_by_rare_values_alone_has_no_example():
    text = np.array([[0, -1, -1, -1, -1]])
    found = Reasons(("Income is 52,301 (+)",), text, ("income",), text, text * 1.0, frozenset({0}))
    assert [row["example"] for row in _topics(found, slice(0, 3))] == [None]


def test_rows_in_another_order_or_number_give_the_same_reasons(monkeypatch):
    learner = learners()["blend with weights and a slope"]
    X = matrix(WHOLE, 150, seed=9)
    rows = np.random.default_rng(3).permutation(150)[:70]
    whole = explain(learner, WHOLE, english(), X, np.arange(150)).to_json()
    monkeypatch.setattr(reasons, "BATCH", 11)
    assert explain(learner, WHOLE, english(), X, rows).to_json() == [whole[row] for row in rows]


def written(folder: Path, tree: object) -> Path:
    path = folder / "wording.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree), encoding="utf-8")
    return path


def test_a_company_words_one_event_its_own_way(tmp_path):
    own = {
        "events": {
            PAGE: {
                "one": "visited the pricing page once",
                "many": "visited the pricing page {n} times",
            }
        },
        "attributes": {"industry": {"name": "line of business", "values": {"it": "computing"}}},
    }
    words = wording.load(written(tmp_path, own))
    line = line_of({f"count_7d__{PAGE}": 1.0})
    X = lead(**{f"count_7d__{PAGE}": 3})
    assert told(line, X, words) == ["Visited the pricing page 3 times in the last 7 days (+)"]
    industry = subjects(WHOLE)["industry"]
    assert teller(words).phrase(industry, "it") == "line of business is computing"
    assert teller(words).phrase(subjects(WHOLE)["employees"], 3.0) == "employees: 3"


HOSTILE = [
    ("{n.__class__}", r"unknown placeholder \{n.__class__\}"),
    ("{n[0]}", r"unknown placeholder \{n\[0\]\}"),
    ("{n!r}", r"unknown placeholder \{n!r\}"),
    ("{n:>999999999}", "unknown placeholder"),
    ("{}", r"unknown placeholder \{\}"),
    ("{0}", r"unknown placeholder \{0\}"),
    ("{ago}", r"unknown placeholder \{ago\}; known here: \{n\}, \{name\}, \{names\}"),
    ("{n", "brace stands alone"),
    ("n}", "brace stands alone"),
    ("{{n}}", "brace stands alone"),
    ("two\nlines", "one line"),
    ("x" * 201, "at most 200"),
    (7, "valid string"),
]


@pytest.mark.parametrize(("template", "problem"), HOSTILE)
def test_hostile_templates_are_refused(tmp_path, template, problem):
    with pytest.raises(ConfigError, match=problem):
        wording.load(written(tmp_path, {"any_event": {"many": template}}))


def test_every_problem_of_a_wording_is_named_at_once(tmp_path):
    bad = {"any_event": {"many": "{x}", "lost": "?"}, "nope": 1, "within": {"one": "{ago}"}}
    with pytest.raises(ConfigError) as found:
        wording.load(written(tmp_path, bad))
    for place in ("any_event.many", "any_event.lost", "nope", "within.one"):
        assert f"  {place}: " in str(found.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n- b\n", "holds list"),
        ("a: [", "cannot be read"),
        ("!!python/object/apply:os.system [ls]", "cannot be read"),
        ("based_on: fr\n", "there are: de, en"),
        ("any_event: {none: null}\n", "any_event lacks none"),
        ("sentence: the same for all\n", "every reason would say the same"),
    ],
)
def test_a_wording_that_is_none_is_refused(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        wording.load(written(tmp_path, text))


def test_what_a_lead_says_is_no_template():
    industry = subjects(WHOLE)["industry"]
    assert teller().phrase(industry, "{name} {value}") == "industry is {name} {value}"
    assert fill("{a}", a="{b}") == "{b}"
    with pytest.raises(KeyError):  # filled in by its whole name, nothing is looked up in it
        fill("{a.__class__}", a="x")


DATA = dataset()


@pytest.fixture(scope="module")
def model() -> PropensityModel:
    return PropensityModel.fit(DATA, config())


def test_a_model_keeps_the_words_it_was_trained_with(model, tmp_path):
    german = replace(model, wording=wording.load(GERMAN))
    german.save(tmp_path)
    loaded = PropensityModel.load(tmp_path)
    assert loaded.wording == german.wording
    assert loaded.to_files() == german.to_files()
    assert german.model_id != model.model_id
    rows = np.arange(5)
    assert loaded.reasons(DATA.X, rows).to_json() == german.reasons(DATA.X, rows).to_json()
    assert (
        loaded.reasons(DATA.X, rows, english()).to_json() == model.reasons(DATA.X, rows).to_json()
    )


@pytest.mark.parametrize(
    "content", [b"{}", b'{"sentence": "{text.__class__}"}', b"[]", b"not json"]
)
def test_a_damaged_wording_is_a_model_error(model, content):
    with pytest.raises(ModelError):
        PropensityModel.from_files({**model.to_files(), "wording.json": content})


def test_the_words_of_the_config_are_those_of_its_file(tmp_path):
    path = written(tmp_path, {"based_on": "de"})
    tree = {"name": "x", "data": {"leads": {"path": "l"}, "deals": {"path": "d"}}}
    assert wording.of_config(Config.model_validate(tree)) is None
    given_ = {**tree, "score": {"reasons": path.name}}
    found = wording.of_config(Config.model_validate(given_, context={"folder": tmp_path}))
    assert found == wording.load(GERMAN)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("wording/*.yaml")), ids=lambda path: path.stem)
def test_the_wordings_beside_the_configs_name_what_the_config_has(path):
    words = wording.load(path)
    asked = load(CONFIGS / f"{path.stem}.yaml")
    assert asked.score.reasons == f"wording/{path.name}"
    assert not set(words.events) & set(asked.features.exclude_events)


def test_every_criterion_has_a_name_in_every_language():
    for words in (english(), wording.load(GERMAN)):
        assert set(words.criteria.names) == set(CRITERIA)

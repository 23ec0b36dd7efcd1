"""What the fit part can say: each alarm is raised by what it is for, and by nothing honest or by chance.

Each was seen failing once: with rows for groups as proofs, an order judged on the half that taught it, medians
for interval ends, odds of 5 for 50, pure tails of honest numbers told, silence taken for a leak, `>` for `>=` at
ten wins a parameter, thirds of few groups compared, limits for ids, drift and duplicates moved.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lead_propensity.features.catalogue import Catalogue, Feature
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.evidence import Evidence, Finding, Kind, Ladder, examine
from lead_propensity.model.looks import MAX_ROWS
from lead_propensity.model.storage import json_bytes

N = 3000
PLENTY = Ladder("blend", 1)


def feature(name: str, category: bool, kind: str = "explicit") -> Feature:
    return Feature(name, kind, "category" if category else "number", "as known", name, name)  # type: ignore[arg-type]


def dataset(
    columns: dict[str, Any],
    won: np.ndarray,
    group: np.ndarray | None = None,
    shape: str = "exported",
    implicit: tuple[str, ...] = (),
) -> Dataset:
    """Rows in time order; each its own lead, and its own group unless told otherwise."""
    lead = np.array([f"lead-{row}" for row in range(len(won))], dtype=object)
    groups = lead if group is None else np.array([f"group-{one}" for one in group], dtype=object)
    keys = pd.DataFrame(
        {"lead_id": lead, "group_id": groups, "order": np.arange(len(won)), "won": won}
    )
    X = pd.DataFrame(
        {name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()}
    )
    features = tuple(
        feature(name, X[name].dtype == object, "implicit" if name in implicit else "explicit")
        for name in X.columns
    )
    return Dataset(keys, X, pd.DataFrame(index=X.index), Catalogue(features, {"shape": shape}))


def halves(data: Dataset, share: float = 0.7) -> tuple[Dataset, Dataset]:
    first = np.arange(len(data)) < share * len(data)
    return data.rows(first), data.rows(~first)


def found(data: Dataset, ladder: Ladder = PLENTY) -> Evidence:
    return examine(*halves(data), ladder)


def columns_of(findings: tuple[Finding, ...]) -> list[tuple[str, ...]]:
    return [finding.columns for finding in findings]


def coin(rate: float = 0.4, n: int = N, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < rate).astype(np.float64)


def noise(n: int = N, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def texts(values: Any) -> pd.Series:
    return pd.Series(values, dtype=object)


WON = coin()


def test_what_is_missing_for_lost_leads_alone_is_one_leak_of_all_its_columns():
    lost_and_empty = (WON == 0.0) & (np.random.default_rng(3).random(N) < 0.5)
    account = texts(np.random.default_rng(4).choice([f"a{k}" for k in range(30)], N))
    data = dataset(
        {
            "account": account.mask(pd.Series(lost_and_empty)),
            "sector": account.str[1:].mask(pd.Series(lost_and_empty)),
            "revenue": np.where(lost_and_empty, np.nan, noise()),
            "known_attributes": np.where(lost_and_empty, 0.0, 3.0),
            "honest": noise(),
        },
        WON,
    )
    (leak,) = found(data).of_kind("leak")
    assert leak.columns == ("account", "sector", "revenue")
    assert leak.sentence.startswith(
        "Possible leak: where `account`, `sector`, `revenue` are missing"
    )
    assert "`known_attributes` is at most 0" in leak.sentence
    assert "none is won" in leak.sentence
    assert "data.exported.exclude" in leak.sentence


@pytest.mark.parametrize(
    "column",
    [
        texts(np.where(WON == 1.0, "closed by us", "open")),
        np.where(WON == 1.0, 5000.0 + noise(), 0.0),
        np.where(WON == 1.0, noise(), np.nan),
        np.where(WON == 1.0, np.nan, noise()),
    ],
)
def test_what_only_the_outcome_fills_in_is_a_leak(column):
    (leak,) = found(dataset({"leaking": column, "honest": noise()}, WON)).of_kind("leak")
    assert leak.columns == ("leaking",)
    assert {leak.figures["share_won"], leak.figures["share_won_outside"]} == {0.0, 1.0}


def test_a_leak_of_two_leads_in_a_hundred_is_seen_at_the_far_end_of_a_number():
    """Of 3% won leads six in ten carry a sum that was written down with the deal."""
    won = coin(0.03, 20_000)
    written = (won == 1.0) & (np.random.default_rng(7).random(20_000) < 0.6)
    value = np.where(written, 900.0, 0.0) + noise(20_000)
    (leak,) = found(dataset({"value": value}, won)).of_kind("leak")
    assert leak.columns == ("value",)
    assert leak.figures["share_won"] == 1.0


@pytest.mark.parametrize(("leads", "alarms"), [(60, 0), (600, 1)])
def test_chance_is_no_leak(leads, alarms):
    """A level of sixty leads that all won may be a good source; six hundred are none."""
    won = coin()
    won[:leads] = 1.0
    source = texts(np.where(np.arange(N) < leads, "friends", "web"))
    shuffled = np.random.default_rng(5).permutation(N)
    data = dataset({"source": source.to_numpy()[shuffled].astype(object)}, won[shuffled])
    assert len(found(data).of_kind("leak")) == alarms


def test_many_snapshots_of_few_groups_are_few_proofs():
    won = coin()
    won[:600] = 1.0
    source = texts(np.where(np.arange(N) < 600, "friends", "web"))
    few = np.where(np.arange(N) < 600, np.arange(N) // 100, np.arange(N))
    shuffled = np.random.default_rng(5).permutation(N)
    column = {"source": source.to_numpy()[shuffled].astype(object)}
    assert found(dataset(column, won[shuffled])).of_kind("leak")
    assert not found(dataset(column, won[shuffled], few[shuffled])).of_kind("leak")


def test_a_strong_but_honest_predictor_is_no_leak():
    """Odds twenty times as good, as of leads that friends have sent, and an AUC of about .9."""
    rng = np.random.default_rng(6)
    score = 2.5 * noise(20_000)
    friends = rng.random(20_000) < 0.2
    won = (rng.random(20_000) < 1.0 / (1.0 + np.exp(-(score - 1.0 + 3.0 * friends)))).astype(float)
    data = dataset({"score": score, "source": texts(np.where(friends, "friends", "web"))}, won)
    assert not found(data).of_kind("leak")


@pytest.mark.parametrize(("spread", "alarms"), [(0.3, 1), (1.0, 0)])
def test_a_number_that_orders_by_outcome_is_a_leak(spread, alarms):
    """AUC .99 with the small spread, .76 with the large one; no value of it parts the leads cleanly."""
    data = dataset({"points": WON + spread * noise(), "honest": noise(seed=8)}, WON)
    leaks = found(data).of_kind("leak")
    assert columns_of(leaks) == [("points",)] * alarms
    if alarms:
        assert leaks[0].sentence


def test_levels_that_order_by_chance_are_no_leak():
    """A hundred campaigns of one or two leads order any outcome well where they learned it."""
    won = (np.arange(186) % 11 == 0).astype(float)
    campaign = texts([f"c{k}" for k in np.random.default_rng(9).permutation(186) % 100])
    assert not found(dataset({"campaign": campaign}, won)).of_kind("leak")


@pytest.mark.parametrize(
    ("shape", "implicit", "outcome", "alarms"),
    [
        ("history", ("opt_outs",), "lost", 0),
        ("history", (), "lost", 1),
        ("exported", ("opt_outs",), "lost", 1),
        ("history", ("opt_outs",), "won", 1),
    ],
)
def test_in_a_history_what_a_lead_did_may_lose_it_honestly_but_not_win_it(
    shape, implicit, outcome, alarms
):
    won = coin(0.5)
    ended = 1.0 if outcome == "won" else 0.0
    many = (won == ended) & (np.random.default_rng(10).random(N) < 0.5)
    data = dataset({"opt_outs": many.astype(float)}, won, shape=shape, implicit=implicit)
    assert len(found(data).of_kind("leak")) == alarms


@pytest.mark.parametrize(("parameters", "warns"), [(42, 0), (43, 1)])
def test_ten_of_the_rarer_outcome_for_each_parameter_are_enough(parameters, warns):
    won = (np.arange(N) % 5 == 0).astype(float)
    train, calibrate = halves(dataset({"x": noise()}, won))
    assert train.won.sum() == 420
    few = examine(train, calibrate, Ladder("logistic", parameters)).of_kind("few_wins")
    assert len(few) == warns


def test_companies_that_buy_as_one_are_fewer_wins():
    won = np.repeat(coin(n=N // 10), 10)
    company = np.repeat(np.arange(N // 10), 10)
    (few,) = found(dataset({"x": noise()}, won, company), Ladder("blend", 30)).of_kind("few_wins")
    apart = found(dataset({"x": noise()}, won), Ladder("blend", 30)).of_kind("few_wins")
    assert apart == ()
    assert few.figures["won"] == pytest.approx(won[: int(0.7 * N)].sum() / 10, rel=0.05)
    assert "members of the blend are shrunk" in few.sentence


def test_a_base_rate_needs_no_warning_of_few_wins():
    assert not found(dataset({"x": noise()}, WON), Ladder("base_rate", 0)).of_kind("few_wins")


def late(values: np.ndarray, instead: Any) -> np.ndarray:
    """Another value from the calibrate part on."""
    return np.where(np.arange(N) >= 0.7 * N, instead, values)


def test_a_column_that_dries_up_or_begins_after_the_fit_part_is_named():
    late_text = texts(["a", "b"] * (N // 2))
    late_text[np.arange(N) < 0.7 * N] = None
    data = dataset(
        {
            "dried_up": late(noise(), np.nan),
            "frozen": late(noise(), 4.0),
            "narrow": late(noise(), 0.06 + 1e-6 * noise()),
            "begun": np.where(np.arange(N) < 0.7 * N, np.nan, noise()),
            "late_text": late_text,
            "switched": np.where(np.arange(N) < 0.7 * N, 0.0, np.arange(N) % 2.0),
            "always_one": np.ones(N),
            "steady": noise(),
        },
        WON,
    )
    gone, new = found(data).of_kind("vanished")
    assert gone.columns == ("dried_up", "frozen")
    assert new.columns == ("begun", "late_text", "switched")


def test_a_rare_value_that_a_short_part_happens_to_lack_has_not_vanished():
    rare = np.where(np.arange(N) % 500 == 3, 1.0, 0.0)
    early = np.where(np.arange(N) < 2000, rare, 0.0)
    assert not found(dataset({"rare": early}, WON)).of_kind("vanished")


def test_a_column_that_moves_is_named_and_one_that_stays_is_not():
    steps = 1.5 * np.arange(N) / N
    fair = texts(np.where(np.random.default_rng(11).random(N) < np.arange(N) / N, "fair", "web"))
    data = dataset({"moves": noise() + steps, "source": fair, "stays": noise(seed=12)}, WON)
    (drift,) = found(data).of_kind("drift")
    assert sorted(drift.columns) == ["moves", "source"]


def test_few_groups_move_by_chance():
    """Twelve companies: their last third need not look like the first."""
    company = np.arange(N) * 12 // N
    size = np.random.default_rng(13).normal(size=12)[company]
    assert not found(dataset({"size": size}, WON, company)).of_kind("drift")


def test_a_running_number_and_a_name_are_no_description():
    data = dataset(
        {
            "customer_no": 10_000.0 + 3.0 * np.arange(N),
            "email": texts([f"{row % 2000}@example.org" for row in range(N)]),
            "spent": noise(),
            "town": texts([f"town-{row % 900}" for row in range(N)]),
        },
        WON,
    )
    (ids,) = found(data).of_kind("id_like")
    assert ids.columns == ("customer_no", "email")
    assert not found(data).of_kind("drift"), "a running number is told once"


def test_columns_that_say_the_same_are_grouped():
    base = noise()
    town = np.random.default_rng(14).choice(["x", "y", "z"], N)
    data = dataset(
        {
            "in_euros": base,
            "in_cents": np.exp(base),
            "owed": -base,
            "near": base + 0.1 * noise(seed=15),
            "town": texts(town),
            "stadt": texts(pd.Series(town).map({"x": "1", "y": "2", "z": "3"})),
            "street": texts(np.roll(town, 1)),
        },
        WON,
    )
    (twice,) = found(data).of_kind("duplicates")
    assert twice.columns == ("in_euros", "in_cents", "owed", "town", "stadt")


@pytest.mark.parametrize("seed", range(5))
def test_noise_raises_no_alarm(seed):
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"n{k}": rng.normal(size=N) for k in range(20)}
    columns |= {
        f"e{k}": np.where(rng.random(N) < 0.3, np.nan, rng.normal(size=N)) for k in range(5)
    }
    columns |= {f"c{k}": texts(rng.choice(["a", "b", None], N)) for k in range(5)}
    assert found(dataset(columns, coin(0.1, seed=seed))).findings == ()


def test_the_worst_comes_first_and_ten_sentences_are_the_most():
    columns = {f"leak_{k}": np.where(WON == 1.0, noise(seed=k), float(k)) for k in range(10)}
    columns |= {f"points_{k}": WON + 0.3 * noise(seed=k) for k in range(10)}
    columns |= {"dried_up": late(noise(), np.nan), "begun": late(np.full(N, np.nan), 1.0)}
    columns |= {"moves": noise() + 2.0 * np.arange(N) / N, "customer_no": 1.0 * np.arange(N)}
    columns |= {"euros": noise(seed=3), "cents": 100.0 * noise(seed=3), "always_one": np.ones(N)}
    evidence = found(dataset(columns, WON), Ladder("blend", 1000))
    kinds: list[Kind] = ["few_wins", "vanished", "vanished", "drift", "id_like", "duplicates"]
    assert [one.kind for one in evidence.findings] == ["leak"] * 5 + [*kinds, "constant"]
    notes = evidence.notes()
    assert len(notes) == 10
    assert [note.startswith("Possible leak") for note in notes] == [True] * 5 + [False] * 5
    told = [name for one in evidence.of_kind("leak") for name in one.columns]
    assert sorted(told) == sorted(name for name in columns if name[:4] in ("leak", "poin"))
    assert not any("always_one" in note for note in notes), "the encoding tells it"


def test_findings_are_plain_json_and_the_same_again_also_of_a_sample():
    n = MAX_ROWS + 20_000
    columns = {"x": np.where(coin(0.4, n) == 1.0, np.nan, noise(n)), "y": np.full(n, np.inf)}
    data = dataset({**columns, "z": texts(["a", None] * (n // 2))}, coin(0.4, n))
    parts = halves(data, 0.9)
    once, again = (examine(*parts, PLENTY) for _ in range(2))
    assert json_bytes(once.to_json()) == json_bytes(again.to_json())
    assert columns_of(once.of_kind("leak")) == [("x",)]


def test_empty_columns_and_few_rows_are_no_error():
    data = dataset({"none": np.full(8, np.nan), "text": texts([None] * 8)}, coin(0.5, 8))
    assert [one.kind for one in found(data, Ladder("base_rate", 0)).findings] == ["constant"]
    assert examine(data, data.rows(np.zeros(8, bool)), PLENTY).of_kind("leak") == ()

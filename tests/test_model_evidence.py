"""What the fit part can say: each alarm is raised by what it is for, and by nothing honest or by chance.

Each was seen failing once: with rows for groups as proofs, `>` for `>=` at ten wins a parameter, thirds of few
groups compared, limits for ids, drift and duplicates moved.
"""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from factory_columns import N, coin, dataset, halves, noise, texts
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.evidence import Evidence, Finding, Kind, Ladder, examine
from lead_propensity.model.looks import MAX_ROWS
from lead_propensity.model.storage import json_bytes

PLENTY = Ladder("blend", 1)


def found(data: Dataset, ladder: Ladder = PLENTY) -> Evidence:
    return examine(*halves(data), ladder)


def columns_of(findings: tuple[Finding, ...]) -> list[tuple[str, ...]]:
    return [finding.columns for finding in findings]


WON = coin()


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


def test_the_worst_comes_first_and_constants_are_told_by_the_encoding():
    columns = {"dried_up": late(noise(), np.nan), "begun": late(np.full(N, np.nan), 1.0)}
    columns |= {"moves": noise() + 2.0 * np.arange(N) / N, "customer_no": 1.0 * np.arange(N)}
    columns |= {"euros": noise(seed=3), "cents": 100.0 * noise(seed=3), "always_one": np.ones(N)}
    evidence = found(dataset(columns, WON), Ladder("blend", 1000))
    kinds: list[Kind] = ["few_wins", "vanished", "vanished", "drift", "id_like", "duplicates"]
    assert [one.kind for one in evidence.findings] == [*kinds, "constant"]
    assert len(evidence.notes()) == 6
    assert not any("always_one" in note for note in evidence.notes())


def test_findings_are_plain_json_and_the_same_again_also_of_a_sample():
    n = MAX_ROWS + 20_000
    columns = {"x": noise(n) + 2.0 * np.arange(n) / n, "y": np.full(n, np.inf)}
    data = dataset({**columns, "z": texts(["a", None] * (n // 2))}, coin(0.4, n))
    parts = halves(data, 0.9)
    once, again = (examine(*parts, PLENTY) for _ in range(2))
    assert json_bytes(once.to_json()) == json_bytes(again.to_json())
    assert columns_of(once.of_kind("drift")) == [("x",)]


def test_empty_columns_and_few_rows_are_no_error():
    data = dataset({"none": np.full(8, np.nan), "text": texts([None] * 8)}, coin(0.5, 8))
    assert [one.kind for one in found(data, Ladder("base_rate", 0)).findings] == ["constant"]
    assert examine(data, data.rows(np.zeros(8, bool)), PLENTY).of_kind("drift") == ()

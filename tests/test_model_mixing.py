"""The mix: it leaves the usual weights as far as the rows speak against them, and no further.

Each was seen failing once: with no trust or with all of it, without bounds, with errors that are not
clustered, with scores drawn to zero, without a round, and with rows that only one member judged.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from lead_propensity.model.intervals import row_loss
from lead_propensity.model.mixing import DIGITS, SLOPES, Mix, mix

HALF = {"line": 0.5, "trees": 0.5}


class World:
    """`rows` leads whose true log-odds are known."""

    def __init__(self, rows: int, seed: int, middle: float = -1.0, spread: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = middle + spread * self.rng.normal(size=rows)
        self.won = (self.rng.random(rows) < expit(self.truth)).astype(np.float64)
        self.base = np.full(rows, logit(np.mean(expit(self.truth))))
        self.groups = np.arange(rows)

    def off(self, spread: float) -> np.ndarray:
        """The truth with an error."""
        return np.asarray(self.truth + self.rng.normal(0.0, spread, len(self.truth)))

    def noise(self, spread: float = 1.0) -> np.ndarray:
        """The base rate with an error: nothing is known."""
        return np.asarray(self.base + self.rng.normal(0.0, spread, len(self.truth)))

    def mix(self, scores: dict[str, np.ndarray], usual: dict[str, float]) -> Mix:
        return mix(scores, usual, self.won, self.groups, self.base)


def three(world: World) -> dict[str, np.ndarray]:
    """Members of which each knows something; the usual mix of them is not the best."""
    return {
        "line": world.off(0.3),
        "smooth": 0.6 * world.truth - 0.4 + world.rng.normal(0.0, 0.3, len(world.truth)),
        "trees": world.noise(),
    }


USUAL = {"line": 0.5, "smooth": 0.0, "trees": 0.5}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**20),
    st.integers(1, 200),
    st.sampled_from([1, 3, 1000]),
    st.floats(0.1, 30.0),
    st.sampled_from([(1.0,), (0.5, 0.5), (0.5, 0.0, 0.5), (0.0, 1.0), (0.2, 0.3, 0.4, 0.1)]),
)
def test_weights_are_shares_and_the_slope_lies_between_nought_and_one(
    seed, rows, groups, spread, usual
):
    rng = np.random.default_rng(seed)
    scores = {f"m{place}": rng.normal(0.0, spread, rows) for place in range(len(usual))}
    won = (rng.random(rows) < 0.3).astype(np.float64)
    named = dict(zip(scores, usual, strict=True))
    found = mix(scores, named, won, rng.integers(0, groups, rows), np.full(rows, -1.0))
    assert list(found.weights) == list(scores)
    assert min(found.weights.values()) >= 0.0
    assert sum(found.weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(SLOPES) <= found.slope <= 1.0


@pytest.mark.parametrize("seed", range(3))
def test_equal_members_keep_the_usual_weights(seed):
    world = World(5000, seed)
    usual = {"line": 0.7, "trees": 0.3}
    assert world.mix({"line": world.truth, "trees": world.truth.copy()}, usual).weights == usual


@pytest.mark.parametrize("seed", range(4))
def test_members_that_are_alike_are_not_told_apart_by_chance(seed):
    """On so few rows the line's best weight lies anywhere: at .26 to .64 for these seeds."""
    world = World(400, seed)
    found = world.mix({"line": world.off(0.7), "trees": world.off(0.7)}, HALF)
    assert abs(found.weights["line"] - 0.5) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_member_that_knows_nothing_gets_next_to_nothing(seed):
    """Of 20,000 rows at most .04 is left to it, for seeds 0 to 9."""
    world = World(20_000, seed)
    found = world.mix({"line": world.truth, "trees": world.noise(0.5)}, HALF)
    assert found.weights["trees"] < 0.08
    assert found.slope == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_rare_win_is_no_excuse_for_noise(seed):
    """1.7% are won: the losses are so small that a search could stop too early."""
    world = World(20_000, seed, middle=-4.5)
    found = world.mix({"line": world.truth, "trees": world.noise()}, HALF)
    assert found.weights["trees"] < 0.15


@pytest.mark.parametrize("seed", range(3))
def test_a_member_with_no_usual_weight_can_earn_most(seed):
    world = World(5000, seed)
    scores = {"line": world.off(1.0), "smooth": world.truth, "trees": world.noise()}
    assert world.mix(scores, USUAL).weights["smooth"] > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_a_member_with_no_usual_weight_and_no_merit_gets_none(seed):
    """The others are so near to the truth that they need not be drawn to anything."""
    world = World(5000, seed)
    scores = {"line": world.off(0.1), "smooth": world.noise(), "trees": world.off(0.1)}
    assert world.mix(scores, USUAL).weights["smooth"] < 0.02


def test_the_mix_loses_no_more_than_the_usual_one():
    world = World(5000, 1)
    losses = world.mix(three(world), USUAL).losses
    assert losses["mix"] < losses["usual"]
    assert losses["mix"] <= losses["line"] + 1e-6


def test_no_other_shares_would_lose_less():
    """Without bounds one member's error would be taken away from it: a weight of -1, which is no share."""
    world = World(20_000, 1)
    error, timid = world.rng.normal(0.0, 1.5, 20_000), 0.5 * (world.truth - world.base)
    scores = {
        "line": world.base + timid + error,
        "smooth": world.base + error,
        "trees": world.base + timid,
    }
    found = world.mix(scores, USUAL)
    steps = np.linspace(0.0, 1.0, 21)
    shares = [(a, b, 1.0 - a - b) for a in steps for b in steps if a + b <= 1.0]
    mixed = [sum(w * one for w, one in zip(s, scores.values(), strict=True)) for s in shares]
    best = min(float(np.mean(row_loss(one, world.won))) for one in mixed)
    assert found.losses["mix"] < best + 1e-3
    assert found.losses["usual"] > best + 1e-2, "else it proves nothing"


@pytest.mark.parametrize("seed", range(3))
def test_the_weights_are_those_of_the_lowest_loss_where_the_rows_leave_no_doubt(seed):
    world = World(20_000, seed)
    line, trees = world.off(0.5), world.off(1.5)
    found = world.mix({"line": line, "trees": trees}, {"line": 0.0, "trees": 1.0})
    steps = np.linspace(0.0, 1.0, 201)
    losses = [np.mean(row_loss(w * line + (1.0 - w) * trees, world.won)) for w in steps]
    assert 0.6 < steps[np.argmin(losses)] < 0.95
    assert found.weights["line"] == pytest.approx(steps[np.argmin(losses)], abs=0.01)


def test_the_losses_are_means_over_the_rows_that_all_members_judged():
    world = World(2000, 1)
    scores = {"line": world.truth, "trees": world.off(0.5)}
    scores["trees"][:700] = np.nan
    losses = world.mix(scores, HALF).losses
    expected = float(np.mean(row_loss(world.truth[700:], world.won[700:])))
    assert losses["line"] == pytest.approx(expected, abs=1e-12)


def test_a_row_that_a_member_did_not_judge_has_no_say():
    world = World(3000, 2)
    scores = three(world)
    alone = mix(
        {name: score[1000:] for name, score in scores.items()},
        USUAL,
        world.won[1000:],
        world.groups[1000:],
        world.base[1000:],
    )
    scores["trees"][:1000] = np.nan
    assert world.mix(scores, USUAL) == alone


def test_where_nothing_was_judged_the_usual_stays():
    world = World(50, 0)
    gone = {name: np.full(50, np.nan) for name in USUAL}
    assert world.mix(gone, USUAL) == Mix(USUAL, 1.0, {})


def test_one_cluster_alone_says_nothing():
    """However much its rows gain: they may all be one accident."""
    world = World(5000, 1)
    world.groups = np.zeros(5000, dtype=np.int64)
    found = world.mix(three(world), USUAL)
    assert (found.weights, found.slope) == (USUAL, 1.0)


def test_copies_of_rows_are_no_evidence():
    world = World(300, 3)
    scores = three(world)
    once = world.mix(scores, USUAL)
    often = mix(
        {name: np.tile(score, 20) for name, score in scores.items()},
        USUAL,
        np.tile(world.won, 20),
        np.tile(world.groups, 20),
        np.tile(world.base, 20),
    )
    unlike = [abs(often.weights[name] - once.weights[name]) for name in USUAL]
    assert max(unlike) <= 0.004
    assert often.slope == pytest.approx(once.slope, abs=0.004)
    as_if_new = mix(
        {name: np.tile(score, 20) for name, score in scores.items()},
        USUAL,
        np.tile(world.won, 20),
        np.arange(6000),
        np.tile(world.base, 20),
    )
    assert abs(as_if_new.weights["line"] - once.weights["line"]) > 0.02, "else it proves nothing"


def test_trust_is_lost_with_the_square_of_the_error():
    """A fourth of the rows has twice the error: what is left of the usual is four times as much."""
    world = World(300, 3)
    scores = {"line": world.off(0.2), "trees": world.off(0.9)}
    left = []
    for copies in (1, 4, 16):
        found = mix(
            {name: np.tile(score, copies) for name, score in scores.items()},
            HALF,
            np.tile(world.won, copies),
            np.arange(300 * copies),
            np.tile(world.base, copies),
        )
        left.append(found.weights["line"])
    steps = np.diff(left)
    assert steps[0] > 0.05, "else it proves nothing"
    assert steps[0] / steps[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.parametrize("middle", [-1.0, -3.0])
@pytest.mark.parametrize("seed", range(3))
def test_scores_without_signal_are_drawn_to_the_base(seed, middle):
    """Seeds 0 to 9: the slope is at most .21."""
    world = World(5000, seed, middle=middle, spread=0.0)
    found = world.mix({"line": world.noise(0.7), "trees": world.noise(0.7)}, HALF)
    assert found.slope < 0.5
    assert found.slope == round(found.slope, DIGITS)


def test_scores_are_drawn_to_the_base_that_each_fold_knew():
    """Two folds with other base rates, each well told by the base alone."""
    rng = np.random.default_rng(5)
    base = np.repeat([-3.0, 0.5], 4000)
    won = (rng.random(8000) < expit(base)).astype(np.float64)
    score = base + rng.normal(0.0, 1.0, 8000)
    found = mix({"line": score}, {"line": 1.0}, won, np.arange(8000), base)
    assert found.slope < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_are_right_keep_their_slope(seed):
    world = World(5000, seed)
    assert world.mix({"line": world.truth}, {"line": 1.0}).slope == 1.0


def test_scores_twice_too_far_from_the_base_are_drawn_half_the_way():
    world = World(20_000, 1, spread=0.8)
    twice = world.base + 2.0 * (world.truth - world.base)
    assert world.mix({"line": twice}, {"line": 1.0}).slope == pytest.approx(0.5, abs=0.03)


def test_the_slope_is_told_of_the_mix_and_not_of_its_members():
    """Two members, each with an error of its own, mend each other."""
    world = World(20_000, 0)
    one, other = world.off(1.0), world.off(1.0)
    alone = world.mix({"line": one}, {"line": 1.0}).slope
    assert world.mix({"line": one, "trees": other}, HALF).slope > alone + 0.1


def test_weights_are_round():
    """Also where the rounded ones do not add up to 1 by themselves."""
    for seed in range(12):
        world = World(400, seed)
        found = world.mix(three(world), USUAL)
        assert all(weight == round(weight, DIGITS) for weight in found.weights.values())


def test_the_last_bits_of_the_scores_change_no_weight():
    world = World(3000, 7)
    scores = three(world)
    jitter = {name: score * (1.0 + 1e-13) for name, score in scores.items()}
    found, again = world.mix(scores, USUAL), world.mix(jitter, USUAL)
    assert (found.weights, found.slope) == (again.weights, again.slope)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_members_does_not_matter(seed):
    world = World(3000, seed)
    scores = three(world)
    turned = {name: scores[name] for name in ("trees", "smooth", "line")}
    usual = {"smooth": 0.1, "line": 0.6, "trees": 0.3}
    found, again = world.mix(scores, usual), world.mix(turned, usual)
    assert list(again.weights) == list(turned)
    for name in usual:
        assert again.weights[name] == pytest.approx(found.weights[name], abs=0.005)
    nothing = dict.fromkeys(scores, world.base)
    assert world.mix(nothing, usual).weights == usual


def test_the_order_of_the_rows_does_not_matter():
    world = World(3000, 4)
    scores = three(world)
    place = world.rng.permutation(3000)
    again = mix(
        {name: score[place] for name, score in scores.items()},
        USUAL,
        world.won[place],
        world.groups[place],
        world.base[place],
    )
    found = world.mix(scores, USUAL)
    assert (again.weights, again.slope) == (found.weights, found.slope)

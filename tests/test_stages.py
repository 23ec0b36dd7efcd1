"""Stages: the highest one known before a snapshot, the highest one reached within its horizon.

Seen to fail once: `<` as `<=` at the horizon's end, `>=` as `>` at its start, a late `known_at` ignored, the
stages in the order of the alphabet, a lead that stays at its stage counted as gone further.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lead_propensity.config import BandsConfig
from lead_propensity.errors import ConfigError
from lead_propensity.evaluation.stages import NONE_YET, stages
from lead_propensity.features import matrix
from lead_propensity.features import stages as recorded
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.timeline import SHAPE
from worlds import DAY, config, database

T = 19_000 * DAY
HORIZON, WAIT = 10, 2
FUNNEL = ("SQL", "MQL", "offer")
"""In the company's order, which is no alphabet."""
DECLARED = config(bands={"stages": FUNNEL}, snapshots={"horizon_days": HORIZON})
EDGES = [-3, 0, HORIZON, HORIZON + WAIT]
moments = st.builds(
    lambda days, off: T + days * DAY + off, st.sampled_from(EDGES), st.integers(-1, 1)
)
happened = st.lists(st.tuples(st.sampled_from([*FUNNEL, "visit"]), moments, moments), max_size=6)


def attached(events: list[tuple[str, int, int]]) -> tuple[str | None, str | None]:
    """The two columns of the one lead's snapshot at T; an event is (type, occurred_at, known_at)."""
    rows = [("a", at, kind, None, None, None, max(at, known)) for kind, at, known in events]
    con = database([("a", T - 90 * DAY, "a")], rows)
    con.execute(SHAPE)
    for place, (part, population) in enumerate([("test", "stock"), ("test", "training")]):
        con.execute(
            "INSERT INTO snapshots VALUES (?, 'a', 'a', ?, ?, ?, ?, ?, 90, 0, NULL, 0)",
            [place, T, T, T + (HORIZON + WAIT) * DAY, population, part],
        )
    keys = pd.DataFrame({"lead_id": "a", "order": T, "population": ["stock", "training"]})
    nothing = pd.DataFrame(index=keys.index)
    data = Dataset(keys, nothing, nothing, Catalogue((), {}))
    found = recorded.attached(con, data, DECLARED, (HORIZON + WAIT) * DAY).keys
    assert found.loc[1, list(recorded.STAGES)].tolist() == [None, None]
    return found.loc[0, "stage"], found.loc[0, "next_stage"]


def highest(events: list[tuple[str, int, int]]) -> str | None:
    reached = [FUNNEL.index(kind) for kind, _, _ in events if kind in FUNNEL]
    return FUNNEL[max(reached)] if reached else None


@given(happened)
@settings(max_examples=60, deadline=None)
def test_a_stage_is_known_before_the_snapshot_or_reached_from_it_on(events):
    events = [(kind, at, max(at, known)) for kind, at, known in events]
    before = [one for one in events if one[1] < T and one[2] < T]
    final = T + (HORIZON + WAIT) * DAY
    within = [one for one in events if T <= one[1] < T + HORIZON * DAY and one[2] < final]
    assert attached(events) == (highest(before), highest(within))


def test_a_stage_at_the_snapshots_own_instant_is_reached_and_not_known():
    assert attached([("MQL", T, T)]) == (None, "MQL")
    assert attached([("MQL", T - 1, T - 1)]) == ("MQL", None)
    assert attached([("MQL", T - 1, T)]) == (None, None)


def test_nothing_is_attached_where_no_stages_are_declared():
    data = Dataset(
        pd.DataFrame({"lead_id": ["a"]}), pd.DataFrame(), pd.DataFrame(), Catalogue((), {})
    )
    assert recorded.attached(database([]), data, config(), DAY) is data


def test_a_stage_that_no_event_is_stops_the_training():
    con = database([("a", T - 90 * DAY, "a")], [("a", T - DAY, "MQL", None, None, None, T - DAY)])
    misspelt = config(bands={"stages": ["MQL", "offr"]})
    with pytest.raises(ConfigError, match=r"bands.stages names 'offr', which no event is"):
        matrix.learn(con, misspelt, T)


def test_stages_must_be_different_and_of_a_history():
    with pytest.raises(ValidationError, match="'MQL' stands there twice"):
        BandsConfig(stages=("MQL", "MQL"))
    with pytest.raises(ValidationError, match="rows as exported have none"):
        config(
            data={"exported": {"path": "x.csv", "outcome": "o", "won": "1"}},
            bands={"stages": FUNNEL},
        )


def stock(rows: list[tuple]) -> pd.DataFrame:
    """Rows of (band, stage, next stage, won), each a lead of its own."""
    frame = pd.DataFrame(rows, columns=["band", "stage", "next_stage", "won"])
    names = [f"l{k}" for k in range(len(frame))]
    return frame.assign(lead_id=names, group_id=names, probability=0.2)


def test_conversion_counts_who_went_beyond_the_stage_it_had():
    rows = (
        [("hot", "SQL", "MQL", 0.0)] * 3
        + [("hot", "SQL", "SQL", 0.0)]
        + [("hot", "SQL", None, 1.0)]
    )
    rows += [("cold", "offer", "SQL", 0.0)] * 2 + [
        ("warm", None, "offer", 0.0),
        ("warm", None, None, np.nan),
    ]
    found = {(row["stage"], row["band"]): row for row in stages(stock(rows), FUNNEL)}
    assert found["SQL", "hot"]["further"] == pytest.approx(3 / 5)
    assert found["SQL", "hot"]["observed"] == pytest.approx(1 / 5)
    assert found["offer", "cold"]["further"] is None
    assert found[NONE_YET, "warm"]["further"] == 1.0
    assert found[NONE_YET, "warm"]["n"] == 2
    assert found["SQL", "all"]["n"] == 5
    assert {row["stage"] for row in stages(stock(rows), FUNNEL)} == {NONE_YET, "SQL", "offer"}


def test_where_no_stages_are_declared_nothing_is_told():
    assert stages(stock([("hot", None, None, 1.0)]), ()) is None
    assert stages(stock([("hot", None, None, 1.0)]).drop(columns="stage"), FUNNEL) is None

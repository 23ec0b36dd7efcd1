"""The config: right values come through, every wrong one is named with what to do."""

from datetime import UTC, datetime
from pathlib import Path

import pydantic
import pytest
import yaml

from lead_propensity.config import Config, load
from lead_propensity.errors import ConfigError

HISTORY = """
name: acme
data:
  leads: {path: leads.csv}
  deals: {path: deals.csv}
"""
EXPORTED = """
name: acme
data:
  exported: {path: x.csv, outcome: won, won: %s}
"""


def config(folder: Path, text: str, *overrides: str) -> Config:
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    return load(folder / "c.yaml", overrides)


def test_defaults_and_overrides(tmp_path: Path) -> None:
    made = config(
        tmp_path, HISTORY, "model.trials=5", "features.explicit=[]", "bands={policy: thresholds, hot: 0.4}"
    )  # fmt: skip
    assert (made.model.trials, made.features.explicit, made.bands.hot) == (5, (), 0.4)
    assert (made.snapshots.every_days, made.registered_name) == (14, "lead-propensity-acme")


def test_a_config_is_frozen_and_says_nothing_of_its_place(tmp_path: Path) -> None:
    made = config(tmp_path, HISTORY)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        made.name = "other"  # type: ignore[misc]
    assert str(tmp_path) not in made.model_dump_json()
    assert made.model_copy(update={"name": "b"}).resolve("x.csv") == tmp_path / "x.csv"


@pytest.mark.parametrize(
    ("written", "expected"), [("won", "won"), ('"1"', "1"), ("1", "1"), ("1.0", "1.0"), ("[1, 2]", "2")]
)  # fmt: skip
def test_words_for_won_may_be_written_as_they_come(
    tmp_path: Path, written: str, expected: str
) -> None:
    exported = config(tmp_path, EXPORTED % written).data.exported
    assert exported is not None
    assert exported.won[-1] == expected


@pytest.mark.parametrize("written", ["yes", "true", "[yes]", "[]", "null", "{a: 1}"])
def test_words_for_won_that_yaml_reads_otherwise_are_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.exported\.won"):
        config(tmp_path, EXPORTED % written)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("modle.trials=1", r"modle: unknown key; did you mean `model`\?"),
        ("model.trails=1", r"model\.trails: unknown key; did you mean `trials`\?"),
        ("model.zzz=1", r"model\.zzz: unknown key; known here: backtest_periods"),
        ("data.leads.pth=1", r"data\.leads\.pth: unknown key; did you mean `path`\?"),
        ("folder=/x", "folder: unknown key"),
        ("_folder=/x", "_folder: unknown key"),
        ("model.trials=many", r"model\.trials: .*integer.*\(got 'many'\)"),
        ("model.trials=0", r"model\.trials: .*greater than or equal to 1 \(got 0\)"),
        ("model.trials.x=0", r"model\.trials"),
        ("name.x=0", "`name` holds a value, not keys"),
        ("model", "not of the form key.sub=value"),
        ("=1", "not of the form key.sub=value"),
        ("model..trials=1", "not of the form key.sub=value"),
        ("model=[", "the value is not YAML"),
        ("model={trials: 1, trials: 2}", "the key `trials` stands here twice"),
        ("model=null", r"model: .*\(got None\)"),
        ("name=a/b", "name: .*pattern"),
        ("data.timezone=Mars", "'Mars' is no time zone"),
        ("data.timezone=../etc", "is no time zone"),
        ("data.exported_at=5", "give a time like"),
        ("data.exported_at=2025-01-01", "exported_at 2025-01-01 00:00:00 carries no zone"),
        (
            "data.exported={path: x, outcome: y, won: z}",
            "give either `exported`, or `leads` and `deals`",
        ),
        ("data.deals=null", "give `leads` and `deals`"),
        ("data.leads.sql=SELECT 1", "exactly one of `path`, `sql` and `postgres`"),
        ("data.deals.lost=won", "'won' stands in `won` and in `lost`"),
        ("features.explicit=industry", "give `all`, or a list of names"),
        ("features.kinds={a: text}", r"features\.kinds\.a: .*'number'"),
        ("bands.policy=thresholds", "policy `thresholds` needs `hot`"),
        ("bands={policy: value, cost_per_contact: .inf, value_per_win: 1}", "finite"),
        ("split.test_share=.nan", r"split\.test_share"),
        ("engine.memory_limit=much", r"engine\.memory_limit"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config(tmp_path, HISTORY, override)


def test_every_mistake_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        config(tmp_path, HISTORY + "modle: {}\nmodel: {trials: no, seed: -1}\n")
    text = str(error.value)
    assert str(tmp_path / "c.yaml") in text
    assert all(key in text for key in ("modle", "model.trials", "model.seed"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a list", "holds list, a mapping of keys is needed"),
        ("", "holds NoneType"),
        ("name:\tx\n\tdata: y", "not readable as YAML"),
        ("name: a\nname: b\n", "the key `name` stands here twice"),
        ("data: {leads: {path: a, path: b}}", "the key `path` stands here twice"),
        ("!!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("1: 2\nname: a", "(?s)1: .*string"),
        ("name: 2025-99-99", "not readable as YAML"),
    ],
)
def test_what_is_no_config_says_so(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config(tmp_path, text)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="not readable"):
        load(tmp_path)
    (tmp_path / "c.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="not readable"):
        load(tmp_path / "c.yaml")


def test_paths_with_variables_packages_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(tmp_path, HISTORY)
    monkeypatch.setenv("CRM_FOLDER", str(tmp_path / "crm"))
    assert made.resolve("${CRM_FOLDER}/a.csv") == tmp_path / "crm/a.csv"
    assert made.resolve("../a.csv") == tmp_path.parent / "a.csv"
    assert made.resolve(str(tmp_path / "a.csv")) == tmp_path / "a.csv"
    assert made.resolve("package:yaml/x") == Path(yaml.__file__).parent / "x"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("${NOT_SET_ANYWHERE}/x", "NOT_SET_ANYWHERE, which is not set. Set it"),
        ("package:no_such_package/x", "pip install no-such-package"),
        ("package:no.such.package/x", "not installed"),
        ("package:/x", "not installed"),
        ("~nobody_at_all/x", "home"),
    ],
)
def test_paths_that_lead_nowhere_say_what_to_do(tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        config(tmp_path, HISTORY).resolve(path)


def test_an_export_time_keeps_its_zone(tmp_path: Path) -> None:
    made = config(tmp_path, HISTORY, "data.exported_at=2025-01-01T01:00:00+01:00")
    assert made.data.exported_at == datetime(2025, 1, 1, tzinfo=UTC)
    config(tmp_path, HISTORY, "data.exported_at=2025-01-01", "data.timezone=Europe/Berlin")

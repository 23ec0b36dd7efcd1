"""A custom feature is a function of what one lead did before a moment, and of nothing else.

Each fact below was seen to fail once. In `windows.py`: `<` turned into `<=` in `seen`, `known_at` not asked,
the end and the start of `rows` taken with `side="right"`, `skip_days` ignored. In `custom.py`: rows of another
lead, views in place of fresh arrays, arrays left writable, texts without None at the end, `of_types` with the
old starts, days rounded, infinity, huge integers and text let through, NumPy's truth values refused, a window of
0 days, the original error dropped, nobody asked twice, or in the same order. In `plugins.py`: the
version, the entry point's name or its type not compared, a second package overlooked, a name twice, no events
needed, the original error dropped, `interest` up. In `work.py`: types beyond the vocabulary, rows swapped.
"""

import ast
import math
import random
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from doctest import DocTestParser
from importlib.metadata import entry_points
from pathlib import Path
from zlib import crc32

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lead_propensity import ConfigError, CustomFeature, DataError, History, ModelError
from lead_propensity.features import custom, matrix, plugins, snapshots
from lead_propensity.features.behaviour import sorting
from lead_propensity.features.behaviour.events import Events
from lead_propensity.features.behaviour.program import Texts
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.points import NO_RULES
from lead_propensity.features.windows import ObservationWindow
from worlds import DAY, config, database

T = 19_000 * DAY + 3_600_000_000
TYPES, CHANNELS, TOPICS = ("price", "signed", "visit"), ("mail", "web"), ("roofs",)
EVENTS = {"events": {"path": "events.csv"}}
quick = settings(max_examples=60, deadline=None)

Row = tuple[int, int, str, str | None, str | None, float | None]
"""occurred_at, known_at, type, channel, topic, value"""


TEXTS = Texts(TYPES, CHANNELS, TOPICS)
# Times at the boundaries: the snapshots, the edges of a window, a microsecond around them.
edges = st.sampled_from([0, 7 * DAY, 30 * DAY])
moments = st.builds(lambda edge, step: T - edge + step, edges, st.sampled_from([-DAY, -1, 0, 1]))
leads_rows = st.lists(
    st.lists(
        st.tuples(
            moments,
            moments,
            st.sampled_from(TYPES),
            st.sampled_from([*CHANNELS, None]),
            st.sampled_from([*TOPICS, None]),
            st.sampled_from([None, 1.0, -2.5]),
        ),
        max_size=8,
    ),
    min_size=1,
    max_size=4,
)
looks = st.lists(moments, min_size=1, max_size=4).map(sorted)


def numbered(row: Row) -> tuple:
    """A row as the bucket holds it: see `sorting.EVENT`."""
    named = zip((TYPES, CHANNELS, TOPICS), row[2:5], strict=True)
    places = [-1 if name is None else texts.index(name) for texts, name in named]
    return (*row[:2], math.nan if row[5] is None else row[5], *places, 0)


def in_order(rows: Sequence[Row]) -> list[Row]:
    """By time, type, channel, topic, known, value; missing values last."""
    values = (math.inf if row[5] is None else row[5] for row in rows)
    keys = [
        (row[0], *numbered(row)[3:6], row[1], value)
        for row, value in zip(rows, values, strict=True)
    ]
    return [rows[place] for place in sorted(range(len(rows)), key=keys.__getitem__)]


def delivered(leads: Sequence[Sequence[Row]]) -> Events:
    """The rows as the bucket brings them, each lead's in its total order."""
    starts = np.cumsum([0, *map(len, leads)])
    rows = np.array([numbered(row) for lead in leads for row in lead], dtype=sorting.EVENT)
    sorting.arrange(starts, rows, 0, len(leads))
    return Events(starts, rows)


def shown(rows: Sequence[Row]) -> float:
    """A number that is another one whenever a row is."""
    plain = [(row[0], *row[2:5], None if row[5] is None else row[5]) for row in rows]
    return float(crc32(repr(plain).encode()))


def everything(history: History) -> float:
    """What `shown` says of the rows that the function was given."""
    values = [None if math.isnan(value) else value for value in history.value.tolist()]
    columns = (history.occurred_at, history.event_type, history.channel, history.topic)
    rows = zip(*(column.tolist() for column in columns), values, strict=True)
    return shown([(row[0], 0, *row[1:]) for row in rows])


PROBE = CustomFeature("probe", "all that a function can see", everything)


def asked(
    feature: CustomFeature, leads: Sequence[Sequence[Row]], as_of: Sequence[int]
) -> np.ndarray:
    """One row a lead: the feature at each of the moments."""
    starts = np.arange(len(leads) + 1) * len(as_of)
    moments = np.array([*as_of] * len(leads), dtype=np.int64)
    found = custom.columns([feature], delivered(leads), TEXTS, starts, moments)
    assert found.shape == (1, len(moments))
    return found.reshape(len(leads), len(as_of))


def answer(compute: Callable[[History], object], rows: Sequence[Row] = ()) -> float:
    feature = CustomFeature("mine", "what it says", compute)  # type: ignore[arg-type]
    return float(asked(feature, [rows], [T])[0, 0])


@quick
@given(leads_rows, looks)
def test_a_function_sees_what_happened_and_was_known_before_the_snapshot(leads, as_of):
    expected = [
        [shown(in_order([row for row in rows if row[0] < now and row[1] < now])) for now in as_of]
        for rows in leads
    ]
    assert asked(PROBE, leads, as_of).tolist() == expected


@quick
@given(leads_rows, leads_rows, looks)
def test_what_comes_later_or_is_known_later_changes_nothing(leads, others, as_of):
    """Rows are added from the first snapshot on: it cannot tell."""
    first = as_of[0]
    later = [row for rows in others for row in rows if row[0] >= first or row[1] >= first]
    before = asked(PROBE, leads, as_of)[:, 0]
    assert (
        asked(PROBE, [[*rows, *later] for rows in leads], as_of)[:, 0].tolist() == before.tolist()
    )


@quick
@given(leads_rows, looks)
def test_one_at_a_time_is_all_at_once(leads, as_of):
    alone = [[asked(PROBE, [rows], [now])[0, 0] for now in as_of] for rows in leads]
    assert asked(PROBE, leads, as_of).tolist() == alone


@quick
@given(leads_rows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(leads, chance: random.Random):
    shuffled = [chance.sample(rows, len(rows)) for rows in leads]
    assert asked(PROBE, shuffled, [T]).tolist() == asked(PROBE, leads, [T]).tolist()


@quick
@given(leads_rows, st.sets(st.sampled_from(TYPES)))
def test_events_of_other_types_are_not_seen(leads, types):
    fewer = Texts(TYPES[:2], CHANNELS, TOPICS)  # to them, a visit is of a type beyond all
    for texts, wanted in ((TEXTS, types), (fewer, types - {"visit"})):
        kept = custom.of_types(delivered(leads), texts, wanted)
        expected = delivered([[row for row in rows if row[2] in wanted] for rows in leads])
        assert kept.starts.tolist() == expected.starts.tolist()
        assert kept.rows.tobytes() == expected.rows.tobytes()


def in_window(window: ObservationWindow, rows: Sequence[Row]) -> list[int]:
    """The times of the rows that the SQL condition lets through at T."""
    times = {"occurred": [row[0] for row in rows], "known": [row[1] for row in rows], "T": T}
    found = DATABASE.execute(
        f"""WITH e AS (SELECT unnest($occurred::BIGINT[]) AS occurred_at, unnest($known::BIGINT[]) AS known_at),
            s AS (SELECT $T::BIGINT AS as_of)
            SELECT occurred_at FROM e, s WHERE {window.where("e", "s")} ORDER BY 1""",
        times,
    ).fetchall()
    return [row[0] for row in found]


DATABASE = duckdb.connect()


@quick
@given(leads_rows, st.sampled_from([1, 7, 30]))
def test_a_history_within_days_is_the_window_of_the_database(leads, days):
    """Two forms of one definition: the SQL condition and the slice of sorted times."""
    expected = in_window(ObservationWindow(days), leads[0])
    assert answer(lambda history: crc32(history.within(days).occurred_at), leads[0]) == crc32(
        np.array(expected, dtype=np.int64)
    )


@quick
@given(leads_rows, st.sampled_from([7, 30]))
def test_a_window_that_ends_earlier_is_the_window_of_the_database(leads, days):
    window = ObservationWindow(days, skip_days=7)
    rows = sorted((row[0], T - 1) for row in leads[0])
    times = np.array([row[0] for row in rows], dtype=np.int64)
    assert times[window.rows(times, T)].tolist() == in_window(window, rows)  # type: ignore[arg-type]


ROWS: list[Row] = [
    (T - 40 * DAY, T - 40 * DAY, "visit", "web", "roofs", 2.0),
    (T - 30 * DAY, T - 30 * DAY, "price", None, None, None),
    (T - DAY, T - DAY, "visit", "mail", None, 1.0),
    (T + DAY, T + DAY, "price", "web", "roofs", 9.0),
]


def test_a_history_has_its_days_and_its_types():
    def check(history: History) -> None:
        assert history.days_ago.tolist() == [40.0, 30.0, 1.0]
        assert history.of("visit").value.tolist() == [2.0, 1.0]
        assert history.within(30).of("visit", "price").event_type.tolist() == ["price", "visit"]
        assert len(history.of()) == len(history.of("unheard")) == 0

    assert math.isnan(answer(check, ROWS))


COLUMNS = ("occurred_at", "event_type", "channel", "topic", "value")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(
    "part",
    [lambda h: h, lambda h: h.within(30), lambda h: h.of("visit")],
    ids=["all", "within", "of"],
)
def test_nobody_writes_into_a_history(part, column: str):
    def write(history: History) -> None:
        getattr(part(history), column)[0] = 0

    with pytest.raises(DataError, match="read-only"):
        answer(write, ROWS)


@pytest.mark.parametrize("column", COLUMNS)
def test_an_array_does_not_lead_back_to_what_comes_later(column: str):
    def base(history: History) -> bool:
        return getattr(history, column).base is None

    assert answer(base, ROWS) == 1.0


def test_who_forces_an_array_open_spoils_nothing_for_the_next():
    def spoil(history: History) -> float:
        total = float(np.nansum(history.value))
        history.value.setflags(write=True)
        history.value[:] = 100.0
        return total

    features = [CustomFeature("one", "a", spoil), CustomFeature("two", "b", spoil)]
    starts, as_of = np.array([0, 2]), np.array([T - 1, T])
    found = custom.columns(features, delivered([ROWS]), TEXTS, starts, as_of)
    assert found.tolist() == [[3.0, 3.0], [3.0, 3.0]]


@pytest.mark.parametrize(
    ("given_value", "number"),
    [
        (3, 3.0),
        (True, 1.0),
        (np.int64(4), 4.0),
        (np.bool_(False), 0.0),
        (np.float32(0.5), 0.5),
        (-0.5, -0.5),
    ],
)
def test_numbers_and_truth_values_are_numbers(given_value: object, number: float):
    assert answer(lambda history: given_value) == number


@pytest.mark.parametrize("nothing", [None, math.nan, np.float64("nan")])
def test_nothing_to_say_is_missing(nothing: object):
    assert math.isnan(answer(lambda history: nothing))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("3", r"gave '3' \(str\)"),
        (math.inf, r"gave inf \(float\)"),
        (-math.inf, r"gave -inf \(float\)"),
        (10**400, r"gave 1000.*\.\.\..*000 \(int\)"),
        (1j, r"gave 1j \(complex\)"),
        (np.array([1.0]), r"gave array\(\[1\.\]\) \(ndarray\)"),
    ],
    ids=["text", "inf", "-inf", "too large", "complex", "array"],
)
def test_what_is_no_finite_number_stops_the_run(wrong: object, words: str):
    with pytest.raises(DataError, match=f"custom feature 'mine' {words}.* a finite number"):
        answer(lambda history: wrong)


def test_a_failing_function_is_named_with_its_lead_and_moment():
    def fails(history: History) -> float:
        return 1 / (len(history) - 3)

    feature = CustomFeature("mine", "what it says", fails)
    with pytest.raises(DataError) as caught:
        asked(feature, [[], ROWS], [T - 60 * DAY, T])
    assert "custom feature 'mine' failed with ZeroDivisionError" in str(caught.value)
    assert "on lead 1 as of 2022-01-08T01:00:00+00:00" in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_window_without_days_is_refused():
    with pytest.raises(DataError, match=r"within\(days=0\): a window has at least one day"):
        answer(lambda history: len(history.within(0)), ROWS)


def memory() -> Callable[[History], float]:
    seen: list[int] = []

    def compute(history: History) -> float:
        seen.append(len(history))
        return sum(seen)

    return compute


def last_call() -> Callable[[History], bool]:
    """Gives the same again to whoever asks in the same order."""
    moments: list[int] = [0]

    def compute(history: History) -> bool:
        moments.append(history.as_of)
        return moments[-1] - moments[-2] == 1

    return compute


@pytest.mark.parametrize(
    "compute",
    [
        memory(),
        last_call(),
        lambda history: time.perf_counter_ns(),
        lambda history: np.random.default_rng().random(),
    ],
    ids=["memory", "last call", "clock", "chance"],
)
def test_a_function_of_more_than_its_history_is_found_out(compute):
    feature = CustomFeature("mine", "what it says", compute)
    with pytest.raises(DataError, match=r"gave .* when first asked, .* when asked again"):
        asked(feature, [ROWS], [T - 1, T])


def test_no_features_and_no_snapshots_are_no_columns():
    nobody = np.array([0, 0]), np.array([], dtype=np.int64)
    assert custom.columns([], delivered([ROWS]), TEXTS, *nobody).shape == (0, 0)
    assert custom.columns([PROBE], delivered([[]]), TEXTS, *nobody).shape == (1, 0)


@pytest.mark.parametrize("name", ["", "Visit", "visit gap", "2nd", "visit-gap"])
def test_a_name_is_plain(name: str):
    with pytest.raises(ConfigError, match="small letters, digits and _"):
        CustomFeature(name, "words", len)


@pytest.mark.parametrize("words", [{"meaning": " "}, {"window": ""}, {"version": ""}])
def test_a_feature_has_words(words: dict[str, str]):
    with pytest.raises(ConfigError, match="meaning, window and version need words"):
        CustomFeature(**{"name": "mine", "meaning": "words", "compute": len} | words)


# Installed packages


def install(folder: Path, package: str, code: str, *names: str) -> None:
    """A package of one module, as pip leaves it; every name is an object of the module."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(f"from lead_propensity import CustomFeature\n{code}\n")
    info = folder / f"{module}-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.1\n")
    lines = [f"{name} = {module}:{name}" for name in names]
    (info / "entry_points.txt").write_text("\n".join([f"[{plugins.GROUP}]", *lines]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are installed to."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def wanting(*names: str):
    found = config(features={"custom": names})
    return found.model_copy(
        update={"data": found.data.model_copy(update={"events": found.data.leads})}
    )


def test_an_installed_feature_is_found_by_its_name(plugin: Path):
    rows = plugins.learn(wanting("visit_gap", "price_share", "visit_gap"))
    definition = {"custom": rows}
    assert [row["name"] for row in rows] == ["price_share", "visit_gap"]
    assert {row["package"] for row in rows} == {"lead-habits==1.0"}
    price_share, visit_gap = plugins.features(definition)
    assert (visit_gap.name, visit_gap.kind) == ("custom__visit_gap", "implicit")
    assert visit_gap.meaning == "days between the last two visits"
    assert price_share.window == "last 30 days"
    assert [asked(feature, [ROWS], [T])[0, 0] for feature in plugins.load(definition)] == [
        0.5,
        39.0,
    ]


def test_a_custom_feature_stays_out_of_interest(plugin: Path):
    rows = plugins.features({"custom": plugins.learn(wanting("visit_gap"))})
    assert [row.interest for row in rows] == ["not_in_interest"]


def test_the_docs_show_the_package_that_the_tests_install(plugin: Path):
    page = (plugin.parents[1] / "docs" / "custom-features.md").read_text(encoding="utf-8")
    shown = "".join(example.source for example in DocTestParser().get_examples(page))
    written = ast.parse((plugin / "lead_habits.py").read_text(encoding="utf-8")).body[2:]
    assert len(written) == 4
    assert {ast.dump(one) for one in written} <= {ast.dump(one) for one in ast.parse(shown).body}
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])["project"]
    registered = {entry.name: entry.value for entry in entry_points(group=plugins.GROUP)}
    assert project["entry-points"] == {plugins.GROUP: registered}


def test_another_process_finds_it_too(plugin: Path):
    code = (
        "from lead_propensity.features import plugins; "
        "print([f.name for f in plugins.load({'custom': [{'name': 'visit_gap', 'version': '1', 'package': '-'}]})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['visit_gap']"


def test_an_unknown_name_is_a_typing_error(plugin: Path):
    with pytest.raises(
        ConfigError, match="'visit_gab', which no package brings; did you mean 'visit_gap'"
    ):
        plugins.learn(wanting("visit_gab"))
    with pytest.raises(ConfigError, match=r"'zzz', .* there are: 'price_share', 'visit_gap'\."):
        plugins.learn(wanting("zzz"))


def test_without_a_package_there_is_nothing_to_name():
    with pytest.raises(ConfigError, match="'visit_gap', which no package brings; there are: none"):
        plugins.learn(wanting("visit_gap"))


def test_one_name_from_two_packages_is_refused(plugin: Path, site: Path):
    install(site, "more-habits", "visit_gap = CustomFeature('visit_gap', 'a', len)", "visit_gap")
    definition = {"custom": [{"name": "visit_gap", "version": "1", "package": "lead-habits==1.0"}]}
    both = "lead-habits==1.0 and more-habits==2.1"
    with pytest.raises(ConfigError, match=f"comes from {both}; uninstall"):
        plugins.learn(wanting("visit_gap"))
    with pytest.raises(ModelError, match=f"{both} brings it"):
        plugins.load(definition)


def test_custom_features_need_events():
    with pytest.raises(
        ConfigError, match=r"names visit_gap, but the config declares no data\.events"
    ):
        plugins.learn(config(features={"custom": ["visit_gap"]}))


def test_without_custom_features_no_package_is_loaded(site: Path):
    install(site, "broken-at-import", "raise RuntimeError('no licence')", "anything")
    assert plugins.learn(config()) == []
    assert plugins.load({"custom": []}) == plugins.features({"custom": []}) == []


@pytest.mark.parametrize(
    ("package", "code", "words"),
    [
        (
            "no-licence",
            "raise RuntimeError('no licence')",
            "cannot be loaded from .*RuntimeError: no licence",
        ),
        ("no-object", "", "cannot be loaded from no_object:mine: AttributeError"),
        ("bare-function", "mine = len", "is builtin_function_or_method, not a CustomFeature"),
        ("other-name", "mine = CustomFeature('yours', 'a', len)", "calls itself 'yours'"),
    ],
)
def test_a_broken_package_is_named(site: Path, package: str, code: str, words: str):
    install(site, package, code, "mine")
    with pytest.raises(ConfigError, match=f"'mine' of {package}==2.1.*{words}"):
        plugins.learn(wanting("mine"))


def test_what_broke_a_package_is_told_with_it(site: Path):
    install(site, "no-key", "raise RuntimeError('no key')", "mine")
    with pytest.raises(ConfigError) as caught:
        plugins.learn(wanting("mine"))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_model_refuses_another_version_and_says_what_to_install(plugin: Path):
    row = plugins.learn(wanting("visit_gap"))[0]
    asked_for = "'visit_gap' version 0 of lead-habits==0.9"
    with pytest.raises(ModelError, match=f"{asked_for}; lead-habits==1.0 brings version 1"):
        plugins.load({"custom": [row | {"version": "0", "package": "lead-habits==0.9"}]})


def test_a_model_refuses_where_the_package_is_gone():
    row = {"name": "visit_gap", "version": "1", "package": "lead-habits==1.0"}
    with pytest.raises(
        ModelError, match=r"version 1 of lead-habits==1\.0; no package brings it\nInstall"
    ):
        plugins.load({"custom": [row]})


# In the matrix


NAMES = ("price_share", "visit_gap")
USED = {"custom": NAMES, "exclude_events": ["signed"]}
MATRIX = wanting().model_copy(
    update={
        "features": config(features=USED).features,
        "snapshots": config(snapshots={"horizon_days": 30, "max_age_days": 3650}).snapshots,
    }
)


def in_database(leads: Sequence[Sequence[Row]], threads: int = 1) -> duckdb.DuckDBPyConnection:
    names = [f"L{number}" for number in range(len(leads))]
    events = [
        (name, *row[:1], *row[2:], row[1])
        for name, rows in zip(names, leads, strict=True)
        for row in rows
    ]
    return database([(name, T - 400 * DAY, name) for name in names], events, threads=threads)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Learned before `late` is first seen."""
    world = [[(T - 300 * DAY, T - 300 * DAY, name, "web", None, 1.0) for name in TYPES]] * 12
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(Path(__file__).parent / "plugin")
        return matrix.learn(in_database(world), MATRIX, T - DAY).catalogue


def in_matrix(catalogue: Catalogue, leads: Sequence[Sequence[Row]], as_of: int = T) -> pd.DataFrame:
    con = in_database(leads)
    snapshots.make_open(con, MATRIX.snapshots, as_of)
    return matrix.build(con, catalogue, NO_RULES).X


def by_hand(rows: Sequence[Row], as_of: int) -> list[float]:
    seen = [row for row in rows if row[0] < as_of and row[1] < as_of]
    rows = in_order([row for row in seen if row[2] in ("visit", "price")])
    visits = [row[0] for row in rows if row[2] == "visit"]
    recent = [row[2] for row in rows if row[0] >= as_of - 30 * DAY]
    share = recent.count("price") / len(recent) if recent else math.nan
    return [share, (visits[-1] - visits[-2]) / DAY if len(visits) > 1 else math.nan]


@settings(quick, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(leads_rows, moments)
def test_the_matrix_has_the_columns_of_the_package(plugin, catalogue, leads, as_of):
    """Excluded events, and types first seen after the learning, are not there."""
    leads = [[*rows, (T - 50 * DAY, T - 50 * DAY, "late", None, None, None)] for rows in leads]
    X = in_matrix(catalogue, leads, as_of)
    expected = [by_hand(rows, as_of) for rows in leads]
    found = X[[f"custom__{name}" for name in NAMES]]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)  # differences of days


def test_another_version_has_another_fingerprint(plugin: Path, catalogue: Catalogue):
    rows = [row | {"version": "2"} for row in catalogue.definition["custom"]]
    other = Catalogue(catalogue.features, catalogue.definition | {"custom": rows})
    assert other.fingerprint != catalogue.fingerprint
    with pytest.raises(ModelError, match="brings version 1"):
        in_matrix(other, [[]])

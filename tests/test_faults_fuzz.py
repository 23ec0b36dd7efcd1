"""Fuzz: whatever a config, a table or a model folder holds, the answer is a right one or an error of ours.

`SOAK=20 pytest tests/test_faults_fuzz.py` tries twenty times as many cases, each time others.
"""

import copy
import io
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory_tables import CLEAN, HEADERS, checked, write_csv
from lead_propensity.config import Config, load
from lead_propensity.errors import ConfigError, DataError, LeadPropensityError, ModelError
from lead_propensity.model import storage
from lead_propensity.model.propensity import PropensityModel
from model_world import config as model_config
from model_world import dataset

SOAK = int(os.environ.get("SOAK", "0"))


def cases(number: int) -> Callable[[Any], Any]:
    """So many cases, the same in every run of CI; with SOAK so many times as many, and others."""
    return settings(
        max_examples=number * max(1, SOAK),
        deadline=None,
        derandomize=SOAK == 0,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


WORDS = st.sampled_from(
    ["", " ", "\0", "\n", "'", '"', ";", "--", "../x", "/", "~", "${HOME}", "${}", "{{x}}", "%s", "<script>",
     "=1+1", "NULL", "nan", "inf", "-inf", "1e999", "0", "-1", "true", "no", "all", "2024-01-01", "UTC",
     "9999-12-31T23:59:59Z", "Europe/Berlin", "L1", "won", "lost", "SELECT 1", "postgresql://a:b@c/d",
     "\ufeff", "\u202e", "\ud7ff", "\U0001f600", "x" * 300]
)  # fmt: skip
NUMBERS = st.sampled_from(
    [0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**400, 0.0, -0.0, 1e-320, 1e308, 0.5, 1.0, -1.5,
     float("nan"), float("inf"), float("-inf")]
)  # fmt: skip
PLAIN = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=6)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)
Place = tuple[str | int, ...]


def places(tree: Any, above: Place = ()) -> list[Place]:
    """Every place of a tree of mappings and lists; of a long list the first two."""
    found = [above] if above else []
    if isinstance(tree, dict):
        return found + [one for key in tree for one in places(tree[key], (*above, key))]
    if isinstance(tree, list):
        return found + [
            one for n in range(min(2, len(tree))) for one in places(tree[n], (*above, n))
        ]
    return found


def mutated(tree: Any, place: Place, kind: str, value: Any) -> Any:
    """The tree with one place replaced, removed, or given one more entry."""
    made = copy.deepcopy(tree)
    node = made
    for step in place[:-1]:
        node = node[step]
    if kind == "remove":
        del node[place[-1]]
    elif kind == "add" and isinstance(node[place[-1]], dict):
        node[place[-1]][value if isinstance(value, str) else "new"] = value
    elif kind == "add" and isinstance(node[place[-1]], list):
        node[place[-1]].append(value)
    else:
        node[place[-1]] = value
    return made


def hurt(content: bytes, place: float, kind: str, piece: bytes) -> bytes:
    """The bytes cut off, overwritten, without some, or with some more at a place (0 to 1)."""
    at = int(place * len(content))
    if kind == "cut":
        return content[:at]
    skipped = {"overwrite": len(piece), "remove": len(piece), "insert": 0}[kind]
    return content[:at] + (b"" if kind == "remove" else piece) + content[at + skipped :]


PIECES = st.binary(min_size=1, max_size=8) | WORDS.map(lambda word: word.encode()[:12] or b"\0")
HURTS = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["cut", "overwrite", "remove", "insert"]),
    PIECES,
)
KINDS = st.sampled_from(["replace", "replace", "replace", "remove", "add"])

# The config.

HISTORY = {"leads": {"path": "l.csv"}, "attributes": {"path": "a.csv"}, "events": {"sql": "SELECT 1"},
           "deals": {"path": "d.csv"}}  # fmt: skip
FULL = json.loads(
    Config.model_validate(
        {"name": "a", "data": {**HISTORY, "raw": {"log": "x.csv"}}, "rules": "rules.yaml"}
    ).model_dump_json()
)
FULL_PLACES = places(FULL)
GOOD_TEXT = Path(__file__).parents[1].joinpath("configs", "olist_mql.yaml").read_bytes()


def loaded(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_bytes(content)
        try:
            made = load(path)
        except ConfigError as error:
            assert len(str(error)) < 20_000
            return
        said = made.model_dump_json()
        assert Config.model_validate_json(said).model_dump_json() == said


@cases(1_200)
@given(st.lists(st.tuples(st.sampled_from(FULL_PLACES), KINDS, VALUES), min_size=1, max_size=3))
def test_a_config_with_anything_in_any_place_loads_or_is_a_config_error(
    changes: list[tuple[Place, str, Any]],
) -> None:
    tree = FULL
    for place, kind, value in changes:
        try:
            tree = mutated(tree, place, kind, value)
        except (KeyError, TypeError, IndexError):  # an earlier change took the place away
            continue
    loaded(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@cases(1_200)
@given(st.lists(HURTS, min_size=1, max_size=4))
def test_a_config_of_damaged_text_loads_or_is_a_config_error(
    hurts: list[tuple[float, str, bytes]],
) -> None:
    content = GOOD_TEXT
    for place, kind, piece in hurts:
        content = hurt(content, place, kind, piece)
    loaded(content)


@cases(500)
@given(st.text(st.sampled_from("[]{}&*!|>-:?,#%@`\"' \n\tab01<"), max_size=40))
def test_any_signs_of_yaml_are_a_config_error(text: str) -> None:
    loaded(text.encode())


# Tables.

CELLS = st.sampled_from(
    ["", " ", "L1", "L2", "L1 ", "won", "lost", "2024-01-01", "2024-01-01T00:00:00Z", "2024-03-01T00:00:00+14:00",
     "1900-01-01", "1899-12-31", "2200-01-01", "9999-12-31", "1970-01-01T00:00:00Z", "infinity", "1e15", "-1e15",
     "1e308", "nan", "-1", "0", "0.0000001", "'", '"', ",", "\n", "\r", "\0", "=1+1", "NULL", "\u202e",
     "\U0001f600", "x" * 5_000]
) | st.text(max_size=4)  # fmt: skip
NAMES = st.sampled_from(
    ["lead_id", "created_at", "group_id", "attribute", "value", "known_at", "occurred_at", "event_type", "channel",
     "topic", "closed_at", "outcome", "amount", "won", "part", "order", "as_of", "row", "reason", "rowid", "c0",
     "lead_id_1", "Lead_ID", "", " ", "a,b", 'a"b', "a\nb", "'; --"]
)  # fmt: skip
ARROW = st.sampled_from(
    [pa.string(), pa.large_string(), pa.binary(), pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_(),
     pa.date32(), pa.timestamp("s"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "Europe/Berlin"), pa.time64("us"),
     pa.decimal128(38, 10), pa.list_(pa.string()), pa.struct([("a", pa.int64())]), pa.null()]
)  # fmt: skip


def looked_at(tables: dict[str, tuple[str, bytes]]) -> None:
    """Read and checked with these files in the place of the clean ones: the counts add up, or a DataError."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        declared: dict[str, Any] = {}
        for name in dict.fromkeys(("leads", "deals", *tables)):  # the others need not be there
            file = (
                folder / f"{name}.{tables[name][0]}" if name in tables else folder / f"{name}.csv"
            )
            if name in tables:
                file.write_bytes(tables[name][1])
            else:
                write_csv(file, HEADERS[name], CLEAN[name])
            declared[name] = {"path": file.name}
        try:
            result = checked(folder, declared | {"timezone": "UTC", "max_quarantine_share": 1.0})
        except LeadPropensityError as error:
            assert isinstance(error, DataError)
            assert len(str(error)) < 20_000
            return
        for count in result.found.counts:
            aside = result.rows(f"quarantine_{count.table}", "count(*)")[0][0]
            assert count.kept + aside == count.rows
        result.con.close()


def csv_bytes(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_csv(Path(folder) / "x.csv", HEADERS[name], CLEAN[name][:4]).read_bytes()


def parquet_bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


WHOLE = {
    ("csv", name): csv_bytes(name) for name in CLEAN
} | {
    ("parquet", name): parquet_bytes(
        pa.table(dict(zip(HEADERS[name], zip(*CLEAN[name][:4], strict=True), strict=True)))
    )
    for name in CLEAN
}  # fmt: skip


@cases(1_000)
@given(st.sampled_from(list(WHOLE)), st.lists(HURTS, min_size=1, max_size=3))
def test_a_damaged_file_is_read_or_a_data_error(
    which: tuple[str, str], hurts: list[tuple[float, str, bytes]]
) -> None:
    content = WHOLE[which]
    for place, kind, piece in hurts:
        content = hurt(content, place, kind, piece)
    looked_at({which[1]: (which[0], content)})


@cases(500)
@given(st.data())
def test_a_csv_of_any_cells_keeps_or_sets_aside_every_row(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(CLEAN)))
    head = [data.draw(st.just(column) | NAMES) for column in HEADERS[name]]
    rows = [[data.draw(CELLS) for _ in head] for _ in range(data.draw(st.integers(0, 4)))]
    with tempfile.TemporaryDirectory() as folder:
        content = write_csv(Path(folder) / "x.csv", head, rows).read_bytes()
    looked_at({name: ("csv", content)})


@cases(500)
@given(st.data())
def test_a_parquet_of_any_types_keeps_or_sets_aside_every_row(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(CLEAN)))
    columns = []
    for column in range(len(HEADERS[name])):
        kind = data.draw(ARROW)
        numbers = [data.draw(st.integers(-(2**63), 2**63 - 1)) for _ in range(3)]
        columns.append(_array(kind, CLEAN[name][0][column], numbers))
    head = [data.draw(st.just(column) | NAMES) for column in HEADERS[name]]
    looked_at({name: ("parquet", parquet_bytes(pa.Table.from_arrays(columns, names=head)))})


def _array(kind: pa.DataType, clean: str, numbers: list[int]) -> pa.Array:
    """Three cells: clean text where the type is text, else the bits of the numbers."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return pa.array([clean, None, clean], kind)
    if pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_boolean(kind):
        return pa.nulls(3, kind)
    if pa.types.is_decimal(kind):
        return pa.array(numbers, pa.int64()).cast(kind)
    if pa.types.is_time(kind):
        numbers = [number % 86_400_000_000 for number in numbers]
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        numbers = [number // 2_000 for number in numbers]  # pyarrow writes milliseconds
    bits = np.array(numbers, np.int64)
    width = kind.bit_width // 8
    return pa.Array.from_buffers(
        kind, 3, [None, pa.py_buffer(bits.view(np.uint8).reshape(3, 8)[:, :width].tobytes())]
    )


# The model folder.


@pytest.fixture(scope="module")
def model_files() -> dict[str, bytes]:
    """A blend of lines and trees, of few rows and the first trees alone, so that it loads in milliseconds."""
    data = dataset(leads=150)
    files = PropensityModel.fit(data, model_config(min_wins_trees=20, trials=1)).to_files()
    return {name: first_trees(one) if name.endswith(".txt") else one for name, one in files.items()}


def first_trees(text: bytes) -> bytes:
    short = lightgbm.Booster(model_str=text.decode()).model_to_string(num_iteration=3)
    return re.sub(r"^\[num_threads: \d+\]\n", "", short, flags=re.MULTILINE).encode()


@pytest.fixture(scope="module")
def newest() -> Any:
    return dataset(leads=150).part("test").X.head(5)


def scored(files: dict[str, bytes], X: Any) -> None:
    """The folder, its digests put right, loads and scores, or is a ModelError."""
    with tempfile.TemporaryDirectory() as folder:
        storage.write(Path(folder), files)
        try:
            model = PropensityModel.load(Path(folder))
            said = model.predict(X, model.catalogue.fingerprint)
        except ModelError as error:
            assert len(str(error)) < 20_000
            return
    assert ((said.probability_untracked >= 0) & (said.probability_untracked <= 1)).all()


@cases(1_000)
@given(st.data())
def test_a_model_with_anything_in_any_place_scores_or_is_a_model_error(
    model_files: dict[str, bytes], newest: Any, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(one for one in model_files if one.endswith(".json"))))
    tree = json.loads(model_files[name])
    place = data.draw(st.sampled_from(places(tree)))
    made = mutated(tree, place, data.draw(KINDS), data.draw(VALUES))
    scored({**model_files, name: json.dumps(made).encode()}, newest)


@cases(1_000)
@given(st.data())
def test_a_model_of_damaged_text_scores_or_is_a_model_error(
    model_files: dict[str, bytes], newest: Any, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(model_files)))
    content = model_files[name]
    for place, kind, piece in data.draw(st.lists(HURTS, min_size=1, max_size=3)):
        content = hurt(content, place, kind, piece)
    scored({**model_files, name: content}, newest)

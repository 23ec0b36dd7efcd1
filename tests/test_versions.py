"""An attribute at a snapshot is its latest version known before, however the work is cut.

Each was seen to fail once in `features/versions.py` and `features/windows.py`: `known_at <= as_of`;
`known_at > created_at` for a column's versions; no filter by creation at all; an empty column that still
hides older versions; `arg_min` for `arg_max`; an explicit null written as no version, or read as the
lead's own column; `first_value` for `last_value`; carried over the bucket instead of the lead; `min(as_of)`
for a lead's last snapshot; the lead's column for a version of the same name left out; the bucket's
condition on the moments left out; news joined on the lead without its moment.
"""

from collections.abc import Sequence

import duckdb
import pandas as pd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lead_propensity.features import versions
from lead_propensity.features.timeline import SHAPE
from worlds import DAY, database

LEAP = 19_782 * DAY
"""29 February 2024, 00:00."""
CREATED = LEAP - 10 * DAY
NAMES = ("size", 'bud"get', "number", "industry")
"""`size` and `number` are columns of the leads, `industry` has no version, `number` is a word of ours."""
OWN = pd.DataFrame(
    {"lead_id": ["a", "b", "c"], "size": ["7", None, "8"], "number": ["1", "2", None]}
).assign(industry=["x", None, "y"])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

looks = st.sampled_from([CREATED + 1, LEAP - DAY, LEAP, LEAP + 1, LEAP + DAY])
snapshot_rows = st.lists(
    st.tuples(st.sampled_from("abc"), looks, st.sampled_from(["training", "stock"])),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip
moments = st.builds(
    lambda edge, step: edge + step,
    st.sampled_from([CREATED, LEAP - DAY, LEAP, LEAP + DAY]),
    st.sampled_from([-1, 0, 1]),
)
version_rows = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(NAMES[:3]), st.sampled_from(["", "-", "=", "5", None]), moments
    ),
    max_size=20, unique_by=lambda row: (row[0], row[1], row[3]),
)  # fmt: skip


def world(rows: Sequence[tuple]) -> duckdb.DuckDBPyConnection:
    leads = [(lead, CREATED, lead) for lead in "abc"]
    return database(leads, attributes=rows, lead_attributes=OWN)


def look(con: duckdb.DuckDBPyConnection, looked: Sequence[tuple], buckets: int) -> None:
    con.execute(SHAPE)
    con.executemany(
        "INSERT INTO snapshots (snapshot_id, lead_id, as_of, population, bucket) VALUES (?, ?, ?, ?, ?)",
        [(n, *row, ord(row[0]) % buckets) for n, row in enumerate(looked)],
    )


def known(
    con: duckdb.DuckDBPyConnection, buckets: int = 1, names: Sequence[str] = NAMES
) -> list[tuple]:
    """(snapshot_id, as_of, texts ...) of all buckets."""
    sql = versions.known(con, names, {})
    texts = "".join(f", {versions.text_of(name)}" for name in names)
    query = f"SELECT k.snapshot_id, k.as_of{texts} FROM ({sql}) AS k"
    rows = [con.execute(query, {"bucket": n}).fetchall() for n in range(buckets)]
    return sorted(row for bucket in rows for row in bucket)


def oracle(rows: Sequence[tuple], lead: str, name: str, as_of: int) -> str | None:
    seen = [(row[3], 1, row[2]) for row in rows if row[:2] == (lead, name) and row[3] < as_of]
    own = OWN.set_index("lead_id")[name][lead] if name in OWN else None
    if isinstance(own, str):
        seen.append((CREATED, 0, own))  # a version of that instant is newer
    return max(seen, key=lambda version: version[:2])[2] if seen else None


@quick
@given(rows=version_rows, looked=snapshot_rows, buckets=st.sampled_from([1, 2, 3]))
@example(
    rows=[("a", "size", None, LEAP - 1), ("a", "number", "5", LEAP - 1), ("a", 'bud"get', "5", LEAP)],
    looked=[("a", LEAP, "training"), ("a", LEAP, "stock"), ("a", LEAP + 1, "stock")],
    buckets=2,
)  # fmt: skip
@example(
    rows=[("a", "size", "5", CREATED), ("b", "size", "5", CREATED - 1), ("a", "number", "5", CREATED - 1)],
    looked=[("a", LEAP, "stock"), ("b", LEAP, "stock")],
    buckets=1,
)  # fmt: skip
def test_each_snapshot_has_one_row_with_what_was_known_before_it(
    rows: list[tuple], looked: list[tuple], buckets: int
) -> None:
    con = world([*rows, ("c", 'bud"get', "0", LEAP + 9 * DAY)])
    look(con, looked, buckets)
    expected = [
        (number, as_of, *(oracle(rows, lead, name, as_of) for name in NAMES))
        for number, (lead, as_of, _) in enumerate(looked)
    ]
    assert known(con, buckets) == expected


@quick
@given(rows=version_rows, later=version_rows, order=st.randoms(use_true_random=False))
def test_rows_not_yet_known_and_the_order_of_the_rows_change_nothing(
    rows: list[tuple], later: list[tuple], order: object
) -> None:
    seen = [row for row in rows if row[3] < LEAP]
    shuffled = [*seen, *(row for row in later if row[3] >= LEAP)]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    always = [("c", 'bud"get', "0", CREATED - DAY)]
    found = []
    for given_rows in (seen, shuffled):
        con = world([*always, *given_rows])
        look(con, [("a", LEAP, "stock"), ("b", LEAP, "stock"), ("a", LEAP - DAY, "stock")], 1)
        found.append(known(con))
    assert found[0] == found[1]


def test_a_connection_may_ask_again_with_other_names_and_other_snapshots() -> None:
    con = world([("a", "size", "5", LEAP - 1), ("b", 'bud"get', "6", LEAP)])
    look(con, [("a", LEAP, "stock")], 1)
    assert known(con, names=["size"]) == [(0, LEAP, "5")]
    look(con, [("b", LEAP + 1, "training"), ("a", LEAP - 1, "training")], 2)
    assert known(con, 2, ["size", 'bud"get']) == [
        (0, LEAP + 1, None, "6"),
        (1, LEAP - 1, "7", None),
    ]
    assert known(con, 2, ["industry"]) == [(0, LEAP + 1, None), (1, LEAP - 1, "x")]
    assert known(con, 2, []) == [(0, LEAP + 1), (1, LEAP - 1)]
    con.execute("DELETE FROM snapshots")
    assert known(con, names=["size"]) == []


def test_a_version_is_stored_once_however_many_snapshots_see_it() -> None:
    """And only where a snapshot can see it: the work grows with versions and snapshots, not with pairs."""
    con = world(
        [("a", "size", "5", LEAP), ("a", "size", "6", LEAP + 90 * DAY), ("b", "size", "5", LEAP)]
    )
    look(con, [("a", LEAP + n * DAY, "stock") for n in range(50)], 1)
    assert [row[2] for row in known(con, names=["size"])] == ["7"] + ["5"] * 49
    assert con.execute("SELECT count(*) FROM seen_versions").fetchall() == [(1,)]

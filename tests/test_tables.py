"""The contracts: every row is kept or set aside with its reason, whatever an export holds."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_tables import CLEAN, HEADERS, Checked, checked, history, write_csv
from lead_propensity.data.tables import write_quarantine
from lead_propensity.errors import DataError

ODD = "a\"b;c'd\n../e, ü"
EXPORT = "2024-03-10T00:00:00Z"


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def counts_add_up(result: Checked) -> None:
    aside = Counter[str]()
    for finding in result.found.quarantined:
        aside[finding.table] += finding.count
    for count in result.found.counts:
        assert count.rows == count.kept + aside[count.table]
        assert len(result.rows(count.table)) == count.kept
        assert len(result.rows(f"quarantine_{count.table}")) == aside[count.table]


def test_clean_tables_are_kept_whole(tmp_path: Path) -> None:
    result = history(tmp_path, tolerant=False)
    assert (result.found.problems, result.found.unlearnable, result.reasons()) == ((), (), {})
    assert [(c.table, c.rows, c.kept) for c in result.found.counts] == [
        ("leads", 20, 20), ("attributes", 20, 20), ("events", 20, 20), ("deals", 10, 10)
    ]  # fmt: skip
    assert result.rows("leads")[0] == ("L0", us("2024-01-01"), "lead:L0")
    assert result.rows("unclear_leads") == []
    assert result.found.exported_at == us("2024-03-01")
    assert result.found.ends_by == "latest time seen: deals.closed_at of lead 'L0'"


# Pools with few values, so that rows of one key meet: exactly, in conflict, and at the edges of time.
LEAD = st.sampled_from(["L1", "L2", "L3", "", ODD, "gone"])
TIME = st.sampled_from(
    [
        "2024-01-01T00:00:00Z",
        "2024-01-02T01:00:00+01:00",
        "2024-03-10T00:00:00Z",
        "2024-03-10T00:00:00.000001Z",
        "31.12.2024",
        "infinity",
        "",
    ]
)
WORD = st.sampled_from(["won", "lost", "visit", "", ODD])
NUMBER = st.sampled_from(["1", "-1", "1,5", "nan", "", "1e400"])
TABLES = st.fixed_dictionaries(
    {
        "leads": st.lists(st.tuples(LEAD, TIME, WORD, WORD), min_size=1, max_size=8),
        "attributes": st.lists(st.tuples(LEAD, WORD, WORD, TIME), min_size=1, max_size=8),
        "events": st.lists(st.tuples(LEAD, TIME, WORD, WORD, NUMBER, TIME), min_size=1, max_size=8),
        "deals": st.lists(st.tuples(LEAD, TIME, WORD, NUMBER, TIME), min_size=1, max_size=8),
    }
)


def everything(result: Checked) -> dict[str, Any]:
    names = ("leads", "lead_attributes", "attributes", "events", "deals")
    tables = [*names, *(f"quarantine_{name}" for name in HEADERS)]
    rows = {name: result.rows(name) for name in tables}
    return {"rows": rows, "found": result.found.counts, "why": result.found.quarantined}


@settings(max_examples=25, deadline=None)
@given(tables=TABLES, data=st.data())
def test_counts_add_up_and_the_order_of_rows_changes_nothing(
    tables: dict[str, list[tuple[str, ...]]], data: st.DataObject
) -> None:
    shuffled = {name: data.draw(st.permutations(rows)) for name, rows in tables.items()}
    with TemporaryDirectory() as folder:
        first = history(Path(folder), tables, exported_at=EXPORT)
        counts_add_up(first)
        second = history(Path(folder), shuffled, threads=2, exported_at=EXPORT)
        assert everything(first) == everything(second)
        first.con.close()
        second.con.close()


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.tuples(LEAD, WORD, NUMBER, TIME), min_size=1, max_size=10),
    order=st.sampled_from([None, "n", "t"]),
)
def test_counts_add_up_as_exported(rows: list[tuple[str, ...]], order: str | None) -> None:
    with TemporaryDirectory() as folder:
        write_csv(Path(folder) / "x.csv", ("lead_id", "word", "n", "t"), rows)
        source = {"path": "x.csv", "outcome": "word", "won": "won", "order_by": order}
        result = checked(
            Path(folder), {"exported": source, "timezone": "UTC", "max_quarantine_share": 1}
        )
        counts_add_up(result)
        result.con.close()


def plus(table: str, *rows: tuple[str, ...]) -> dict[str, list[tuple[str, ...]]]:
    return {table: [*CLEAN[table], *rows]}


NOON = "2024-02-20T12:00:00Z"


@pytest.mark.parametrize(
    ("table", "row", "reason", "example"),
    [
        ("leads", ("L0", "2024-01-01T00:00:00Z", "", "steel"), "exact duplicate", "'L0'"),
        ("leads", ("L0", NOON, "", "steel"), "conflicting duplicate", "'L0'"),
        ("leads", ("X", "31.12.2024", "", ""), "bad time: created_at", "'31.12.2024' of lead 'X'"),
        ("leads", ("X", "", "", ""), "no created_at", "None of lead 'X'"),
        ("leads", ("", NOON, "", ""), "no lead_id", "None"),
        ("leads", ("X", "2024-03-10T00:00:01Z", "", ""), "row after the export",
         "'2024-03-10T00:00:01Z' of lead 'X'"),
        ("attributes", ("L0", "budget", "no", "2024-02-01T00:00:00Z"), "conflicting duplicate", "'L0'"),
        ("attributes", ("gone", "budget", "no", NOON), "orphan: no such lead", "'gone'"),
        ("events", ("L0", "2024-02-01T10:00:00Z", "visit", "web", "1", ""), "exact duplicate", "'L0'"),
        ("events", ("L0", NOON, "", "", "", ""), "no event_type", "None of lead 'L0'"),
        ("events", ("L0", NOON, "buy", "", "1,5", ""), "bad number: value", "'1,5' of lead 'L0'"),
        ("events", ("L0", NOON, "buy", "", "", "never"), "bad time: known_at", "'never' of lead 'L0'"),
        ("events", ("L0", NOON, "buy", "", "", "2024-03-10T00:00:01Z"), "row after the export",
         "'2024-02-20T12:00:00Z' of lead 'L0'"),
        ("deals", ("L0", NOON, "lost", "1", ""), "second deal", "'L0'"),
        ("deals", ("L15", NOON, "pending", "1", ""), "unknown outcome", "'pending' of lead 'L15'"),
        ("deals", ("L15", "2024-01-15T23:00:00Z", "won", "", ""), "deal before creation",
         "'2024-01-15T23:00:00Z' of lead 'L15'"),
        ("deals", ("L15", NOON, "won", "-5", ""), "negative amount", "'-5' of lead 'L15'"),
        ("deals", ("L15", NOON, "won", "nan", ""), "bad number: amount", "'nan' of lead 'L15'"),
        ("deals", ("L15", NOON, "won", "1", "2024-03-11T00:00:00Z"), "row after the export",
         "'2024-02-20T12:00:00Z' of lead 'L15'"),
    ],
)  # fmt: skip
def test_a_bad_row_is_set_aside_with_its_reason_and_an_example(
    tmp_path: Path, table: str, row: tuple[str, ...], reason: str, example: str
) -> None:
    result = history(tmp_path, plus(table, row), exported_at=EXPORT)
    assert result.reasons() == {f"{table}: {reason}": 1}
    finding = result.found.quarantined[0]
    assert finding.example == (example if reason != "second deal" else "'L0'")
    assert finding.source == str(tmp_path / f"{table}.csv")
    assert str(finding).startswith(f"{table}.{finding.column}: {reason.split(': ')[0]}")
    counts_add_up(result)


def test_rows_of_a_lead_that_was_set_aside_are_no_orphans(tmp_path: Path) -> None:
    """Nor does a lead without an id make orphans of them, or a second row of a lead that is kept."""
    leads = [("X", "soon", "", ""), ("", NOON, "", ""), CLEAN["leads"][0]]
    rows = {
        **plus("leads", *leads),
        **plus("events", *((lead, NOON, "visit", "", "", "") for lead in ("X", "gone", "L0"))),
        **plus("deals", ("X", NOON, "lost", "1", "")),
    }
    result = history(tmp_path, rows, exported_at=EXPORT)
    told = {name: n for name, n in result.reasons().items() if not name.startswith("leads")}
    assert told == {
        "events: lead in quarantine": 1,
        "events: orphan: no such lead": 1,
        "deals: lead in quarantine": 1,
    }
    counts_add_up(result)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        # Booked before the export for a time after it: known, so kept.
        ("events", ("L0", "2024-04-01T00:00:00Z", "meeting", "", "", NOON)),
        ("events", ("L0", "2023-12-01T00:00:00Z", "visit", "", "", "")),
        ("events", ("L0", EXPORT, "visit", "", "", "")),
        ("leads", (ODD, NOON, "", ODD)),
        ("attributes", ("L0", ODD, "", NOON)),
        ("deals", ("L15", "2024-01-16T00:00:00Z", "won", "", "")),
    ],
)
def test_a_good_row_is_kept(tmp_path: Path, table: str, row: tuple[str, ...]) -> None:
    result = history(tmp_path, plus(table, row), exported_at=EXPORT, tolerant=False)
    assert (result.reasons(), result.found.problems) == ({}, ())


def test_the_earlier_deal_stays_and_a_deal_is_not_known_before_it_is_closed(
    tmp_path: Path,
) -> None:
    later = ("L0", "2024-03-02T00:00:00Z", "lost", "7", "")
    early = ("L15", "2024-03-02T00:00:00Z", "lost", "7", NOON)
    result = history(tmp_path, {"deals": [later, *CLEAN["deals"], early]})
    kept = {row[0]: row for row in result.rows("deals")}
    assert kept["L0"][1:4] == (us("2024-03-01"), True, 100)
    assert kept["L15"][4] == us("2024-03-02")
    assert result.rows("quarantine_deals", "reason, lead_id") == [("second deal", "L0")]


UNCLEAR = [
    ("2024-02-20T12:00:00Z", "won", "-5", ""),
    ("2024-02-20T12:00:00Z", "pending", "1", ""),
    ("soon", "won", "1", ""),
    ("", "won", "1", ""),
    ("2024-01-15T23:00:00Z", "won", "1", ""),
]
PLAIN = [
    ("2024-02-20T12:00:00Z", "won", "5", ""),
    ("2024-03-11T00:00:00Z", "won", "5", ""),
    ("2024-03-11T00:00:00Z", "won", "-5", ""),  # known after the export: the lead is open
    ("2024-02-20T12:00:00Z", "lost", "-5", "2024-03-11T00:00:00Z"),
]


@pytest.mark.parametrize(
    ("deal", "unclear"), [(d, True) for d in UNCLEAR] + [(d, False) for d in PLAIN]
)
def test_a_lead_whose_deal_was_set_aside_is_unclear(
    tmp_path: Path, deal: tuple[str, ...], unclear: bool
) -> None:
    result = history(tmp_path, plus("deals", ("L15", *deal)), exported_at=EXPORT)
    assert result.rows("unclear_leads") == ([("L15",)] if unclear else [])


def test_a_lead_with_a_kept_deal_and_one_that_is_not_there_are_not_unclear(tmp_path: Path) -> None:
    bad = (NOON, "won", "-5", "")
    rows = plus(
        "deals",
        ("L0", *bad),
        ("gone", *bad),
        ("L0", NOON, "won", "1", ""),
        ("L16", *bad),
        ("L16", *bad),
    )
    assert history(tmp_path, rows, exported_at=EXPORT).rows("unclear_leads") == [("L16",)]


def test_a_lead_without_a_group_is_a_group_of_its_own(tmp_path: Path) -> None:
    time = "2024-01-01T00:00:00Z"
    groups = {"1": "", "2": "1", "3": "lead:1", "4": "group:lead:1", "5": "acme", "6": "acme"}
    rows = {"leads": [(lead, time, group, "") for lead, group in groups.items()]}
    found = dict(history(tmp_path, rows).rows("leads", "lead_id, group_id"))
    assert found["1"] == "lead:1"
    assert found["5"] == found["6"] == "acme"
    assert len(set(found.values())) == 5
    none = history(tmp_path, rows, leads={"path": "leads.csv", "exclude": ["group_id"]})
    assert all(lead == group for lead, group in none.rows("leads", "lead_id, group_id"))


def test_repeated_events_can_be_kept(tmp_path: Path) -> None:
    result = history(tmp_path, plus("events", CLEAN["events"][0]), repeated_events="keep")
    assert (len(result.rows("events")), result.reasons()) == (21, {})


def test_too_many_bad_rows_stop_the_run_with_their_reasons(tmp_path: Path) -> None:
    rows = plus("events", ("L0", "soon", "a", "", "", ""), ("L0", NOON, "", "", "", ""))
    found = history(tmp_path, rows, tolerant=False).found
    with pytest.raises(DataError, match=r"events: 2 of 22 rows \(9\.1%\).*'soon' of lead 'L0'"):
        found.raise_problems()


# --- what stops the run -------------------------------------------------------------------------


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    write_csv(tmp_path / "leads2.csv", ("id", "created_at"), [("1", "2024-01-01")])
    write_csv(tmp_path / "events2.csv", ("lead_id", "occured_at", "event_type"), [("1", "x", "y")])
    write_csv(tmp_path / "deals2.csv", ("lead_id", "closed_at", "outcome"), [])
    found = history(
        tmp_path,
        leads={"path": "leads2.csv", "columns": {"lead_id": "ID", "industri": "x"}, "exclude": ["Idd"]},
        events={"path": "events2.csv"},
        deals={"path": "deals2.csv"},
    ).found  # fmt: skip
    text = "\n".join(found.problems)
    for part in (
        "data.leads.columns: industri is none of our column names",
        "data.leads.exclude: no column 'Idd'",
        "leads.lead_id: no column 'ID' in",
        "did you mean 'id'?",
        "events.occurred_at: no column 'occurred_at'",
        "did you mean 'occured_at'?",
        "deals: ",
        "holds no row",
    ):
        assert part in text
    assert (found.counts, found.exported_at) == ((), -1)


def test_an_excluded_column_is_not_read(tmp_path: Path) -> None:
    result = history(tmp_path, leads={"path": "leads.csv", "exclude": ["industry", "group_id"]})
    assert result.con.execute("SELECT * FROM lead_attributes").description[0][0] == "lead_id"
    assert len(result.con.execute("SELECT * FROM lead_attributes").description) == 1
    needed = history(tmp_path, leads={"path": "leads.csv", "exclude": ["created_at"]}).found
    assert "it is excluded" in needed.problems[0]


@pytest.mark.parametrize("time", ["2024-01-05", "2024-01-05 10:00", "2024/1/5T10:00:00.25"])
def test_an_undeclared_zone_stops_the_run(tmp_path: Path, time: str) -> None:
    rows = plus("leads", ("X", time, "", ""))
    found = history(tmp_path, rows).found
    assert found.problems == (
        f"leads.created_at: 1 times carry no zone, e.g. {time!r} ({tmp_path / 'leads.csv'}). "
        "Declare it: data.timezone: UTC, or a name like Europe/Berlin.",
    )
    assert history(tmp_path, rows, timezone="UTC").found.problems == ()


@pytest.mark.parametrize(
    ("type_", "zoneless"),
    [
        (pa.timestamp("ns"), True), (pa.timestamp("us"), True), (pa.timestamp("s"), True),
        (pa.date32(), True), (pa.timestamp("ns", "UTC"), False),
        (pa.timestamp("us", "Europe/Berlin"), False), (pa.timestamp("ms", "UTC"), False),
    ],
)  # fmt: skip
def test_parquet_times_keep_their_zone(tmp_path: Path, type_: pa.DataType, zoneless: bool) -> None:
    times = pa.array([datetime(2024, 7, 1)] * 2, type_)
    pq.write_table(pa.table({"lead_id": ["L1", "L2"], "created_at": times}), tmp_path / "p.parquet")
    given: dict[str, Any] = {"leads": {"path": "p.parquet"}}
    problems = " ".join(history(tmp_path, **given).found.problems)
    assert ("carry no zone" in problems) == zoneless
    result = history(tmp_path, **given, timezone="Europe/Berlin")
    expected = us("2024-06-30T22:00:00") if zoneless else us("2024-07-01")
    assert {row[0] for row in result.rows("leads", "created_at")} == {expected}


def test_numbers_where_times_belong_stop_the_run(tmp_path: Path) -> None:
    table = pa.table({"lead_id": ["L1"], "created_at": [1_700_000_000]})
    pq.write_table(table, tmp_path / "p.parquet")
    found = history(tmp_path, leads={"path": "p.parquet"}).found
    assert "holds BIGINT, times are needed" in found.problems[0]


def test_an_optional_time_may_be_empty_whatever_its_type(tmp_path: Path) -> None:
    rows = dict(zip(HEADERS["deals"], zip(*CLEAN["deals"], strict=True), strict=True))
    for nothing in (pa.nulls(10), pa.nulls(10, pa.float64())):
        table = pa.table({**{k: list(v) for k, v in rows.items()}, "known_at": nothing})
        pq.write_table(table, tmp_path / "p.parquet")
        result = history(tmp_path, deals={"path": "p.parquet"}, tolerant=False)
        assert (result.found.problems, len(result.rows("deals"))) == ((), 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-06-01T10:00:00Z", "2024-06-01T10:00:00"),
        ("2024-06-01t10:00:00z", "2024-06-01T10:00:00"),
        (" 2024-06-01T10:00:00+02:00 ", "2024-06-01T08:00:00"),
        ("2024-06-01 10:00:00 +0200", "2024-06-01T08:00:00"),
        ("2024-06-01 10:00-05", "2024-06-01T15:00:00"),
        ("2024-06-01 10:00:00 UTC", "2024-06-01T10:00:00"),
        ("2024-06-01", "2024-05-31T22:00:00"),
        ("2024-03-31 02:30", "2024-03-31T01:30:00"),  # a clock time that the change to summer skips
        ("2024-06-01 10:00:00 Europe/Berlin", None),  # half read, it would be another time
        ("2024-06-01T10:00:00+99:00", None),
        ("2024-02-30", None),
        ("infinity", None),
        ("epoch", None),
        ("2262-01-01T00:00:00Z", None),
        ("1899-12-30T00:00:00Z", None),
        ("01/02/2024", None),
        ("1700000000", None),
    ],
)
def test_times_of_every_kind(tmp_path: Path, text: str, expected: str | None) -> None:
    rows = {"leads": [("X", text, "", "")]}
    result = history(tmp_path, rows, timezone="Europe/Berlin", exported_at="2025-01-01T00:00:00Z")
    kept = [row[0] for row in result.rows("leads", "created_at")]
    assert kept == ([us(expected)] if expected else [])
    assert result.reasons().get("leads: bad time: created_at", 0) == (0 if expected else 1)


@pytest.mark.parametrize("exported_at", ["2024-03-10T01:00:00+01:00", "2024-03-10T01:00:00"])
def test_the_export_time_is_read_in_its_zone(tmp_path: Path, exported_at: str) -> None:
    found = history(tmp_path, timezone="Europe/Berlin", exported_at=exported_at).found
    assert found.exported_at == us("2024-03-10")


def test_deals_that_are_all_won_can_be_learned_from(tmp_path: Path) -> None:
    rows = {"deals": [("L0", NOON, "won", "1", "")]}  # the other leads are the ones not won
    history(tmp_path, rows, tolerant=False).found.raise_problems(learning=True)


def test_no_won_deal_stops_learning_and_not_scoring(tmp_path: Path) -> None:
    found = history(tmp_path, {"deals": [("L0", NOON, "lost", "1", "")]}).found
    found.raise_problems()
    with pytest.raises(DataError, match=r"needs at least one that was won.*'lost' \(1 rows\)"):
        found.raise_problems(learning=True)


@pytest.mark.parametrize("outcome", ["1", "0"])
def test_one_class_as_exported_stops_learning_and_not_scoring(tmp_path: Path, outcome: str) -> None:
    found = exported(tmp_path, [("a", "1", outcome, ""), ("b", "2", outcome, "")]).found
    found.raise_problems()
    with pytest.raises(DataError, match=f"a model needs both.*{outcome!r} \\(2 rows\\)"):
        found.raise_problems(learning=True)


@pytest.mark.parametrize(
    ("table", "row", "says"),
    [
        ("events", ("L3", "2124-01-01T00:00:00Z", "visit", "", "", ""), "events.occurred_at of lead 'L3'"),
        ("events", ("L3", NOON, "visit", "", "", "2124-01-01T00:00:00Z"), "events.known_at of lead 'L3'"),
        ("deals", ("L15", NOON, "won", "1", "2124-01-01T00:00:00Z"), "deals.known_at of lead 'L15'"),
        ("leads", ("X", "2124-01-01T00:00:00Z", "", ""), "leads.created_at of lead 'X'"),
    ],
)  # fmt: skip
def test_a_lonely_late_time_is_not_taken_for_the_end_of_the_data(
    tmp_path: Path, table: str, row: tuple[str, ...], says: str
) -> None:
    found = history(tmp_path, plus(table, row)).found
    assert (found.exported_at, found.ends_by) == (us("2124-01-01"), f"latest time seen: {says}")
    (problem,) = found.problems
    assert problem.startswith(
        f"data.exported_at: the data would end at 2124-01-01T00:00:00+00:00 (latest time seen: {says}), "
        "but only 1 of 71 times lie in the 366 days before; the others end at 2024-03-01T00:00:00+00:00."
    )
    declared = history(tmp_path, plus(table, row), exported_at=EXPORT).found
    assert (declared.problems, declared.ends_by) == ((), "declared: data.exported_at")


@pytest.mark.parametrize(("late", "problems"), [(2, 1), (3, 0)])
def test_few_of_many_times_are_lonely(tmp_path: Path, late: int, problems: int) -> None:
    times = [NOON] * (2_000 - 50 - late) + ["2025-12-01T00:00:00Z"] * late
    rows = {"events": [("L0", time, str(n), "", "", "") for n, time in enumerate(times)]}
    assert len(history(tmp_path, rows).found.problems) == problems


# --- names ---------------------------------------------------------------------------------------


def test_a_file_may_use_the_names_that_we_use_inside(tmp_path: Path) -> None:
    names = ("row", "rowid", "reason", "bad", "known_at", "content", "c0", "lead_id2", "copy", ODD)
    header = ("lead_id", "created_at", *names)
    lines = [("X", NOON, *names), ("X", NOON, *names), ("Y", "bad", *names)]
    write_csv(tmp_path / "odd.csv", header, lines)
    result = history(tmp_path, leads={"path": "odd.csv"})
    assert result.rows("lead_attributes") == [("X", *names)]
    assert {k: n for k, n in result.reasons().items() if k.startswith("leads")} == {
        "leads: bad time: created_at": 1, "leads: exact duplicate": 1
    }  # fmt: skip
    write_quarantine(result.con, result.found, tmp_path / "q")
    written = pq.read_table(tmp_path / "q" / "leads.parquet")
    assert written.column_names[:3] == ["reason", "lead_id", "created_at"]
    assert sorted(written["reason"].to_pylist()) == ["bad time: created_at", "exact duplicate"]
    assert set(written["reason_1"].to_pylist()) == {"reason"}


@pytest.mark.parametrize("name", ["as_of", "Order", "won", "part"])
def test_an_attribute_may_not_take_a_name_of_the_matrix(tmp_path: Path, name: str) -> None:
    write_csv(tmp_path / "odd.csv", ("lead_id", "created_at", name), [("X", NOON, "1")])
    found = history(tmp_path, leads={"path": "odd.csv"}).found
    assert f"cannot be called {name!r}" in found.problems[0]
    excluded = history(tmp_path, leads={"path": "odd.csv", "exclude": [name]}).found
    assert "cannot be called" not in " ".join(excluded.problems)
    versions = history(tmp_path, plus("attributes", ("L0", name, "1", NOON))).found
    assert f"attributes: an attribute cannot be called {name!r}" in versions.problems[0]


def test_attributes_that_differ_by_capitals_only_are_refused(tmp_path: Path) -> None:
    found = history(tmp_path, plus("attributes", ("L0", "Industry", "1", NOON))).found
    assert "'industry' and 'Industry' differ by capitals only" in found.problems[0]


# --- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [[1, 2, None], [1.0, 2.0, None], ["1", "2", None]])
def test_ids_meet_whatever_their_type(tmp_path: Path, ids: list[Any]) -> None:
    table = pa.table({"lead_id": pa.array(ids), "created_at": ["2024-01-01T00:00:00Z"] * 3})
    pq.write_table(table, tmp_path / "leads.parquet")
    deals = [("1", NOON, "won", "", ""), ("2", NOON, "lost", "", "")]
    result = history(tmp_path, {"deals": deals}, leads={"path": "leads.parquet"})
    assert [row[0] for row in result.rows("deals")] == ["1", "2"]


def test_parquet_attributes_of_every_type(tmp_path: Path) -> None:
    columns = {
        "int": pa.array([5, None]), "float": pa.array([1.5, float("nan")]),
        "flag": pa.array([True, None]), "money": pa.array(["1.50", None]).cast(pa.decimal128(9, 2)),
        "tags": pa.array([["a", "b"], None]), "kind": pa.array(["x", "NA"]).dictionary_encode(),
    }  # fmt: skip
    given = {"lead_id": ["L1", "L2"], "created_at": ["2024-01-01T00:00:00Z"] * 2, **columns}
    pq.write_table(pa.table(given), tmp_path / "p.parquet")
    result = history(tmp_path, leads={"path": "p.parquet"}, null_values=["NA"])
    assert result.rows("lead_attributes") == [
        ("L1", "5", "1.5", "true", "1.50", "[a, b]", "x"),
        ("L2", None, None, None, None, None, None),
    ]


# --- as exported ---------------------------------------------------------------------------------


def exported(folder: Path, rows: list[tuple[str, ...]], **source: Any) -> Checked:
    write_csv(folder / "x.csv", ("id", "seq", "end", "size"), rows)
    given = {"path": "x.csv", "outcome": "end", "won": "1", **source}
    return checked(folder, {"exported": given, "max_quarantine_share": 1})


def test_rows_without_an_id_are_called_by_their_place(tmp_path: Path) -> None:
    rows = [("a", "2", "1", "x"), ("b", "1", "0", "y"), ("a", "2", "1", "x"), ("c", "3", "", "")]
    result = exported(tmp_path, rows)
    assert result.rows("exported", "lead_id, won, order_value") == [
        ("1", 1, 0), ("2", 0, 1), ("3", 1, 2), ("4", None, 3)
    ]  # fmt: skip
    assert result.found.exported_at == -1


def test_ids_as_exported_name_one_row_each(tmp_path: Path) -> None:
    rows = [("a", "2", "1", "x"), ("a", "1", "0", "y"), ("a", "1", "0", "y"), ("", "3", "1", "z")]
    result = exported(tmp_path, rows, columns={"lead_id": "id"}, order_by="seq")
    assert result.rows("exported", "lead_id, won, order_value") == [("a", 0, 1)]
    assert result.reasons() == {
        "exported: conflicting duplicate": 1, "exported: exact duplicate": 1, "exported: no lead_id": 1
    }  # fmt: skip


@pytest.mark.parametrize("bad", ["x", "", "nan"])
def test_one_bad_order_value_does_not_spoil_the_others(tmp_path: Path, bad: str) -> None:
    rows = [(str(n), str(n), str(n % 2), "x") for n in range(9)]
    result = exported(tmp_path, [*rows, ("9", bad, "1", "x")], order_by="seq")
    assert [row[0] for row in result.rows("exported", "order_value")] == list(range(9))
    (finding,) = result.found.quarantined
    assert (finding.column, finding.count) == ("order_by", 1)


def test_rows_may_be_ordered_by_dates_with_a_zone(tmp_path: Path) -> None:
    rows = [("a", "2024-01-02", "1", "x"), ("b", "2024-01-01", "0", "x"), ("c", "soon", "0", "x")]
    assert "1 times carry no zone" not in exported(tmp_path, rows, order_by="seq").found.problems[0]
    assert "2 times carry no zone" in exported(tmp_path, rows, order_by="seq").found.problems[0]
    source = {"path": "x.csv", "outcome": "end", "won": "1", "order_by": "seq"}
    data = {"exported": source, "timezone": "UTC", "max_quarantine_share": 1}
    result = checked(tmp_path, data)
    assert [row[0] for row in result.rows("exported", "as_of")] == [
        us("2024-01-01"),
        us("2024-01-02"),
    ]
    assert result.reasons() == {"exported: no usable order_by value": 1}


def test_an_outcome_that_never_means_won_says_what_the_column_holds(tmp_path: Path) -> None:
    found = exported(tmp_path, [("a", "1", "1.0", ""), ("b", "2", "0.0", "")]).found
    with pytest.raises(DataError, match=r"0 won and 2 lost.*'0\.0' \(1 rows\), '1\.0'.*\['1'\]"):
        found.raise_problems(learning=True)


def test_a_row_as_exported_without_a_group_is_a_group_of_its_own(tmp_path: Path) -> None:
    rows = [("a", "b", "1", ""), ("b", "", "0", ""), ("c", "b", "0", "")]
    result = exported(tmp_path, rows, columns={"lead_id": "id", "group_id": "seq"})
    assert result.rows("exported", "lead_id, group_id") == [("a", "b"), ("b", "lead:b"), ("c", "b")]


def test_hot_leads_a_week_need_weeks(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", ("end",), [("1",), ("0",)])
    source = {"path": "x.csv", "outcome": "end", "won": "1"}
    found = checked(tmp_path, {"exported": source}, bands={"hot_per_week": 5}).found
    assert found.problems == (
        "bands.hot_per_week: as exported there are no weeks; give bands.hot_share instead.",
    )


@pytest.mark.parametrize("key", ["outcome", "order_by"])
def test_a_missing_exported_column_names_the_nearest(tmp_path: Path, key: str) -> None:
    found = exported(tmp_path, [("a", "1", "1", "")], **{key: "Seqq"}).found
    assert f"exported.{key}: no column 'Seqq'" in found.problems[0]
    assert f"did you mean 'seq'? Correct data.exported.{key}." in found.problems[0]

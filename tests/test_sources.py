"""Where tables come from: files, folders and queries; what cannot be read says so."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory_tables import CLEAN, HEADERS, Checked, checked, history, write_csv
from lead_propensity.config import Config, EngineConfig
from lead_propensity.data import memory
from lead_propensity.data.database import opened
from lead_propensity.data.tables import check
from lead_propensity.errors import ConfigError, DataError, LeadPropensityError

LEADS = "lead_id,created_at\nL1,2024-01-01T00:00:00Z\n"


def leads(folder: Path, path: str, **data: Any) -> Checked:
    """The clean tables, with other leads."""
    return history(folder, leads={"path": path}, **data)


def ids(result: Checked) -> list[str]:
    return [row[0] for row in result.rows("leads", "lead_id")]


def test_csv_compressed_csv_and_parquet_are_read_alike(tmp_path: Path) -> None:
    header, rows = HEADERS["leads"], CLEAN["leads"]
    plain = write_csv(tmp_path / "a.csv", header, rows)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table({k: list(v) for k, v in columns.items()}), tmp_path / "c.parquet")
    results = [leads(tmp_path, name) for name in ("a.csv", "b.csv.gz", "c.parquet")]
    for result in results:
        assert result.found.problems == ()
        assert result.rows("lead_attributes") == results[0].rows("lead_attributes")
        assert result.rows("leads") == results[0].rows("leads")


@pytest.mark.parametrize(
    "text",
    [
        LEADS.replace(",", ";"),
        LEADS.replace(",", "\t"),
        LEADS.replace("\n", "\r\n"),
        "\ufeff" + LEADS,
        'lead_id,created_at\n"L1","2024-01-01T00:00:00Z"\n',
    ],
)
def test_csv_of_many_makers(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode())
    assert ids(leads(tmp_path, "x.csv")) == ["L1"]


def test_no_line_is_lost_to_a_guess(tmp_path: Path) -> None:
    rows = [("#1", "x"), ("2", "# no comment"), *((str(n), "x") for n in range(3, 30_000))]
    rows.append(("last", 'a "quoted", value'))  # beyond the lines that a guess would look at
    lines = [(name, "2024-01-01T00:00:00Z", note) for name, note in rows]
    write_csv(tmp_path / "x.csv", ("lead_id", "created_at", "note"), lines)
    result = leads(tmp_path, "x.csv")
    assert len(ids(result)) == len(rows)
    assert ("last", 'a "quoted", value') in result.rows("lead_attributes")


def test_a_hash_begins_no_comment(tmp_path: Path) -> None:
    time = "2024-01-01T00:00:00Z"
    lines = [("L1", time, "a"), ("L2", time, "b#5"), ("#6", time, "c")]
    write_csv(tmp_path / "x.csv", ("lead_id", "created_at", "note"), lines)
    result = leads(tmp_path, "x.csv")
    assert result.rows("lead_attributes") == [("#6", "c"), ("L1", "a"), ("L2", "b#5")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"lead_id,created_at\n", "holds no row"),
        (b"Exported by me\n\n" + LEADS.encode(), "leads.lead_id: no column 'lead_id'"),
        (LEADS.encode() + b"# L2 comes tomorrow\n", "no column 'lead_id'|cannot be read"),
        (LEADS.encode() + b"L2\n", "no column 'lead_id'|cannot be read"),
        (LEADS.encode() + b"M\xfcller,2024-01-01\n", "cannot be read.*not utf-8"),
        (LEADS.encode() * 2000 + b"L2,x,y\n", "cannot be read"),
    ],
)
def test_an_unreadable_csv_stops_the_run(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"(?s){says}"):
        leads(tmp_path, "x.csv").found.raise_problems()


def test_a_broken_parquet_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot be read"):
        leads(tmp_path, "x.parquet")


def test_a_folder_is_one_table_and_a_column_may_come_later(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "in/2024/a.csv", ("lead_id", "created_at"), [("A", "2024-01-01T00:00:00Z")]
    )
    write_csv(
        tmp_path / "in/b.csv",
        ("size", "created_at", "lead_id"),
        [("9", "2024-01-02T00:00:00Z", "B")],
    )
    (tmp_path / "in/.hidden.csv").write_text("rubbish")
    (tmp_path / "in/README.md").write_text("rubbish")
    result = leads(tmp_path, "in")
    assert result.rows("lead_attributes") == [("A", None), ("B", "9")]


def test_parquet_files_of_a_folder_may_differ_in_type(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    time = ["2024-01-01T00:00:00Z"]
    for name, lead in (("a", [1]), ("b", ["x"])):
        table = pa.table({"lead_id": lead, "created_at": time})
        pq.write_table(table, tmp_path / f"in/{name}.parquet")
    assert ids(leads(tmp_path, "in")) == ["1", "x"]


def test_folders_of_two_kinds_or_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match="no CSV or Parquet file"):
        leads(tmp_path, "in")
    (tmp_path / "in/a.csv").write_text(LEADS)
    (tmp_path / "in/b.parquet").write_text("x")
    with pytest.raises(ConfigError, match="both CSV and Parquet"):
        leads(tmp_path, "in")


def test_all_missing_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)leads: .*gone\.csv.*events: .*lost"):
        history(tmp_path, leads={"path": "gone.csv"}, events={"path": "lost"})
    (tmp_path / "x.xlsx").write_text("x")
    with pytest.raises(ConfigError, match="neither CSV"):
        leads(tmp_path, "x.xlsx")


# --- queries -------------------------------------------------------------------------------------


def query(folder: Path, sql: str, raw: dict[str, str] | None = None) -> Checked:
    """The clean tables, with deals by a query over raw files; `leads` is one by default."""
    return history(folder, raw=raw or {"deals": "deals.csv"}, deals={"sql": sql})


def test_a_query_may_use_a_raw_file_that_is_called_like_our_table(tmp_path: Path) -> None:
    result = query(tmp_path, "SELECT * FROM deals WHERE lead_id <> 'L0' -- all but one")
    assert len(result.rows("deals")) == 9
    names = ("raw_leads", "staged_deals", "judged_deals", "leads", "table leads 2")
    raw = dict.fromkeys(names, "deals.csv")
    both = " UNION ALL ".join(f'SELECT * FROM "{name}"' for name in names)
    assert len(query(tmp_path, f"SELECT DISTINCT * FROM ({both})", raw).rows("deals")) == 10


@pytest.mark.parametrize("end", [";", " ;\n-- the end", "\n", " -- no ; end"])
def test_a_query_may_end_as_people_end_them(tmp_path: Path, end: str) -> None:
    assert (
        len(query(tmp_path, f"SELECT * FROM deals WHERE outcome <> 'a;-- b'{end}").rows("deals"))
        == 10
    )


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT 1; SELECT 2", "holds SELECT, SELECT; one SELECT is needed"),
        ("", "holds nothing"),
        ("DROP TABLE deals", "holds DROP"),
        ("COPY deals TO 'stolen.csv'", "holds COPY"),
        ("INSTALL httpfs", "one SELECT is needed"),
        ("SELEC 1", "is not SQL"),
        ("SELECT nothing FROM deals", "does not fit the data"),
        ("SELECT * FROM 'secret.csv'", "may read the files under data.raw only|does not fit"),
        ("SELECT * FROM read_csv('secret.csv')", "may read the files under data.raw only"),
        ("SELECT * FROM read_text('/etc/passwd')", "may read the files under data.raw only"),
        ("SELECT * FROM glob('/etc/*')", "may read the files under data.raw only"),
        ("SELECT * FROM raws", "does not fit the data"),
        ("SELECT ?", "cannot be read|does not fit"),
    ],
)
def test_a_query_is_one_select_over_declared_files(tmp_path: Path, sql: str, says: str) -> None:
    write_csv(tmp_path / "secret.csv", HEADERS["deals"], CLEAN["deals"])
    sql = sql.replace("secret.csv", str(tmp_path / "secret.csv"))
    with pytest.raises(LeadPropensityError, match=says):
        query(tmp_path, sql)
    assert not (tmp_path / "stolen.csv").exists()


def test_a_query_without_a_needed_column_says_which(tmp_path: Path) -> None:
    found = query(tmp_path, "SELECT lead_id, outcome, closed_at AS close FROM deals").found
    assert "deals.closed_at: no column 'closed_at' in data.deals.sql" in found.problems[0]


def test_a_query_that_fails_while_it_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.deals\.sql cannot be read"):
        query(tmp_path, "SELECT *, amount::DATE AS day FROM deals")


def test_columns_that_a_query_names_twice_are_kept_apart(tmp_path: Path) -> None:
    sql = "SELECT a.*, b.* FROM leads AS a JOIN leads AS b USING (lead_id)"
    result = history(tmp_path, raw={"leads": "leads.csv"}, leads={"sql": sql})
    assert len(ids(result)) == 20
    assert result.found.problems == ()


def test_words_for_missing_hold_in_every_kind_of_file(tmp_path: Path) -> None:
    table = pa.table(
        {"lead_id": ["A", "B"], "created_at": ["2024-01-01T00:00:00Z"] * 2, "x": ["Select", ""]}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    rows = [("A", "2024-01-01T00:00:00Z", "Select"), ("B", "2024-01-01T00:00:00Z", "")]
    write_csv(tmp_path / "x.csv", table.column_names, rows)
    for name in ("x.csv", "x.parquet"):
        result = leads(tmp_path, name, null_values=["Select"])
        assert result.rows("lead_attributes") == [("A", None), ("B", None)]


def test_a_database_reads_nothing_but_what_was_declared(tmp_path: Path) -> None:
    source = {"path": "x.csv", "outcome": "won", "won": "1"}
    write_csv(tmp_path / "x.csv", ("won",), [("1",), ("0",)])
    con = checked(tmp_path, {"exported": source}).con
    for statement in ("SELECT * FROM read_text('/etc/hostname')", f"COPY exported TO '{tmp_path}/out.csv'",
                      "SET enable_external_access = true"):  # fmt: skip
        with pytest.raises(Exception, match=r"(?i)permission|disabled|locked|cannot"):
            con.execute(statement)


def hardly_enough() -> EngineConfig:
    """The least that is not refused: some 85 MB for the SQL engine."""
    limit = memory.resident_bytes() + memory.LEAST + 20 * memory.MEGABYTE
    return EngineConfig(threads=1, memory_limit=f"{limit // 1000}KB")


def test_too_little_memory_says_how_to_get_more() -> None:
    match = r"(?s)share of engine\.memory_limit \(\d+ MB\), \d\d MB, does not suffice.*Raise engine"
    with pytest.raises(DataError, match=match):  # noqa: SIM117
        with opened(hardly_enough()) as (con, _):
            con.execute("SET max_temp_directory_size = '1MB'")
            con.execute(
                "CREATE TABLE t AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(5000000)"
            )


def test_too_little_memory_is_no_fault_of_the_file(tmp_path: Path) -> None:
    rows = [(f"L{n}", "2024-01-01T00:00:00Z", "x" * 2_000) for n in range(100_000)]
    write_csv(tmp_path / "x.csv", ("lead_id", "created_at", "note"), rows)
    config = Config.model_validate(
        {"name": "t", "data": {"leads": {"path": "x.csv"}, "deals": {"path": "x.csv"}}},
        context={"folder": tmp_path},
    )
    with pytest.raises(DataError, match="does not suffice"):  # noqa: SIM117
        with opened(hardly_enough()) as (con, _):
            con.execute("SET max_temp_directory_size = '1MB'")
            check(con, config)

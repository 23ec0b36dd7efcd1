"""Tables that a real PostgreSQL holds: read as files are, in one moment, and without a word of passwords.

Seen failing once each: with `numeric` as a float and money as it comes, without READ ONLY, without REPEATABLE
READ (two moments), with the whole result fetched at once, with another client encoding, with the driver's own
words, with their error chained to ours, with passwords taken out not at all or only whole, with the config not
searched, and with DuckDB's words in the place of the server's.
"""

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from factory_postgres import Database, Server
from factory_tables import CLEAN, HEADERS, Checked, checked, history
from lead_propensity.cli import app
from lead_propensity.config import Config, load
from lead_propensity.config.credentials import without_secrets
from lead_propensity.data import sources
from lead_propensity.data.database import opened
from lead_propensity.errors import ConfigError, DataError

TABLES = ("leads", "attributes", "events", "deals")
PASSWORD = "tr0ub4dor&3"


def fill(postgres: Database) -> None:
    """The clean tables of the factory, typed as a CRM would."""
    for name in TABLES:
        rows = list(zip(*CLEAN[name], strict=True))
        postgres.load(
            f"text_{name}", pa.table(dict(zip(HEADERS[name], map(list, rows), strict=True)))
        )
    postgres.run(
        "CREATE TABLE leads AS SELECT lead_id, created_at::timestamptz, nullif(group_id, '') AS group_id, industry "
        "FROM text_leads",
        "CREATE TABLE attributes AS SELECT lead_id, attribute, value, known_at::timestamptz FROM text_attributes",
        "CREATE TABLE events AS SELECT lead_id, occurred_at::timestamptz, event_type, channel, value::numeric, "
        "nullif(known_at, '')::timestamptz AS known_at FROM text_events",
        "CREATE TABLE deals AS SELECT lead_id, closed_at::timestamptz, outcome, amount::numeric(12, 2) AS amount, "
        "nullif(known_at, '')::timestamptz AS known_at FROM text_deals",
    )


def asked(folder: Path, leads: str, also: dict[str, Any] | None = None, **keys: Any) -> Checked:
    """A check of leads that PostgreSQL gives, with the other tables from files; bad rows stop nothing."""
    history(folder)
    data: dict[str, Any] = {name: {"path": f"{name}.csv"} for name in TABLES}
    data |= {"max_quarantine_share": 1.0, "leads": {"postgres": leads, **(also or {})}}
    return checked(folder, data | keys)


def test_tables_of_a_database_are_those_of_files(postgres: Database, tmp_path: Path) -> None:
    fill(postgres)
    files = history(tmp_path)
    data = {name: {"postgres": f"SELECT * FROM {name}"} for name in TABLES}
    there = checked(tmp_path, data | {"max_quarantine_share": 1.0})
    assert there.found.problems == ()
    assert there.found.exported_at == files.found.exported_at
    for name in (*TABLES, "lead_attributes", "unclear_leads"):
        assert there.rows(name) == files.rows(name), name


def test_columns_are_mapped_excluded_and_nulls_are_meant_as_in_files(
    postgres: Database, tmp_path: Path
) -> None:
    columns = {"lead_id": "Id", "created_at": "row"}
    query = """SELECT i AS "Id", now() - interval '400 days' AS "row", 'n/a' AS size, 'x' AS secret
               FROM generate_series(1, 20) AS i"""
    found = asked(tmp_path, query, {"columns": columns, "exclude": ["secret"]}, null_values=["n/a"])
    assert {row[0] for row in found.rows("leads", "lead_id")} == {str(n) for n in range(1, 21)}
    assert found.con.execute("SELECT count(*), count(size) FROM lead_attributes").fetchall() == [
        (20, 0)
    ]
    assert "secret" not in found.con.execute("FROM lead_attributes").fetch_df().columns


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("12345678901234567890.50::numeric", "12345678901234567890.5"),
        ("42.00::numeric(10, 2)", "42"),
        ("'NaN'::numeric", None),
        ("'NaN'::float8", None),
        ("'{\"a\": 1}'::jsonb", '{"a": 1}'),
        ("'1b4e28ba-2fa1-11d2-883f-0016d3cca427'::uuid", "1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
        ("'c'::char(4)", "c"),
        ("1234.5::numeric::money", "$1,234.50"),
        ("ARRAY[1, 2]", "{1,2}"),
        ("'10.0.0.0/8'::inet", "10.0.0.0/8"),
        ("interval '1 day'", "1 day"),
        ("'warm'::temperature", "warm"),
        ("true", "true"),
        ("E'quote '' \\n ; --'", "quote ' \n ; --"),
        ("'ü€😀'", "ü€😀"),
    ],
)
def test_every_type_is_read_as_its_text(
    postgres: Database, tmp_path: Path, value: str, text: str | None
) -> None:
    postgres.run("CREATE TYPE temperature AS ENUM ('cold', 'warm')", "SET lc_monetary TO 'C'")
    query = f"""SELECT 'L' || i AS lead_id, '2024-01-01Z'::timestamptz AS created_at, {value} AS x
                FROM generate_series(0, 19) AS i"""
    rows = asked(tmp_path, query).rows("lead_attributes", "x")
    assert set(rows) == {(text,)}


def test_times_with_a_zone_are_read_to_the_microsecond_and_those_without_need_one(
    postgres: Database, tmp_path: Path
) -> None:
    query = """SELECT 'L' || i AS lead_id, {} AS created_at FROM generate_series(0, 19) AS i"""
    zoned = query.format("'2024-01-01 01:00:00.000001+01'::timestamptz")
    assert set(asked(tmp_path, zoned).rows("leads", "created_at")) == {(1_704_067_200_000_001,)}
    bare = query.format("'2024-01-01 01:00:00'::timestamp")
    assert "carry no zone" in asked(tmp_path, bare).found.problems[0]
    declared = asked(tmp_path, bare, timezone="Europe/Berlin")
    assert set(declared.rows("leads", "created_at")) == {(1_704_067_200_000_000,)}


@pytest.mark.parametrize(
    "moment", ["'infinity'::timestamptz", "'-infinity'::timestamptz", "'infinity'::date"]
)
def test_a_time_without_end_is_set_aside(postgres: Database, tmp_path: Path, moment: str) -> None:
    query = f"""SELECT 'L' || i AS lead_id, CASE i WHEN 3 THEN {moment} ELSE '2024-01-01Z' END AS created_at
                FROM generate_series(0, 19) AS i"""
    assert asked(tmp_path, query, timezone="UTC").reasons()["leads: bad time: created_at"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM given -- all of them",
        "SELECT * FROM given;",
        "WITH x AS (TABLE given) TABLE x",
        "TABLE given ;  ",
    ],
)
def test_a_query_may_end_in_a_comment_or_a_semicolon(
    postgres: Database, tmp_path: Path, query: str
) -> None:
    postgres.run("CREATE TABLE given AS SELECT 'L1' AS lead_id, now() AS created_at")
    assert asked(tmp_path, query).rows("leads", "lead_id") == [("L1",)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT * FROM nothing_here", 'relation "nothing_here" does not exist'),
        ("SELEC 1", "syntax error"),
        (
            "SELECT 1 / (i - 5) AS lead_id, now() AS created_at FROM generate_series(1, 9) i",
            "division by zero",
        ),
        ("SELECT 1 AS a, 2 AS A", "the column 'a' twice"),
        ("SELECT", "no column"),
        ("SELECT lead_id, created_at FROM kept; DROP TABLE kept", "syntax error"),
        (
            "SELECT 1) AS q; DROP TABLE kept; SELECT * FROM (SELECT 2",
            "multiple commands|syntax error",
        ),
        ("DROP TABLE kept", "syntax error"),
        ("WITH gone AS (DELETE FROM kept RETURNING *) TABLE gone", "data-modifying"),
        (
            "SELECT set_config('x.y', 'z', false) AS lead_id, nextval('counter') AS created_at",
            "read-only transaction",
        ),
    ],
)
def test_a_query_that_cannot_be_answered_says_why_and_changes_nothing(
    postgres: Database, tmp_path: Path, query: str, says: str
) -> None:
    postgres.run(
        "CREATE TABLE kept AS SELECT 'L1' AS lead_id, now() AS created_at",
        "CREATE SEQUENCE counter",
    )
    with pytest.raises(ConfigError, match=f"(?s)data.leads.postgres.*({says})") as caught:
        asked(tmp_path, query)
    assert "Query was" not in str(caught.value)
    assert postgres.run("SELECT count(*) FROM kept") == [(1,)]


def test_all_tables_are_read_as_of_one_moment(postgres: Database, tmp_path: Path) -> None:
    """A deal that closes between the reading of two tables is not seen, or it would have no lead."""
    fill(postgres)
    config = Config.model_validate(
        {"name": "t", "data": {name: {"postgres": f"TABLE {name}"} for name in TABLES}},
        context={"folder": tmp_path},
    )
    with opened(config.engine) as (con, _), sources._views(con, config) as (raws, queries):
        postgres.run(
            "INSERT INTO deals SELECT 'L19', now(), 'won', 1, NULL",
            "INSERT INTO leads SELECT 'L99', now()",
        )
        counts = {}
        for raw in raws:
            with queries.given(con, sources._view(raw.name), raw.name):
                view = sources.identifier(sources._view(raw.name))
                counts[raw.name] = con.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0]
    assert counts == {name: len(CLEAN[name]) for name in TABLES}


def test_memory_stays_bounded_whatever_the_table_holds(postgres: Database, tmp_path: Path) -> None:
    """200 MB of rows, of which the process never holds more than some batches."""
    rows, width = 1_000_000, 200
    query = f"SELECT 'L' || i AS lead_id, '2024-01-01Z'::timestamptz AS created_at, repeat('x', {width}) AS pad"
    script = f"""
import resource
import duckdb
from lead_propensity.data import postgres
with postgres.answered({{"leads": "{query} FROM generate_series(1, {rows}) AS i"}}) as queries:
    con = duckdb.connect(config={{"memory_limit": "100MB"}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with queries.given(con, "v", "leads"):
        print(con.execute("SELECT count(*), sum(length(pad)) FROM v").fetchall()[0])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    counted, grown = done.stdout.strip().splitlines()[-2:]
    assert counted == f"({rows}, {rows * width})"
    assert int(grown) < 150_000, f"{grown} KB"


def test_a_connection_that_is_cut_while_rows_flow_says_so(
    postgres: Database, tmp_path: Path
) -> None:
    query = """SELECT 'L' || i AS lead_id, now() AS created_at, repeat('x', 100) AS pad,
                      CASE i WHEN 400000 THEN pg_terminate_backend(pg_backend_pid()) END AS cut
               FROM generate_series(1, 500000) AS i"""
    with pytest.raises(DataError, match=r"(?s)connection to PostgreSQL was lost.*Run it again"):
        asked(tmp_path, query)


def test_rows_of_a_database_in_no_order_are_refused_as_exported() -> None:
    exported = {"postgres": "TABLE leads", "outcome": "won", "won": ["yes"]}
    with pytest.raises(ValueError, match="stand in no order; give `order_by`"):
        Config.model_validate({"name": "t", "data": {"exported": exported}})


def test_a_latin_1_database_is_read_in_its_own_letters(
    postgres_server: Server, postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_server.needs_own()
    name = f"{postgres.schema}_latin"
    postgres.run(
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    address = postgres_server.address.replace("/postgres?", f"/{name}?")
    Database(address, "public").run(
        "CREATE TABLE leads AS SELECT 'L' || chr(228) AS lead_id, now() AS created_at"
    )
    monkeypatch.setenv("LEAD_PROPENSITY_POSTGRES", address)
    assert asked(tmp_path, "TABLE leads").rows("leads", "lead_id") == [("Lä",)]
    postgres.run(f"DROP DATABASE {name}")


# Where the server is, and nothing of how one gets in.


@pytest.mark.parametrize(
    "key",
    [
        "data.leads.path",
        "data.raw.crm",
        "data.leads.postgres",
        "name",
        "registry.name",
        "engine.spark.options.x",
    ],
)
@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://crm:{PASSWORD}@db/crm",
        f"postgres://crm:{PASSWORD}@db/crm",
        f"host=db user=crm password={PASSWORD}",
    ],
)
def test_a_config_that_holds_a_connection_is_refused_without_repeating_it(
    tmp_path: Path, key: str, address: str
) -> None:
    (tmp_path / "c.yaml").write_text(
        "name: t\ndata: {leads: {path: a.csv}, deals: {path: b.csv}}\n"
    )
    with pytest.raises(
        ConfigError, match=rf"{key} holds a connection.*LEAD_PROPENSITY_POSTGRES"
    ) as caught:
        load(tmp_path / "c.yaml", [f'{key}="{address}"'])
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://crm:{PASSWORD}@127.0.0.1:1/crm",
        "postgresql://crm:tr0ub@4dor/3@127.0.0.1:1/crm",
        "postgresql://crm:tr0ub%4dor@127.0.0.1:1/crm",
        f"postgresql://crm@127.0.0.1:1/crm?password={PASSWORD}",
        f"host=127.0.0.1 port=1 user=crm password='{PASSWORD}'",
        f"crm:{PASSWORD}@127.0.0.1",
        f"postgresql:/crm:{PASSWORD}@127.0.0.1",
    ],
)
def test_an_address_that_leads_nowhere_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    pytest.importorskip("adbc_driver_postgresql")
    monkeypatch.setenv("LEAD_PROPENSITY_POSTGRES", address)
    with pytest.raises(
        ConfigError, match="no connection to PostgreSQL by the environment variable"
    ) as caught:
        asked(tmp_path, "TABLE leads")
    for piece in (PASSWORD, "tr0ub", "4dor"):
        assert piece not in _traceback(caught.value)


@pytest.mark.parametrize(
    "environment",
    [
        {"LEAD_PROPENSITY_POSTGRES": "postgresql://crm@127.0.0.1:1/crm?sslmode=nonsense"},
        {"LEAD_PROPENSITY_POSTGRES": "host=127.0.0.1 port=1 sslmode=nonsense"},
        {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGSSLMODE": "nonsense"},
    ],
)
def test_settings_of_tls_reach_libpq(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("adbc_driver_postgresql")
    monkeypatch.delenv("LEAD_PROPENSITY_POSTGRES", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match='invalid sslmode value: "nonsense"'):
        asked(tmp_path, "TABLE leads")


def test_secrets_are_taken_out_whole_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAD_PROPENSITY_POSTGRES", "postgresql://crm:ab%40cd@db.example/crm")
    monkeypatch.setenv("PGPASSWORD", "open sesame")
    told = without_secrets('host "cd@db.example", user "crm", ab@cd, ab%40cd, open sesame, abc')
    assert told == 'host "***@db.example", user "crm", ***, ***, ***, abc'


@pytest.fixture
def guarded(postgres_server: Server, postgres: Database) -> Any:
    """A user whose password the server asks for."""
    own = postgres_server.needs_own()
    user = f"guarded_{postgres.schema}"
    rules = own.pgdata / "pg_hba.conf"
    before = rules.read_text()
    postgres.run(
        f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT ALL ON SCHEMA {postgres.schema} TO {user}",
    )
    rules.write_text(f"local all {user} scram-sha-256\n{before}")
    postgres.run("SELECT pg_reload_conf()")
    yield user
    rules.write_text(before)
    postgres.run(f"DROP OWNED BY {user}", f"DROP ROLE {user}", "SELECT pg_reload_conf()")


@pytest.mark.parametrize("way", ["address", "PGPASSWORD", "PGPASSFILE", "PGSERVICE"])
def test_a_password_comes_from_the_environment_and_shows_nowhere(
    postgres: Database, guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Every way of libpq opens the server; a query that works and one that fails both keep still."""
    fill(postgres)
    postgres.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {postgres.schema} TO {guarded}")
    _enter(way, postgres, guarded, tmp_path, monkeypatch)
    tables = "".join(f"  {name}: {{postgres: TABLE {name}}}\n" for name in TABLES)
    (tmp_path / "c.yaml").write_text(f"name: t\ndata:\n{tables}")
    good = CliRunner().invoke(app, ["check", str(tmp_path / "c.yaml")])
    wrong = "data.leads.postgres=SELECT no_column FROM leads"
    bad = CliRunner().invoke(app, ["check", str(tmp_path / "c.yaml"), "--set", wrong])
    assert good.exit_code == 0, good.exception
    assert 'column "no_column" does not exist' in str(bad.exception)
    for shown in (good.output, bad.output, _traceback(bad.exception)):
        assert "tr0ub" not in shown


def test_a_wrong_password_is_not_repeated(
    postgres: Database, guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _enter("address", postgres, guarded, tmp_path, monkeypatch, password="wr0ng-word")
    with pytest.raises(ConfigError, match="password authentication failed") as caught:
        asked(tmp_path, "TABLE leads")
    assert "wr0ng" not in _traceback(caught.value)


def _traceback(error: BaseException | None) -> str:
    assert error is not None
    return "".join(traceback.format_exception(error))


def _enter(
    way: str,
    postgres: Database,
    user: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: str = PASSWORD,
) -> None:
    """Set the environment as an operator would."""
    host = postgres.address.partition("host=")[2].partition("&")[0]
    path = f"-c search_path={postgres.schema}"
    given = {"PGHOST": host, "PGUSER": user, "PGDATABASE": "postgres", "PGOPTIONS": path}
    if way == "address":
        secret = password.replace("&", "%26")
        address = postgres.address.replace("//postgres:@", f"//{user}:{secret}@")
        given = {"LEAD_PROPENSITY_POSTGRES": address}
    else:
        monkeypatch.delenv("LEAD_PROPENSITY_POSTGRES")
    if way == "PGPASSWORD":
        given |= {"PGPASSWORD": password}
    elif way == "PGPASSFILE":
        (folder / "pass").write_text(f"*:*:*:{user}:{password}\n")
        (folder / "pass").chmod(0o600)
        given |= {"PGPASSFILE": str(folder / "pass")}
    elif way == "PGSERVICE":
        service = {"host": host, "user": user, "dbname": "postgres", "password": password}
        lines = "".join(f"{key}={value}\n" for key, value in (service | {"options": path}).items())
        (folder / "services").write_text(f"[crm]\n{lines}")
        given = {"PGSERVICE": "crm", "PGSERVICEFILE": str(folder / "services")}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

"""Scores in a table of a real PostgreSQL: all old rows or all new ones, whatever happens in between.

Seen failing once each: with a commit between removal and rows, without the removal, with a removal of all
moments, with `=` for `IS NOT DISTINCT FROM`, without the lock, with any key or a partial one, with rights not
asked for, with `real` called wide enough, and with batches lost.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from factory_postgres import Database, Server
from factory_scores import DAY, NIGHT, config, scores
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.serving import postgres as sink_module
from lead_propensity.serving import sinks
from lead_propensity.serving.scoring import SCORES

OUT = "postgres:lead_scores"


def write(*pieces: pa.Table, moment: int | None = NIGHT, out: str = OUT, **keys: object) -> None:
    with sinks.opened(out, config(moment is None, **keys), SCORES) as sink:
        sink.write(iter(pieces), moment)


def rows(postgres: Database, table: str = "lead_scores") -> pa.Table:
    """What the table holds, by moment and lead."""
    with postgres.connected() as con, con.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        order = [("as_of", "ascending"), ("lead_id", "ascending")]
        return cursor.fetch_arrow_table().cast(SCORES).sort_by(order)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "PATIENCE_SECONDS", 0.5)


def test_the_table_is_created_and_holds_the_scores_to_the_bit(postgres: Database) -> None:
    table = scores(
        1_000, probability=[0.1 + n * 1e-17 for n in range(1_000)], reasons=["ü'\\;\n"] * 1_000
    )
    write(table.slice(500), table.slice(0, 500))
    assert rows(postgres).equals(table)
    key = postgres.run(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'lead_scores'::regclass AND contype = 'p'"
    )
    assert key == [("PRIMARY KEY (as_of, lead_id)",)]


def test_a_rerun_replaces_the_scores_of_its_moment_and_no_others(postgres: Database) -> None:
    """Also of a lead that is not open any more."""
    write(scores(5))
    write(scores(4, NIGHT + DAY), moment=NIGHT + DAY)
    again = pa.concat_tables([scores(2, seed=1), scores(2, seed=1, first=9)])
    write(again)
    write(again)
    assert rows(postgres).equals(pa.concat_tables([again, scores(4, NIGHT + DAY)]))


def test_no_open_lead_empties_the_moment(postgres: Database) -> None:
    write(scores(5))
    write(scores(0))
    write()
    assert len(rows(postgres)) == 0


def test_rows_without_a_moment_are_replaced_as_one_set(postgres: Database) -> None:
    write(scores(5, None), moment=None)
    write(scores(2, None, seed=1), moment=None)
    assert rows(postgres).equals(scores(2, None, seed=1))
    with pytest.raises(Exception, match="duplicate key"):
        postgres.run("INSERT INTO lead_scores (lead_id, as_of) VALUES ('L0000000', NULL)")


def test_rows_as_exported_with_dates_are_replaced_date_by_date(postgres: Database) -> None:
    kind = SCORES.field("as_of").type
    days = pa.array([NIGHT, NIGHT, NIGHT + DAY], pa.int64()).cast(kind)
    write(scores(3, as_of=days.to_pylist()), moment=None)
    write(scores(1, seed=1), moment=None)
    assert rows(postgres)["lead_id"].to_pylist() == ["L0000000", "L0000002"]


@pytest.mark.parametrize("moment", [NIGHT, None])
def test_a_rerun_keeps_what_the_company_wrote_beside_its_scores(
    postgres: Database, moment: int | None
) -> None:
    write(scores(3, moment), moment=moment)
    postgres.run(
        "ALTER TABLE lead_scores ADD owner text DEFAULT 'nobody'",
        "UPDATE lead_scores SET owner = 'Ann' WHERE lead_id = 'L0000001'",
    )
    write(scores(4, moment, seed=1), moment=moment)
    owners = postgres.run("SELECT owner FROM lead_scores ORDER BY lead_id")
    assert owners == [("nobody",), ("Ann",), ("nobody",), ("nobody",)]


def test_columns_and_names_may_be_anything(postgres: Database) -> None:
    names = {"probability": 'Propensity"; DROP TABLE x; --', "lead_id": "Id", "as_of": "the moment"}
    schema, table = 'odd "schema', "Lead Scores; --'"
    postgres.run('CREATE SCHEMA "odd ""schema"')
    try:
        for _ in range(2):
            write(scores(3), out=f"postgres:{schema}.{table}", score={"columns": names})
        written = postgres.run(
            f"""SELECT "Id", "Propensity""; DROP TABLE x; --" FROM "odd ""schema"."{table}" """
        )
        assert [row[0] for row in sorted(written)] == scores(3)["lead_id"].to_pylist()
    finally:
        postgres.run('DROP SCHEMA "odd ""schema" CASCADE')


def test_a_table_of_the_company_is_used_as_it_is(postgres: Database) -> None:
    """Other types that hold the same, columns of its own, the key in another order."""
    write(scores(3))
    postgres.run(
        "ALTER TABLE lead_scores DROP CONSTRAINT lead_scores_pkey",
        "CREATE UNIQUE INDEX ON lead_scores (lead_id, as_of) INCLUDE (band)",
        "ALTER TABLE lead_scores ALTER reasons TYPE jsonb USING '[]', ALTER band TYPE varchar(9), "
        "ALTER probability TYPE numeric(6, 4), ADD owner text DEFAULT 'nobody' NOT NULL",
    )
    write(scores(4, seed=1, reasons=['[{"text": "x"}]'] * 4))
    got = postgres.run(
        "SELECT owner, reasons ->> 0, probability::float8 FROM lead_scores ORDER BY lead_id"
    )
    expected = [round(one, 4) for one in scores(4, seed=1)["probability"].to_pylist()]
    assert got == [("nobody", '{"text": "x"}', one) for one in expected]


def test_a_table_that_does_not_fit_is_refused_with_every_difference(postgres: Database) -> None:
    write(scores(3))
    postgres.run(
        "ALTER TABLE lead_scores DROP CONSTRAINT lead_scores_pkey, DROP COLUMN band, "
        "ALTER probability TYPE real, ALTER model_id TYPE json USING NULL, ADD region text NOT NULL DEFAULT 'x'",
        "ALTER TABLE lead_scores ALTER region DROP DEFAULT, DROP COLUMN horizon_days",
        "ALTER TABLE lead_scores ADD horizon_days integer GENERATED ALWAYS AS (60) STORED",
        "CREATE INDEX ON lead_scores (as_of, lead_id)",
        "CREATE UNIQUE INDEX ON lead_scores (as_of, lead_id, raw_score)",
        "CREATE UNIQUE INDEX ON lead_scores (as_of, lead_id) WHERE route = 'sales'",
    )
    with pytest.raises(ConfigError) as caught:
        write(scores(3))
    table = f'"{postgres.schema}"."lead_scores"'
    assert str(caught.value).splitlines()[1:-1] == [
        "  the column 'probability' is real; it must be double precision or numeric",
        f"  the column 'band' is missing: ALTER TABLE {table} ADD COLUMN \"band\" text;",
        "  the column 'model_id' is json; it must be text or character varying",
        "  the column 'region' needs a value that scores do not have: give it a default, or let it be null",
        "  the column 'horizon_days' is computed by the server; scores bring its value",
        '  no primary key or unique index is on ("as_of", "lead_id") and nothing else',
    ]
    postgres.run("CREATE VIEW shown AS SELECT 1 AS x")
    with pytest.raises(ConfigError, match="it is no table, but a view"):
        write(scores(3), out="postgres:shown")


def test_a_table_of_moments_takes_no_rows_without_one(postgres: Database) -> None:
    write(scores(3))
    with pytest.raises(ConfigError, match="UNIQUE NULLS NOT DISTINCT"):
        write(scores(3, None), moment=None)


def test_what_the_user_may_not_do_is_said_before_the_work(
    postgres_server: Server, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_server.needs_own()
    write(scores(3))
    user = f"reader_{postgres.schema}"
    postgres.run(
        f"CREATE ROLE {user} LOGIN",
        f"GRANT USAGE ON SCHEMA {postgres.schema} TO {user}",
        f"GRANT SELECT, INSERT ON lead_scores TO {user}",
    )
    monkeypatch.setenv(
        "LEAD_PROPENSITY_POSTGRES_SINK", postgres.address.replace("//postgres:@", f"//{user}@")
    )
    with pytest.raises(ConfigError, match="this user may not UPDATE, DELETE"):
        write(scores(3))
    with pytest.raises(ConfigError, match="this user may not create it"):
        write(scores(3), out="postgres:another")
    with pytest.raises(ConfigError, match=r"the schema .* is not there"):
        write(scores(3), out="postgres:nowhere.scores")
    monkeypatch.setenv(
        "LEAD_PROPENSITY_POSTGRES_SINK",
        postgres.address + "%20-c%20default_transaction_read_only%3Don",
    )
    with pytest.raises(ConfigError, match="the server lets nobody write"):
        write(scores(3))
    postgres.run(f"DROP OWNED BY {user}", f"DROP ROLE {user}")


def test_a_dry_run_changes_nothing_and_says_what_it_would(postgres: Database) -> None:
    def outlook() -> tuple[str, ...]:
        with sinks.opened(OUT, config(), SCORES, dry_run=True) as sink:
            return sinks.Counted([scores(3)]).bring(sink, NIGHT, dry_run=True)

    says, creation = outlook()
    assert says.endswith("would be created:")
    assert creation.startswith("CREATE TABLE ")
    assert postgres.run("SELECT to_regclass('lead_scores') IS NULL") == [(True,)]
    postgres.run(creation)
    write(scores(5))
    with blocked(postgres, "SELECT 1"):
        assert "its 5 rows of 2024-10-04T00:00:00+00:00 would be replaced" in outlook()[0]
    assert rows(postgres).equals(scores(5))


def test_a_value_that_the_table_refuses_leaves_the_old_rows(postgres: Database) -> None:
    write(scores(3))
    postgres.run("ALTER TABLE lead_scores ADD CHECK (probability < 1000)")
    with pytest.raises(
        ConfigError, match=r"(?s)violates check constraint.*The table holds the rows"
    ):
        write(scores(3, seed=1, probability=[1.0, 2.0, 2000.0]))
    assert rows(postgres).equals(scores(3))


# One run at a time, killed or cut at any moment.

_WRITER = """
import sys
from factory_scores import NIGHT, config, scores
from lead_propensity.errors import LeadPropensityError
from lead_propensity.serving import sinks
from lead_propensity.serving.scoring import SCORES
seed = int(sys.argv[1])
pieces = [scores(300, seed=seed, first=10 * seed + start) for start in range(0, 1500, 300)]
try:
    with sinks.opened("postgres:lead_scores", config(), SCORES) as sink:
        sink.write(iter(pieces), NIGHT)
except LeadPropensityError as error:
    print(type(error).__name__, error)
    sys.exit(2)
"""


def new_rows(seed: int) -> pa.Table:
    """What a writer writes: with each seed some other leads."""
    starts = range(10 * seed, 10 * seed + 1500, 300)
    return pa.concat_tables([scores(300, seed=seed, first=start) for start in starts])


OLD = scores(5, first=1_507)
"""Of which a writer of seed 1 replaces some and removes some."""


def writer(seed: int) -> "subprocess.Popen[str]":
    tests = {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", _WRITER, str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | tests)


@contextmanager
def blocked(postgres: Database, statement: str) -> Iterator[Callable[[], None]]:
    """A transaction of somebody else that holds what `statement` locks; gives what ends it early."""
    with postgres.connected(autocommit=False) as con:
        with con.cursor() as cursor:
            cursor.execute(statement)
        yield con.rollback


def wait_until_blocked(postgres: Database, process: "subprocess.Popen[str]") -> None:
    waiting = f"""SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                  AND application_name = 'lead-propensity' AND query LIKE '%{postgres.schema}%'"""
    for _ in range(600):
        if postgres.run(waiting) != [(0,)]:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("the writer never came so far")


STEPS = {
    "before the removal": "LOCK TABLE lead_scores IN SHARE ROW EXCLUSIVE MODE",
    "in the middle of the rows": f"""INSERT INTO lead_scores (lead_id, as_of)
        VALUES ('L0000700', timestamptz 'epoch' + {NIGHT // 1_000_000} * interval '1 second')""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_leaves_the_old_rows_and_the_next_one_writes(
    postgres: Database, step: str
) -> None:
    """It is killed while it waits for a lock that another transaction holds."""
    write(OLD)
    with blocked(postgres, STEPS[step]), writer(seed=1) as killed:
        wait_until_blocked(postgres, killed)
        killed.send_signal(signal.SIGKILL)
    assert rows(postgres).equals(OLD)
    write(new_rows(1))
    assert rows(postgres).equals(new_rows(1))


def test_a_server_that_stops_in_the_middle_leaves_the_old_rows(
    postgres_server: Server, postgres: Database
) -> None:
    own = postgres_server.needs_own()
    write(OLD)
    with writer(seed=1) as running:
        with postgres.connected(autocommit=False) as con, con.cursor() as cursor:
            cursor.execute(STEPS["before the removal"])
            wait_until_blocked(postgres, running)
            own.stop()
        told = running.communicate(timeout=60)[0]
    own.start()
    assert running.returncode == 2
    assert told.startswith(
        "DataError --out postgres:lead_scores: the connection to PostgreSQL was lost"
    )
    assert rows(postgres).equals(OLD)
    write(new_rows(1))
    assert rows(postgres).equals(new_rows(1))


def test_a_connection_that_is_cut_in_the_middle_leaves_the_old_rows(postgres: Database) -> None:
    write(OLD)

    def pieces() -> Iterator[pa.Table]:
        yield scores(3, seed=1)
        postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lead-propensity'"
        )
        yield scores(3, seed=1, first=3)

    with (
        pytest.raises(
            DataError, match=r"(?s)connection to PostgreSQL was lost.*The table holds the rows"
        ),
        sinks.opened(OUT, config(), SCORES) as sink,
    ):
        sink.write(pieces(), NIGHT)
    assert rows(postgres).equals(OLD)


@pytest.mark.usefixtures("patience")
def test_a_second_run_at_the_same_table_is_refused(postgres: Database) -> None:
    with (
        sinks.opened(OUT, config(), SCORES),
        pytest.raises(
            ConfigError, match=r"another run is writing this table .the server's process"
        ),
        sinks.opened(f"postgres:{postgres.schema}.lead_scores", config(), SCORES),
    ):
        pass
    with sinks.opened(OUT, config(), SCORES):
        write(scores(2), out="postgres:another_table")
    write(scores(1))
    assert len(rows(postgres)) == 1


def test_two_runs_at_once_end_with_the_whole_result_of_one(postgres: Database) -> None:
    with writer(seed=1) as one, writer(seed=2) as other:
        codes = {one.wait(60), other.wait(60)}
    assert codes <= {0, 2}
    assert 0 in codes
    assert any(rows(postgres).equals(new_rows(seed)) for seed in (1, 2))


def test_readers_see_all_old_rows_or_all_new_ones(postgres: Database) -> None:
    write(new_rows(1))
    seen: set[tuple[Any, ...]] = set()
    ended = threading.Event()

    def read() -> None:
        with postgres.connected() as con, con.cursor() as cursor:
            while not ended.is_set():
                cursor.execute("SELECT count(*), count(DISTINCT scored_at) FROM lead_scores")
                seen.update(cursor.fetchall())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for seed in (2, 3, 4):
            write(new_rows(seed))
    finally:
        ended.set()
        reader.join()
    assert seen == {(1500, 1)}

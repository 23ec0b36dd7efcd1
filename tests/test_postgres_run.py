"""The whole job between two tables of a real PostgreSQL: what files give, and no password left behind.

Seen failing once each: with the address told on stderr, and with the address in a file of the run.
"""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from factory_postgres import Database, Server
from lead_propensity import cli, pipeline
from lead_propensity.config import load
from lead_propensity.data.simulate import simulate, write

pytestmark = pytest.mark.slow

PASSWORD = "c0rrect-h0rse"
TABLES = ("leads", "attributes", "events", "deals")


@pytest.fixture
def crm(
    postgres_server: Server, postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A simulated CRM as files and as tables, and a user who needs a password; gives the two configs."""
    own, user = postgres_server.needs_own(), f"night_{postgres.schema}"
    write(simulate(1_000, seed=1), tmp_path / "world")
    tree = yaml.safe_load((tmp_path / "world" / "config.yaml").read_text())
    texts: dict[str, Any] = {}
    for name in TABLES:
        path = tmp_path / "world" / tree["data"][name]["path"]
        from_file = pq.read_table(path) if path.suffix == ".parquet" else _csv(path)
        postgres.load(name, from_file)
        texts[name] = {**tree["data"][name], "postgres": f"SELECT * FROM {name}"}
        del texts[name]["path"]
    (tmp_path / "world" / "tables.yaml").write_text(
        yaml.safe_dump(tree | {"data": tree["data"] | texts})
    )
    postgres.run(
        f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT ALL ON SCHEMA {postgres.schema} TO {user}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {postgres.schema} TO {user}",
    )
    rules = own.pgdata / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {user} scram-sha-256\n{before}")
    postgres.run("SELECT pg_reload_conf()")
    address = postgres.address.replace("//postgres:@", f"//{user}:{PASSWORD}@")
    monkeypatch.setenv("LEAD_PROPENSITY_POSTGRES", address)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)  # the records of runs that write to a table lie there
    yield tmp_path / "world" / "config.yaml", tmp_path / "world" / "tables.yaml"
    rules.write_text(before)
    postgres.run(f"DROP OWNED BY {user}", f"DROP ROLE {user}", "SELECT pg_reload_conf()")


def _csv(path: Path) -> Any:
    """Every cell as text, as the file holds it."""
    import pandas as pd
    import pyarrow as pa

    return pa.Table.from_pandas(pd.read_csv(path, dtype=str, keep_default_na=False))


def test_a_night_between_tables_is_that_of_files_and_keeps_the_password(
    crm: tuple[Path, Path], postgres: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    few = ["model.trials=1", "engine.threads=1"]
    files, tables = (load(path, few) for path in crm)
    run = pipeline.train(tables, tmp_path / "run")
    here = pipeline.score(files, run.folder, tmp_path / "scores.parquet")
    for _ in range(2):
        there = pipeline.score(tables, run.folder, "postgres:lead_scores")
    assert here.rows > 50
    assert here.bands == there.bands
    assert _scores(postgres).equals(here.table.drop(["scored_at"]))

    command = ["score", str(crm[1]), "--model", str(run.folder), "--out", "postgres:lead_scores"]
    cli.app([*command, "--dry-run"], standalone_mode=False)
    shown = capfd.readouterr()
    assert f"rows of {here.table['as_of'][0].as_py().isoformat()} would be replaced" in shown.out
    assert PASSWORD not in shown.out + shown.err
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 30
    assert tmp_path / "lead_scores.records" / "runs.jsonl" in written
    assert [path for path in written if PASSWORD.encode() in path.read_bytes()] == []


def _scores(postgres: Database) -> Any:
    with postgres.connected() as con, con.cursor() as cursor:
        cursor.execute('SELECT * FROM lead_scores ORDER BY "order", lead_id COLLATE "C"')
        table = cursor.fetch_arrow_table().drop(["scored_at"])
    return table.replace_schema_metadata(None).cast(table.schema.remove_metadata())

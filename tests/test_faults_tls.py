"""PostgreSQL over TLS: what `sslmode=verify-full` promises reaches the server, and nothing else gets through.

The server of the tests is built without TLS, so a real TLS end of ours stands before it, as a pooler would, and
hands on what is said. Seen failing once: with `verify-ca` in the place of `verify-full`, which does not look at the
name.
"""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from factory_postgres import Database, Server
from factory_tables import HEADERS, checked, write_csv
from lead_propensity.errors import ConfigError

SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
"""How a client of PostgreSQL asks for TLS."""


@dataclass(frozen=True)
class Certificates:
    folder: Path

    def root(self, name: str) -> Path:
        return self.folder / f"{name}.crt"


def openssl(*words: object) -> None:
    try:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: no certificates can be made")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A root, another root, and a server's certificate for `localhost` that the first one signed."""
    folder = tmp_path_factory.mktemp("tls")
    key = ("-newkey", "rsa:2048", "-nodes")
    for name in ("root", "other"):
        made = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
        openssl("req", "-x509", "-days", "2", *key, "-subj", f"/CN={name}", *made)
    asked = ("-keyout", folder / "server.key", "-out", folder / "server.csr")
    openssl("req", *key, "-subj", "/CN=localhost", *asked)
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    signed = ("-CA", folder / "root.crt", "-CAkey", folder / "root.key", "-CAcreateserial")
    openssl("x509", "-req", "-days", "2", "-in", folder / "server.csr", *signed,
            "-extfile", folder / "names", "-out", folder / "server.crt")  # fmt: skip
    return Certificates(folder)


@contextmanager
def tls_end(certificates: Certificates, behind: Path) -> Iterator[int]:
    """A port that speaks TLS with the server's certificate, and hands on to PostgreSQL's socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder / "server.crt", certificates.folder / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, behind), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts


def _accept(listener: socket.socket, context: ssl.SSLContext, behind: Path) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_hand_on, args=(client, context, behind), daemon=True).start()


def _hand_on(client: socket.socket, context: ssl.SSLContext, behind: Path) -> None:
    with suppress(OSError), client, socket.socket(socket.AF_UNIX) as server:
        if client.recv(8) != SSL_REQUEST:
            return  # a client that does not ask for TLS hears nothing
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as secured:
            server.connect(str(behind))
            back = threading.Thread(target=_copy, args=(server, secured), daemon=True)
            back.start()
            _copy(secured, server)
            back.join(5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def port(certificates: Certificates, postgres_server: Server) -> Iterator[int]:
    own = postgres_server.needs_own()
    with tls_end(certificates, Path(own.pgdata) / ".s.PGSQL.5432") as found:
        yield found


def asked(folder: Path, database: Database, address: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many leads come through."""
    database.run("DROP TABLE IF EXISTS crm_leads",
                 "CREATE TABLE crm_leads AS SELECT 'L1' AS lead_id, now() AS created_at")  # fmt: skip
    monkeypatch.setenv("LEAD_PROPENSITY_POSTGRES", address)
    write_csv(folder / "d.csv", HEADERS["deals"], [("L1", "2100-03-01T00:00:00Z", "won", "", "")])
    query = f"SELECT * FROM {database.schema}.crm_leads"
    result = checked(folder, {"leads": {"postgres": query}, "deals": {"path": "d.csv"}})
    return len(result.rows("leads"))


def test_a_server_that_the_root_vouches_for_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Database, port: int,
    certificates: Certificates,
) -> None:  # fmt: skip
    address = (
        f"postgresql://postgres@localhost:{port}/postgres?sslmode=verify-full&hostaddr=127.0.0.1"
    )
    root = f"&sslrootcert={certificates.root('root')}"
    assert asked(tmp_path, postgres, address + root, monkeypatch) == 1


@pytest.mark.parametrize(
    ("host", "mode", "root", "says"),
    [
        ("localhost", "verify-full", "other", "certificate verify failed"),
        ("localhost", "verify-ca", "other", "certificate verify failed"),
        ("db.example", "verify-full", "root", "does not match host name"),
        ("localhost", "verify-full", "none", "root certificate file"),
        ("localhost", "disable", "root", "closed the connection|no connection"),
    ],
)
def test_a_server_that_nobody_vouches_for_is_not_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Database, port: int,
    certificates: Certificates, host: str, mode: str, root: str, says: str,
) -> None:  # fmt: skip
    address = (
        f"postgresql://postgres:geheim@{host}:{port}/postgres?sslmode={mode}&hostaddr=127.0.0.1"
    )
    with pytest.raises(ConfigError, match=says) as caught:
        asked(tmp_path, postgres, f"{address}&sslrootcert={certificates.root(root)}", monkeypatch)
    assert "geheim" not in str(caught.value)

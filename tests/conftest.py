"""What every test gets: its own MLflow, one thread, and the public data where it lies."""

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factory_postgres import Database, Server, running

# Before NumPy and LightGBM are imported: the test workers share the cores.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

collect_ignore = ["plugin"]
"""An installed package in a folder of its own: only those tests see it that ask for `plugin`."""

DATA_ROOT = "LEAD_PROPENSITY_DATA_ROOT"


@pytest.fixture(scope="session", autouse=True)
def _own_mlflow(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test writes to the user's MLflow; each worker makes its database once."""
    folder = tmp_path_factory.mktemp("mlflow")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


@pytest.fixture
def data_root() -> Path:
    """The folder with the public data sets; skips where there is none."""
    given = os.environ.get(DATA_ROOT)
    if not given:
        pytest.skip(f"{DATA_ROOT} is not set: public data needed, see data/README.md")
    root = Path(given)
    if not root.is_dir():
        pytest.skip(f"{DATA_ROOT} names {given}, which is no folder, see data/README.md")
    return root.resolve()


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str, str]]:
    """Runs a line such as `check acme.yaml`: gives exit code, what was printed, and what went to stderr."""
    from lead_propensity import cli

    def call(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lead-propensity", *shlex.split(line)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        shown = capsys.readouterr()
        return int(stopped.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package `lead-habits` is installed: here, and in the processes that the test starts."""
    folder = Path(__file__).parent / "plugin"
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A real PostgreSQL; skips where there is none."""
    with running() as found:
        yield found


@pytest.fixture
def postgres(postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A schema of its own, which the tool finds in its environment."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    with postgres_server.database() as found:
        monkeypatch.setenv("LEAD_PROPENSITY_POSTGRES", found.address)
        monkeypatch.delenv("LEAD_PROPENSITY_POSTGRES_SINK", raising=False)
        yield found

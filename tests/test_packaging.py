"""The built wheel works alone, in an empty environment outside the repo."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path, **variables: str) -> str:
    """The output of a command that has to succeed, with nothing of this environment in its way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The lock holds hatchling, so the build asks no registry.
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=ROOT)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_and_the_demo(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    outside = [
        name for name in names if not name.startswith(("lead_propensity", "lead-propensity"))
    ]
    assert outside == []
    assert [name for name in names if "/demo/" in name and name.endswith(".yaml")]
    assert "lead_propensity/py.typed" in names


def test_the_wheel_runs_the_demo_in_an_empty_environment(wheel: Path, tmp_path: Path):
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    # As constraints the lock fixes the versions, but adds nothing that the wheel forgot to name.
    # (pip asks for a hash of each package or of none; `make install` asks for each.)
    lock = (ROOT / "requirements.lock").read_text()
    pins = tmp_path / "constraints.txt"
    pins.write_text("\n".join(re.findall(r"^([a-z0-9].*?) \\$", lock, flags=re.MULTILINE)))
    pip = (binaries / "python", "-m", "pip", "install", "-qq", "--no-compile", "-c", pins)
    run(*pip, wheel, cwd=tmp_path)
    few = ("model.trials=2", "model.backtest_periods=0", "model.refit=never")
    run(
        *(binaries / "lead-propensity", "demo", "--leads", "2000"),
        *(word for setting in few for word in ("--set", setting)),
        cwd=tmp_path,
        MLFLOW_TRACKING_URI="",
    )
    assert list(tmp_path.glob("**/report.html"))
    assert (tmp_path / "mlflow.db").is_file()

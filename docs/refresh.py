"""Run the demo and the notebooks, and store what they show.

    python docs/refresh.py

Writes the README's demo output, its picture (needs chromium), and the notebooks' outputs. A slow
test fails where the demo prints something else than the README shows.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "images" / "report.png"
DEMO_BLOCK = re.compile(
    r"(?<=<!-- demo output -->\n```text\n).*?(?=```\n<!-- end -->)", flags=re.DOTALL
)


def demo(folder: Path) -> str:
    """What `lead-propensity demo`, run in `folder`, prints, with folders, run ids and versions made equal."""
    unset = {"MLFLOW_TRACKING_URI", "FORCE_COLOR", "GITHUB_ACTIONS", "CI"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [Path(sys.executable).with_name("lead-propensity"), "demo"],
        cwd=folder,
        env={**kept, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"lead-propensity demo ended with {done.returncode}:\n{done.stderr}")
    return settled(done.stdout)


def settled(printed: str) -> str:
    """What a demo printed, with folders, run ids and versions made equal."""
    printed = re.sub(r"\S*lead-propensity-demo-\w+", "TEMPORARY", printed)
    printed = re.sub(r"models/demo/\w+", "models/demo/RUN", printed)
    printed = re.sub(r"(models:/lead-propensity-demo)/\d+", r"\1/1", printed)  # later demos: 2, 3
    printed = re.sub(r"sqlite:///\S*/mlflow.db", "sqlite:///mlflow.db", printed)
    return re.sub(r"[ \t]+$", "", printed, flags=re.MULTILINE).strip() + "\n"


def picture(report: Path, out: Path) -> None:
    """A screenshot of the report's beginning, 1200 pixels wide."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise RuntimeError("chromium is needed for the picture. Install it.")
    quiet = ("disable-quic", "no-first-run", "disable-background-networking", "disable-sync")
    switches = ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", *quiet)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                chromium,
                *(f"--{switch}" for switch in switches),
                "--disable-component-update",
                f"--user-data-dir={profile}",
                f"--screenshot={out}",
                "--window-size=1200,1310",
                report.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
        )


def notebook(file: Path) -> None:
    """Run it in an empty folder and keep the outputs, but no warning."""
    stored = nbformat.read(file, as_version=4)
    about = dict(stored.metadata)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{(Path(folder) / 'mlflow.db').as_posix()}"
        place = {"metadata": {"path": folder}}
        NotebookClient(
            stored, timeout=300, kernel_name="python3", resources=place, record_timing=False
        ).execute()
    stored.metadata = nbformat.from_dict(about)
    for cell in stored.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    nbformat.write(stored, file)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        printed = demo(Path(folder))
        picture(next(Path(folder).glob("models/demo/*/report.html")), PICTURE)
    text = README.read_text(encoding="utf-8")
    README.write_text(DEMO_BLOCK.sub(lambda _: printed, text), encoding="utf-8")
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook(file)


if __name__ == "__main__":
    main()

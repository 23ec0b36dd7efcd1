"""The notebooks run from top to bottom, with the public names only, and define nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import lead_propensity

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

each = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def nodes(file: Path) -> Iterator[ast.AST]:
    """Of all code cells. A cell with a magic or a shell line is no Python: it raises SyntaxError."""
    for cell in nbformat.read(file, as_version=4).cells:
        if cell.cell_type == "code":
            yield from ast.walk(ast.parse(cell.source))


def test_there_is_a_notebook():
    assert NOTEBOOKS


@each
def test_it_uses_the_public_names_only(file: Path):
    for node in nodes(file):
        if isinstance(node, ast.Import):
            assert not [one for one in node.names if one.name.startswith("lead_propensity")]
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("lead_propensity"):
            assert node.module == "lead_propensity"
            assert {one.name for one in node.names} <= set(lead_propensity.__all__)


@each
def test_it_defines_nothing(file: Path):
    assert not [node for node in nodes(file) if isinstance(node, DEFINITIONS)]


@each
def test_it_is_stored_with_its_outputs_and_without_complaints(file: Path):
    outputs = [
        output
        for cell in nbformat.read(file, as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    assert outputs
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]


@each
def test_it_runs(file: Path, tmp_path: Path):
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert {"report.html", "scorecard.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert (tmp_path / "scores.parquet").is_file()

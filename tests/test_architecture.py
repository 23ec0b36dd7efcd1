"""Rooms have one-way doors, and some packages are imported in one place only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "lead_propensity"
FILES = sorted(SRC.rglob("*.py"))
ENTRANCES = ("__init__.py", "__main__.py")
"""They take from every room."""
ROOMS = re.search(r"`(errors < .*)`", (ROOT / "docs/architecture.md").read_text())[1].split(" < ")


def name_of(file: Path) -> str:
    return file.relative_to(SRC).as_posix()


def room_of(module: str) -> str:
    """The room of `lead_propensity.model.folds` is `model`."""
    return module.removeprefix("lead_propensity.").split(".")[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported module by its full name, also inside functions and `TYPE_CHECKING`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "lead_propensity":
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def wrong_doors(source: str, room: str) -> list[str]:
    """Rooms that a file of `room` imports though they are named after it."""
    rooms = [
        room_of(module)
        for module in imports(ast.parse(source))
        if module.startswith("lead_propensity.")
    ]
    return sorted({one for one in rooms if ROOMS.index(one) > ROOMS.index(room)})


def importers(package: str) -> list[str]:
    """The files of the package that import `package`."""
    return [
        name_of(file)
        for file in FILES
        if package in {module.split(".")[0] for module in imports(ast.parse(file.read_text()))}
    ]


def test_every_module_stands_in_a_named_room():
    found = {file.relative_to(SRC).parts[0].removesuffix(".py") for file in FILES}
    assert found - {"__init__", "__main__", "demo"} <= set(ROOMS)


@pytest.mark.parametrize(
    "file", [file for file in FILES if name_of(file) not in ENTRANCES], ids=name_of
)
def test_imports_go_to_earlier_rooms(file: Path):
    room = file.relative_to(SRC).parts[0].removesuffix(".py")
    assert wrong_doors(file.read_text(), room) == []


@pytest.mark.parametrize(
    "line",
    [
        "import lead_propensity.cli",
        "from lead_propensity.cli import main",
        "from lead_propensity import cli",
        "def f():\n    from lead_propensity.cli import main",
    ],
)
def test_a_wrong_door_is_seen(line: str):
    assert wrong_doors(line, "data") == ["cli"]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_are_absolute(file: Path):
    nodes = ast.walk(ast.parse(file.read_text()))
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def test_optuna_is_imported_in_one_file():
    assert importers("optuna") == ["model/tuning.py"]


def test_mlflow_is_imported_in_tracking_alone():
    assert {Path(name).parts[0] for name in importers("mlflow")} == {"tracking"}


def test_the_driver_of_postgresql_is_imported_in_one_file():
    assert importers("adbc_driver_postgresql") == ["data/postgres.py"]


def test_pyspark_is_imported_in_one_file():
    assert importers("pyspark") == ["serving/spark.py"]


@pytest.mark.parametrize("package", ["pickle", "joblib", "cloudpickle", "dill", "shelve"])
def test_nothing_that_executes_on_loading_is_imported(package: str):
    assert importers(package) == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_only_the_command_line_prints(file: Path):
    calls = [
        node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)
    ]
    printed = [func for func in calls if isinstance(func, ast.Name) and func.id == "print"]
    assert not printed or name_of(file).startswith("cli/")


TEXTS = [
    file
    for pattern in (
        "src/**/*",
        "configs/**/*",
        "docs/**/*",
        ".ci/*",
        "*.toml",
        "*.lock",
        "*.md",
        "Makefile",
    )
    for file in sorted(ROOT.glob(pattern))
    if file.suffix in {"", ".css", ".html", ".j2", ".lock", ".md", ".py", ".sql", ".toml", ".yaml"}
    and file.is_file()
]


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_path_of_a_machine_is_written_down(file: Path):
    home = re.compile(r"(?<![\w.])/(home|root|Users|work|tmp|opt|mnt)/|[A-Z]:\\Users|file://")
    found = [line for line in file.read_text(encoding="utf-8").splitlines() if home.search(line)]
    assert found == []


def test_the_lock_names_no_host_and_pins_every_hash():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|^--|index-url|#", lock, flags=re.MULTILINE)
    packages = re.split(r"\n(?=[a-z0-9])", lock.strip())
    pinned = re.compile(
        r"[a-z0-9][\w.-]*==\S+( ; [^\\]+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+"
    )
    assert [package for package in packages if not pinned.fullmatch(package)] == []

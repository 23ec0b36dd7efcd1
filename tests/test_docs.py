"""The docs say what the program does: written from it, or executed."""

import doctest
import os
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
REFRESH: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "refresh.py"))
GENERATE: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES: dict[str, Callable[[], str]] = GENERATE["PAGES"]
TEXTS = [
    *sorted(ROOT.glob("*.md")),
    *(
        file
        for folder in ("docs", "configs", "data", "models", "benchmarks")
        for file in sorted((ROOT / folder).glob("*.md"))
    ),
]

each_text = pytest.mark.parametrize(
    "file", TEXTS, ids=lambda file: file.relative_to(ROOT).as_posix()
)


def anchors(text: str) -> set[str]:
    """The headings of a page as GitHub links to them."""
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("name", PAGES)
def test_the_written_pages_are_up_to_date(name: str):
    committed = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert committed == PAGES[name](), f"docs/{name} is stale; refresh it: python docs/generate.py"


def test_every_key_says_what_it_means():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", PAGES["configuration.md"](), re.MULTILINE)
    assert len(rows) > 70
    assert [key for key, meaning in rows if not meaning.strip()] == []
    assert [key for key, meaning in rows if meaning == f"See [{key}](#{key})."] == [
        *("data", "snapshots", "features", "split", "model", "bands"),
        *("report", "score", "registry", "gate", "monitor", "engine"),
    ]


@each_text
def test_links_lead_somewhere(file: Path):
    """Inside the repo; a page's own headings included."""
    text = file.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        there = file.parent / path if path else file
        assert there.exists(), f"{file.name} links to {target}"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@each_text
def test_the_python_of_the_docs_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```",
        file.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    examples = "\n".join(block for block in blocks if ">>> " in block)
    assert examples or not blocks, "a Python block without a prompt is not executed"
    test = doctest.DocTestParser().get_doctest(examples, {}, file.name, file.name, 0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.DocTestRunner(optionflags=flags).run(test).failed == 0


def test_the_tests_that_the_docs_name_exist():
    """docs/testing.md says `file::test`; mutations are not run, their names are checked."""
    named = re.findall(
        r"`(test_\w+\.py)::(\w+)`", (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    )
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), test


def test_the_modules_that_the_docs_name_exist():
    named = re.findall(
        r"`((?:\w+/)+\w+\.py)`", (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    )
    assert len(named) > 20
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "src" / "lead_propensity" / name).exists(), name


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(tmp_path: Path):
    """`DEMO_OUTPUT` names a file with what `make demo` has printed just now; else it runs here."""
    kept = os.environ.get("DEMO_OUTPUT")
    printed = (
        REFRESH["settled"](Path(kept).read_text("utf-8")) if kept else REFRESH["demo"](tmp_path)
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = REFRESH["DEMO_BLOCK"].search(readme)
    assert shown is not None
    assert shown[0] == printed, "refresh it: python docs/refresh.py"


def test_the_picture_is_small():
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < 400_000

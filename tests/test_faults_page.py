"""docs/reliability.md names tests that are there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reliability.md"


def test_every_promise_names_a_test_that_is_there() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| what is promised")]
    assert len(promises) > 25
    for row in promises:
        named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", row)
        assert named, f"no test stands in {row}"
        for file, test in named:
            text = (TESTS / file).read_text(encoding="utf-8")
            assert not test or f"def {test}(" in text, f"{file} has no {test}"


def test_every_test_of_faults_stands_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    files = {path.name for path in TESTS.glob("test_faults_*.py")} - {Path(__file__).name}
    assert [name for name in sorted(files) if name not in page] == []

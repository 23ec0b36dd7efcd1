"""Lines for machines: each is JSON, the last one tells the exit code, and no cell of a table is among them.

Seen failing once each: with the reader's message as it is, with the end told of good runs alone, and with the
traceback of a bug in plain text.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

NAME = "Jane Doe"
Run = Callable[[str], tuple[int, str, str]]
ROWS = "".join(f"L{n},2025-01-02T00:00:00Z,{n}\n" for n in range(40))
CRM = """name: crm
data:
  raw: {l: leads.csv}
  leads: {sql: "SELECT lead_id, created_at, note::INTEGER AS note FROM l"}
  deals: {path: deals.csv}
"""


@pytest.fixture
def crm(tmp_path: Path) -> Path:
    (tmp_path / "deals.csv").write_text("lead_id,closed_at,outcome\nL2,2025-02-01T00:00:00Z,won\n")
    (tmp_path / "leads.csv").write_text(f"lead_id,created_at,note\n{ROWS}")
    (tmp_path / "crm.yaml").write_text(CRM)
    return tmp_path


@pytest.mark.parametrize(
    "row",
    [
        "Jane Doe,2025-01-02T00:00:00Z,jane@doe.example\n",
        '"Jane\nDoe",2025-01-02T00:00:00Z,Jane Doe\n',
    ],
)
def test_what_a_reader_quotes_is_not_shown(command_line: Run, crm: Path, row: str) -> None:
    (crm / "leads.csv").write_text(f"lead_id,created_at,note\n{ROWS}{row}")
    line = f"check {crm}/crm.yaml"
    code, _, err = command_line(line)
    assert (code, "Doe" in err or "doe" in err) == (2, True)
    code, _, err = command_line(f"--log-format json {line}")
    error, end = (json.loads(one) for one in err.splitlines())
    assert (code, error["event"], end) == (2, "error", end | {"event": "finished", "exit_code": 2})
    assert "data.leads.sql cannot be read: Conversion Error" in error["message"]
    assert "doe" not in err.lower()
    assert "jane" not in err.lower()


def test_a_bug_of_ours_is_a_line_too(
    command_line: Run, crm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError(NAME)

    monkeypatch.setattr("lead_propensity.cli.commands.load", broken)
    code, _, err = command_line(f"--log-format json check {crm}/crm.yaml")
    bug, end = (json.loads(one) for one in err.splitlines())
    assert (code, bug["event"], bug["type"]) == (1, "bug", "KeyError")
    assert (end["exit_code"], "Jane" in err) == (1, False)
    with pytest.raises(KeyError):
        command_line(f"--log-format text check {crm}/crm.yaml")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nosuch", "No such command 'nosuch'"),
        ("score", "Missing argument"),
        ("score x.yaml --model m --out o.csv --as-of 2025", "Invalid value for '--as-of'"),
        ("monitor x.yaml --scores", "'--scores' requires an argument"),
    ],
)
def test_a_mistake_in_the_line_is_a_line_too(
    command_line: Run, monkeypatch: pytest.MonkeyPatch, line: str, told: str
) -> None:
    for given in (f"--log-format json {line}", f"--log-format=json {line}", line):
        monkeypatch.setenv("LEAD_PROPENSITY_LOG_FORMAT", "text" if "json" in given else "json")
        code, out, err = command_line(given)
        error, end = (json.loads(one) for one in err.splitlines())
        assert (code, out, error["event"], end["exit_code"]) == (2, "", "error", 2)
        assert told in error["message"]
    monkeypatch.setenv("LEAD_PROPENSITY_LOG_FORMAT", "text")
    assert command_line(line)[0] == 2, "in text it is drawn as ever"
    assert command_line("--log-format json --version")[0] == 0

"""Every command of the README does what it says."""

import doctest
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
# `$ command  # remark`; a line that ends in a backslash goes on in the next one.
SHELL = "\n".join(text.replace("\\\n", " ") for kind, text in BLOCKS if kind in {"console", "bash"})
LINES = re.findall(r"^\$ (.*)$", SHELL, flags=re.MULTILINE)
COMMANDS = [re.sub(r"\s+# .*", "", line).strip() for line in LINES]
OURS = [command for command in COMMANDS if command.startswith("lead-propensity ")]
MAKE = [command for command in COMMANDS if command.startswith("make ")]
ELSEWHERE = ("git clone ", "cd ", "pip install ", "export ")
"""Commands for the reader's own machine; `pip install` of the wheel is in test_packaging."""


def test_every_command_is_of_a_kind_that_is_run():
    assert OURS
    assert [
        one for one in COMMANDS if one not in OURS + MAKE and not one.startswith(ELSEWHERE)
    ] == []


def test_the_make_targets_exist():
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    )
    assert {command.split()[1] for command in MAKE} <= targets


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_two_commands_run_in_ci(command: str):
    assert command in MAKE
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(rf"^(as_shown )?{command}( \| tee \S+)?$", script, re.MULTILINE)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    python = "\n".join(text for kind, text in BLOCKS if kind == "python" and ">>> " in text)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(python, {}, "README.md", "README.md", 0)
    assert doctest.DocTestRunner(optionflags=flags).run(test).failed == 0


@pytest.mark.slow
def test_our_commands_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: Callable
):
    """In one folder with the repo's configs, so that each finds what those before it left.

    A yaml block whose first line is `# NAME.yaml` lies there as that file. That the command is installed and
    starts: test_packaging.py.
    """
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for kind, text in BLOCKS:
        if kind == "yaml" and (name := re.match(r"# ([\w-]+\.yaml)\n", text)):
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    for command in OURS:
        if not os.environ.get("LEAD_PROPENSITY_DATA_ROOT") and "configs/" in command:
            continue
        code, out, err = command_line(command.removeprefix("lead-propensity "))
        assert code == 0, f"{command}\n{out}{err}"
    assert (tmp_path / "mlflow.db").is_file()

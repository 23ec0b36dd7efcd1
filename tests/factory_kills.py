"""Command lines in processes that can be killed: forked from one that has imported everything, and did nothing else.

A fork of the test's own process would inherit threads that are not there any more (DuckDB's, OpenMP's).
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER = """
import json, os, signal, sys
import matplotlib.pyplot, mlflow.pyfunc, mlflow.store.tracking.sqlalchemy_store, optuna  # late imports of a run
from lead_propensity import cli, pipeline

for line in sys.stdin:
    told = json.loads(line)
    if "kill" in told:
        os.kill(told["kill"], signal.SIGKILL)  # by the parent, to which the number belongs until it waits
        continue
    if "wait" in told:
        _, status = os.waitpid(told["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    child = os.fork()
    if child == 0:
        output = os.open(told["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(told["folder"])
        sys.argv = ["lead-propensity", *told["line"]]
        code = 1
        try:
            cli.main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    print(child, flush=True)
"""


@dataclass(frozen=True)
class Run:
    """A living command."""

    server: "Server"
    process: int
    output: Path

    def reached(self, phase: str, patience: float = 60.0) -> bool:
        """Waits until the command says that `phase` begins; False where it ended, or never says so."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if f"{phase} ..." in self.text():
                return True
            if self._has_ended():
                return False
            time.sleep(0.003)
        return False

    def kill(self) -> int:
        """Ends it with SIGKILL; gives the exit code, -9 where it was still at work."""
        self.server.ask(kill=self.process)
        return self.wait()

    def wait(self) -> int:
        self.server.ask(wait=self.process)
        return self.server.answer()

    def text(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def _has_ended(self) -> bool:
        status = Path(f"/proc/{self.process}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


class Server:
    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder, self._count = process, folder, 0

    def start(self, *line: object) -> Run:
        self._count += 1
        output = self._folder / f"output {self._count}"
        self.ask(line=[str(one) for one in line], folder=str(self._folder), output=str(output))
        return Run(self, self.answer(), output)

    def run(self, *line: object) -> str:
        """A command to its end, which is to be a good one; gives what it said."""
        started = self.start(*line)
        code = started.wait()
        assert code == 0, f"exit code {code}: {started.text()}"
        return started.text()

    def ask(self, **told: object) -> None:
        import json

        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def answer(self) -> int:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 600)
        assert ready, "the command is still at work after ten minutes"
        return int(self._process.stdout.readline())


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    """Commands start in `folder`, and what they say is kept there."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        try:
            yield Server(process, folder)
        finally:
            process.kill()

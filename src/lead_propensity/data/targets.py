"""One run at a time writes a target: a lock beside it, which no dead process can hold."""

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path

from lead_propensity.data.locks import Lock
from lead_propensity.errors import ConfigError
from lead_propensity.files import new_folder

_LEFT = re.compile(r"\.(?P<target>.+)\.\d+\.part")
"""What `files` calls the scratch of a target; the number is the process."""


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Nobody else writes `target` during the block: `.<name>.lock` beside it is locked, and removed after.

    The operating system drops the lock with its process, however that ends: what a killed run left is
    taken over, half-written scratch files of the target included. The file says who holds it, for the
    message only. Raises ConfigError where another run holds it, or the folder cannot be used.
    """
    target = named(target)
    path = target.with_name(f".{target.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(path)
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be locked against other runs: {error}. Give another place."
        ) from error
    if lock is None:
        raise ConfigError(
            f"{target} is being written by another run ({_holder(path)}). Wait until it has ended, or give "
            "another place."
        )
    with lock:
        clear(target)
        try:
            yield
        finally:
            with suppress(OSError):  # on Windows an open file stays: one that nobody locks
                path.unlink()


@contextmanager
def alone_in_new(folder: Path) -> Iterator[Path]:
    """`files.new_folder`, and nobody else makes `folder` meanwhile.

    What killed runs left half-made beside it goes first, whatever it was to be called: rows of customers
    are in it, and a run that is named after its time never comes back to its own.
    """
    folder = named(folder)
    with alone(folder), new_folder(folder) as scratch:
        for left in folder.parent.glob(".*.part"):
            dead = _LEFT.fullmatch(left.name)
            if dead is not None and dead["target"] != folder.name and left.is_dir():
                _remove_if_dead(folder.with_name(dead["target"]))
        yield scratch


def clear(target: Path) -> None:
    """Remove the scratch files that killed runs left of `target`; only for who is `alone` with it."""
    for left in target.parent.glob(f".{escape(target.name)}.*.part"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):
                left.unlink()


def named(path: Path) -> Path:
    """The path with a name of its own: `.` and `..` have none. Raises ConfigError where there is none."""
    found = path if path.name not in ("", "..") else path.resolve()
    if not found.name:
        raise ConfigError(f"{path} is no place to write to. Give another one.")
    return found


def _remove_if_dead(target: Path) -> None:
    """The scratch of a run that was killed: it left its lock, too, which nobody holds."""
    path = target.with_name(f".{target.name}.lock")
    if path.is_file():
        with suppress(ConfigError, OSError), alone(target):
            pass  # whoever comes in clears the scratch, and takes the lock file away


def _locked(path: Path) -> Lock | None:
    while (lock := Lock.tried(path)) is not None:
        if lock.is_of(path):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            told = {"process": os.getpid(), "host": socket.gethostname(), "since": now}
            lock.note(json.dumps(told) + "\n")
            return lock
        lock.release()  # its owner removed the file between our opening and our locking
    return None


def _holder(path: Path) -> str:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return f"process {told['process']} on {told['host']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"see {path}"

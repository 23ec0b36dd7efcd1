"""The folder of a run: its own scratch files, and finished work that outlives it when it is killed.

```text
<engine.work_folder>/lead-propensity-<user>/
  lock             held for the moment in which a folder below is made or removed
  runs/<unique>/   of one run: spill/ of the SQL engine, events/ cut into buckets; removed at its end
  jobs/<key>/      finished work: buckets and their manifest, or the trials of a search for settings;
                   removed when its run ends without an error
```

A living run holds the lock in its run folder and in each job it works at. The operating system drops
these locks with the process, so every run can tell the folders of the dead from those of the living,
and removes the former when it starts.
"""

import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path

from lead_propensity.config.paths import resolve
from lead_propensity.data.jobs import LOCK, Job
from lead_propensity.data.locks import Lock
from lead_propensity.errors import ConfigError

KEPT_DAYS = 3
"""So long the finished work of a dead run waits for the next one."""

__all__ = [
    "IN_MEMORY",
    "KEPT_DAYS",
    "Allowance",
    "Cleared",
    "Job",
    "Workroom",
    "clear_jobs",
    "entered",
]


class Workroom:
    """The folders of one living run; `entered` makes and clears it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._jobs: dict[str, Job] = {}
        self._claims: dict[Path, Lock] = {}
        with self._alone():
            _sweep(root)
            self.folder = root / "runs" / uuid.uuid4().hex
            self._claim(self.folder)
            self.events.mkdir()

    @property
    def spill(self) -> Path:
        """For the SQL engine's spilled work."""
        return self.folder / "spill"

    @property
    def events(self) -> Path:
        """For events cut into buckets; the SQL engine may read and write here."""
        return self.folder / "events"

    def job(self, key: str) -> Job:
        """The finished buckets of the work `key` (letters and digits), the same all through the run."""
        assert key.isalnum(), f"{key!r} is to be the name of a folder"
        if key not in self._jobs:
            folder = self._root / "jobs" / key
            with _usable(folder), self._alone():
                self._jobs[key] = Job(folder if self._claim(folder) else None)
        return self._jobs[key]

    def shelf(self, key: str) -> Path | None:
        """The folder of the finished work `key` (letters and digits), which stays as a job's does.

        To be asked for once in a run. None where another living run works at the same.
        """
        assert key.isalnum(), f"{key!r} is to be the name of a folder"
        folder = self._root / "jobs" / key
        with _usable(folder), self._alone():
            if not self._claim(folder):
                return None
            os.utime(folder)  # in use today: old enough to be removed only days after
        return folder

    def leave(self, finished: bool) -> None:
        """Remove the run's folder, and its jobs where it `finished`; those of a failed run stay."""
        with self._alone():
            for folder, lock in self._claims.items():
                lock.release()
                if finished or folder == self.folder:
                    shutil.rmtree(folder, ignore_errors=True)
            self._claims.clear()

    def _claim(self, folder: Path) -> bool:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock.tried(folder / LOCK)
        if lock is not None:
            self._claims[folder] = lock
        return lock is not None

    def _alone(self) -> Lock:
        """Nobody else makes, claims or removes a folder meanwhile: none is ever seen half-made."""
        return Lock.waited(self._root / LOCK)


@contextmanager
def entered(work_folder: str | None) -> Iterator[Workroom]:
    """A run's workroom, for the block. First the folders of dead runs are removed.

    Raises ConfigError where the folder is another user's, open to others, or cannot be written.
    """
    root = _root(work_folder)
    with _usable(root):
        room = Workroom(root)
    finished = False
    try:
        yield room
        finished = True
    finally:
        room.leave(finished)


@dataclass(frozen=True)
class Cleared:
    """The finished work of dead runs that was removed, or would be, and that of living ones."""

    removed: int
    busy: int


def clear_jobs(work_folder: str | None, dry_run: bool = False) -> Cleared:
    """Remove the finished work that runs left for the next one: it is made from rows of leads.

    Raises ConfigError as `entered` does.
    """
    root = _root(work_folder)
    with _usable(root), Lock.waited(root / LOCK):
        dead = [folder for folder in _folders(root / "jobs") if _is_dead(folder)]
        busy = len(_folders(root / "jobs")) - len(dead)
        for folder in [] if dry_run else [*dead, *_folders(root / "runs")]:
            _remove_if_dead(folder)
    return Cleared(len(dead), busy)


@dataclass(frozen=True)
class Allowance:
    """What the work beside the database may use."""

    array_bytes: int
    """Of arrays and results, all together."""
    threads: int
    folder: Path | None
    """This run's own folder, removed at its end; None: everything stays in memory."""
    room: Workroom | None = field(default=None, repr=False, compare=False)

    def job(self, key: str) -> Job | None:
        """The finished buckets of the work `key` (letters and digits); None where there is no folder."""
        return None if self.room is None else self.room.job(key)


IN_MEMORY = Allowance(array_bytes=1 << 62, threads=1, folder=None)
"""No limit and no folder: for small tables."""


def _root(work_folder: str | None) -> Path:
    """The user's folder, made where it is not there. Others can neither read nor plant anything in it."""
    parent = Path(tempfile.gettempdir()) if work_folder is None else resolve(work_folder, Path())
    if not parent.is_absolute():
        raise ConfigError(
            f"engine.work_folder {work_folder!r} is relative. Give an absolute path, or one that starts "
            "with ~ or ${VARIABLE}: other commands are to find the same folder."
        )
    user = getuser() if os.name == "nt" else str(os.getuid())
    root = parent / f"lead-propensity-{user}"
    with _usable(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = root.lstat()  # a link is not followed: it may lead anywhere
    if os.name == "nt":
        return root
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{root} holds scratch files of customers' data and must be a folder of yours that nobody else "
            f"can open; it is {stat.filemode(found.st_mode)} of user {found.st_uid}. Remove it, or name "
            "another place in engine.work_folder."
        )
    return root


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be used for scratch files: {error}. Name another place in engine.work_folder."
        ) from error


def _sweep(root: Path) -> None:
    """Remove run folders of dead runs, and jobs that no run came back to. Needs the root's lock."""
    for folder in _folders(root / "runs"):
        _remove_if_dead(folder)
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in _folders(root / "jobs"):
        if folder.stat().st_mtime < oldest:
            _remove_if_dead(folder)


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.glob("*") if path.is_dir() and not path.is_symlink()]


def _remove_if_dead(folder: Path) -> None:
    if _is_dead(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path) -> bool:
    lock = Lock.tried(folder / LOCK)
    if lock is not None:
        lock.release()
    return lock is not None

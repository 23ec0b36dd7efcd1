"""Locks on files that the operating system itself drops when their owner dies, however it dies."""

import os
import sys
import time
from pathlib import Path
from typing import Self

if sys.platform == "win32":
    import msvcrt

    def _try(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _drop(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    # flock, not lockf: the lock belongs to the open file, so that two runs in one process exclude
    # each other as two processes do.
    def _try(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _drop(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class Lock:
    """An exclusive lock, held from `tried` or `waited` to `release` or the death of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def tried(cls, path: Path) -> Self | None:
        """The lock on `path`, or None where somebody living holds it. Raises OSError where nothing locks."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _try(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    @classmethod
    def waited(cls, path: Path) -> Self:
        """The lock on `path`, as soon as it is free."""
        while (lock := cls.tried(path)) is None:
            time.sleep(0.02)
        return lock

    def is_of(self, path: Path) -> bool:
        """Whether `path` is still the file that is locked: another run may have removed it since."""
        assert self._descriptor is not None
        try:
            there = path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._descriptor)
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)

    def note(self, text: str) -> None:
        """Write into the locked file, in the place of what it held, for those who find it locked."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, text.encode())

    def release(self) -> None:
        """Give the lock back; again is nothing."""
        if self._descriptor is not None:
            # A forked child may have the file open still: closing alone would not free it.
            _drop(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

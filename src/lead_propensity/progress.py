"""How long work reports itself: the work calls back, the command line draws."""

import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (phase, steps done, steps in all)."""


def silent(phase: str, done: int, total: int) -> None:
    """A Progress for callers who do not look."""


class Clock:
    """A Progress that passes on what it hears, and keeps how many seconds each phase took so far.

    A phase begins with its first call and ends with its last one; phases may overlap.
    """

    def __init__(self, heard: Progress = silent) -> None:
        self._heard = heard
        self._began: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        self.seconds[phase] = now - self._began.setdefault(phase, now)
        self._heard(phase, done, total)

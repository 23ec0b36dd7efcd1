"""How long work reports itself: the work calls back, the command line draws."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (phase, steps done, steps in all)."""


def silent(phase: str, done: int, total: int) -> None:
    """A Progress for callers who do not look."""

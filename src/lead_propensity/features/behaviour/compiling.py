"""How the kernels are compiled: once for each installation, to run without Python's lock."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Machine code at the first call; later processes find it in numba's cache (NUMBA_CACHE_DIR)."""
    return _cached(function, {})


def _cached(function: F, options: dict[str, Any]) -> F:
    """Where there is no place for a cache (no home, nothing writable), each process compiles for itself."""
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        return numba.njit(nogil=True, **options)(function)


def without_memory(**options: Any) -> Callable[[F], F]:
    """For a function that allocates nothing: without numba's counting of references.

    Each look into a tuple of arrays would count one, which takes twenty times as long as the sweep itself.
    """
    return lambda function: _cached(function, {"_nrt": False, **options})


def in_loop(function: F) -> F:
    """Such a function as a part of its caller: a call would hand over some thirty arrays each time."""
    return without_memory(inline="always")(function)

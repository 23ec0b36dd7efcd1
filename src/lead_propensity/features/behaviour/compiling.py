"""How the kernels are compiled: once for each installation, to run without Python's lock."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Machine code at the first call; later processes find it in numba's cache (NUMBA_CACHE_DIR)."""
    return numba.njit(cache=True, nogil=True)(function)  # type: ignore[return-value]


def without_memory(**options: Any) -> Callable[[F], F]:
    """For a function that allocates nothing: without numba's counting of references.

    Each look into a tuple of arrays would count one, which takes twenty times as long as the sweep itself.
    """
    return numba.njit(cache=True, nogil=True, _nrt=False, **options)  # type: ignore[call-overload]


def in_loop(function: F) -> F:
    """Such a function as a part of its caller: a call would hand over some thirty arrays each time."""
    return without_memory(inline="always")(function)

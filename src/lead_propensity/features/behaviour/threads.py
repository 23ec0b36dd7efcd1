"""Work on ranges of leads, side by side: the kernels run without Python's lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np


def by_leads(
    work: Callable[..., Any], threads: int, starts: np.ndarray, *arguments: Any
) -> list[Any]:
    """`work(starts, *arguments, first_lead, end_lead)` for ranges with about as many events each.

    No result depends on where the ranges are cut.
    """
    n_leads = len(starts) - 1
    shares = np.linspace(0, starts[-1], threads + 1)[1:-1]
    cuts = [0, *np.searchsorted(starts, shares).clip(0, n_leads), n_leads]
    ranges = [(int(a), int(b)) for a, b in pairwise(cuts) if a < b]
    if len(ranges) <= 1:
        return [work(starts, *arguments, first, end) for first, end in ranges]
    with ThreadPoolExecutor(len(ranges)) as pool:
        return list(pool.map(lambda cut: work(starts, *arguments, *cut), ranges))

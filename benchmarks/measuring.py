"""CPU seconds and peak memory of work in a fresh process."""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any


@dataclass
class Measured:
    """What the block of `measured` took. CPU counts all threads and the child processes."""

    cpu: float = 0.0
    wall: float = 0.0
    peak_gb: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def measured(whole_tree: bool = False) -> Iterator[Measured]:
    """With `whole_tree` children count while they run; else only once they have ended."""
    taken = Measured()
    with _watched(whole_tree) as cpu:
        began, wall = cpu(), time.perf_counter()
        yield taken
        taken.cpu, taken.wall = cpu() - began, time.perf_counter() - wall
    taken.peak_gb = peak_gb()


def alone(work: Callable[..., Measured], *arguments: Any, times: int = 1) -> Measured:
    """The work in a fresh process; of several `times` the one with the least CPU."""
    context = multiprocessing.get_context("spawn")
    found = []
    for _ in range(times):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found.append(pool.submit(work, *arguments).result())
    return min(found, key=lambda one: one.cpu)


def peak_gb() -> float:
    """The largest resident size of this process.

    `ru_maxrss` survives exec on Linux: a fresh process would begin at the size of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def cpu_seconds() -> float:
    """CPU of this process and of its ended children."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(one)[:2]) for one in who)


def tree_cpu_seconds() -> float:
    """CPU of this process and of all below it, running or ended. Linux only."""
    ticks, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile: its parent has its time
            continue
        pid = int(stat.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), sum(int(value) for value in fields[11:15])
    mine = [pid for pid in ticks if _descends(pid, os.getpid(), parents)]
    return sum(ticks[pid] for pid in mine) / os.sysconf("SC_CLK_TCK")


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid != ancestor and pid in parents:
        pid = parents[pid]
    return pid == ancestor


@contextmanager
def _watched(whole_tree: bool) -> Iterator[Callable[[], float]]:
    """A CPU clock. That of the tree keeps its highest reading: a child killed unawaited would vanish."""
    if not whole_tree:
        yield cpu_seconds
        return
    highest, ended = tree_cpu_seconds(), Event()

    def read() -> float:
        nonlocal highest
        highest = max(highest, tree_cpu_seconds())
        return highest

    def watch() -> None:
        while not ended.wait(0.2):
            read()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield read
    finally:
        ended.set()
        watcher.join()

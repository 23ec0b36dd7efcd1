"""One bucket measured: its events, its snapshots, and the columns that come of them."""

from dataclasses import dataclass

import numpy as np

from lead_propensity.errors import ConfigError, DataError
from lead_propensity.features.behaviour import histories, kernel, sorting
from lead_propensity.features.behaviour.events import Events
from lead_propensity.features.behaviour.program import Compiled
from lead_propensity.features.behaviour.sorting import EVENT
from lead_propensity.features.behaviour.threads import by_leads


@dataclass(frozen=True)
class Asked:
    """The snapshots of the same leads, ascending in time within each lead."""

    starts: np.ndarray
    """(leads + 1,) int64: those of lead k lie at starts[k]:starts[k + 1]."""
    as_of: np.ndarray
    """(snapshots,) int64 microseconds UTC."""
    rows: np.ndarray
    """(snapshots,) int64: the row of the output that each is written to."""


def measure(
    compiled: Compiled, events: Events, asked: Asked, threads: int, out: np.ndarray
) -> None:
    """Write all measures to their columns of `out`, float64 (rows, columns).

    Raises DataError where a lead's values do not fit the integers that they are added up in.
    """
    given = (events.rows, asked.starts, asked.as_of, asked.rows)
    if len(compiled.sweep.measures):
        for ended, lead in by_leads(
            kernel.sweep, threads, events.starts, *given, compiled.sweep, out
        ):
            assert ended != kernel.UNSORTED, (
                f"the events or snapshots of lead {lead} are not in order"
            )
            if ended == kernel.TOO_LARGE:
                raise TooLargeError(lead)
    if len(compiled.histories.measures):
        by_leads(histories.look_back, threads, events.starts, *given, compiled.histories, out)


def compile_for(program: Compiled) -> None:
    """Have the kernels compiled: some seconds, once for each installation; else found in their cache.

    Raises ConfigError where the cache cannot be written.
    """
    try:
        _compile_for(program)
    except OSError as error:
        raise ConfigError(
            f"the compiled kernels cannot be kept: {error}. Name a folder with some megabytes of room in the "
            "environment variable NUMBA_CACHE_DIR."
        ) from error


def _compile_for(program: Compiled) -> None:
    nothing, no_events = np.zeros(1, np.int64), Events(np.zeros(1, np.int64), np.empty(0, EVENT))
    sorting.arrange(no_events.starts, no_events.rows, 0, 0)
    arguments = (no_events.starts, no_events.rows, nothing, nothing, nothing)
    out = np.empty((0, 0))
    kernel.sweep(*arguments, program.sweep, out, 0, 0)
    if len(program.histories.measures):
        histories.look_back(*arguments, program.histories, out, 0, 0)


class TooLargeError(DataError):
    """The values of lead number `lead` are too large to be added up."""

    def __init__(self, lead: int) -> None:
        super().__init__(f"the values of lead number {lead} are too large")
        self.lead = lead

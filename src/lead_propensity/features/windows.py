"""Half-open time: the one place where the times of rows are compared with a snapshot's.

All times are int64 microseconds UTC. A row counts at `as_of` only if it both happened and was known
before it; a row exactly at `as_of` belongs to the label side.
"""

from dataclasses import dataclass

import numpy as np

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class ObservationWindow:
    """`[as_of - (skip_days + days), as_of - skip_days)`; without `days` all time before."""

    days: int | None = None
    skip_days: int = 0

    def where(self, row: str, snapshot: str) -> str:
        """SQL condition: `row` lies in the window of `snapshot` and was known before it."""
        end = f"{snapshot}.as_of" + (f" - {self.skip_days * DAY_US}" if self.skip_days else "")
        conditions = [f"{row}.occurred_at < {end}", f"{row}.known_at < {snapshot}.as_of"]
        if self.days is not None:
            start = (self.days + self.skip_days) * DAY_US
            conditions.append(f"{row}.occurred_at >= {snapshot}.as_of - {start}")
        return "(" + " AND ".join(conditions) + ")"

    def rows(self, occurred_at: np.ndarray, as_of: int) -> slice:
        """The rows of one lead, sorted by `occurred_at`, that lie in the window; see `seen` for known."""
        end = as_of - self.skip_days * DAY_US
        last = int(np.searchsorted(occurred_at, end))
        if self.days is None:
            return slice(0, last)
        return slice(int(np.searchsorted(occurred_at, end - self.days * DAY_US)), last)

    @property
    def words(self) -> str:
        if self.days is None:
            return "all time"
        return f"last {self.days} days"


@dataclass(frozen=True)
class Horizon:
    """`[as_of, as_of + days)`: where a won deal makes the label 1.

    Deals are often recorded late. The label waits `reporting_delay` microseconds beyond the horizon
    and is then final: the same wait for won and lost, so that no part's edge sorts by outcome.
    """

    days: int
    reporting_delay: int = 0

    @property
    def label_delay(self) -> int:
        """Microseconds from `as_of` until the label is known."""
        return self.days * DAY_US + self.reporting_delay

    def where(self, row: str, snapshot: str, happened: str = "closed_at") -> str:
        """SQL condition: the row (a deal) lies within the horizon and was known when the label became final.

        `happened` is the row's column of time.
        """
        return (
            f"({row}.{happened} >= {snapshot}.as_of "
            f"AND {row}.{happened} < {snapshot}.as_of + {self.days * DAY_US} "
            f"AND {row}.known_at < {self.label_known_at(snapshot)})"
        )

    def label_known_at(self, snapshot: str) -> str:
        return f"({snapshot}.as_of + {self.label_delay})"


def version_known(version: str, snapshot: str) -> str:
    """SQL condition: an attribute's version was known before the snapshot.

    The condition of an ASOF JOIN, it leads from a version to the first snapshot that can see it.
    """
    return f"{version}.known_at < {snapshot}.as_of"


def since_creation(version: str, lead: str) -> str:
    """SQL condition: the version is newer than what its lead was created with; at the same instant too."""
    return f"{version}.known_at >= {lead}.created_at"


def seen(occurred_at: np.ndarray, known_at: np.ndarray, as_of: int) -> np.ndarray:
    """Places of one lead's rows, sorted by `occurred_at`, that happened and were known before `as_of`."""
    happened = ObservationWindow().rows(occurred_at, as_of)
    return np.flatnonzero(known_at[happened] < as_of)


def open_at(lead: str, deal: str, snapshot: str, max_age_days: int) -> str:
    """SQL condition: the lead exists, no deal (left-joined, may be null) has closed, it is not too old.

    By the date that the deal closed, even where it was recorded later.
    """
    return (
        f"({lead}.created_at < {snapshot}.as_of "
        f"AND {snapshot}.as_of - {lead}.created_at <= {max_age_days * DAY_US} "
        f"AND ({deal}.closed_at IS NULL OR {deal}.closed_at >= {snapshot}.as_of))"
    )


def not_created(lead: str, snapshot: str) -> str:
    """SQL condition: at the snapshot the lead is not there yet."""
    return f"({lead}.created_at >= {snapshot}.as_of)"


def has_closed(deal: str, snapshot: str) -> str:
    """SQL condition, never null: the deal (left-joined, may be null) closed before the snapshot."""
    return f"coalesce({deal}.closed_at < {snapshot}.as_of, false)"


def too_old(lead: str, snapshot: str, max_age_days: int) -> str:
    """SQL condition: at the snapshot the lead is older than leads are looked at."""
    return f"({snapshot}.as_of - {lead}.created_at > {max_age_days * DAY_US})"


def known_before(row: str, moment: str) -> str:
    """SQL condition: the row had happened and was known before a moment (used to learn vocabularies)."""
    return f"({row}.occurred_at < {moment} AND {row}.known_at < {moment})"


def deal_known(deal: str, moment: str) -> str:
    """SQL condition: the deal had closed and was known before a moment."""
    return f"({deal}.closed_at < {moment} AND {deal}.known_at < {moment})"


def version_known_by(version: str, moment: str) -> str:
    """SQL condition: an attribute's version was known before a moment."""
    return f"({version}.known_at < {moment})"


def at_or_after_ending(time: str, row: str) -> str:
    """SQL condition: `time` comes at the row's `closed_at`, up to its `moment` before it, or later."""
    return f"({row}.{time} >= {row}.closed_at - {row}.moment)"


def at_the_ending(time: str, row: str) -> str:
    """SQL condition: `time` lies in `[closed_at, closed_at + moment)` of its row."""
    return f"({row}.{time} >= {row}.closed_at AND {row}.{time} < {row}.closed_at + {row}.moment)"


def before_ending(time: str, row: str) -> str:
    """SQL condition: `time` comes before the row's `closed_at`."""
    return f"({row}.{time} < {row}.closed_at)"

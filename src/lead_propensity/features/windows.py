"""Half-open time: the one place where the times of rows are compared with a snapshot's.

All times are int64 microseconds UTC. A row counts at `as_of` only if it both happened and was known
before it; a row exactly at `as_of` belongs to the label side.
"""

from dataclasses import dataclass

DAY_US = 86_400_000_000


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

    @property
    def words(self) -> str:
        if self.days is None:
            return "all time"
        return f"last {self.days} days"


@dataclass(frozen=True)
class Horizon:
    """`[as_of, as_of + days)`: where a won deal makes the label 1."""

    days: int

    def where(self, deal: str, snapshot: str) -> str:
        return f"({deal}.closed_at >= {snapshot}.as_of AND {deal}.closed_at < {self.end(snapshot)})"

    def end(self, snapshot: str) -> str:
        return f"({snapshot}.as_of + {self.days * DAY_US})"


def current_version(version: str, snapshot: str) -> str:
    """SQL condition: of all versions of an attribute, this one was the latest known at `snapshot`."""
    return (
        f"({version}.known_at < {snapshot}.as_of AND "
        f"({version}.replaced_at IS NULL OR {version}.replaced_at >= {snapshot}.as_of))"
    )


def open_at(lead: str, deal: str, snapshot: str, max_age_days: int) -> str:
    """SQL condition: the lead exists, no deal (left-joined, may be null) has closed, it is not too old."""
    return (
        f"({lead}.created_at < {snapshot}.as_of "
        f"AND {snapshot}.as_of - {lead}.created_at <= {max_age_days * DAY_US} "
        f"AND ({deal}.closed_at IS NULL OR {deal}.closed_at >= {snapshot}.as_of))"
    )


def known_before(row: str, moment: str) -> str:
    """SQL condition: the row had happened and was known before a moment (used to learn vocabularies)."""
    return f"({row}.occurred_at < {moment} AND {row}.known_at < {moment})"

"""What can be measured of a lead's events at a snapshot: the words between the families and the kernel."""

from dataclasses import dataclass
from typing import Literal

What = Literal[
    "count", "silent", "trend", "value_sum", "value_mean", "days_since_last", "days_since_first",
    "decayed", "active_days", "types", "channels", "topics",
    "sessions", "last_session_events", "last_session_minutes", "events_per_session",
    "day_part_share", "weekend_share", "gap_mean", "gap_variation",
]  # fmt: skip


@dataclass(frozen=True)
class Those:
    """A set of events: of one type, about one topic, the positive ones, or all activity."""

    by: Literal["type", "topic", "positive", "activity"]
    name: str = ""


POSITIVE = Those("positive")
"""Events that speak for interest in the model's vocabulary: its types without the negative ones."""
ACTIVITY = Those("activity")
"""All events but negative ones, whatever the model may see; the rules' silence is measured by it."""


@dataclass(frozen=True)
class Measure:
    """One number about a set of events, as it stands just before a snapshot.

    `days` is the observation window (None: all time), or the half-life of `decayed`. `part` is the
    quarter of the day of `day_part_share`: 0 is midnight to 6, 3 is 18 to midnight.
    """

    what: What
    of: Those = POSITIVE
    days: float | None = None
    part: int = 0

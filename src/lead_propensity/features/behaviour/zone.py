"""Local time as a table of offsets, for days and hours in the zone that a company reports in."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

LONG_AGO = np.iinfo(np.int64).min
FIRST_YEAR, LAST_YEAR = 1900, 2100
"""Outside, the offset of the nearest year between them holds."""


@lru_cache(maxsize=8)
def offsets(name: str) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64 microseconds UTC from when on the (n,) int64 microseconds are added to make local time."""
    zone = ZoneInfo(name)
    first, last = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(LAST_YEAR, 1, 1, tzinfo=UTC)
    since, added = [LONG_AGO], [_offset(first, zone)]
    day = first
    while day < last:
        after = day + timedelta(days=1)
        if _offset(after, zone) != added[-1]:
            change = _change(day, after, zone)
            since.append(round(change.timestamp()) * 1_000_000)
            added.append(_offset(change, zone))
        else:
            day = after
    return np.array(since, np.int64), np.array(added, np.int64)


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1_000_000)


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The second at which the offset first differs from that of `before`."""
    low, high = int(before.timestamp()), int(after.timestamp())
    old = _offset(before, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == old:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)

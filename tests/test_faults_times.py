"""Clocks and zones: nights that have an hour twice or never, the ends of the calendar, offsets of every kind.

Seen failing once each: every zone taken for UTC, and the limits of time taken away.
"""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory_tables import HEADERS, Checked, checked, write_csv
from lead_propensity.data.moments import microseconds, words
from lead_propensity.errors import DataError

FAR = "2150-01-01T00:00:00Z"


def us(text: str) -> int:
    return microseconds(datetime.fromisoformat(text), "UTC")


def read(folder: Path, *times: str, zone: str | None = None) -> Checked:
    """Leads L0, L1 ... created at these times."""
    leads = [(f"L{n}", time, "", "") for n, time in enumerate(times)]
    write_csv(folder / "leads.csv", HEADERS["leads"], leads)
    return of_file(folder, "leads.csv", zone)


def of_file(folder: Path, name: str, zone: str | None = None) -> Checked:
    deal = [("L0", "2149-01-01T00:00:00Z", "won", "", "")]
    write_csv(folder / "deals.csv", HEADERS["deals"], deal)
    data = {"leads": {"path": name}, "deals": {"path": "deals.csv"}, "exported_at": FAR}
    given = {"timezone": zone} if zone else {}
    return checked(folder, data | given | {"max_quarantine_share": 1.0})


def created(result: Checked) -> list[int]:
    return [row[0] for row in result.rows("leads", "created_at, lead_id")]


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Europe/Berlin", "2024-03-31T01:30:00", "2024-03-31T03:30:00"),
        ("Europe/Berlin", "2024-10-27T01:30:00", "2024-10-27T03:30:00"),
        ("America/New_York", "2024-03-10T01:30:00", "2024-03-10T03:30:00"),
        ("America/New_York", "2024-11-03T00:30:00", "2024-11-03T02:30:00"),
        ("Australia/Lord_Howe", "2024-10-06T01:30:00", "2024-10-06T03:00:00"),
        ("Pacific/Apia", "2011-12-29T12:00:00", "2011-12-31T12:00:00"),
        ("Asia/Kathmandu", "2024-02-29T23:59:59", "2024-03-01T00:00:00"),
    ],
)
def test_the_hours_around_a_change_of_the_clock_are_those_of_the_zone(
    tmp_path: Path, zone: str, before: str, after: str
) -> None:
    result = read(tmp_path, before, after, zone=zone)
    assert created(result) == [
        microseconds(datetime.fromisoformat(text), zone) for text in (before, after)
    ]


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlin", "2024-03-31T02:30:00"),  # never was
        ("Europe/Berlin", "2024-10-27T02:30:00"),  # was twice
        ("America/New_York", "2024-03-10T02:30:00"),
        ("America/New_York", "2024-11-03T01:30:00"),
    ],
)
def test_an_hour_that_was_twice_or_never_is_one_moment_within_that_hour(
    tmp_path: Path, zone: str, text: str
) -> None:
    """A file and the command line may choose apart; neither loses the row, nor moves it by more than the hour."""
    (moment,) = created(read(tmp_path, text, zone=zone))
    local = datetime.fromisoformat(text)
    either = {int(local.replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) for fold in (0, 1)}
    assert min(either) <= moment // 1_000_000 <= max(either)


def test_an_offset_tells_the_two_hours_apart(tmp_path: Path) -> None:
    result = read(tmp_path, "2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00")
    assert created(result) == [us("2024-10-27T00:30:00Z"), us("2024-10-27T01:30:00Z")]


def test_a_column_may_hold_offsets_of_every_kind(tmp_path: Path) -> None:
    texts = ("2024-02-29T00:00:00+14:00", "2024-02-29T00:00:00-12:00", "2024-02-29T05:45:00+0545",
             "2024-02-29T00:00:00Z", "2024-02-29 00:00:00 UTC", "2024-02-29T01:00:00+01")  # fmt: skip
    offsets = ("+14:00", "-12:00")
    midnight = us("2024-02-29T00:00:00Z")
    hours = [int(offset[:3]) for offset in offsets]
    expected = sorted([midnight - hour * 3_600_000_000 for hour in hours] + [midnight] * 4)
    assert created(read(tmp_path, *texts)) == expected


def test_a_zone_for_some_rows_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="timezone"):
        read(tmp_path, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00").found.raise_problems()


CALENDAR = {
    "1970-01-01T00:00:00Z": 0,
    "1970-01-01T00:00:00.000001Z": 1,
    "1969-12-31T23:59:59.999999Z": -1,
    "1900-01-01T00:00:00Z": us("1900-01-01T00:00:00Z"),
    "2024-02-29T23:59:59.999999Z": us("2024-03-01T00:00:00Z") - 1,
    "2000-02-29": us("2000-02-29T00:00:00Z"),
    "2100-02-28T12:00:00Z": us("2100-02-28T12:00:00Z"),
}
NO_TIME = (
    "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2100-02-29", "2024-02-30", "2024-13-01", "2024-00-10",
    "2024-06-01T25:00:00Z", "2024-06-01T10:60:00Z", "1899-12-31T23:59:59Z", "0001-01-01", "0000-00-00",
    "2262-04-11T23:47:16.854775807Z", "2262-04-12T00:00:00Z", "9999-12-31", "9999-12-31T23:59:59-12:00",
    "10000-01-01", "292278994-08-17", "-0001-01-01", "infinity", "-infinity", "epoch", "now", "today", "NaT",
    "1717200000", "45444.5", "2024-06-01T10:00:00+99:00", "2024-06-01T10:00:00 Mars", "24-06-01",
)  # fmt: skip


def test_the_calendar_is_read_to_the_microsecond_from_1900_on(tmp_path: Path) -> None:
    result = read(tmp_path, *CALENDAR, zone="UTC")
    assert created(result) == sorted(CALENDAR.values())
    assert result.reasons() == {}


def test_what_is_no_time_or_none_of_ours_is_set_aside(tmp_path: Path) -> None:
    result = read(tmp_path, "2024-06-01", *NO_TIME, zone="UTC")
    assert created(result) == [us("2024-06-01T00:00:00Z")]
    assert result.reasons()["leads: bad time: created_at"] == len(NO_TIME)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", None])
def test_times_of_parquet_beyond_the_calendar_lose_no_other_row(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    """The largest and the smallest number that the type holds; pyarrow writes seconds as milliseconds."""
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    most = 2**63 - 1 if unit in ("us", "ns") else 9_000_000_000 * per_second
    good = 1_717_200_000 * per_second
    times = pa.array([good, most, -most, 0], pa.timestamp(unit, zone))
    table = pa.table({"lead_id": ["L0", "L1", "L2", "L3"], "created_at": times})
    pq.write_table(table, tmp_path / "leads.parquet")
    result = of_file(tmp_path, "leads.parquet", "UTC")
    assert created(result) == [0, good // per_second * 1_000_000]
    assert result.reasons()["leads: bad time: created_at"] == 2


@pytest.mark.parametrize("year", [1, 1900, 1969, 1970, 2038, 2106, 2262, 9999])
def test_every_moment_of_a_config_can_be_told_in_words(year: int) -> None:
    moment = microseconds(datetime(year, 12, 31, tzinfo=UTC), None)
    assert words(moment) == f"{year:04}-12-31T00:00:00+00:00"

"""Where the parts lie on the time line, and the table that all snapshots share."""

from dataclasses import dataclass
from typing import Self

import duckdb

from lead_propensity.errors import DataError

PARTS = ("fit", "calibrate", "test")

SHAPE = """
    CREATE OR REPLACE TABLE snapshots (
        snapshot_id BIGINT, lead_id VARCHAR, group_id VARCHAR, as_of BIGINT, place BIGINT,
        label_known_at BIGINT, population VARCHAR, part VARCHAR, age_days DOUBLE, won DOUBLE,
        amount DOUBLE, bucket INTEGER)"""


@dataclass(frozen=True)
class TimeLine:
    """Where the parts begin and end, in the units of `order`; each half-open but the last, which ends the data.

    Between the parts lies a purge of one label delay, so that every label used before a part was known
    when that part began.
    """

    fit_until: int
    calibrate_from: int
    calibrate_until: int
    test_from: int
    mature_until: int
    label_delay: int
    """From a snapshot until its label is known."""

    @classmethod
    def back_from(cls, mature_until: int, test: int, calibrate: int, label_delay: int) -> Self:
        """`test` and `calibrate` are lengths in the units of `order`."""
        test_from = mature_until - test
        calibrate_until = test_from - label_delay
        calibrate_from = calibrate_until - calibrate
        return cls(
            calibrate_from - label_delay,
            calibrate_from,
            calibrate_until,
            test_from,
            mature_until,
            label_delay,
        )


def part_counts(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Snapshots of the training population in each part."""
    rows = con.execute(
        "SELECT part, count(*) FROM snapshots WHERE population = 'training' GROUP BY part"
    ).fetchall()
    return dict(rows)


def require_parts(con: duckdb.DuckDBPyConnection, advice: str) -> None:
    """Raises DataError, with `advice`, where fit, calibrate or test holds no labelled snapshot."""
    counts = part_counts(con)
    empty = [part for part in PARTS if not counts.get(part)]
    if empty:
        got = ", ".join(f"{part} {counts.get(part, 0)}" for part in (*PARTS, "immature"))
        raise DataError(
            f"the {' and '.join(empty)} part holds no labelled snapshot (snapshots: {got}). {advice}"
        )

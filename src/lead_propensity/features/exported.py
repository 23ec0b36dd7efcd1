"""Snapshots of rows as exported: one a lead, in their order; their outcomes come some rows later."""

import duckdb

from lead_propensity.config import Config
from lead_propensity.features.timeline import SHAPE, TimeLine, part_counts, require_parts

DELAY_SHARE = 0.05
"""Label delay where none is given, as a share of the labelled rows."""


def make_training(con: duckdb.DuckDBPyConnection, config: Config) -> TimeLine:
    """Create `snapshots`; rows without an outcome are `immature`.

    The last `split.test_share` of the labelled rows judge, `split.calibrate_share` before them calibrate;
    `label_delay_rows` rows between the parts are purged. Raises DataError when a part stays empty.
    """
    source = config.data.exported
    assert source is not None
    labelled = int(con.execute("SELECT count(won) FROM exported").fetchall()[0][0])
    delay = source.label_delay_rows
    line = TimeLine.back_from(
        labelled,
        round(labelled * config.split.test_share),
        round(labelled * config.split.calibrate_share),
        delay if delay is not None else round(DELAY_SHARE * labelled),
    )
    part = f"""CASE WHEN won IS NULL THEN 'immature'
        WHEN place >= {line.test_from} THEN 'test'
        WHEN place >= {line.calibrate_from} AND place < {line.calibrate_until} THEN 'calibrate'
        WHEN place < {line.fit_until} THEN 'fit' ELSE 'purged' END"""
    _fill(con, part, line.label_delay)
    require_parts(
        con,
        f"There are {labelled} labelled rows. More are needed, or smaller split.calibrate_share, "
        "split.test_share or data.exported.label_delay_rows.",
    )
    return line


def make_scoring(con: duckdb.DuckDBPyConnection, label_delay: int, every_row: bool) -> int:
    """Create `snapshots`: rows without an outcome (or all) as `scoring`, the others as `cohort`.

    Returns the place from which the rows to score look back: all outcomes in the export are known.
    """
    part = "'scoring'" if every_row else "CASE WHEN won IS NULL THEN 'scoring' ELSE 'cohort' END"
    _fill(con, part, label_delay)
    return int(con.execute("SELECT count(won) FROM exported").fetchall()[0][0]) + label_delay


def make_matured(
    con: duckdb.DuckDBPyConnection, after: int, judged_from: int, label_delay: int
) -> None:
    """Create `snapshots`: the labelled rows later than `after`; from the rank `judged_from` on, part `test`."""
    part = f"CASE WHEN place >= {judged_from} THEN 'test' ELSE 'cohort' END"
    _fill(con, part, label_delay)
    con.execute(f"DELETE FROM snapshots WHERE won IS NULL OR place <= {after}")


def dropped(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Why rows take no part in training: reason -> count."""
    counts = part_counts(con)
    return {
        "rows purged between two parts": counts.get("purged", 0),
        "rows without an outcome": counts.get("immature", 0),
    }


def _fill(con: duckdb.DuckDBPyConnection, part: str, label_delay: int) -> None:
    """`place` numbers the labelled rows and the open ones, each from 0; rows to score show no outcome."""
    con.execute(SHAPE)
    con.execute(f"""
        INSERT INTO snapshots
        WITH placed AS (
            SELECT *, row_number() OVER (PARTITION BY won IS NULL ORDER BY order_value, lead_id) - 1 AS place
            FROM exported
        )
        SELECT row_number() OVER (ORDER BY place, lead_id) - 1, lead_id, group_id, as_of, place,
               place + {label_delay}, 'training', part, NULL, CASE WHEN part <> 'scoring' THEN won END, NULL, 0
        FROM (SELECT *, {part} AS part FROM placed)""")

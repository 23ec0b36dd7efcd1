"""Which (lead, as_of) exist, their labels, which are mature, and the part each belongs to."""

from dataclasses import dataclass

import duckdb

from lead_propensity.config import Config, SnapshotsConfig
from lead_propensity.data.engine import count_rows
from lead_propensity.data.tables import words
from lead_propensity.errors import DataError
from lead_propensity.features.windows import DAY_US, Horizon, open_at

STOCK_EVERY_DAYS = 7
ROWS_PER_BUCKET = 50_000
COHORT_ROWS = 100_000

_SHAPE = """
    CREATE OR REPLACE TABLE snapshots (
        snapshot_id BIGINT, lead_id VARCHAR, group_id VARCHAR, as_of BIGINT, place BIGINT,
        label_known_at BIGINT, population VARCHAR, part VARCHAR, age_days DOUBLE, won DOUBLE,
        amount DOUBLE, bucket INTEGER)"""


@dataclass(frozen=True)
class TimeLine:
    """Where the parts begin and end, in the units of `order`; each half-open but the last, which ends the data.

    Between the parts lies a purge of one horizon, so that every label used before a part was known
    when that part began.
    """

    fit_until: int
    calibrate_from: int
    calibrate_until: int
    test_from: int
    mature_until: int


def time_line(config: Config, exported_at: int) -> TimeLine:
    """Count back from the last moment whose whole horizon lies before the export."""
    horizon = config.snapshots.horizon_days * DAY_US
    mature_until = exported_at - horizon
    test_from = mature_until - config.split.test_days * DAY_US
    calibrate_until = test_from - horizon
    calibrate_from = calibrate_until - config.split.calibrate_days * DAY_US
    return TimeLine(
        calibrate_from - horizon, calibrate_from, calibrate_until, test_from, mature_until
    )


def make_training(con: duckdb.DuckDBPyConnection, config: Config, exported_at: int) -> TimeLine:
    """Create `snapshots`: the training population of all parts, and the stock of calibrate and test.

    Raises DataError when a part stays empty.
    """
    line = time_line(config, exported_at)
    snapshots = config.snapshots
    con.execute("CREATE OR REPLACE TABLE moments (as_of BIGINT, population VARCHAR)")
    if not snapshots.ages_days:
        _add_moments(
            con, _grid(con, line.mature_until, exported_at, snapshots.every_days), "training"
        )
    stock = [
        *_every(line.calibrate_from, line.calibrate_until - 1, STOCK_EVERY_DAYS),
        *_every(line.test_from, line.mature_until, STOCK_EVERY_DAYS),
    ]
    _add_moments(con, stock, "stock")
    candidates = f"SELECT l.lead_id, m.as_of, m.population FROM leads AS l JOIN moments AS m ON {_on_grid(snapshots)}"
    if snapshots.ages_days:
        ages = ", ".join(f"({days * DAY_US})" for days in snapshots.ages_days)
        candidates += f"""
            UNION ALL SELECT l.lead_id, l.created_at + a.age AS as_of, 'training'
            FROM leads AS l CROSS JOIN (VALUES {ages}) AS a(age) WHERE l.created_at + a.age <= {exported_at}"""
    _fill(con, candidates, snapshots, exported_at, _part_cases(line))
    _require_parts(con, config, line, exported_at)
    return line


def make_open(con: duckdb.DuckDBPyConnection, config: SnapshotsConfig, as_of: int) -> None:
    """Create `snapshots`: all leads open at `as_of`, unlabelled, part `scoring`."""
    candidates = f"SELECT lead_id, {as_of}::BIGINT AS as_of, 'stock' AS population FROM leads"
    _fill(con, candidates, config, exported_at=as_of, part="'scoring'")


def make_cohorts(
    con: duckdb.DuckDBPyConnection, config: SnapshotsConfig, as_of: int, weeks: int, after: int
) -> None:
    """Create `snapshots`: the leads open on the last `weeks` weekly dates whose horizon had ended by `as_of`.

    Their labels use only deals known before `as_of`: this is what the level tracker may learn from.
    Dates before `after` are left out: their labels taught the model. Of more than COHORT_ROWS
    snapshots only those of every so many leads are kept, chosen by a hash: a level needs no more.
    """
    con.execute("CREATE OR REPLACE TABLE moments (as_of BIGINT, population VARCHAR)")
    last = as_of - config.horizon_days * DAY_US
    dates = [last - week * STOCK_EVERY_DAYS * DAY_US for week in range(weeks)]
    _add_moments(
        con, [date for date in dates if date >= after - config.horizon_days * DAY_US], "stock"
    )
    candidates = "SELECT l.lead_id, m.as_of, m.population FROM leads AS l JOIN moments AS m ON l.created_at < m.as_of"
    _fill(con, candidates, config, exported_at=as_of, part="'cohort'")
    con.execute(f"DELETE FROM snapshots WHERE label_known_at > {as_of}")
    one_in = -(-count_rows(con, "snapshots") // COHORT_ROWS)
    if one_in > 1:
        con.execute(f"DELETE FROM snapshots WHERE md5_number_lower(lead_id) % {one_in} <> 0")


def make_exported(con: duckdb.DuckDBPyConnection, config: Config) -> TimeLine:
    """Create `snapshots` from rows as exported: one a lead, in their order; open rows are `immature`.

    The last `split.test_share` of the labelled rows judge, `split.calibrate_share` before them calibrate;
    `label_delay_rows` rows between the parts are purged.
    """
    source = config.data.exported
    assert source is not None
    con.execute(_SHAPE)
    labelled = int(con.execute("SELECT count(won) FROM exported").fetchall()[0][0])
    delay = (
        source.label_delay_rows if source.label_delay_rows is not None else round(0.05 * labelled)
    )
    test_from = round(labelled * (1 - config.split.test_share))
    calibrate_until = test_from - delay
    calibrate_from = calibrate_until - round(labelled * config.split.calibrate_share)
    line = TimeLine(calibrate_from - delay, calibrate_from, calibrate_until, test_from, labelled)
    con.execute(f"""
        INSERT INTO snapshots
        SELECT row_number() OVER (ORDER BY place, lead_id) - 1, lead_id, group_id, as_of, place, place + {delay},
               'training', CASE WHEN won IS NULL THEN 'immature' {_part_of_place(line)} END,
               NULL, won, NULL, 0
        FROM (SELECT *, row_number() OVER (PARTITION BY won IS NULL ORDER BY order_value, lead_id) - 1 AS place
              FROM exported)""")
    _require_parts(con, config, line, labelled)
    return line


def make_exported_scoring(con: duckdb.DuckDBPyConnection, only_open: bool) -> None:
    """Create `snapshots` from rows as exported: those without an outcome, or all."""
    con.execute(_SHAPE)
    where = "WHERE won IS NULL" if only_open else ""
    con.execute(f"""
        INSERT INTO snapshots
        SELECT row_number() OVER (ORDER BY order_value, lead_id) - 1 AS place, lead_id, group_id, as_of, place, place,
               'training', 'scoring', NULL, NULL, NULL, 0
        FROM exported {where}""")


def dropped(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Why leads and snapshots take no part: reason -> count."""
    leads = con.execute("""
        SELECT count(*) FILTER (d.lead_id IS NOT NULL), count(*) FILTER (d.lead_id IS NULL)
        FROM leads AS l LEFT JOIN deals AS d USING (lead_id)
        WHERE l.lead_id NOT IN (SELECT lead_id FROM snapshots WHERE population = 'training')""").fetchall()[
        0
    ]
    parts = dict(
        con.execute("""
            SELECT part, count(*) FROM snapshots
            WHERE population = 'training' AND part IN ('purged', 'immature') GROUP BY part""").fetchall()
    )
    return {
        "leads that closed before their first snapshot": leads[0],
        "leads too new for a snapshot": leads[1],
        "snapshots purged between two parts": parts.get("purged", 0),
        "snapshots not yet mature": parts.get("immature", 0),
    }


def dropped_as_exported(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Why rows as exported take no part in training: reason -> count."""
    rows = con.execute("""
        SELECT part, count(*) FROM snapshots WHERE part IN ('purged', 'immature') GROUP BY part""").fetchall()
    parts = dict(rows)
    return {
        "rows purged between two parts": parts.get("purged", 0),
        "rows without an outcome": parts.get("immature", 0),
    }


def _on_grid(snapshots: SnapshotsConfig) -> str:
    return f"l.created_at < m.as_of AND m.as_of - l.created_at <= {snapshots.max_age_days * DAY_US}"


def _grid(
    con: duckdb.DuckDBPyConnection, mature_until: int, exported_at: int, every_days: int
) -> list[int]:
    """Every so many days, back from the last mature moment to the first lead, and on to the export."""
    first = int(con.execute("SELECT min(created_at) FROM leads").fetchall()[0][0])
    step = every_days * DAY_US
    back = [mature_until - k * step for k in range(max(0, (mature_until - first) // step + 1))]
    onward = list(range(mature_until + step, exported_at + 1, step))
    return [*reversed(back), *onward]


def _every(first: int, last: int, days: int) -> list[int]:
    return list(range(first, last + 1, days * DAY_US))


def _add_moments(con: duckdb.DuckDBPyConnection, moments: list[int], population: str) -> None:
    if moments:
        con.execute("INSERT INTO moments SELECT unnest(?::BIGINT[]), ?", [moments, population])


def _part_cases(line: TimeLine) -> str:
    return f"""CASE WHEN won IS NULL THEN 'immature'
        WHEN as_of >= {line.test_from} THEN 'test'
        WHEN as_of >= {line.calibrate_from} AND as_of < {line.calibrate_until}
             AND label_known_at <= {line.test_from} THEN 'calibrate'
        WHEN as_of < {line.fit_until} AND label_known_at <= {line.calibrate_from} THEN 'fit'
        ELSE 'purged' END"""


def _part_of_place(line: TimeLine) -> str:
    return f"""WHEN place >= {line.test_from} THEN 'test'
        WHEN place >= {line.calibrate_from} AND place < {line.calibrate_until} THEN 'calibrate'
        WHEN place < {line.fit_until} THEN 'fit' ELSE 'purged'"""


def _fill(
    con: duckdb.DuckDBPyConnection,
    candidates: str,
    config: SnapshotsConfig,
    exported_at: int,
    part: str,
) -> None:
    """Insert the open ones of the candidates; the label of an immature snapshot is NULL, not lost.

    A won label is known only once its deal is; the microsecond makes `label_known_at <= T` say
    "known before T".
    """
    horizon = Horizon(config.horizon_days)
    con.execute(_SHAPE)
    con.execute(f"""
        INSERT INTO snapshots
        WITH candidate AS ({candidates}), open_lead AS (
            SELECT c.lead_id, l.group_id, c.as_of, c.population, (c.as_of - l.created_at) / {DAY_US} AS age_days,
                   coalesce(d.won AND d.known_at < {exported_at} + 1 AND {horizon.where("d", "c")}, false) AS wins,
                   d.amount, d.known_at, {horizon.end("c")} AS horizon_end
            FROM candidate AS c JOIN leads AS l USING (lead_id) LEFT JOIN deals AS d USING (lead_id)
            WHERE {open_at("l", "d", "c", config.max_age_days)}
        ), labelled AS (
            SELECT *, CASE WHEN horizon_end > {exported_at} THEN NULL ELSE wins::DOUBLE END AS won,
                   CASE WHEN wins THEN greatest(horizon_end, known_at + 1) ELSE horizon_end END AS label_known_at
            FROM open_lead
        )
        SELECT row_number() OVER (ORDER BY as_of, lead_id, population) - 1, lead_id, group_id, as_of, as_of,
               label_known_at, population, {part}, age_days, won, CASE WHEN won = 1 THEN amount END, 0
        FROM labelled
        -- the stock exists to set and judge bands: elsewhere it is not needed
        WHERE population = 'training' OR ({part}) IN ('calibrate', 'test', 'scoring', 'cohort')""")
    con.execute(f"""
        UPDATE snapshots SET bucket =
            hash(lead_id) % (SELECT greatest(1, count(*) // {ROWS_PER_BUCKET}) FROM snapshots)""")


def _require_parts(
    con: duckdb.DuckDBPyConnection, config: Config, line: TimeLine, end: int
) -> None:
    rows = con.execute(
        "SELECT part, count(*) FROM snapshots WHERE population = 'training' GROUP BY part"
    ).fetchall()
    counts = dict(rows)
    empty = [part for part in ("fit", "calibrate", "test") if not counts.get(part)]
    if not empty:
        return
    got = ", ".join(
        f"{part} {counts.get(part, 0)}" for part in ("fit", "calibrate", "test", "immature")
    )
    if config.data.exported is not None:
        raise DataError(
            f"the {' and '.join(empty)} part holds no labelled row (snapshots: {got}; {end} labelled rows in all). "
            "More rows are needed, or smaller split.calibrate_share, split.test_share, label_delay_rows."
        )
    need = 2 * config.snapshots.horizon_days + config.split.calibrate_days + config.split.test_days
    first = con.execute("SELECT min(created_at) FROM leads").fetchall()[0][0]
    raise DataError(
        f"the {' and '.join(empty)} part holds no snapshot (snapshots: {got}). The leads span {words(first)} to "
        f"{words(end)}; calibrate, test, two purges and one horizon take "
        f"{need + config.snapshots.horizon_days} days and the fit part comes before them. "
        "Give a longer history, or shorten snapshots.horizon_days, split.calibrate_days or split.test_days."
    )

"""Which (lead, as_of) exist, their labels, which are mature, and the part each belongs to."""

import duckdb

from lead_propensity.config import Config, SnapshotsConfig
from lead_propensity.data.engine import count_rows
from lead_propensity.data.moments import words
from lead_propensity.features.sampling import one_in, tells_level
from lead_propensity.features.timeline import SHAPE, TimeLine, part_counts, require_parts
from lead_propensity.features.windows import DAY_US, Horizon, open_at

STOCK_EVERY_DAYS = 7
COHORT_ROWS = 100_000
REPORTED_SHARE = 0.95
"""Labels wait until so large a share of the won deals has been recorded."""


def horizon_of(con: duckdb.DuckDBPyConnection, config: Config, exported_at: int) -> Horizon:
    """The horizon, and how long deals take to be recorded, as seen before the test part."""
    horizon_days = config.snapshots.horizon_days
    before = exported_at - (config.split.test_days + horizon_days) * DAY_US
    delay = con.execute(f"""
        SELECT quantile_disc(known_at - closed_at, {REPORTED_SHARE}) FROM deals
        WHERE won AND closed_at < {before}""").fetchall()[0][0]
    return Horizon(horizon_days, int(delay or 0))


def make_training(
    con: duckdb.DuckDBPyConnection, config: Config, exported_at: int, line: TimeLine | None = None
) -> TimeLine:
    """Create `snapshots`: the training population of all parts, and the stock of calibrate and test.

    With a `line`, learned from other leads of the same data, the parts begin and end as it says, and
    a part may stay empty. Without it: raises DataError when one does.
    """
    if line is not None:
        _fill_training(con, config, exported_at, line)
        return line
    horizon = horizon_of(con, config, exported_at)
    line = TimeLine.back_from(
        exported_at - horizon.label_delay,
        config.split.test_days * DAY_US,
        config.split.calibrate_days * DAY_US,
        horizon.label_delay,
    )
    _fill_training(con, config, exported_at, line)
    require_parts(con, _more_history(con, config, exported_at, horizon))
    return line


def _fill_training(
    con: duckdb.DuckDBPyConnection, config: Config, exported_at: int, line: TimeLine
) -> None:
    horizon_days = config.snapshots.horizon_days
    horizon = Horizon(horizon_days, line.label_delay - horizon_days * DAY_US)
    week = STOCK_EVERY_DAYS * DAY_US
    burn_in = line.calibrate_from - week
    stock = [
        *range(burn_in, line.calibrate_until, week),
        *range(line.test_from, line.mature_until + 1, week),
    ]
    candidates = f"""{_training_candidates(con, config.snapshots, exported_at)}
        UNION ALL SELECT l.lead_id, m.as_of, 'stock'
        FROM leads AS l JOIN (SELECT unnest({stock}::BIGINT[]) AS as_of) AS m ON l.created_at < m.as_of"""
    _fill(con, candidates, config.snapshots, horizon, exported_at, _part_cases(line, burn_in))


def make_open(con: duckdb.DuckDBPyConnection, config: SnapshotsConfig, as_of: int) -> None:
    """Create `snapshots`: all leads open at `as_of`, unlabelled, part `scoring`."""
    candidates = f"SELECT lead_id, {as_of}::BIGINT AS as_of, 'stock' AS population FROM leads"
    _fill(con, candidates, config, Horizon(config.horizon_days), as_of, part="'scoring'")


def make_cohorts(
    con: duckdb.DuckDBPyConnection,
    config: SnapshotsConfig,
    as_of: int,
    after: int,
    label_delay: int,
    thin: bool = True,
) -> None:
    """Create `snapshots`: what had become known by `as_of` of leads looked at later than `after`.

    The same snapshots as in training, so that the level means the same there and here; labels that
    became final by `as_of`. This is what the level tracker may learn from. With `thin`, of more than
    COHORT_ROWS snapshots only those of every so many leads are kept, chosen by a hash: a level needs no more.
    """
    horizon = Horizon(config.horizon_days, label_delay - config.horizon_days * DAY_US)
    candidates = f"""SELECT * FROM ({_training_candidates(con, config, as_of - label_delay)})
        WHERE as_of > {after}"""
    _fill(con, candidates, config, horizon, as_of, part="'cohort'")
    every = one_in(count_rows(con, "snapshots"), COHORT_ROWS) if thin else 1
    if every > 1:
        con.execute(f"DELETE FROM snapshots WHERE NOT ({tells_level('lead_id', every)})")


def make_matured(
    con: duckdb.DuckDBPyConnection,
    config: SnapshotsConfig,
    exported_at: int,
    after: int,
    judged_from: int,
    label_delay: int,
) -> int:
    """Create `snapshots`: what had become known by the export of leads looked at later than `after`.

    From `judged_from` on the part is `test`, and the stock of every week is there, too; before it, `cohort`.
    Only mature snapshots. Returns when the last of them could be: `exported_at` less the label delay.
    """
    horizon = Horizon(config.horizon_days, label_delay - config.horizon_days * DAY_US)
    mature_until = exported_at - label_delay
    looks = list(range(mature_until, judged_from - 1, -STOCK_EVERY_DAYS * DAY_US))
    candidates = f"""SELECT * FROM ({_training_candidates(con, config, mature_until)})
        WHERE as_of > {after}
        UNION ALL SELECT l.lead_id, m.as_of, 'stock'
        FROM leads AS l JOIN (SELECT unnest({looks}::BIGINT[]) AS as_of) AS m ON l.created_at < m.as_of"""
    part = f"CASE WHEN as_of >= {judged_from} THEN 'test' ELSE 'cohort' END"
    _fill(con, candidates, config, horizon, exported_at, part)
    return mature_until


def pace(con: duckdb.DuckDBPyConnection, exported_at: int) -> tuple[float, float]:
    """Deals won, and leads created, a day of the year before the export (of all days, where there are fewer)."""
    first = con.execute("SELECT min(created_at) FROM leads").fetchall()[0][0]
    if first is None:
        return 0.0, 0.0
    since = max(int(first), exported_at - 365 * DAY_US)
    days = max(1.0, (exported_at - since) / DAY_US)
    wins = con.execute(f"SELECT count(*) FROM deals WHERE won AND closed_at >= {since}").fetchall()
    leads = con.execute(f"SELECT count(*) FROM leads WHERE created_at >= {since}").fetchall()
    return wins[0][0] / days, leads[0][0] / days


def dropped(con: duckdb.DuckDBPyConnection, reporting_delay: int) -> dict[str, int]:
    """Why leads, snapshots and deals take no part: reason -> count."""
    closed, other = con.execute("""
        SELECT count(*) FILTER (d.lead_id IS NOT NULL), count(*) FILTER (d.lead_id IS NULL)
        FROM leads AS l LEFT JOIN deals AS d USING (lead_id)
        WHERE l.lead_id NOT IN (SELECT lead_id FROM snapshots WHERE population = 'training')
          AND l.lead_id NOT IN (SELECT lead_id FROM unclear_leads)""").fetchall()[0]
    late = con.execute(
        f"SELECT count(*) FROM deals WHERE won AND known_at - closed_at > {reporting_delay}"
    ).fetchall()[0][0]
    counts = part_counts(con)
    waits = f"{reporting_delay / DAY_US:.1f} days"
    return {
        "leads that closed before their first snapshot": closed,
        "leads without a snapshot: too new, or open between two dates only": other,
        "leads whose deal is in quarantine": count_rows(con, "unclear_leads"),
        f"won deals recorded later than labels wait ({waits})": late,
        "snapshots purged between two parts": counts.get("purged", 0),
        "snapshots not yet mature": counts.get("immature", 0),
    }


def _training_candidates(
    con: duckdb.DuckDBPyConnection, config: SnapshotsConfig, until: int
) -> str:
    """SQL: (lead_id, as_of, population) at the lead ages, or on a grid that is the same for every export."""
    if config.ages_days:
        ages = ", ".join(f"({days * DAY_US})" for days in config.ages_days)
        return f"""
            SELECT l.lead_id, l.created_at + a.age AS as_of, 'training' AS population
            FROM leads AS l CROSS JOIN (VALUES {ages}) AS a(age) WHERE l.created_at + a.age <= {until}"""
    step = config.every_days * DAY_US
    first = con.execute("SELECT min(created_at) FROM leads").fetchall()[0][0]
    grid = list(range(-(-int(first) // step) * step, until + 1, step))
    return f"""
        SELECT l.lead_id, m.as_of, 'training' AS population
        FROM leads AS l JOIN (SELECT unnest({grid}::BIGINT[]) AS as_of) AS m
          ON l.created_at < m.as_of AND m.as_of - l.created_at <= {config.max_age_days * DAY_US}"""


def _part_cases(line: TimeLine, burn_in: int) -> str:
    """By date alone: a part whose edge looked at outcomes would sort by them."""
    return f"""CASE
        WHEN population = 'stock' AND as_of = {burn_in} THEN 'burn_in'
        WHEN won IS NULL THEN 'immature'
        WHEN as_of >= {line.test_from} THEN 'test'
        WHEN as_of >= {line.calibrate_from} AND as_of < {line.calibrate_until} THEN 'calibrate'
        WHEN as_of < {line.fit_until} THEN 'fit' ELSE 'purged' END"""


def _fill(
    con: duckdb.DuckDBPyConnection,
    candidates: str,
    config: SnapshotsConfig,
    horizon: Horizon,
    known_until: int,
    part: str,
) -> None:
    """Insert the open ones of the candidates; a label not known by `known_until` is NULL, not lost.

    Leads whose deal is in quarantine have closed, nobody knows how: they are not open.
    """
    con.execute(SHAPE)
    con.execute(f"""
        INSERT INTO snapshots
        WITH candidate AS ({candidates}), open_lead AS (
            SELECT c.lead_id, l.group_id, c.as_of, c.population, (c.as_of - l.created_at) / {DAY_US} AS age_days,
                   coalesce(d.won AND {horizon.where("d", "c")}, false) AS wins, d.amount,
                   {horizon.label_known_at("c")} AS label_known_at
            FROM candidate AS c JOIN leads AS l USING (lead_id) LEFT JOIN deals AS d USING (lead_id)
            WHERE {open_at("l", "d", "c", config.max_age_days)}
              AND c.lead_id NOT IN (SELECT lead_id FROM unclear_leads)
        ), labelled AS (
            SELECT *, CASE WHEN label_known_at <= {known_until} THEN wins::DOUBLE END AS won FROM open_lead
        ), placed AS (
            SELECT *, {part} AS part FROM labelled
        )
        SELECT row_number() OVER (ORDER BY as_of, lead_id, population) - 1, lead_id, group_id, as_of, as_of,
               label_known_at, population, part, age_days, CASE WHEN part <> 'burn_in' THEN won END,
               CASE WHEN won = 1 THEN amount END, 0
        FROM placed""")


def _more_history(
    con: duckdb.DuckDBPyConnection, config: Config, end: int, horizon: Horizon
) -> str:
    first = con.execute("SELECT min(created_at) FROM leads").fetchall()[0][0]
    need = config.split.calibrate_days + config.split.test_days
    need += -(-3 * horizon.label_delay // DAY_US)
    waits = horizon.reporting_delay / DAY_US
    late = (
        f"Labels wait {waits:.1f} days, since so late after closed_at 5% of the won deals were still not "
        "known; if known_at is only the date of a load, leave it out. "
    )
    sampled = "" if config.snapshots.max_leads is None else "Raise snapshots.max_leads. "
    return (
        sampled
        + (late if waits else "")
        + (
            f"The leads span {words(first)} to {words(end)}; calibrate, test, two purges and one horizon take "
            f"{need} days and the fit part comes before them. Give a longer history, or shorten "
            "snapshots.horizon_days, split.calibrate_days or split.test_days."
        )
    )

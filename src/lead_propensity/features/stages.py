"""Stages of the funnel (MQL, SAL, SQL, offer ...), where a company records them as events.

They stand in a Dataset's keys as `stage`, the highest one known before the snapshot, and `next_stage`, the
highest one reached within its horizon; for the stock of the test part alone. The model never reads them.
"""

from dataclasses import replace

import duckdb

from lead_propensity.config import Config
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.windows import DAY_US, Horizon, ObservationWindow

STAGES = ("stage", "next_stage")
_PLACE = ["lead_id", "order", "population"]


def attached(
    con: duckdb.DuckDBPyConnection, data: Dataset, config: Config, label_delay: int
) -> Dataset:
    """`data`, its keys with STAGES where the config declares stages; `snapshots` must hold its rows still.

    `label_delay`: microseconds from a snapshot until its label is final. A stage counts as reached only if
    it was known by then, as a deal does.
    """
    stages = list(config.bands.stages)
    if not stages:
        return data
    days = config.snapshots.horizon_days
    horizon = Horizon(days, label_delay - days * DAY_US)
    found = con.execute(
        f"""
        WITH step AS (SELECT unnest($stages) AS event_type, generate_subscripts($stages, 1) AS rank),
        looked AS (SELECT * FROM snapshots WHERE part = 'test' AND population = 'stock'),
        reached AS (
            SELECT s.snapshot_id,
                   max(CASE WHEN {ObservationWindow().where("e", "s")} THEN step.rank END) AS before,
                   max(CASE WHEN {horizon.where("e", "s", "occurred_at")} THEN step.rank END) AS within
            FROM looked AS s JOIN events AS e USING (lead_id) JOIN step USING (event_type)
            GROUP BY s.snapshot_id
        )
        SELECT s.lead_id, s.place AS "order", s.population, ($stages)[r.before] AS stage,
               ($stages)[r.within] AS next_stage
        FROM looked AS s JOIN reached AS r USING (snapshot_id)""",
        {"stages": stages},
    ).df()
    keys = data.keys[_PLACE].merge(found, on=_PLACE, how="left", validate="one_to_one")
    columns = {name: keys[name].astype(object).where(keys[name].notna(), None) for name in STAGES}
    return replace(data, keys=data.keys.assign(**columns))

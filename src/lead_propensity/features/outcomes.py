"""What became of leads that were scored earlier: labels by the same rule as in training, once they are final."""

import duckdb
import pandas as pd
import pyarrow as pa

from lead_propensity.features.windows import DAY_US, Horizon, has_closed

GONE, UNCLEAR, CLOSED = "not in the leads any more", "deal in quarantine", "had closed already"
"""Why a scored lead is not judged. The last one: its deal was recorded later."""


def outcomes(
    con: duckdb.DuckDBPyConnection, scored: pd.DataFrame, horizon: Horizon, known_until: int
) -> pd.DataFrame:
    """Of `scored` (`lead_id`, `as_of` in int64 microseconds) each row's `group_id`, `age_days`, `won` and `left_out`.

    `won` is NaN until the label is final: the horizon and the wait for late records lie before
    `known_until`. `left_out` is a reason or None. In the order of `scored`.
    """
    given = scored[["lead_id", "as_of"]].assign(place=range(len(scored)))
    con.register("scored", pa.Table.from_pandas(given, preserve_index=False))
    try:
        return con.execute(f"""
            SELECT coalesce(l.group_id, s.lead_id) AS group_id, (s.as_of - l.created_at) / {DAY_US} AS age_days,
                CASE WHEN l.lead_id IS NULL THEN '{GONE}'
                     WHEN s.lead_id IN (SELECT lead_id FROM unclear_leads) THEN '{UNCLEAR}'
                     WHEN {has_closed("d", "s")} THEN '{CLOSED}' END AS left_out,
                CASE WHEN {horizon.label_known_at("s")} <= {known_until}
                     THEN coalesce(d.won AND {horizon.where("d", "s")}, false)::DOUBLE END AS won
            FROM scored AS s LEFT JOIN leads AS l USING (lead_id) LEFT JOIN deals AS d USING (lead_id)
            ORDER BY s.place""").df()
    finally:
        con.unregister("scored")

"""Small databases for tests: clean tables straight in DuckDB, as `tables.check` would leave them."""

from collections.abc import Sequence

import duckdb
import pandas as pd

from lead_propensity.config import Config, EngineConfig
from lead_propensity.data.engine import connect

DAY = 86_400_000_000
SHAPES = {
    "leads": "lead_id VARCHAR, created_at BIGINT, group_id VARCHAR",
    "events": "lead_id VARCHAR, occurred_at BIGINT, event_type VARCHAR, channel VARCHAR, topic VARCHAR, "
    "value DOUBLE, known_at BIGINT",
    "deals": "lead_id VARCHAR, closed_at BIGINT, won BOOLEAN, amount DOUBLE, known_at BIGINT",
    "attributes": "lead_id VARCHAR, attribute VARCHAR, value VARCHAR, known_at BIGINT",
}


def database(
    leads: Sequence[tuple],
    events: Sequence[tuple] = (),
    deals: Sequence[tuple] = (),
    attributes: Sequence[tuple] = (),
    lead_attributes: pd.DataFrame | None = None,
    threads: int = 1,
) -> duckdb.DuckDBPyConnection:
    """A connection with the clean tables; tuples in the order of SHAPES."""
    con = connect(EngineConfig(threads=threads))
    rows = {"leads": leads, "events": events, "deals": deals, "attributes": attributes}
    for name, shape in SHAPES.items():
        con.execute(f"CREATE TABLE {name} ({shape})")
        if rows[name]:
            marks = ", ".join("?" * len(rows[name][0]))
            con.executemany(f"INSERT INTO {name} VALUES ({marks})", list(rows[name]))
    con.execute("CREATE TABLE unclear_leads (lead_id VARCHAR)")
    if lead_attributes is None:
        lead_attributes = pd.DataFrame({"lead_id": [lead[0] for lead in leads]}, dtype=str)
    con.register("given", lead_attributes)
    con.execute("CREATE TABLE lead_attributes AS SELECT * FROM given")
    return con


def config(**keys: object) -> Config:
    """A config whose tables are not read: the database is there already."""
    data = {"leads": {"path": "leads.csv"}, "deals": {"path": "deals.csv"}, "timezone": "UTC"}
    return Config.model_validate({"name": "test", "data": data, **keys})

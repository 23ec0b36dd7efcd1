"""Scores as `pipeline.score` makes them, of leads that nobody scored."""

import numpy as np
import pyarrow as pa

from lead_propensity.config import Config
from lead_propensity.serving.scoring import SCORES

DAY = 86_400_000_000
NIGHT = 20_000 * DAY
"""A midnight."""


def config(as_exported: bool = False, **keys: object) -> Config:
    """A config whose tables are not read."""
    history = {"leads": {"path": "leads.csv"}, "deals": {"path": "deals.csv"}}
    exported = {"exported": {"path": "leads.csv", "outcome": "won", "won": ["yes"]}}
    data = exported if as_exported else history
    return Config.model_validate({"name": "test", "data": data, **keys})


def scores(
    leads: int, moment: int | None = NIGHT, seed: int = 0, first: int = 0, **columns: list[object]
) -> pa.Table:
    """One row a lead from number `first` on; `columns` replace some."""
    rng, made = np.random.default_rng(seed), {}
    for field in SCORES:
        if field.name in columns:
            made[field.name] = pa.array(columns[field.name], field.type)
        elif pa.types.is_string(field.type):
            made[field.name] = pa.array(["cold"] * leads, field.type)
        elif pa.types.is_timestamp(field.type):
            made[field.name] = pa.array([NIGHT + seed] * leads, pa.int64()).cast(field.type)
        else:
            values = rng.normal(size=leads) * 10
            made[field.name] = pa.array(values.astype(field.type.to_pandas_dtype()), field.type)
    kind = SCORES.field("as_of").type
    if "lead_id" not in columns:
        made["lead_id"] = pa.array([f"L{first + n:07d}" for n in range(leads)], pa.string())
    if "as_of" not in columns:
        made["as_of"] = pa.array([moment] * leads, pa.int64()).cast(kind)
    if "order" not in columns:
        made["order"] = pa.array([moment or 0] * leads, pa.int64())
    return pa.table(made, schema=SCORES)

"""The counts and the last event of each snapshot with featuretools; runs in its own environment.

    python peer_featuretools.py events.parquet snapshots.parquet WINDOWS OUT

Times are int64 microseconds UTC. Prints {"cpu", "wall", "peak_gb", "facts"} of the calculation as JSON.
"""

import json
import resource
import sys
import time
import warnings

import featuretools as ft
import pandas as pd
from featuretools.primitives import Count, TimeSinceLast

DAY_SECONDS = 86_400


def entities(events: pd.DataFrame) -> ft.EntitySet:
    made = ft.EntitySet("export")
    made.add_dataframe(
        events,
        "events",
        "event_id",
        time_index="occurred_at",
        logical_types={"event_type": "Categorical"},
    )
    made.normalize_dataframe("events", "leads", "lead_id", make_time_index=False)
    return made


def counts(made: ft.EntitySet, types: list[str], window: str) -> list[ft.FeatureBase]:
    event, kind = (ft.Feature(made["events"].ww[name]) for name in ("event_id", "event_type"))
    total = {f"count_{window}": None}
    wanted = total | {f"count_{window}__{name}": kind == name for name in types}
    return [
        ft.Feature(event, parent_dataframe_name="leads", primitive=Count, where=where).rename(name)
        for name, where in wanted.items()
    ]


def calculated(
    made: ft.EntitySet, snapshots: pd.DataFrame, types: list[str], windows: list[int]
) -> pd.DataFrame:
    """Half-open: without the events of the cutoff time itself, with those at the window's start."""

    def matrix(features: list[ft.FeatureBase], window: str | None) -> pd.DataFrame:
        return ft.calculate_feature_matrix(
            features, made, snapshots, cutoff_time_in_index=True, training_window=window,
            include_cutoff_time=False,
        ).sort_index()  # fmt: skip

    occurred = ft.Feature(made["events"].ww["occurred_at"])
    last = ft.Feature(occurred, parent_dataframe_name="leads", primitive=TimeSinceLast)
    all_time = matrix([*counts(made, types, "all"), last.rename("days_since_event")], None)
    all_time["days_since_event"] /= DAY_SECONDS
    parts = [matrix(counts(made, types, f"{days}d"), f"{days} days") for days in windows]
    return pd.concat([all_time, *parts], axis=1)


def main() -> None:
    warnings.filterwarnings("ignore")
    events_file, snapshots_file, windows, out = sys.argv[1:]
    days = [int(text) for text in windows.split(",")]
    events = pd.read_parquet(events_file)
    snapshots = pd.read_parquet(snapshots_file).rename(columns={"as_of": "time"})
    for frame, column in ((events, "occurred_at"), (snapshots, "time")):
        frame[column] = pd.to_datetime(frame[column], unit="us")
    events["event_id"] = range(len(events))
    types = sorted(events["event_type"].unique())
    calculated(entities(events.head(1000)), snapshots.head(10), types, days)
    cpu, wall = time.process_time(), time.perf_counter()
    found = calculated(entities(events), snapshots, types, days)
    taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    found = found.reset_index().rename(columns={"time": "as_of"})
    found["lead_id"] = found["lead_id"].astype(str)
    found["as_of"] = found["as_of"].astype("datetime64[us]").astype("int64")
    found.to_parquet(out)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    facts = {"snapshots": len(found), "features": found.shape[1] - 2}
    print(json.dumps({**taken, "peak_gb": peak_gb, "facts": facts}))


if __name__ == "__main__":
    main()

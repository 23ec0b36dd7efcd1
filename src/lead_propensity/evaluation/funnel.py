"""What becomes of the open leads beyond their band: routes, demands on hot, stages, and who changed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lead_propensity.config import ROUTES, BandsConfig, Route
from lead_propensity.evaluation.changes import changes
from lead_propensity.evaluation.routes import demanded, routes
from lead_propensity.evaluation.stages import stages

SILENT: tuple[Route, ...] = ("re-engage", "release")


def told(config: BandsConfig) -> dict[str, Any]:
    """What the context's `bands` must hold: the routes as the company calls them, and its stages."""
    called = {route: config.routes.names.get(route, route) for route in ROUTES}
    silent = [called[route] for route in SILENT]
    days = config.routes.model_dump(mode="json", exclude={"names"})
    return {"routes": {"names": called, "silent": silent, **days}, "stages": list(config.stages)}


def agreed(bands: Mapping[str, Any]) -> dict[str, Any]:
    """What marketing and sales agreed on, and how a target was tested, from the context's `bands`."""
    plain: dict[str, Any] = {**told(BandsConfig()), "hot_requires": {}, "tested": None}
    return {key: bands.get(key, value) for key, value in plain.items()}


def funnel(stock: pd.DataFrame, agreed: Mapping[str, Any]) -> dict[str, Any]:
    """`routes`, `demanded`, `stages` and `changes` of the scorecard, null where there is nothing to tell."""
    return {
        "routes": routes(stock, list(agreed["routes"]["names"].values())),
        "demanded": demanded(stock, agreed["hot_requires"]),
        "stages": stages(stock, agreed["stages"]),
        "changes": changes(stock, agreed["routes"]["silent"]),
    }

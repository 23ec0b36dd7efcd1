"""The pictures of a scorecard and of a search, each with the words for those who cannot see it."""

from collections.abc import Callable, Mapping

import pandas as pd

from lead_propensity.reporting import against, calls, leaks, timeline, trials, trust, walked
from lead_propensity.reporting.drawing import Card, Picture

_PICTURES: dict[str, Callable[[Card], Picture | None]] = {
    "reliability": trust.reliability,
    "gain": against.gain,
    "bands": calls.bands,
    "weekly": calls.weekly,
    "rules": against.rules,
    "money": against.money,
    "net_benefit": against.net_benefit,
    "replay": against.replay,
    "level": trust.level,
    "segments": trust.segments,
    "fairness": trust.fairness,
    "backtest": walked.backtest,
    "importance": calls.importance,
    "leaks": leaks.leaks,
    "parts": timeline.parts,
}


def pictures(scorecard: Card) -> dict[str, Picture]:
    """By name; a picture for which the scorecard holds no figures is left out."""
    drawn = {name: draw(scorecard) for name, draw in _PICTURES.items()}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def svg_files(drawn: Mapping[str, Picture]) -> dict[str, str]:
    """The same as SVG texts by file name, e.g. for a tracking server."""
    return {f"{name}.svg": picture.svg for name, picture in drawn.items()}


def tuning_files(tried: pd.DataFrame) -> dict[str, str]:
    """SVG texts by file name of the trials as in TunedTrees; those are left out that would be empty."""
    drawn = {
        "tuning_history.svg": trials.history(tried),
        "tuning_importance.svg": trials.settings(tried),
    }
    return {name: picture.svg for name, picture in drawn.items() if picture is not None}

"""The pictures of a scorecard, each with the words for those who cannot see it."""

from collections.abc import Callable

from lead_propensity.reporting import calls, quality
from lead_propensity.reporting.drawing import Card, Picture

_PICTURES: dict[str, Callable[[Card], Picture | None]] = {
    "reliability": quality.reliability,
    "gain": quality.gain,
    "bands": calls.bands,
    "weekly": calls.weekly,
    "rules": quality.rules,
    "level": quality.level,
    "importance": calls.importance,
}


def pictures(scorecard: Card) -> dict[str, Picture]:
    """By name; a picture for which the scorecard holds no figures is left out."""
    drawn = {name: draw(scorecard) for name, draw in _PICTURES.items()}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def svg_files(scorecard: Card) -> dict[str, str]:
    """The same as SVG texts by file name, e.g. for a tracking server."""
    return {f"{name}.svg": picture.svg for name, picture in pictures(scorecard).items()}

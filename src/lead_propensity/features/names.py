"""Names that the config and the rules give: one that the data do not have is a typing error."""

import difflib
from collections.abc import Collection, Iterable

from lead_propensity.config import Config
from lead_propensity.errors import ConfigError

MOST_SHOWN = 20


def nearest(name: str, known: Collection[str]) -> str:
    """What to say of an unknown name.

    >>> nearest("Industri", ["industry", "size"])
    "did you mean 'industry'?"
    >>> nearest("zzz", ["industry", "size"])
    "there are: 'industry', 'size'."
    """
    plain = {one.lower().strip(): one for one in known}
    close = difflib.get_close_matches(name.lower().strip(), plain, n=1)
    if close:
        return f"did you mean {plain[close[0]]!r}?"
    first = ", ".join(map(repr, list(known)[:MOST_SHOWN])) or "none"
    more = f" and {len(known) - MOST_SHOWN} more" if len(known) > MOST_SHOWN else ""
    return f"there are: {first}{more}."


def require_config(
    config: Config, event_types: Collection[str], attributes: Collection[str]
) -> None:
    """Raises ConfigError with every name under `features`, `report` and `bands` that the data do not have.

    `event_types` and `attributes` are those of all times: what came up late is no typing error. A
    negative event that nobody declared may be absent.
    """
    features = config.features
    of_events: dict[str, Iterable[str]] = {
        "features.exclude_events": features.exclude_events,
        "bands.stages": config.bands.stages,
    }
    of_attributes: dict[str, Iterable[str]] = {
        "features.kinds": features.kinds,
        "features.criteria": features.criteria.values(),
        "features.sensitive": features.sensitive,
        "report.segments": config.report.segments,
    }
    if "negative_events" in features.model_fields_set:
        of_events["features.negative_events"] = features.negative_events
    if features.explicit != "all":
        of_attributes["features.explicit"] = features.explicit
    if features.implicit != "all":
        side = of_events if config.data.exported is None else of_attributes
        side["features.implicit"] = features.implicit
    problems = _unknown(of_events, event_types, "which no event is")
    problems += _unknown(of_attributes, attributes, "an attribute that no table has")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(
            f"the config names what the data do not have{_of_sample(config)}:\n{listed}"
        )


def require_rules(config: Config, named: Iterable[str], attributes: Collection[str]) -> None:
    """Raises ConfigError with every attribute named by the rules that no table has."""
    problems = [
        f"{name!r}; {nearest(name, attributes)}" for name in named if name not in attributes
    ]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(
            f"the rules look at attributes that no table has{_of_sample(config)}:\n{listed}\n"
            "Correct the rules, or tell in features.criteria which attribute holds a criterion."
        )


def _of_sample(config: Config) -> str:
    """A rare name may stand in no row of the leads that were sampled."""
    most = config.snapshots.max_leads
    return "" if most is None else f" (looked at: the leads of snapshots.max_leads={most})"


def _unknown(given: dict[str, Iterable[str]], known: Collection[str], what: str) -> list[str]:
    return [
        f"{key} names {name!r}, {what}; {nearest(name, known)}"
        for key, names in given.items()
        for name in names
        if name not in known
    ]

"""Which custom features the installed packages bring, and whether they are those that a model learned from."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lead_propensity.config import Config
from lead_propensity.errors import ConfigError, ModelError
from lead_propensity.features.catalogue import Feature
from lead_propensity.features.custom import CustomFeature
from lead_propensity.features.names import nearest

GROUP = "lead_propensity.features"
"""The entry point group: the name is the feature's, the object a CustomFeature."""


def learn(config: Config) -> list[dict[str, str]]:
    """The definition's rows of `features.custom`, by name.

    Raises ConfigError for names that no package or more than one brings, and where there are no events.
    """
    names = sorted(set(config.features.custom))
    if names and config.data.events is None:
        raise ConfigError(
            f"features.custom names {', '.join(names)}, but the config declares no data.events to look at. "
            "Declare the events, or leave features.custom out."
        )
    found = _registered()
    problems = [problem for name in names for problem in _problems(name, found)]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ConfigError(f"features.custom does not fit the installed packages:\n{listed}")
    return [_row(_loaded(found[name][0]), found[name][0]) for name in names]


def features(definition: dict[str, Any]) -> list[Feature]:
    """The catalogue's rows, in column order: that of the rows that `custom.columns` returns.

    They stay out of `interest`: nobody can prove of a foreign function that silence never raises it.
    """
    return [
        Feature(name, "implicit", "number", row["window"], row["meaning"], name)
        for row in definition["custom"]
        for name in [f"custom__{row['name']}"]
    ]


def load(definition: dict[str, Any]) -> list[CustomFeature]:
    """The functions behind the definition's custom features, in its order.

    Raises ModelError where one is not installed, or not in the version that the model learned from.
    """
    found = _registered() if definition["custom"] else {}
    problems = [problem for row in definition["custom"] for problem in _changed(row, found)]
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ModelError(
            f"the model looks at custom features that are not installed as it learned them:\n{listed}\n"
            "Install them, or train the model again."
        )
    return [_loaded(found[row["name"]][0]) for row in definition["custom"]]


def _registered() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return found


def _problems(name: str, found: dict[str, list[EntryPoint]]) -> list[str]:
    entries = found.get(name, [])
    if not entries:
        return [f"{name!r}, which no package brings; {nearest(name, sorted(found))}"]
    if len(entries) > 1:
        return [f"{name!r} comes from {_packages(entries)}; uninstall all but one."]
    return []


def _changed(row: dict[str, str], found: dict[str, list[EntryPoint]]) -> list[str]:
    asked = f"{row['name']!r} version {row['version']} of {row['package']}"
    entries = found.get(row["name"], [])
    if len(entries) != 1:
        return [f"{asked}; {_packages(entries) or 'no package'} brings it"]
    version = _loaded(entries[0]).version
    if version != row["version"]:
        return [f"{asked}; {_packages(entries)} brings version {version}"]
    return []


def _packages(entries: Sequence[EntryPoint]) -> str:
    return " and ".join(sorted(map(_package, entries)))


def _package(entry: EntryPoint) -> str:
    """As pip names it."""
    return f"{entry.dist.name}=={entry.dist.version}" if entry.dist else entry.value


def _row(feature: CustomFeature, entry: EntryPoint) -> dict[str, str]:
    return {
        "name": feature.name,
        "meaning": feature.meaning,
        "window": feature.window,
        "version": feature.version,
        "package": _package(entry),
    }


def _loaded(entry: EntryPoint) -> CustomFeature:
    what = f"custom feature {entry.name!r} of {_package(entry)}"
    try:
        feature = entry.load()
    except Exception as error:
        raise ConfigError(
            f"{what} cannot be loaded from {entry.value}: {type(error).__name__}: {error}. Mend the package."
        ) from error
    if not isinstance(feature, CustomFeature):
        raise ConfigError(
            f"{what}: {entry.value} is {type(feature).__name__}, not a CustomFeature. Mend the package."
        )
    if feature.name != entry.name:
        raise ConfigError(
            f"{what}: {entry.value} calls itself {feature.name!r}. Give both the same name."
        )
    return feature

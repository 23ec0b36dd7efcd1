"""Explicit features: what a lead says or is, as it was known at the snapshot."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import duckdb

from lead_propensity.config import CRITERIA, Config, FeaturesConfig
from lead_propensity.data.engine import identifier, literal
from lead_propensity.data.values import number_expression, time_expression
from lead_propensity.errors import ConfigError
from lead_propensity.features import kept
from lead_propensity.features.catalogue import Direction, Feature, Kind
from lead_propensity.features.versions import Origin, text_of
from lead_propensity.features.windows import DAY_US, version_known_by

FREE_MAIL = (
    "aol.com", "bluewin.ch", "fastmail.com", "free.fr", "gmail.com", "gmx.at", "gmx.ch", "gmx.de", "gmx.net",
    "googlemail.com", "hotmail.com", "hotmail.de", "hotmail.fr", "icloud.com", "laposte.net", "libero.it", "live.com",
    "mac.com", "mail.com", "mail.ru", "me.com", "msn.com", "orange.fr", "outlook.com", "outlook.de", "proton.me",
    "protonmail.com", "qq.com", "t-online.de", "tutanota.com", "uol.com.br", "wanadoo.fr", "web.de", "yahoo.co.uk",
    "yahoo.com", "yahoo.de", "yahoo.fr", "yandex.ru", "ymail.com", "zoho.com", "163.com", "126.com",
)  # fmt: skip
_YES, _NO = "('true', 'yes', 'y', 't', '1')", "('false', 'no', 'n', 'f', '0')"


@dataclass(frozen=True)
class Attribute:
    """One attribute and how its texts are read."""

    name: str
    kind: str
    """number | category | boolean | date | email"""
    side: Kind


@dataclass(frozen=True)
class Learned:
    attributes: tuple[Attribute, ...]
    notes: tuple[str, ...]


def learn(
    con: duckdb.DuckDBPyConnection, config: Config, origins: dict[str, Origin], fit_until: int
) -> Learned:
    """The attributes to use, each with the kind that its values before `fit_until` show.

    `origins` are all attributes of the data. Leaves out those without a value there and those whose
    values are nearly all different, such as names; says so. Raises ConfigError for one declared on
    both sides.
    """
    profiles = _profiles(con, _known_values(config, origins, fit_until))
    attributes, notes = [], []
    for name, side in _sides(config, list(origins)).items():
        profile = profiles.get(name, _NO_VALUES)
        kind = config.features.kinds.get(name) or _kind(profile)
        reason = _unusable(profile, kind, has_time=config.data.exported is None)
        if reason is None:
            attributes.append(Attribute(name, kind, side))
        else:
            notes.append(f"attribute {name}: {reason}, left out")
    return Learned(tuple(attributes), tuple(notes))


def nameable(
    con: duckdb.DuckDBPyConnection,
    config: Config,
    origins: dict[str, Origin],
    fit_until: int,
    asked: Collection[str],
) -> dict[str, Origin]:
    """Those of `origins` that a model may name: columns of the leads, what the config or the rules (`asked`) name,
    and attributes that enough leads had before `fit_until`, see `kept`."""
    leads = dict(
        con.execute(
            f"""SELECT attribute, count(DISTINCT lead_id) FROM attributes AS v
                WHERE {version_known_by("v", str(fit_until))} GROUP BY attribute"""
        ).fetchall()
    )
    declared = {*_declared(config.features), *config.report.segments, *asked}
    return {
        name: origin
        for name, origin in origins.items()
        if origin != "versions" or name in declared or kept.may_be_kept(name, leads.get(name, 0))
    }


def _declared(features: FeaturesConfig) -> set[str]:
    listed = () if features.explicit == "all" else features.explicit
    criteria = {features.criteria.get(one, one) for one in CRITERIA}
    return {*listed, *features.sensitive, *features.kinds, *criteria}


def _unusable(profile: dict[str, int], kind: str, has_time: bool) -> str | None:
    values, different = profile["values"], profile["different"]
    if values == 0:
        return "no value known before the fit part ends"
    if kind == "category" and values >= 50 and different > 0.9 * values:
        return f"{different} different values in {values} look like names or ids"
    if kind == "date" and not has_time:
        return "a date, but the rows carry no time to compare it with"
    return None


def _sides(config: Config, names: list[str]) -> dict[str, Kind]:
    """Attribute -> the side it stands on. As exported, columns may be declared implicit."""
    implicit: tuple[str, ...] = ()
    if config.data.exported is not None and config.features.implicit != "all":
        implicit = config.features.implicit
    explicit = config.features.explicit
    if explicit == "all":
        kept_out = (*implicit, *config.features.sensitive)
        explicit = tuple(name for name in names if name not in kept_out)
    both = sorted(set(explicit) & set(implicit))
    if both:
        raise ConfigError(
            f"features names {', '.join(both)} as explicit and as implicit; decide for one."
        )
    sides: dict[str, Kind] = {}
    for name in names:
        if name in explicit:
            sides[name] = "explicit"
        elif name in implicit:
            sides[name] = "implicit"
    return sides


_COUNTS = ("values", "different", "numbers", "yes_or_no", "times", "addresses")
_NO_VALUES = dict.fromkeys(_COUNTS, 0)


def _known_values(config: Config, origins: dict[str, Origin], fit_until: int) -> str:
    """SQL: (attribute, value) of all that was known when the fit part ended."""
    leads = f"SELECT lead_id FROM leads WHERE created_at < {fit_until}"
    if config.data.exported is not None:
        leads = "SELECT lead_id FROM snapshots WHERE part = 'fit'"
    parts = [
        f"SELECT {literal(name)} AS attribute, {identifier(name)} AS value "
        f"FROM lead_attributes WHERE lead_id IN ({leads})"
        for name, origin in origins.items()
        if origin != "versions"
    ]
    versions = f"SELECT attribute, value FROM attributes WHERE known_at < {fit_until}"
    return " UNION ALL ".join([*parts, versions])


def _profiles(con: duckdb.DuckDBPyConnection, known_values: str) -> dict[str, dict[str, int]]:
    """Attribute -> how many of its values can be read as what."""
    rows = con.execute(f"""
        WITH known_value AS ({known_values})
        SELECT attribute, count(value), count(DISTINCT value), count({number_expression("value")}),
               count(CASE WHEN lower(value) IN {_YES} OR lower(value) IN {_NO} THEN 1 END),
               count({time_expression("value", "VARCHAR", "UTC")}),
               count(CASE WHEN regexp_full_match(value, '[^@\\s]+@[^@\\s]+\\.[^@\\s]+') THEN 1 END)
        FROM known_value GROUP BY attribute""").fetchall()
    return {row[0]: dict(zip(_COUNTS, row[1:], strict=True)) for row in rows}


def _kind(profile: dict[str, int]) -> str:
    """What nearly all values can be read as; two different values at most make a yes or no."""
    values = max(profile["values"], 1)
    if profile["yes_or_no"] == values and profile["different"] == 2:
        return "boolean"
    for kind, count in (("number", "numbers"), ("date", "times"), ("email", "addresses")):
        if profile[count] >= 0.98 * values:
            return kind
    return "category"


def features(definition: dict[str, Any]) -> list[tuple[Feature, str]]:
    """Every attribute feature of a definition with its SQL over `known AS k` (one row a snapshot)."""
    rows: list[tuple[Feature, str]] = []
    attributes = [Attribute(**row) for row in definition["attributes"]]
    for attribute in attributes:
        rows.append(_of_attribute(attribute, definition["timezone"]))
    rows += _of_criteria(definition["criteria"], definition["met"])
    said = [attribute for attribute in attributes if attribute.side == "explicit"]
    if said:
        known = " + ".join(f"({text_of(a.name)} IS NOT NULL)::INTEGER" for a in said)
        meaning = "number of attributes that are known"
        feature = _of_words("known_attributes", meaning, "completeness")
        rows.append((feature, known))
    return rows


def _of_attribute(attribute: Attribute, timezone: str | None) -> tuple[Feature, str]:
    name, value = attribute.name, text_of(attribute.name)
    interest: Direction = "free" if attribute.side == "implicit" else "not_in_interest"
    if attribute.kind == "number":
        return Feature(
            name, attribute.side, "number", "as known", name, name, interest
        ), number_expression(value)
    if attribute.kind == "boolean":
        sql = f"CASE WHEN lower({value}) IN {_YES} THEN 1 WHEN lower({value}) IN {_NO} THEN 0 END"
        return Feature(
            name, attribute.side, "number", "as known", f"{name} is yes", name, interest
        ), sql
    if attribute.kind == "date":
        sql = f"(k.as_of - {time_expression(value, 'VARCHAR', timezone)}) / {DAY_US}.0"
        meaning = f"days since {name}"
        return Feature(
            f"days_since__{name}", attribute.side, "number", "as known", meaning, name, interest
        ), sql
    if attribute.kind == "email":
        meaning = f"kind of the {name}'s domain"
        return Feature(
            f"{name}_domain", attribute.side, "category", "as known", meaning, name, interest
        ), _domain(value)
    return Feature(name, attribute.side, "category", "as known", name, name, interest), value


def _domain(address: str) -> str:
    domain = f"lower(regexp_extract({address}, '@([^@\\s]+\\.[^@\\s]+)$', 1))"
    free = ", ".join(literal(name) for name in FREE_MAIL)
    return f"""CASE WHEN {address} IS NULL THEN NULL WHEN {domain} = '' THEN 'invalid'
        WHEN {domain} IN ({free}) THEN 'free mail'
        WHEN regexp_matches({domain}, '\\.(edu|ac\\.[a-z]+|edu\\.[a-z]+)$') THEN 'education'
        WHEN regexp_matches({domain}, '\\.(gov|mil|gov\\.[a-z]+|gouv\\.fr)$') THEN 'public'
        ELSE 'company' END"""


def _of_criteria(criteria: dict[str, str], met: list[str]) -> list[tuple[Feature, str]]:
    if not criteria:
        return []
    words = ", ".join(literal(word.lower()) for word in met)
    rows = []
    for criterion in (c for c in CRITERIA if c in criteria):
        value = text_of(criteria[criterion])
        is_met = (
            f"CASE WHEN {value} IS NULL THEN NULL ELSE (lower({value}) IN ({words}))::INTEGER END"
        )
        name, meaning = f"criterion__{criterion}", f"{criterion} is met"
        rows.append((_of_words(name, meaning, criteria[criterion]), is_met))
    met_sum = " + ".join(f"coalesce({sql}, 0)" for _, sql in rows)
    total = _of_words("criteria_met", "how many of the five criteria are met", "criteria")
    return [*rows, (total, met_sum)]


def _of_words(name: str, meaning: str, topic: str) -> Feature:
    return Feature(name, "explicit", "number", "as known", meaning, topic)

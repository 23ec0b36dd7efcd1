"""Explicit features: what a lead says or is, as it was known at the snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from lead_propensity.config import CRITERIA, Config
from lead_propensity.data.engine import identifier, literal
from lead_propensity.data.values import number_expression, time_expression
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.features.catalogue import Direction, Feature, Kind
from lead_propensity.features.windows import DAY_US, current_version

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


def learn(con: duckdb.DuckDBPyConnection, config: Config, fit_until: int) -> Learned:
    """The attributes to use, each with the kind that its values before `fit_until` show.

    Raises ConfigError for a declared attribute that no table has. Leaves out attributes without
    a value there and those whose values are nearly all different, such as names; says so.
    """
    found = _profiles(con, config, fit_until)
    wanted = _sides(config, list(found))
    attributes, notes = [], []
    for name, side in wanted.items():
        profile = found[name]
        kind = config.features.kinds.get(name) or _kind(profile)
        if profile["values"] == 0:
            notes.append(f"attribute {name}: no value in the fit part, left out")
        elif (
            kind == "category"
            and profile["values"] >= 50
            and profile["different"] > 0.9 * profile["values"]
        ):
            notes.append(
                f"attribute {name}: {profile['different']} different values in {profile['values']} look like "
                "names or ids, left out"
            )
        elif kind == "date" and not _has_time(config):
            notes.append(
                f"attribute {name}: a date, but the rows carry no time to compare it with, left out"
            )
        else:
            attributes.append(Attribute(name, kind, side))
    return Learned(tuple(attributes), tuple(notes))


def _has_time(config: Config) -> bool:
    return config.data.exported is None


def _sides(config: Config, names: list[str]) -> dict[str, Kind]:
    """Attribute -> the side it stands on. As exported, columns may be declared implicit."""
    implicit: tuple[str, ...] = ()
    if config.data.exported is not None and config.features.implicit != "all":
        implicit = config.features.implicit
    explicit = config.features.explicit
    if explicit == "all":
        explicit = tuple(name for name in names if name not in implicit)
    missing = [name for name in (*explicit, *implicit, *config.features.kinds) if name not in names]
    if missing:
        raise ConfigError(
            f"features names the attributes {', '.join(map(repr, missing))}, which no table has. "
            f"There are: {', '.join(names) or 'none'}."
        )
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


def _profiles(
    con: duckdb.DuckDBPyConnection, config: Config, fit_until: int
) -> dict[str, dict[str, int]]:
    """Attribute -> counts of its values before `fit_until`, in the order of the columns."""
    columns = lead_columns(con)
    exported = config.data.exported is not None
    known = (
        "SELECT lead_id FROM snapshots WHERE part = 'fit'"
        if exported
        else (f"SELECT lead_id FROM leads WHERE created_at < {fit_until}")
    )
    parts = [
        f"SELECT {number} AS place, {literal(name)} AS attribute, {identifier(name)} AS value "
        f"FROM lead_attributes WHERE lead_id IN ({known})"
        for number, name in enumerate(columns)
    ]
    parts.append(
        f"SELECT {len(columns)} AS place, attribute, value FROM attributes WHERE known_at < {fit_until}"
    )
    rows = con.execute(f"""
        WITH known_value AS ({" UNION ALL ".join(parts)})
        SELECT attribute, count(value), count(DISTINCT value), count({number_expression("value")}),
               count(CASE WHEN lower(value) IN {_YES} OR lower(value) IN {_NO} THEN 1 END),
               count({time_expression("value", "VARCHAR", "UTC")}),
               count(CASE WHEN regexp_full_match(value, '[^@\\s]+@[^@\\s]+\\.[^@\\s]+') THEN 1 END)
        FROM known_value GROUP BY attribute ORDER BY min(place), attribute""").fetchall()
    names = ("values", "different", "numbers", "yes_or_no", "times", "addresses")
    profiles = {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}
    return {
        name: profiles.get(name, dict.fromkeys(names, 0))
        for name in dict.fromkeys([*columns, *profiles])
    }


def _kind(profile: dict[str, int]) -> str:
    """What nearly all values can be read as; two different values at most make a yes or no."""
    values = max(profile["values"], 1)
    if profile["yes_or_no"] == values and profile["different"] == 2:
        return "boolean"
    for kind, count in (("number", "numbers"), ("date", "times"), ("email", "addresses")):
        if profile[count] >= 0.98 * values:
            return kind
    return "category"


def lead_columns(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The attributes that the leads table carries."""
    return [row[0] for row in con.execute("DESCRIBE lead_attributes").fetchall()][1:]


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
        feature = Feature(
            "known_attributes",
            "explicit",
            "number",
            "as known",
            "number of attributes that are known",
            "completeness",
        )
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
        feature = Feature(
            f"criterion__{criterion}",
            "explicit",
            "number",
            "as known",
            f"{criterion} is met",
            criteria[criterion],
        )
        rows.append(
            (
                feature,
                f"CASE WHEN {value} IS NULL THEN NULL ELSE (lower({value}) IN ({words}))::INTEGER END",
            )
        )
    met_sum = " + ".join(f"coalesce({sql}, 0)" for _, sql in rows)
    total = Feature(
        "criteria_met",
        "explicit",
        "number",
        "as known",
        "how many of the five criteria are met",
        "criteria",
    )
    return [*rows, (total, met_sum)]


_PREFIX = "attribute "
"""So that an attribute may have the name of a column of ours."""


def text_of(attribute: str) -> str:
    """SQL: an attribute's text in `known AS k`."""
    return f"k.{identifier(_PREFIX + attribute)}"


def known(con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> str:
    """SQL of `known`: one row for each snapshot of `$bucket`, with the text of every attribute as known then.

    Raises DataError for an attribute that no table has. Where attributes have versions, one that has
    none yet is only not filled in so far: NULL.
    """
    versioned = _make_versions(con)
    columns = lead_columns(con)
    wanted = dict.fromkeys(names)
    missing = [name for name in wanted if name not in columns and name not in versioned]
    if missing and not versioned:
        raise DataError(
            f"the model or its rules use the attributes {', '.join(map(repr, missing))}, which no table has. "
            f"There are: {', '.join(columns) or 'none'}. Add the columns, or correct the rules."
        )
    changing = [name for name in wanted if name in versioned]
    values = {name: f"a.{identifier(name)}" for name in wanted if name in columns}
    values |= {name: f"v.{identifier(name)}" for name in changing}
    values |= dict.fromkeys(missing, "NULL::VARCHAR")
    listed = "".join(f", {values[name]} AS {identifier(_PREFIX + name)}" for name in wanted)
    sql = f"""
        SELECT s.snapshot_id, s.as_of{listed}
        FROM snapshots AS s LEFT JOIN lead_attributes AS a ON a.lead_id = s.lead_id"""
    if changing:
        sql += f" LEFT JOIN ({_current_versions(changing)}) AS v ON v.snapshot_id = s.snapshot_id"
    return f"{sql} WHERE s.bucket = $bucket"


def _current_versions(names: Sequence[str]) -> str:
    """SQL: one row a snapshot with the version of each attribute that was the latest known."""
    pivot = "".join(
        f", max(CASE WHEN v.attribute = {literal(name)} THEN v.value END) AS {identifier(name)}"
        for name in names
    )
    return f"""
        SELECT s.snapshot_id{pivot} FROM snapshots AS s
        JOIN versions AS v ON v.lead_id = s.lead_id AND {current_version("v", "s")}
        WHERE s.bucket = $bucket GROUP BY s.snapshot_id"""


def _make_versions(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Create `versions`: every attribute version with the time that replaced it; returns the versioned names.

    A column of the leads table that also has versions is the first of them, known from creation.
    """
    versioned = [
        row[0]
        for row in con.execute("SELECT DISTINCT attribute FROM attributes ORDER BY 1").fetchall()
    ]
    columns = [name for name in lead_columns(con) if name in versioned]
    first = "".join(
        f"""UNION ALL SELECT a.lead_id, {literal(name)}, a.{identifier(name)}, l.created_at, 0
            FROM lead_attributes AS a JOIN leads AS l USING (lead_id) WHERE a.{identifier(name)} IS NOT NULL """
        for name in columns
    )
    con.execute(f"""
        CREATE OR REPLACE TABLE versions AS
        SELECT lead_id, attribute, value, known_at,
               lead(known_at) OVER (PARTITION BY lead_id, attribute ORDER BY known_at, late) AS replaced_at
        FROM (SELECT lead_id, attribute, value, known_at, 1 AS late FROM attributes {first})""")
    return versioned

"""Who the leads are: companies, people, addresses, and what these do to the chance to win."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lead_propensity.data.simulate.dynamics import DAYS, START
from lead_propensity.data.simulate.sessions import Floats, Ints

Texts = npt.NDArray[np.object_]
Choices = Mapping[str | None, tuple[float, float]]

# Value: (share among leads, log effect on the hazard of winning). None: left empty on the form.
INDUSTRIES: Choices = {
    "software": (0.22, 0.45), "manufacturing": (0.18, 0.1), "finance": (0.12, 0.3),
    "healthcare": (0.10, 0.1), "retail": (0.14, -0.3), "education": (0.09, -0.6),
    "public": (0.07, -0.5), None: (0.08, -0.1),
}  # fmt: skip
ROLES: Choices = {
    "executive": (0.12, 0.35), "head": (0.17, 0.45), "manager": (0.24, 0.15),
    "specialist": (0.27, -0.2), "student": (0.06, -1.8), "consultant": (0.06, -0.4),
    None: (0.08, -0.1),
}  # fmt: skip
SOURCES: Choices = {
    "website": (0.30, 0.1), "referral": (0.10, 0.6), "event": (0.14, 0.15),
    "search_ad": (0.20, -0.1), "social": (0.14, -0.3), "list": (0.12, -0.7),
}  # fmt: skip
COUNTRIES: Choices = {
    "DE": (0.5, 0.05),
    "AT": (0.12, 0.0),
    "CH": (0.13, 0.1),
    "FR": (0.12, -0.1),
    "PL": (0.13, -0.1),
}
FREE_MAIL_EFFECT = -0.2
FREE_MAIL = ("gmail.com", "gmx.de", "web.de", "outlook.com", "yahoo.com", "icloud.com")
FIRST_NAMES = (
    "anna",
    "ben",
    "carla",
    "david",
    "eva",
    "finn",
    "greta",
    "hanno",
    "ida",
    "jan",
    "kira",
)
LAST_NAMES = (
    "adler",
    "brandt",
    "conrad",
    "dietz",
    "ebert",
    "falk",
    "graf",
    "huber",
    "iske",
    "jung",
)
COMPANY_WORDS = (
    "alpen",
    "blau",
    "delta",
    "ferro",
    "gamma",
    "hansa",
    "ideal",
    "jura",
    "kern",
    "nord",
)


@dataclass(frozen=True)
class People:
    """The leads in order of creation, with what the world needs to know of them."""

    frame: pd.DataFrame
    """As in leads.csv, `created_at` in UTC."""
    created_day: Ints
    created_second: Ints
    """Of that day."""
    appeal: Floats
    """Factor on the hazard of winning."""
    employees: Floats
    """Of the company, known or not."""


def people(count: int, draw: np.random.Generator) -> People:
    """`count` leads, created evenly over the world's days, fewer at weekends."""
    day, second = _creation(count, draw)
    company = np.sort(draw.integers(0, max(1, int(count * 1.1)), count))
    company = company[draw.permutation(count)]
    columns, effect, employees = _companies(company, draw)
    for name, values in (("role", ROLES), ("source", SOURCES)):
        columns[name], part = _choose(values, draw.random(count))
        effect += part
    free = draw.random(count) < 0.3
    effect += FREE_MAIL_EFFECT * free
    start = np.datetime64(START.replace(tzinfo=None), "s")
    created_at = pd.to_datetime(start + (day * 86_400 + second), utc=True)
    frame = pd.DataFrame(
        {
            "lead_id": [f"L{number:07d}" for number in range(1, count + 1)],
            "created_at": pd.Series(created_at).dt.as_unit("us"),
            "company_id": [f"C{number:07d}" for number in company],
            "email": _addresses(company, free, draw),
            **{
                name: columns[name]
                for name in ("industry", "employees", "role", "country", "source")
            },
        }
    )
    return People(frame, day, second, np.exp(effect), employees)


def _creation(count: int, draw: np.random.Generator) -> tuple[Ints, Ints]:
    weight = np.where((np.arange(DAYS) + START.weekday()) % 7 < 5, 1.0, 0.3)
    day = np.sort(draw.choice(DAYS, size=count, p=weight / weight.sum()))
    return day, draw.integers(7 * 3600, 18 * 3600, count)


def _companies(
    company: Ints, draw: np.random.Generator
) -> tuple[dict[str, Texts | pd.Series], Floats, Floats]:
    """Columns, effect and true size; a company's leads share its industry, size and country."""
    total = int(company.max(initial=0)) + 1
    industry, effect = _choose(INDUSTRIES, draw.random(total)[company])
    country, part = _choose(COUNTRIES, draw.random(total)[company])
    employees = np.ceil(np.exp(draw.normal(4.2, 1.6, total)))[company]
    empty = draw.random(len(company)) < 0.15
    shown = pd.Series(np.where(empty, np.nan, employees)).astype("Int64")
    effect = effect + part + np.where(empty, -0.1, _size_effect(employees))
    return {"industry": industry, "country": country, "employees": shown}, effect, employees


def _size_effect(employees: Floats) -> Floats:
    return np.array([-0.6, -0.1, 0.25, 0.45, 0.1])[np.searchsorted([10, 50, 200, 1000], employees)]


def _choose(values: Choices, draw: Floats) -> tuple[Texts, Floats]:
    names = np.array(list(values), dtype=object)
    share = np.array([value[0] for value in values.values()])
    at = np.searchsorted(np.cumsum(share / share.sum())[:-1], draw, side="right")
    return names[at], np.array([value[1] for value in values.values()])[at]


def _addresses(company: Ints, free: npt.NDArray[np.bool_], draw: np.random.Generator) -> list[str]:
    count = len(company)
    first, last = (
        draw.integers(0, len(FIRST_NAMES), count),
        draw.integers(0, len(LAST_NAMES), count),
    )
    provider = draw.integers(0, len(FREE_MAIL), count)
    return [
        f"{FIRST_NAMES[first[row]]}.{LAST_NAMES[last[row]]}"
        + (f"{row}@{FREE_MAIL[provider[row]]}" if free[row] else f"@{_domain(int(company[row]))}")
        for row in range(count)
    ]


def _domain(company: int) -> str:
    return f"{COMPANY_WORDS[company % len(COMPANY_WORDS)]}-{company}.example"

"""How figures are written, in English; the page's script rewrites them in the reader's format."""

import math
from typing import Any

from lead_propensity.reporting.drawing import Card

NOTHING = "\N{EN DASH}"


def percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}%"


def points(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:+.1f}"


def signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3f}"


def number(value: float | None) -> str:
    """Whole numbers with thousands; small fractions keep one digit."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def decimal(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def thousandth(value: float | None) -> str:
    return decimal(value, 3)


def factor(log_ratio: float) -> str:
    """How many times too many, or too few: `1.20` of log(1.2)."""
    return f"{math.exp(log_ratio):.2f}"


def interval(row: Card, form: Any) -> str:
    """`95% interval a to b`, or that there is none."""
    if row["lower"] is None:
        return "no interval: too few"
    upper = "any" if row["upper"] is None else form(row["upper"])
    return f"95% interval {form(row['lower'])} to {upper}"


def day(moment: object) -> str:
    """The day of a moment in words; a row's rank, as rows as exported have it, with thousands.

    >>> day("2025-03-01T00:00:00+00:00"), day(1200), day(None)
    ('2025-03-01', '1,200', '–')
    """
    if moment is None:
        return NOTHING
    return number(moment) if isinstance(moment, int) else str(moment)[:10]


def days(count: int) -> str:
    """
    >>> days(1), days(1200)
    ('1 day', '1,200 days')
    """
    return f"{number(count)} day{'' if count == 1 else 's'}"


FORMS = (percent, points, signed, number, decimal, thousandth, factor, interval, day, days)
"""What templates may call, as filters and as functions."""

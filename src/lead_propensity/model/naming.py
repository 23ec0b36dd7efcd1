"""Names and numbers of the data as people write them."""

import re
from collections.abc import Mapping

MOST_SIGNS = 60
"""Of a lead's value; a longer one is cut."""
LARGE, HUGE = 10_000, 1e15


def readable(name: str) -> str:
    """A name of the data as words.

    >>> [readable(name) for name in ("pricing_page_view", "TotalVisits", "emp.var.rate", "A_SENT", "CRM")]
    ['pricing page view', 'total visits', 'emp var rate', 'A sent', 'CRM']
    """
    parts = re.split(r"[_\s.]+", name.strip("_. ")) if re.search(r"[_.]", name) else [name]
    if len(parts) == 1 and re.fullmatch(r"[A-Z]?[a-z]+([A-Z][a-z]+)+", name):
        parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+", name)]
    if len(parts) > 1:
        parts = [part.lower() if part.isupper() and len(part) > 3 else part for part in parts]
    return " ".join(" ".join(parts).split()) or name


def shortened(value: str) -> str:
    """A lead's value on one line, at most MOST_SIGNS long; a code's underscores become spaces.

    >>> shortened("organic_search"), shortened("Type A"), len(shortened("x" * 99))
    ('organic search', 'Type A', 60)
    """
    line = "".join(sign if sign.isprintable() else " " for sign in value)
    line = " ".join(line.replace("_", " ").split())
    return (
        line
        if len(line) <= MOST_SIGNS
        else line[: MOST_SIGNS - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    )


def plural(name: str, endings: Mapping[str, str]) -> str:
    """`name` with its ending replaced; the longest one that fits decides.

    >>> [plural(name, {"": "s", "y": "ies", "ay": "ays"}) for name in ("visit", "reply", "day")]
    ['visits', 'replies', 'days']
    """
    fitting = [ending for ending in endings if name.endswith(ending)]
    if not fitting or not name:
        return name
    ending = max(fitting, key=len)
    return name[: len(name) - len(ending)] + endings[ending]


def number_in_words(value: float, thousands: str = ",", decimal: str = ".") -> str:
    """Three digits that count, whole from 1,000 on, thousands apart from 10,000 on: a year has no comma.

    >>> [number_in_words(value) for value in (3.0, 0.12345, 1998.0, 20000.0, -1.5, 0.00001)]
    ['3', '0.123', '1998', '20,000', '-1.5', '0']
    >>> number_in_words(1e20), number_in_words(20000.0, ".", ",")
    ('1e+20', '20.000')
    """
    size = abs(value)
    if size >= HUGE:
        return f"{value:.3g}"
    if size >= 1000 or value == round(value):
        text = f"{value:,.0f}"
    else:
        digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
        text = f"{value:.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    text = text if size >= LARGE else text.replace(",", "")
    text = "0" if text in ("-0", "") else text
    return text.translate({ord(","): thousands, ord("."): decimal})

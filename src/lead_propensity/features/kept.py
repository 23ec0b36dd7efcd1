"""Which texts of the data a model may keep: those of many leads that look like nobody's; others as hashes.

A model, its report and its entry in MLflow travel: to colleagues, to a registry, into backups. So what they hold
of the *cells* of the data goes through here: event types, channels, topics, names of attributes, values of
categories and of segments. Names that the config or the rules declare are no cells; they stay as they are.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lead_propensity.data.engine import literal

FEWEST_LEADS = 20
"""A text of fewer leads may name one of them."""
LONGEST = 64
"""Signs; a longer text is a note, and no name of anything."""
DIGITS = 16
"""Hexadecimal ones of a mark: two texts of a column share one in 10^19 pairs."""
_MARK = "sha256:"
_BREAK = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_PHONE = re.compile(r"[+(]?\d[\d ()/.\-]*")


def may_be_kept(text: str, leads: int) -> bool:
    """Whether a text that so many leads share may stand in a model by itself."""
    return leads >= FEWEST_LEADS and not looks_personal(text)


def common(values: pd.Series, lead_id: ArrayLike) -> list[str]:
    """The texts that may be kept of a column, those of most leads first; `lead_id` (n,) tells whose each value is."""
    pairs = pd.DataFrame({"text": values.to_numpy(), "lead": np.asarray(lead_id)}).dropna()
    leads = pairs.drop_duplicates().groupby("text", sort=True).size()
    often = leads.sort_values(ascending=False, kind="stable")
    return [str(text) for text, n in often.items() if may_be_kept(str(text), n)]


def looks_personal(text: str) -> bool:
    """An address, a telephone number or a note. A net for what many leads share; it knows no names of people.

    >>> [looks_personal(text) for text in ("jane@acme.example", "+49 30 901820", "Called. " * 9, "webinar 2024")]
    [True, True, True, False]
    """
    return "@" in text or len(text) > LONGEST or bool(_BREAK.search(text)) or _is_phone(text)


def _is_phone(text: str) -> bool:
    plain = text.strip()
    digits, breaks = sum(map(str.isdigit, plain)), len(re.findall(r"[ ()/+]", plain))
    grouped = breaks > 0 or len(re.findall(r"[.\-]", plain)) > 1
    return bool(_PHONE.fullmatch(plain)) and digits > 6 and grouped


def shown(text: str) -> str:
    """A text of many leads, for the report.

    >>> shown("trade fair"), shown("jane@acme.example")
    ('trade fair', '(a text that is not shown)')
    """
    return "(a text that is not shown)" if looks_personal(text) else text


def mark(column: str, text: str) -> str:
    """A text as the model keeps it where it may not keep the text: the same text of another column has another.

    It is a pseudonym: who guesses the text can check the guess.

    >>> mark("channel", "stand of Jane Doe")
    'sha256:1531dff2c1f7c9bf'
    """
    return _MARK + hashlib.sha256(f"{column}:{text}".encode()).hexdigest()[:DIGITS]


def is_mark(name: str) -> bool:
    return bool(re.fullmatch(f"{_MARK}[0-9a-f]{{{DIGITS}}}", name))


def named(column: str, leads: Mapping[str, int], declared: Collection[str] = ()) -> dict[str, str]:
    """How the model names each text of a column: by itself, or by its mark.

    `leads` has each text's number of leads, `declared` what the config names. A text that looks like a mark gets one
    of its own, so that no cell can pass for another.
    """
    return {
        text: text
        if not is_mark(text) and (text in declared or may_be_kept(text, count))
        else mark(column, text)
        for text, count in leads.items()
    }


def spelled(definition: Mapping[str, Any], event_types: Iterable[str]) -> dict[str, Any]:
    """The definition with the marks of these event types replaced by their names, as rules bring them."""
    names = {mark("event_type", name): name for name in event_types}
    lists = {
        key: [names.get(one, one) for one in definition[key]]
        for key in ("other_event_types", "valued_types")
    }
    return {**definition, **lists}


def meant(con: duckdb.DuckDBPyConnection, column: str, names: Collection[str]) -> dict[str, str]:
    """Each text of `column` in the table `events` that one of `names` stands for: text -> name.

    Names that are no marks stand for themselves, whether the data hold them or not.
    """
    marks = {name for name in names if is_mark(name)}
    found = {name: name for name in names if name not in marks}
    if marks:
        rows = con.execute(
            f"""SELECT text, mark FROM (SELECT DISTINCT {column} AS text FROM events), {_marked("text", column)}
                WHERE list_contains(?::VARCHAR[], mark)""",
            [sorted(marks)],
        ).fetchall()
        found |= {text: name for text, name in rows if text not in found}
    return found


def _marked(text: str, column: str) -> str:
    """SQL: a lateral row `mark`, as `mark` makes it."""
    return f"(SELECT {literal(_MARK)} || left(sha256({literal(column + ':')} || {text}), {DIGITS}) AS mark)"

"""The columns of each table: ours, theirs, which are needed, which are times or numbers."""

import difflib
from collections.abc import Iterable, Iterator

from lead_propensity.config import ExportedSource
from lead_propensity.data.sources import Column, RawTable

REQUIRED = {
    "leads": ("lead_id", "created_at"),
    "attributes": ("lead_id", "attribute", "value", "known_at"),
    "events": ("lead_id", "occurred_at", "event_type"),
    "deals": ("lead_id", "closed_at", "outcome"),
    "exported": (),
}
OPTIONAL = {
    "leads": ("group_id",),
    "attributes": (),
    "events": ("channel", "topic", "value", "known_at"),
    "deals": ("amount", "known_at"),
    "exported": ("lead_id", "group_id"),
}
TIMES = ("created_at", "known_at", "occurred_at", "closed_at")
NUMBERS = {"events": ("value",), "deals": ("amount",)}
RESERVED = ("lead_id", "as_of", "order", "won", "part")
"""Columns of the exported matrix beside the features: no attribute may have such a name."""


def their_column(raw: RawTable, ours: str) -> Column | None:
    """Their column for ours, None where the table does not have it."""
    return raw.columns.get(_name(raw, ours))


def attribute_columns(raw: RawTable) -> dict[str, Column]:
    """Their columns that are attributes of the lead: neither mapped to our names, nor the outcome."""
    used = {_name(raw, ours) for ours in (*REQUIRED[raw.name], *OPTIONAL[raw.name])}
    if isinstance(raw.declared, ExportedSource):
        used |= {raw.declared.outcome or "", raw.declared.order_by or ""}
    return {name: column for name, column in raw.columns.items() if name not in used}


def waits_for_a_score(raw: RawTable) -> bool:
    """Whether the rows came by `score --input`: they have no outcome yet."""
    return isinstance(raw.declared, ExportedSource) and raw.declared.outcome is None


def column_problems(raw: RawTable) -> Iterator[str]:
    """Columns that are declared or needed and not there, and names that cannot be used."""
    known = (*REQUIRED[raw.name], *OPTIONAL[raw.name])
    for ours in sorted(set(raw.declared.columns) - set(known)):
        yield f"data.{raw.name}.columns: {ours} is none of our column names{_near(ours, known)}"
    # Rows that wait for a score need not have what the model may not see.
    excluded = () if waits_for_a_score(raw) else raw.declared.exclude
    for theirs in sorted(set(excluded) - set(raw.offered)):
        yield (
            f"data.{raw.name}.exclude: no column {theirs!r} in {raw.source}{_near(theirs, raw.offered)}"
        )
    for ours, theirs in _wanted(raw).items():
        if theirs in raw.repeated:
            yield (
                f"{raw.name}.{ours}: {raw.source} has more than one column {theirs!r}. Leave one of them in the "
                "file, or give each a name of its own."
            )
        if theirs not in raw.columns:
            hidden = " (it is excluded)" if theirs in raw.offered else ""
            yield (
                f"{raw.name}.{ours}: no column {theirs!r} in {raw.source}{hidden}"
                f"{_near(theirs, raw.columns)} {_where_to_say(raw, ours)}"
            )
    if raw.name in ("leads", "exported"):
        yield from name_problems(attribute_columns(raw), raw)


def name_problems(names: Iterable[str], raw: RawTable) -> Iterator[str]:
    """Attribute names that the matrix has already, or that differ by capitals only."""
    seen: dict[str, str] = {}
    mend = "Rename it in a `sql:` source"
    mend += ", or exclude it." if raw.name != "attributes" else "."
    for name in names:
        if name.lower() in RESERVED:
            yield (
                f"{raw.name}: an attribute cannot be called {name!r}, the matrix uses that name "
                f"({raw.source}). {mend}"
            )
        if name.lower() in seen:
            first = seen[name.lower()]
            yield (
                f"{raw.name}: the attributes {first!r} and {name!r} differ by capitals only "
                f"({raw.source}). {mend}"
            )
        seen[name.lower()] = name


def _name(raw: RawTable, ours: str) -> str:
    return raw.declared.columns.get(ours, ours)


def _wanted(raw: RawTable) -> dict[str, str]:
    """Our name: theirs, of the columns that must be there."""
    known = (*REQUIRED[raw.name], *OPTIONAL[raw.name])
    needed = (*REQUIRED[raw.name], *raw.declared.columns)
    wanted = {ours: _name(raw, ours) for ours in known if ours in needed}
    if isinstance(raw.declared, ExportedSource):
        if raw.declared.outcome is not None:
            wanted["outcome"] = raw.declared.outcome
        if raw.declared.order_by is not None:
            wanted["order_by"] = raw.declared.order_by
    return wanted


def _where_to_say(raw: RawTable, ours: str) -> str:
    if ours in ("outcome", "order_by") and raw.name == "exported":
        return f"Correct data.exported.{ours}."
    return f"Map it: data.{raw.name}.columns: {{{ours}: <their name>}}."


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[close[0]]!r}?" if close else f"; there are: {', '.join(known)}."

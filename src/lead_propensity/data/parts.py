"""What the contracts find, added up: one dataset may be checked in parts, each the rows of some leads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lead_propensity.config import Config, DataConfig
from lead_propensity.data.contract import attribute_columns, name_problems
from lead_propensity.data.moments import Ending
from lead_propensity.data.quarantine import LATE, Finding
from lead_propensity.data.sources import RawTable
from lead_propensity.data.staging import Zoneless
from lead_propensity.errors import DataError

_LEFT_BEHIND = "Most lie after data.exported_at: is that still right?"


@dataclass(frozen=True)
class TableCount:
    table: str
    source: str
    rows: int
    kept: int


@dataclass(frozen=True)
class Part:
    """What was found in the rows of some leads."""

    rows: dict[str, int]
    """Of every declared table."""
    broken: dict[str, tuple[str | Zoneless, ...]]
    """By table: what stops the run."""
    counts: tuple[TableCount, ...]
    """Of the tables whose rows could be judged."""
    quarantined: tuple[Finding, ...]
    version_names: tuple[str, ...]
    """The attributes that have versions, each once."""
    end: Ending


@dataclass(frozen=True)
class Check:
    """What the contracts found. `rows` of a table = `kept` + its quarantined findings."""

    counts: tuple[TableCount, ...]
    """Of the tables whose rows could be judged: all of them, unless there are problems."""
    quarantined: tuple[Finding, ...]
    problems: tuple[str, ...]
    """What stops the run; empty when the tables can be used."""
    exported_at: int
    """int64 microseconds UTC; -1 as exported."""
    ends_by: str = ""
    """Why the data ends then, in words: what was declared, or whose time is the latest."""
    unlearnable: tuple[str, ...] = ()
    """What stops learning only: without a won or a lost deal, leads can still be scored."""
    excess: tuple[str, ...] = ()
    """Tables of which more is set aside than `data.max_quarantine_share`."""

    def raise_problems(self, learning: bool = False, excess: bool = True) -> None:
        """Raises DataError with every problem that stops the run; without `excess` what was set aside is none."""
        problems = (*self.problems, *(self.excess if excess else ()))
        problems = (*problems, *self.unlearnable) if learning else problems
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise DataError(f"the data breaks its contract:\n{listed}")


def whole(parts: Sequence[Part], raws: Sequence[RawTable], config: Config, end: Ending) -> Check:
    """The check of all rows, from that of each part. `end` is when the whole data ends."""
    found = {raw.name: _problems(raw, parts) for raw in raws}
    # Without usable leads every other row would be an orphan: nothing is learned by judging it.
    usable = [] if found.get("leads") else [raw for raw in raws if not found[raw.name]]
    counts = [_count(raw, parts) for raw in usable]
    findings = [finding for raw in usable for finding in _findings(raw, parts)]
    problems = [*_of_config(config), *(problem for raw in raws for problem in found[raw.name])]
    problems += [end.problem] if end.problem else []
    problems += _emptied(counts, config.data)
    problems += _version_names(usable, parts)
    excess = tuple(_excess(counts, findings, config.data))
    return Check(tuple(counts), tuple(findings), tuple(problems), end.at, end.why, excess=excess)


def _problems(raw: RawTable, parts: Sequence[Part]) -> list[str]:
    if sum(part.rows[raw.name] for part in parts) == 0:
        return [f"{raw.name}: {raw.source} holds no row; at least one is needed."]
    found = [one for part in parts for one in part.broken.get(raw.name, ())]
    zoneless: dict[str, list[Zoneless]] = {}
    for one in found:
        if isinstance(one, Zoneless):
            zoneless.setdefault(one.column, []).append(one)
    merged = {column: Zoneless.sum(several) for column, several in zoneless.items()}
    return list(
        dict.fromkeys(str(merged[o.column]) if isinstance(o, Zoneless) else o for o in found)
    )


def _count(raw: RawTable, parts: Sequence[Part]) -> TableCount:
    counts = [count for part in parts for count in part.counts if count.table == raw.name]
    rows, kept = sum(count.rows for count in counts), sum(count.kept for count in counts)
    return TableCount(raw.name, raw.source, rows, kept)


def _findings(raw: RawTable, parts: Sequence[Part]) -> Iterable[Finding]:
    """By reason; of the examples the one that comes first in the alphabet."""
    alike: dict[str, list[Finding]] = {}
    for part in parts:
        for one in part.quarantined:
            if one.table == raw.name:
                alike.setdefault(one.reason, []).append(one)
    for reason in sorted(alike):
        first = min(alike[reason], key=lambda one: one.example)
        count = sum(one.count for one in alike[reason])
        yield Finding(raw.name, raw.source, first.column, reason, count, first.example)


def _of_config(config: Config) -> list[str]:
    """What does not fit the shape of the data."""
    if config.data.exported is None or config.bands.hot_per_week is None:
        return []
    return ["bands.hot_per_week: as exported there are no weeks; give bands.hot_share instead."]


def _excess(
    counts: Sequence[TableCount], findings: Sequence[Finding], data: DataConfig
) -> Iterable[str]:
    for table in counts:
        if _is_beyond(table, data):
            aside = table.rows - table.kept
            found = [one for one in findings if one.table == table.table]
            reasons = "; ".join(f"{one.reason}: {one.count:,}, e.g. {one.example}" for one in found)
            late = sum(one.count for one in found if one.reason == LATE)
            asked = f"{_LEFT_BEHIND} " if 2 * late > aside else ""
            yield (
                f"{table.table}: {aside:,} of {table.rows:,} rows ({aside / table.rows:.1%}) break the contract, "
                f"at most {data.max_quarantine_share:.1%} may ({reasons}). "
                f"{asked}Correct the export, or raise data.max_quarantine_share if this is expected."
            )


def _emptied(counts: Sequence[TableCount], data: DataConfig) -> Iterable[str]:
    """Of tables without a row left where so much may be set aside."""
    for table in counts:
        if table.kept == 0 and not _is_beyond(table, data):
            yield f"{table.table}: no usable row is left of {table.rows}."


def _is_beyond(table: TableCount, data: DataConfig) -> bool:
    return table.rows - table.kept > data.max_quarantine_share * table.rows


def _version_names(raws: Sequence[RawTable], parts: Sequence[Part]) -> list[str]:
    """Attribute versions whose names the matrix, or a column of the leads, makes unusable."""
    tables = {raw.name: raw for raw in raws}
    if "attributes" not in tables:
        return []
    versioned = sorted({name for part in parts for name in part.version_names})
    names = dict.fromkeys([*attribute_columns(tables["leads"]), *versioned])
    return list(name_problems(names, tables["attributes"]))

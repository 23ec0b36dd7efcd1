"""The same features as three forms of plain SQL: what one would write without a sweep.

Each form is a SELECT over `events`, `leads` and `snapshots` with `snapshot_id` and columns named as our
features are. The range join does all of them; the others those that sums over days or weeks can give.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from feature_world import DAY_US as DAY

WEEK = 7 * DAY


@dataclass(frozen=True)
class Words:
    """What the catalogue's definition says about types, channels, windows and the half-life."""

    types: tuple[str, ...]
    negative: tuple[str, ...]
    channels: tuple[str, ...]
    windows: tuple[int, ...]
    half_life: int

    @classmethod
    def of(cls, definition: dict[str, Any]) -> "Words":
        return cls(
            tuple(definition["event_types"]),
            tuple(definition["negative_events"]),
            tuple(definition["channels"]),
            tuple(definition["windows_days"]),
            definition["half_lives_days"][0],
        )

    @property
    def conditions(self) -> dict[str, str]:
        """Suffix of a feature's name: SQL over rows with `type_id` and `positive`."""
        own = {
            f"__{name}": f"type_id = {place}"
            for place, name in enumerate(self.types)
            if name not in self.negative
        }
        return {**own, "": "positive"}

    @property
    def numbered(self) -> str:
        """SQL: events with their texts as numbers."""
        types = _texts(self.types)
        return f"""
            SELECT lead_id, occurred_at, known_at, value,
                   list_position({types}, event_type) - 1 AS type_id,
                   list_position({_texts(self.channels)}, channel) - 1 AS channel_id,
                   NOT list_contains({_texts(self.negative)}, event_type) AS positive
            FROM events"""

    def worth(self, age: str) -> str:
        return f"pow(2.0, -({age}) / {self.half_life * DAY}.0)"


def range_join(words: Words) -> str:
    """Each snapshot meets all earlier events of its lead; CASE takes them apart."""
    columns = {
        f"count_all__{name}": f"count(CASE WHEN type_id = {place} THEN 1 END)"
        for place, name in enumerate(words.types)
        if name in words.negative
    }
    for suffix, is_it in words.conditions.items():
        for days in words.windows:
            columns[f"count_{days}d{suffix}"] = (
                f"count(CASE WHEN {is_it} AND {_in(days)} THEN 1 END)"
            )
        columns[f"count_all{suffix}"] = f"count(CASE WHEN {is_it} THEN 1 END)"
        since = f"days_since{suffix or '_event'}"
        columns[since] = (
            f"(any_value(as_of) - max(CASE WHEN {is_it} THEN occurred_at END)) / {DAY}.0"
        )
        worth = words.worth("as_of - occurred_at")
        columns[f"decayed_{words.half_life}d{suffix}"] = (
            f"sum(CASE WHEN {is_it} THEN {worth} ELSE 0 END)"
        )
    first = "min(CASE WHEN positive THEN occurred_at END)"
    columns["days_since_first_event"] = f"(any_value(as_of) - {first}) / {DAY}.0"
    for days in words.windows:
        columns |= _of_window(days)
    return f"""
        WITH numbered AS MATERIALIZED ({words.numbered}), seen AS (
            SELECT s.snapshot_id, s.as_of, e.* FROM snapshots AS s JOIN numbered AS e
              ON e.lead_id = s.lead_id AND e.occurred_at < s.as_of AND e.known_at < s.as_of
        )
        SELECT snapshot_id{_listed(columns)} FROM seen GROUP BY snapshot_id"""


def weekly_rollup(words: Words) -> str:
    """Whole weeks are summed once; the weeks in which a window begins or ends are read event by event.

    Events known late cannot be summed beforehand: they go through the range join.
    """
    flags = ", ".join(f"r.week * {WEEK} >= s.as_of - {d * DAY} AS in_{d}" for d in words.windows)
    inside = ", ".join(f"e.occurred_at >= s.as_of - {d * DAY} AS in_{d}" for d in words.windows)
    one = f"1 AS n, occurred_at AS last, {words.worth('s.as_of - occurred_at')} AS worth, value"
    parts = [
        f"""SELECT s.snapshot_id, s.as_of, r.type_id, r.positive, r.n, r.last,
                   r.worth * {words.worth(f"s.as_of - (r.week + 1) * {WEEK}")} AS worth, r.value,
                   TRUE AS in_all, {flags}
            FROM snapshots AS s JOIN rollup AS r ON r.lead_id = s.lead_id AND (r.week + 1) * {WEEK} <= s.as_of""",
        f"""SELECT s.snapshot_id, s.as_of, type_id, positive, {one}, TRUE, {inside}
            FROM snapshots AS s JOIN prompt AS e
              ON e.lead_id = s.lead_id AND e.week = s.as_of // {WEEK} AND e.occurred_at < s.as_of""",
        f"""SELECT s.snapshot_id, s.as_of, type_id, positive, {one}, TRUE, {inside}
            FROM snapshots AS s JOIN late AS e ON e.lead_id = s.lead_id AND e.known_at < s.as_of""",
    ]
    for days in words.windows:
        only = ", ".join("TRUE" if d == days else "FALSE" for d in words.windows)
        begin = f"(s.as_of - {days * DAY})"
        parts.append(
            f"""SELECT s.snapshot_id, s.as_of, type_id, positive, {one}, FALSE, {only}
                FROM snapshots AS s JOIN prompt AS e ON e.lead_id = s.lead_id AND e.week = {begin} // {WEEK}
                WHERE e.occurred_at >= {begin} AND e.week * {WEEK} < {begin} AND e.week < s.as_of // {WEEK}"""
        )
    return f"""
        WITH numbered AS MATERIALIZED ({words.numbered}),
        prompt AS (SELECT *, occurred_at // {WEEK} AS week FROM numbered WHERE known_at <= occurred_at),
        late AS (SELECT * FROM numbered WHERE known_at > occurred_at),
        rollup AS (
            SELECT lead_id, week, type_id, any_value(positive) AS positive, count(*) AS n,
                   max(occurred_at) AS last, sum(value) AS value,
                   sum({words.worth(f"(week + 1) * {WEEK} - occurred_at")}) AS worth
            FROM prompt GROUP BY lead_id, week, type_id
        ), part AS ({" UNION ALL ".join(parts)})
        SELECT snapshot_id{_listed(_of_parts(words))} FROM part GROUP BY snapshot_id"""


def dense_spine(words: Words) -> str:
    """Running counts for each lead and each day on which some window begins or ends; a window is a difference.

    All snapshots lie at midnights that leads share, else there would be too many such days. Events known
    late go through the range join. Counts only: each further sum is one more running column.
    """
    summed, running, late, columns = {}, {}, {}, {}
    for k, (suffix, is_it) in enumerate(words.conditions.items()):
        late[f"n{k}"] = f"count(CASE WHEN {is_it} THEN 1 END)"
        summed[f"n{k}"] = f"{late[f'n{k}']}::DOUBLE"  # else sum() makes 128-bit integers
        running[f"n{k}"] = f"sum(n{k}) OVER so_far"
        columns[f"count_all{suffix}"] = f"coalesce(a.n{k}, 0) + coalesce(l.n{k}, 0)"
        for days in words.windows:
            late[f"n{k}_{days}"] = f"count(CASE WHEN {is_it} AND {_in(days)} THEN 1 END)"
            within = f"coalesce(a.n{k}, 0) - coalesce(b{days}.n{k}, 0) + coalesce(l.n{k}_{days}, 0)"
            columns[f"count_{days}d{suffix}"] = within
    edges = ", ".join(f"({days})" for days in (0, *words.windows))
    spans = "".join(
        f" LEFT JOIN running AS b{d} ON b{d}.number = n.number AND b{d}.edge = s.as_of // {DAY} - {d}"
        for d in words.windows
    )
    return f"""
        WITH numbered AS MATERIALIZED ({words.numbered}), lead_number AS MATERIALIZED (
            SELECT lead_id, row_number() OVER () AS number FROM leads
        ), edge AS MATERIALIZED (
            SELECT DISTINCT as_of // {DAY} - days AS edge FROM snapshots CROSS JOIN (VALUES {edges}) AS v(days)
        ), day_edge AS MATERIALIZED (
            SELECT day, min(edge) AS edge FROM (SELECT DISTINCT occurred_at // {DAY} AS day FROM numbered)
            JOIN edge ON edge > day GROUP BY day
        ), span AS (
            SELECT number, edge{_listed(summed)}
            FROM numbered JOIN lead_number USING (lead_id) JOIN day_edge ON day = occurred_at // {DAY}
            WHERE known_at <= occurred_at GROUP BY number, edge
        ), running AS MATERIALIZED (
            SELECT number, edge{_listed(running)}
            FROM (SELECT number, edge FROM lead_number CROSS JOIN edge) LEFT JOIN span USING (number, edge)
            WINDOW so_far AS (PARTITION BY number ORDER BY edge ROWS UNBOUNDED PRECEDING)
        ), late AS (
            SELECT s.snapshot_id{_listed(late)} FROM snapshots AS s JOIN numbered AS e
              ON e.lead_id = s.lead_id AND e.known_at < s.as_of AND e.known_at > e.occurred_at
            GROUP BY s.snapshot_id
        )
        SELECT s.snapshot_id{_listed(columns)}
        FROM snapshots AS s JOIN lead_number AS n USING (lead_id) LEFT JOIN late AS l USING (snapshot_id)
        LEFT JOIN running AS a ON a.number = n.number AND a.edge = s.as_of // {DAY}{spans}"""


FORMS: dict[str, Callable[[Words], str]] = {
    "range join + CASE": range_join,
    "weekly rollup + bucket join": weekly_rollup,
    "dense spine + running totals": dense_spine,
}


def _of_window(days: int) -> dict[str, str]:
    inside = f"positive AND {_in(days)}"
    before = f"occurred_at >= as_of - {2 * days * DAY}"
    step = f"CASE WHEN {_in(days)} THEN 1 WHEN {before} THEN -1 ELSE 0 END"
    return {
        f"active_days_{days}d": f"count(DISTINCT CASE WHEN {inside} THEN occurred_at // {DAY} END)",
        f"event_types_{days}d": _different("type_id", inside),
        f"channels_{days}d": _different("channel_id", inside),
        f"trend_{days}d": f"sum(CASE WHEN positive THEN {step} ELSE 0 END)",
        f"value_sum_{days}d": f"coalesce(sum(CASE WHEN {inside} THEN value END), 0)",
    }


def _different(number: str, inside: str) -> str:
    return f"bit_count(bit_or(CASE WHEN {inside} AND {number} >= 0 THEN 1::BIGINT << {number} ELSE 0 END))"


def _of_parts(words: Words) -> dict[str, str]:
    columns = {}
    for suffix, is_it in words.conditions.items():
        for days in words.windows:
            columns[f"count_{days}d{suffix}"] = (
                f"sum(CASE WHEN {is_it} AND in_{days} THEN n ELSE 0 END)"
            )
        columns[f"count_all{suffix}"] = f"sum(CASE WHEN {is_it} AND in_all THEN n ELSE 0 END)"
        last = f"max(CASE WHEN {is_it} AND in_all THEN last END)"
        columns[f"days_since{suffix or '_event'}"] = f"(any_value(as_of) - {last}) / {DAY}.0"
        worth = f"sum(CASE WHEN {is_it} AND in_all THEN worth ELSE 0 END)"
        columns[f"decayed_{words.half_life}d{suffix}"] = worth
    for days in words.windows:
        value = f"sum(CASE WHEN positive AND in_{days} THEN value END)"
        columns[f"value_sum_{days}d"] = f"coalesce({value}, 0)"
    return columns


def _in(days: int) -> str:
    return f"occurred_at >= as_of - {days * DAY}"


def _listed(columns: dict[str, str]) -> str:
    return "".join(f", {sql} AS {name}" for name, sql in columns.items())


def _texts(texts: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{text}'" for text in texts) + "]"

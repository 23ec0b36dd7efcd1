"""From measures to the arrays that the kernel runs on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lead_propensity.features.behaviour import histories
from lead_propensity.features.behaviour.measures import POSITIVE, Measure, Those
from lead_propensity.features.behaviour.shapes import OPERATIONS, Program
from lead_propensity.features.behaviour.zone import offsets
from lead_propensity.features.windows import DAY_US

_NO_SLOT = -1


@dataclass(frozen=True)
class Texts:
    """The event types, channels and topics that have a number: their place. Types beyond have the next one."""

    types: tuple[str, ...]
    channels: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Compiled:
    """The measures of the sweep and those of whole histories, with the output column of each."""

    sweep: Program
    histories: histories.Program
    uses_values: bool


def texts_of(definition: dict[str, Any], measures: Iterable[Measure]) -> Texts:
    """What the measures tell apart; all that is not in it makes no difference to them."""
    types = {
        *definition["event_types"],
        *definition["other_event_types"],
        *definition["negative_events"],
    }
    types |= {measure.of.name for measure in measures if measure.of.by == "type"}
    whats = {measure.what for measure in measures}
    about = {measure.of.name for measure in measures if measure.of.by == "topic"}
    topics = {*definition["topics"], *about} if "topics" in whats or about else set()
    channels = definition["channels"] if "channels" in whats else ()
    return Texts(tuple(sorted(types)), tuple(sorted(channels)), tuple(sorted(topics)))


def compiled(
    definition: dict[str, Any], measures: Sequence[tuple[int, Measure]], texts: Texts
) -> Compiled:
    """Each measure with the column that it is written to."""
    return Compiled(
        _sweep(definition, measures, texts),
        _histories(definition, measures, texts),
        any(measure.what in ("value_sum", "value_mean") for _, measure in measures),
    )


def is_positive(definition: dict[str, Any], texts: Texts) -> np.ndarray:
    """(types + 1,) bool: which types speak for interest; the last place is of all types without a number."""
    seen = {*definition["event_types"], *definition["other_event_types"]}
    seen -= set(definition["negative_events"])
    return np.array([*(name in seen for name in texts.types), False])


def _sweep(
    definition: dict[str, Any], measures: Sequence[tuple[int, Measure]], texts: Texts
) -> Program:
    swept = [(c, m) for c, m in measures if m.what in OPERATIONS]
    swept.sort(key=lambda row: OPERATIONS.index(row[1].what))
    groups = list(dict.fromkeys(m.of for _, m in swept)) or [POSITIVE]
    windows = _windows(m for _, m in swept)
    half_lives = sorted({m.days * DAY_US for _, m in swept if m.what == "decayed" and m.days})
    whats = [OPERATIONS.index(m.what) for _, m in swept]
    zone_from, zone_offset = offsets(definition["reporting_zone"])
    slots = _slots(definition, texts)
    return Program(
        _groups_of_type(definition, texts, groups),
        np.array([_place(groups, Those("topic", name)) for name in texts.topics], np.int64),
        slots,
        np.array([slot.max(initial=_NO_SLOT) + 1 for slot in slots], np.int64),
        is_positive(definition, texts),
        np.array(windows, np.int64),
        np.array(half_lives, np.float64),
        _places(groups, {m.of for _, m in swept if m.what in ("value_sum", "value_mean")}),
        _places(groups, {m.of for _, m in swept if m.what == "decayed"}),
        zone_from,
        zone_offset,
        np.searchsorted(whats, range(len(OPERATIONS) + 1)).astype(np.int64),
        np.array(
            [_operands(c, m, groups, windows, half_lives) for c, m in swept], np.int64
        ).reshape(-1, 4),
    )


def _windows(measures: Iterable[Measure]) -> list[int]:
    """Microseconds, ascending; a trend needs twice its own as well."""
    windows = set()
    for measure in measures:
        if measure.days is not None and measure.what != "decayed":
            windows.add(round(measure.days * DAY_US))
            if measure.what == "trend":
                windows.add(2 * round(measure.days * DAY_US))
    return sorted(windows)


def _operands(
    column: int,
    measure: Measure,
    groups: Sequence[Those],
    windows: Sequence[int],
    half_lives: Sequence[float],
) -> tuple[int, int, int, int]:
    group = groups.index(measure.of)
    if measure.days is None:
        return column, group, len(windows), 0
    if measure.what == "decayed":
        return column, group, half_lives.index(measure.days * DAY_US), 0
    window = round(measure.days * DAY_US)
    twice = windows.index(2 * window) if measure.what == "trend" else 0
    return column, group, windows.index(window), twice


def _groups_of_type(
    definition: dict[str, Any], texts: Texts, groups: Sequence[Those]
) -> np.ndarray:
    """(types + 1, most groups of one type), filled up with -1."""
    positive, negative = is_positive(definition, texts), set(definition["negative_events"])
    rows: list[list[int]] = []
    for number in range(len(texts.types) + 1):
        name = texts.types[number] if number < len(texts.types) else None
        rows.append(
            [
                place
                for place, group in enumerate(groups)
                if (group.by == "type" and group.name == name)
                or (group.by == "positive" and positive[number])
                or (group.by == "activity" and name not in negative)
            ]
        )
    widest = max(map(len, rows)) + 1
    return np.array([row + [-1] * (widest - len(row)) for row in rows], np.int64)


def _slots(definition: dict[str, Any], texts: Texts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Types have one each, but those too rare for features of their own share one."""
    own, others = definition["event_types"], set(definition["other_event_types"])
    types = [len(own) if name in others else _place(own, name) for name in texts.types]
    return (
        np.array([*types, _NO_SLOT], np.int64),
        np.array([_place(definition["channels"], name) for name in texts.channels], np.int64),
        np.array([_place(definition["topics"], name) for name in texts.topics], np.int64),
    )


def _place(names: Sequence[Any], name: Any) -> int:
    return names.index(name) if name in names else _NO_SLOT


def _places(groups: Sequence[Those], wanted: set[Those]) -> np.ndarray:
    """(groups,) int64: the wanted ones numbered, -1 for the others."""
    chosen = [group for group in groups if group in wanted]
    return np.array([_place(chosen, group) for group in groups], np.int64)


def _histories(
    definition: dict[str, Any], measures: Sequence[tuple[int, Measure]], texts: Texts
) -> histories.Program:
    found = [(c, m) for c, m in measures if m.what in histories.OPERATIONS]
    rows = [
        (
            c,
            histories.OPERATIONS.index(m.what),
            m.part,
            histories.ALL_TIME if m.days is None else round(m.days * DAY_US),
        )
        for c, m in found
    ]
    zone_from, zone_offset = offsets(definition["reporting_zone"])
    return histories.Program(
        np.array(rows, np.int64).reshape(-1, 4),
        is_positive(definition, texts),
        zone_from,
        zone_offset,
    )

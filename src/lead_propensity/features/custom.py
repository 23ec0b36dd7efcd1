"""Custom features: a function of what one lead did before a moment, brought by an installed package.

The function gets the events that count at `as_of` and nothing else: neither the lead's name, nor its other
snapshots, nor its label. What it gets is cut here, so that it cannot look ahead.
"""

import math
import re
import reprlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple, Self, SupportsFloat

import numpy as np

from lead_propensity.data.moments import words
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.features.behaviour.events import Events
from lead_propensity.features.behaviour.program import Texts
from lead_propensity.features.windows import DAY_US, ObservationWindow, seen

ASKED_TWICE = 20
"""Snapshots of each call that a feature is asked for a second time: it must say the same."""


@dataclass(frozen=True, eq=False)
class History:
    """What one lead did before `as_of` and what was known by then, oldest first; the arrays are read-only.

    Only events that the model may see: of the types learned in training, without `features.exclude_events`.
    """

    as_of: int
    """Microseconds, UTC."""
    occurred_at: np.ndarray
    """int64 (n): microseconds, UTC, ascending, all before `as_of`."""
    event_type: np.ndarray
    """object (n): text."""
    channel: np.ndarray
    """object (n): text, or None."""
    topic: np.ndarray
    """object (n): text, or None."""
    value: np.ndarray
    """float64 (n): NaN where the event carries none."""

    def __len__(self) -> int:
        return len(self.occurred_at)

    @property
    def days_ago(self) -> np.ndarray:
        """float64 (n): days from each event to `as_of`, descending, all above 0."""
        return (self.as_of - self.occurred_at) / DAY_US

    def within(self, days: int) -> Self:
        """The events of the last `days` days: `[as_of - days, as_of)`.

        >>> day = 86_400_000_000
        >>> none = np.array([None, None])
        >>> visits = np.array(["visit", "visit"], dtype=object)
        >>> history = History(
        ...     9 * day, np.array([1 * day, 2 * day]), visits, none, none, np.array([np.nan, np.nan])
        ... )
        >>> len(history.within(days=7)), len(history.within(days=8))
        (1, 2)
        """
        if days < 1:
            raise ValueError(f"within(days={days}): a window has at least one day")
        return self._rows(ObservationWindow(days).rows(self.occurred_at, self.as_of))

    def of(self, *event_types: str) -> Self:
        """The events of these types."""
        return self._rows(np.isin(self.event_type, event_types))

    def _rows(self, rows: slice | np.ndarray) -> Self:
        return type(self)(
            self.as_of,
            _locked(self.occurred_at[rows]),
            _locked(self.event_type[rows]),
            _locked(self.channel[rows]),
            _locked(self.topic[rows]),
            _locked(self.value[rows]),
        )


@dataclass(frozen=True)
class CustomFeature:
    """A column `custom__<name>` of the matrix; `name` is that of the entry point that registers it.

    `compute` gives a number, true or false, or None (or NaN) where there is nothing to say. It must depend
    on its history alone: no clock, no chance, no memory of earlier calls. Raise `version` whenever it gives
    other values: models trained before then refuse it.

    Raises ConfigError for a name or a text that cannot be shown.
    """

    name: str
    meaning: str
    """In words, for the report and for reasons, e.g. `days between the last two visits`."""
    compute: Callable[[History], SupportsFloat | None]
    window: str = "all time"
    """In words: how far back it looks, e.g. `last 30 days`."""
    version: str = "1"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ConfigError(
                f"custom feature {self.name!r}: a name has small letters, digits and _, and begins with a letter."
            )
        if not (self.meaning.strip() and self.window.strip() and self.version.strip()):
            raise ConfigError(
                f"custom feature {self.name!r}: meaning, window and version need words."
            )


def columns(
    features: Sequence[CustomFeature],
    events: Events,
    texts: Texts,
    snapshot_starts: np.ndarray,
    as_of: np.ndarray,
) -> np.ndarray:
    """float64 (n_features, n_snapshots); NaN where a feature has nothing to say.

    The snapshots of lead k are `snapshot_starts[k]:snapshot_starts[k + 1]`. Raises DataError, naming feature,
    lead and time, where a function fails, gives no number, or answers the same history differently.
    """
    past = _Past.of(events, texts)
    lead_of = np.repeat(np.arange(len(snapshot_starts) - 1), np.diff(snapshot_starts))
    looks = [_Look(*look) for look in zip(lead_of.tolist(), as_of.tolist(), strict=True)]
    found = np.full((len(features), len(looks)), np.nan)
    for row, feature in enumerate(features):
        for place, look in enumerate(looks):
            found[row, place] = _value(feature, past, look)
        for place, look in reversed([*enumerate(looks[:ASKED_TWICE])]):
            _require_same(feature, look, found[row, place], _value(feature, past, look))
    return found


def of_types(events: Events, texts: Texts, types: Collection[str]) -> Events:
    """The events of these types alone; those beyond `texts.types` are none of them."""
    wanted = np.array([*(name in types for name in texts.types), False])
    kept = wanted[events.rows["type_id"]]
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    return Events(kept_before[events.starts], events.rows[kept])


class _Look(NamedTuple):
    lead: int
    as_of: int


@dataclass(frozen=True)
class _Past:
    """The events of all leads, and the texts that their numbers stand for; place -1 holds None."""

    events: Events
    types: np.ndarray
    channels: np.ndarray
    topics: np.ndarray

    @classmethod
    def of(cls, events: Events, texts: Texts) -> Self:
        all_texts = (texts.types, texts.channels, texts.topics)
        return cls(events, *(np.array([*some, None], dtype=object) for some in all_texts))

    def before(self, look: _Look) -> History:
        """Fresh arrays at each call: a view would lead back to the events that come later."""
        starts = self.events.starts
        own = self.events.rows[starts[look.lead] : starts[look.lead + 1]]
        rows = own[seen(own["occurred_at"], own["known_at"], look.as_of)]
        return History(
            look.as_of,
            _locked(rows["occurred_at"].copy()),
            _locked(self.types[rows["type_id"]]),
            _locked(self.channels[rows["channel_id"]]),
            _locked(self.topics[rows["topic_id"]]),
            _locked(rows["value"].copy()),
        )


def _locked(column: np.ndarray) -> np.ndarray:
    column.setflags(write=False)
    return column


def _value(feature: CustomFeature, past: _Past, look: _Look) -> float:
    history = past.before(look)
    try:
        given = feature.compute(history)
    except Exception as error:
        what = f"failed with {type(error).__name__}: {error}"
        raise AnswerError(feature, look, what) from error
    if given is None:
        return math.nan
    number = _finite(given)
    if number is None:
        raise AnswerError(feature, look, f"gave {reprlib.repr(given)} ({type(given).__name__})")
    return number


def _finite(given: object) -> float | None:
    """A number or NaN as float; None for what is neither, for infinity, and for what no float can hold."""
    if not isinstance(given, Real | np.bool_):
        return None
    try:
        number = float(given)
    except OverflowError:
        return None
    return None if math.isinf(number) else number


def _require_same(feature: CustomFeature, look: _Look, first: float, again: float) -> None:
    if first != again and not (math.isnan(first) and math.isnan(again)):
        what = f"gave {first} when first asked, {again} when asked again"
        raise AnswerError(feature, look, what)


class AnswerError(DataError):
    """A custom feature failed, or gave no answer that can be used; `lead` is the lead's number."""

    def __init__(self, feature: CustomFeature, look: _Look, what: str, name: str = "") -> None:
        super().__init__(
            f"custom feature {feature.name!r} {what}, on lead {name or look.lead!r} as of {words(look.as_of)}. "
            "From one history it must always give the same: a finite number, true, false, or None where there "
            "is nothing to say. Mend the package that brings it."
        )
        self._told, self.lead = (feature, look, what), look.lead

    def of(self, name: str) -> Self:
        """The same, with the lead's id."""
        return type(self)(*self._told, name)

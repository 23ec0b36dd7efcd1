"""Why a lead scores as it does, in words: three topics for it, two against.

Contributions of the model are added up by what they speak of, and each sum is told by one feature of its topic
with the lead's own value.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from lead_propensity.features.catalogue import Catalogue
from lead_propensity.model.encoding import Encoding, numbers_of
from lead_propensity.model.learners import Blend, Learner
from lead_propensity.model.subjects import (
    EVENTS,
    FIVE_CRITERIA,
    SILENCE,
    Group,
    Subject,
    criteria_of,
    longest_window,
    subjects,
)
from lead_propensity.model.telling import Teller
from lead_propensity.model.wording import Wording

FOR, AGAINST = 3, 2
BATCH = 5_000
"""Leads explained at a time: memory, not results, depends on it."""
SMALLEST, LEAST_SHARE = 0.01, 0.1
"""Log-odds, and share of the lead's strongest topic, below which a topic is no reason."""
OWN_SHARE = 0.1
"""Of its topic's log-odds, from which a feature has a say in it."""
TIER = 1e6
"""Larger than any log-odds."""
LAST_EVENT = "days_since_event"
IN_DAYS = ("days_since_last", "days_since_first", "created")
GIVEN = ("number", "date", "other")
"""Forms that tell a value as the lead gave it."""


@dataclass(frozen=True)
class Reasons:
    """Up to FOR + AGAINST reasons a lead, strongest first, those for it before those against it."""

    texts: tuple[str, ...]
    """Each different text once."""
    text: np.ndarray
    """(n, FOR + AGAINST) int64: places in `texts`; -1: no reason."""
    topics: tuple[str, ...]
    """Each different topic once, as the report calls it."""
    topic: np.ndarray
    """(n, FOR + AGAINST) int64: places in `topics`."""
    strength: np.ndarray
    """(n, FOR + AGAINST): log-odds of the topic; the sign is the reason's."""
    particular: frozenset[int] = frozenset()
    """Places in `texts` of those that tell a value which few leads may share: a number, a date, a rare level."""

    def to_json(self) -> list[str]:
        """For each lead a JSON array of {text, sign, strength}."""
        quoted = [json.dumps(text, ensure_ascii=False) for text in self.texts]
        return [
            "["
            + ", ".join(_quoted(quoted[t], s) for t, s in zip(ts, ss, strict=True) if t >= 0)
            + "]"
            for ts, ss in zip(self.text.tolist(), self.strength.tolist(), strict=True)
        ]


def _quoted(text: str, strength: float) -> str:
    sign = "+" if strength > 0 else "-"
    return f'{{"text": {text}, "sign": "{sign}", "strength": {round(strength, 3)}}}'


def explain(
    learner: Learner, catalogue: Catalogue, wording: Wording, X: pd.DataFrame, rows: np.ndarray
) -> Reasons:
    """The reasons of the row positions `rows`."""
    board = Board.of(learner, catalogue, wording)
    shape = (len(rows), FOR + AGAINST)
    topic, text, strength = np.full(shape, -1), np.full(shape, -1), np.zeros(shape)
    for start in range(0, len(rows), BATCH):
        some = X.iloc[rows[start : start + BATCH]]
        parts = learner.contributions(some)[:, :-1]
        span = slice(start, start + len(some))
        topic[span], strength[span] = board.strongest(parts, some)
        text[span] = board.told(topic[span], strength[span], parts, some)
    rare = frozenset(board.particular)
    return Reasons(tuple(board.book), text, board.topics, topic, strength, rare)


@dataclass(frozen=True)
class Board:
    """The features of a learner by topic, and the texts told so far."""

    subjects: tuple[Subject, ...]
    groups: tuple[Group, ...]
    """Each topic once; the last one is silence."""
    owner: np.ndarray
    """(features,): the place of each one's topic."""
    criteria: tuple[str, ...]
    silent_after: float
    """Days; a last event longer ago is silence. Below 0: nothing tells of it."""
    teller: Teller
    book: dict[str, int]
    """Each text, in the order of its first use, and its place."""
    particular: set[int]
    """As in `Reasons`."""

    @classmethod
    def of(cls, learner: Learner, catalogue: Catalogue, wording: Wording) -> Self:
        by_name = subjects(catalogue)
        used = tuple(by_name[name] for name in learner.names)
        groups = tuple(dict.fromkeys(subject.group for subject in used))
        owner = np.array([groups.index(subject.group) for subject in used], np.int64)
        told = LAST_EVENT in by_name and by_name[LAST_EVENT].group == EVENTS
        return cls(
            used,
            (*groups, SILENCE),
            owner,
            tuple(criteria_of(catalogue)),
            longest_window(catalogue) if told else -1.0,
            Teller(wording, _levels(learner)),
            {},
            set(),
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """As the report calls them."""
        return tuple(self.teller.topic(group) for group in self.groups)

    def strongest(self, parts: np.ndarray, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """(n, FOR + AGAINST) twice: places in `groups` (-1: none), and their log-odds."""
        totals = np.zeros((len(parts), len(self.groups)))
        for place, owner in enumerate(self.owner):
            totals[:, owner] += parts[:, place]
        self._gather_silence(totals, parts, X)
        above = np.argsort(-totals, axis=1, kind="stable")[:, :FOR]
        below = np.argsort(totals, axis=1, kind="stable")[:, :AGAINST]
        found = np.full((len(parts), FOR + AGAINST), -1)
        least = np.maximum(SMALLEST, LEAST_SHARE * np.abs(totals).max(axis=1, keepdims=True))
        for slots, chosen, sign in ((slice(0, FOR), above, 1), (slice(FOR, None), below, -1)):
            strength = np.take_along_axis(totals, chosen, axis=1)
            kept = np.where(sign * strength >= least, chosen, -1)
            found[:, slots][:, : kept.shape[1]] = kept
        strength = np.take_along_axis(totals, np.maximum(found, 0), axis=1)
        return found, np.where(found >= 0, strength, 0.0)

    def _gather_silence(self, totals: np.ndarray, parts: np.ndarray, X: pd.DataFrame) -> None:
        """Where a lead is silent, all that it did not do is one reason; what it ever did stays its own."""
        if self.silent_after < 0:
            return
        silent = np.flatnonzero(~(numbers_of(X[LAST_EVENT]) <= self.silent_after))
        lacking = np.zeros((len(silent), len(self.groups)))
        for place, subject in enumerate(self.subjects):
            if subject.is_behaviour:
                undone = np.ones(len(silent), bool)
                if subject.form == "count" and subject.days is None:
                    undone = ~(numbers_of(X[subject.feature.name])[silent] > 0)
                lacking[:, self.owner[place]] += np.where(undone, parts[silent, place], 0.0)
        lacking = np.minimum(lacking, 0.0)
        totals[silent] -= lacking
        for owner in range(len(self.groups) - 1):
            totals[silent, -1] += lacking[:, owner]  # the last place is silence

    def told(
        self, topic: np.ndarray, strength: np.ndarray, parts: np.ndarray, X: pd.DataFrame
    ) -> np.ndarray:
        """(n, FOR + AGAINST): the place of each reason's text in `book`; -1: no reason."""
        text = np.full(topic.shape, -1)
        for group in np.unique(topic[topic >= 0]):
            rows, slots = np.nonzero(topic == group)
            text[rows, slots] = self._of_group(group, rows, strength[rows, slots], parts, X)
        return text

    def _of_group(
        self, group: int, rows: np.ndarray, strength: np.ndarray, parts: np.ndarray, X: pd.DataFrame
    ) -> np.ndarray:
        for_it = strength > 0
        if self.groups[group] == SILENCE:
            days = whole_days(numbers_of(X[LAST_EVENT])[rows])
            return self._written(days, for_it, lambda value, _: self.teller.silence(value))
        if self.groups[group] == FIVE_CRITERIA and self.criteria:
            return self._of_criteria(rows, for_it, X)
        members = np.flatnonzero(self.owner == group)
        values = [X[self.subjects[i].feature.name].to_numpy()[rows] for i in members]
        own = parts[np.ix_(rows, members)] * np.sign(strength)[:, None]
        chosen = choose([self.subjects[i] for i in members], values, own, for_it)
        text = np.full(len(rows), -1)
        for place in np.unique(chosen):
            at = chosen == place
            subject = self.subjects[members[place]]
            text[at] = self._of_feature(subject, values[place][at], for_it[at])
        return text

    def _of_feature(self, subject: Subject, values: np.ndarray, for_it: np.ndarray) -> np.ndarray:
        if subject.feature.column_type == "number":
            values = values.astype(np.float64)
            values = whole_days(values) if subject.form in IN_DAYS else values
        text = self._written(values, for_it, lambda value, _: self.teller.phrase(subject, value))
        self.particular.update(text[self._is_particular(subject, values)].tolist())
        return text

    def _is_particular(self, subject: Subject, values: np.ndarray) -> np.ndarray:
        """(n,) whether few leads may share the value."""
        given = pd.notna(values)
        if subject.form == "category":
            common = self.teller.levels.get(subject.feature.name, frozenset())
            return np.asarray(given & ~pd.Series(values, dtype=object).isin(common).to_numpy())
        return np.asarray(given & (subject.form in GIVEN))

    def _of_criteria(self, rows: np.ndarray, for_it: np.ndarray, X: pd.DataFrame) -> np.ndarray:
        """Each combination of the criteria's states is one number in base 3."""
        columns = [numbers_of(X[f"criterion__{one}"])[rows] for one in self.criteria]
        code = np.zeros(len(rows))
        for column in columns:
            code = 3 * code + np.where(np.isnan(column), 2.0, column)

        def phrase(value: float, good: bool) -> str:
            digits = [int(value) // 3**place % 3 for place in range(len(self.criteria))][::-1]
            states = {c: (0.0, 1.0, np.nan)[d] for c, d in zip(self.criteria, digits, strict=True)}
            return self.teller.criteria(states, good)

        return self._written(code, for_it, phrase)

    def _written(
        self, values: np.ndarray, for_it: np.ndarray, phrase: Callable[[Any, bool], str]
    ) -> np.ndarray:
        """(n,) places in `book`; each different value is worded once."""
        codes, different = pd.factorize(values, use_na_sentinel=False)
        both, inverse = np.unique(2 * codes + for_it, return_inverse=True)
        places = []
        for pair in both.tolist():
            value, good = different[pair // 2], bool(pair % 2)
            text = self.teller.sentence(phrase(_plain(value), good), "+" if good else "-")
            places.append(self.book.setdefault(text, len(self.book)))
        return np.array(places, np.int64)[inverse]


def choose(
    subjects: Sequence[Subject], values: Sequence[np.ndarray], own: np.ndarray, for_it: np.ndarray
) -> np.ndarray:
    """(n,): which of the topic's features tells it best.

    `own` (n, features) is what each adds in the topic's direction. Wanted, in this order: a number that people
    know from life, a say of its own in the sum, and that it tells of something done where this speaks for
    the lead (undone where against). Where only a decayed sum has a say, a neighbour tells what it says.
    """
    tellable = np.array([subject.is_tellable for subject in subjects])
    present = np.column_stack([s.presence(v) for s, v in zip(subjects, values, strict=True)])
    raises = np.array([subject.feature.interest != "down" for subject in subjects])
    fitting = np.isnan(present) | (present == (for_it[:, None] == raises))
    has_say = own >= OWN_SHARE * own.sum(axis=1, keepdims=True)
    strongest = np.argmax(own, axis=1)
    state = np.take_along_axis(present, strongest[:, None], axis=1)
    speechless = ~(has_say & tellable).any(axis=1, keepdims=True)
    fitting = np.where(speechless & ~np.isnan(state), present == state, fitting)
    tier = 4 * tellable + 2 * has_say + fitting
    return np.asarray(np.argmax(TIER * tier + np.clip(own, -TIER / 3, TIER / 3), axis=1))


def whole_days(days: np.ndarray) -> np.ndarray:
    """As they are told: a day that has begun does not count, from ten on the nearest one does."""
    return np.where(days < 10, np.floor(days), np.round(days))


def _levels(learner: Learner) -> dict[str, frozenset[str]]:
    """Of each category the values that stand alone; all others are one to the model."""
    encoding = learner.line.encoding if isinstance(learner, Blend) else None
    texts = encoding.texts if isinstance(encoding, Encoding) else []
    return {column.name: frozenset(column.levels) for column in texts}


def _plain(value: object) -> object:
    return None if value is None or value is pd.NA else value

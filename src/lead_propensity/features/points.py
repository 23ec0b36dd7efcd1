"""The rules that a company uses today: a points scorecard, compiled to feature rows `rules__*`.

Each line becomes one column: 0 or 1 for a condition, a (decayed) count for an event. The columns are
computed from the same rows and with the same half-open time as the features; `model/rules.py` adds
up the points.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from lead_propensity.config import Criterion, Days, Strict, documents
from lead_propensity.config.documents import shown
from lead_propensity.data.engine import literal
from lead_propensity.data.values import number_expression
from lead_propensity.errors import ConfigError
from lead_propensity.features.behaviour.measures import ACTIVITY, Measure, Those
from lead_propensity.features.versions import text_of

Section = Literal["explicit", "implicit", "criteria", "disqualify"]


def _as_text(value: object) -> object:
    if isinstance(value, bool):  # YAML reads yes, no, on and off so; the table holds the words
        raise ValueError(f"YAML reads this word as {value}; put it in quotes")
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class Line(Strict):
    """One line: a condition on an attribute, a criterion, an event, or silence; its points and its reason."""

    why: str
    points: float = 0.0
    attribute: str | None = None
    in_: tuple[Text, ...] | None = Field(default=None, alias="in")
    not_in: tuple[Text, ...] | None = None
    at_least: float | None = None
    below: float | None = None
    missing: bool | None = None
    criterion: Criterion | None = None
    event: str | None = None
    cap: Annotated[float, Field(gt=0)] | None = None
    """Most points that the event may give (as a size: negative points are capped alike)."""
    half_life_days: Annotated[float, Field(ge=0.01, le=3650)] | None = None
    days: Days | None = None
    """Only events of so many last days."""
    silent_days: Days | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        subjects = [self.attribute, self.criterion, self.event, self.silent_days]
        if sum(subject is not None for subject in subjects) != 1:
            raise ValueError("name exactly one of attribute, criterion, event, silent_days")
        conditions = (self.in_, self.not_in, self.at_least, self.below, self.missing)
        if (self.attribute is None) != all(condition is None for condition in conditions):
            raise ValueError(
                "an attribute needs a condition (in, not_in, at_least, below, missing), others none"
            )
        if self.event is None and (self.cap, self.half_life_days, self.days) != (None, None, None):
            raise ValueError("cap, half_life_days and days belong to an event")
        if self.days is not None and self.half_life_days is not None:
            raise ValueError("give days (a window) or half_life_days (a decay), not both")
        return self

    @property
    def text(self) -> str:
        """The line in words."""
        if self.criterion is not None:
            return f"{self.criterion} is met"
        if self.silent_days is not None:
            return f"no event for {self.silent_days} days"
        if self.event is not None:
            window = f" in the last {self.days} days" if self.days else ""
            decay = f", halved every {self.half_life_days:g} days" if self.half_life_days else ""
            cap = f", at most {self.cap:g} points" if self.cap else ""
            return f"each {self.event}{window}{decay}{cap}"
        parts = [
            None if self.in_ is None else f"is {' or '.join(self.in_)}",
            None if self.not_in is None else f"is not {' or '.join(self.not_in)}",
            None if self.at_least is None else f"is at least {self.at_least:g}",
            None if self.below is None else f"is below {self.below:g}",
            None if self.missing is None else f"is {'missing' if self.missing else 'known'}",
        ]
        return f"{self.attribute} {' and '.join(part for part in parts if part)}"


class Thresholds(Strict):
    warm: float
    hot: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warm > self.hot:
            raise ValueError(f"warm ({self.warm}) must not exceed hot ({self.hot})")
        return self


class Scorecard(Strict):
    """The whole card. Without a line there is nothing to beat."""

    name: str
    thresholds: Thresholds
    explicit: tuple[Line, ...] = ()
    implicit: tuple[Line, ...] = ()
    criteria: tuple[Line, ...] = ()
    disqualify: tuple[Line, ...] = ()

    def lines(self) -> list[tuple[Section, str, Line]]:
        """(section, column name, line) in order."""
        sections: tuple[tuple[Section, tuple[Line, ...]], ...] = (
            ("explicit", self.explicit),
            ("implicit", self.implicit),
            ("criteria", self.criteria),
            ("disqualify", self.disqualify),
        )
        rows = [(section, line) for section, lines in sections for line in lines]
        return [
            (section, f"rules__{number:02d}_{_slug(line.text)}", line)
            for number, (section, line) in enumerate(rows, 1)
        ]


NO_RULES = Scorecard(name="no rules given", thresholds=Thresholds(warm=1, hot=1))


def load(path: Path) -> Scorecard:
    """Read a scorecard. Raises ConfigError with every violation at once."""
    try:
        return Scorecard.model_validate(documents.read(path))
    except ValidationError as error:
        lines = "\n".join(
            f"  {'.'.join(str(part) for part in item['loc']) or 'rules'}: "
            f"{item['msg'].removeprefix('Value error, ')} (got {shown(item['input'])})"
            for item in error.errors()
        )
        raise ConfigError(f"{path} is not a usable scorecard:\n{lines}") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"rules {path} cannot be read: {error}") from error


@dataclass(frozen=True)
class CompiledRules:
    """Each column: as SQL over `known AS k` for what a lead says, as a measure for what it does."""

    said: dict[str, str]
    done: dict[str, Measure]
    attributes: tuple[str, ...]


def event_types(card: Scorecard) -> list[str]:
    """The event types that the lines count, each once."""
    return sorted({line.event for _, _, line in card.lines() if line.event is not None})


def attributes(card: Scorecard, criteria: dict[str, str]) -> list[str]:
    """The attributes that the lines look at; `criteria` tells which attribute holds which criterion."""
    named = {line.attribute for _, _, line in card.lines() if line.attribute is not None}
    asked = {
        criteria.get(line.criterion, line.criterion)
        for _, _, line in card.lines()
        if line.criterion
    }
    return sorted(named | asked)


def compile_rules(card: Scorecard, criteria: dict[str, str], met: list[str]) -> CompiledRules:
    said: dict[str, str] = {}
    done: dict[str, Measure] = {}
    for _, column, line in card.lines():
        if line.event is not None:
            done[column] = _event(line, line.event)
        elif line.silent_days is not None:
            done[column] = Measure("silent", ACTIVITY, line.silent_days)
        elif line.criterion is not None:
            words = ", ".join(literal(word.lower()) for word in met)
            value = text_of(criteria.get(line.criterion, line.criterion))
            said[column] = f"coalesce(lower({value}) IN ({words}), false)::INTEGER"
        else:
            said[column] = _condition(line)
    return CompiledRules(said, done, tuple(attributes(card, criteria)))


def _event(line: Line, name: str) -> Measure:
    if line.half_life_days is not None:
        return Measure("decayed", Those("type", name), line.half_life_days)
    return Measure("count", Those("type", name), line.days)


def _condition(line: Line) -> str:
    assert line.attribute is not None
    value = text_of(line.attribute)
    number = number_expression(value)
    parts = []
    for words, negation in ((line.in_, ""), (line.not_in, "NOT ")):
        if words is not None:
            listed = ", ".join(literal(word.lower()) for word in words)
            parts.append(f"lower({value}) {negation}IN ({listed})")
    if line.at_least is not None:
        parts.append(f"{number} >= {line.at_least!r}")
    if line.below is not None:
        parts.append(f"{number} < {line.below!r}")
    if line.missing is not None:
        parts.append(f"{value} IS {'' if line.missing else 'NOT '}NULL")
    return f"coalesce({' AND '.join(parts)}, false)::INTEGER"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40]

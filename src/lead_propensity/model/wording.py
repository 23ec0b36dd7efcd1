"""How reasons are worded: a typed YAML of templates that a company changes or translates.

A template is a text with {placeholders}. They are replaced by their names alone, once, so that neither a
template nor a lead's value can reach anything else.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from lead_propensity.config import Config, Criterion, Strict, documents
from lead_propensity.errors import ConfigError
from lead_propensity.features.points import Text

LONGEST = 200
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
GRAMMAR = ("plural", "endings")
"""Given, they take the place of all that the other language has: its endings are none of this one's."""
BUILT_IN = ("de", "en")
"""Languages that come with the package; `based_on` names one of them."""


def fill(template: str, **values: str) -> str:
    """The template with its placeholders replaced; what is filled in is not looked at again.

    >>> fill("{n} visits of {name}", n="3", name="{n}")
    '3 visits of {n}'
    """
    return PLACEHOLDER.sub(lambda match: values[match[1]], template)


def _known(*names: str) -> AfterValidator:
    """A check of templates: short, plain, and with these placeholders alone."""

    def check(template: str) -> str:
        if len(template) > LONGEST or not template.isprintable():
            raise ValueError(f"give one line of at most {LONGEST} signs")
        odd = [name for name in PLACEHOLDER.findall(template) if name not in names]
        if odd:
            known = ", ".join(f"{{{name}}}" for name in names) or "none"
            raise ValueError(f"unknown placeholder {{{odd[0]}}}; known here: {known}")
        if set("{}") & set(PLACEHOLDER.sub("", template)):
            raise ValueError("a brace stands alone; write placeholders like {name}")
        return template

    return AfterValidator(check)


def _tells(template: str) -> str:
    if "{text}" not in template:
        raise ValueError(
            "without {text} every reason would say the same; write {text} where it belongs"
        )
    return template


Plain = Annotated[str, _known()]
Sentence = Annotated[str, _known("text", "sign"), AfterValidator(_tells)]
Counting = Annotated[str, _known("n")]
Naming = Annotated[str, _known("name")]
Valued = Annotated[str, _known("name", "value")]
Event = Annotated[str, _known("n", "name", "names")]
Past = Annotated[str, _known("name", "names", "ago")]
Spell = Annotated[str, _known("what", "n")]
Trend = Annotated[str, _known("n", "days")]
Met = Annotated[str, _known("n", "of", "met")]


class Counted(Strict):
    """What is said of 0 (where it can be 0), of 1, and of more."""

    none: Counting = "0"
    one: Counting
    many: Counting


class Within(Strict):
    """A window of so many days, or all time."""

    one: Spell
    many: Spell
    ever: Spell


class EventPhrases(Strict):
    """What is said of one kind of event; what is left out is said as of any."""

    name: Naming | None = None
    names: Naming | None = None
    """For more than one (default: by `plural`)."""
    none: Event | None = None
    one: Event | None = None
    many: Event | None = None
    last: Past | None = None
    first: Past | None = None
    recent: Event | None = None
    no_recent: Event | None = None
    mean: Event | None = None

    def over(self, other: "EventPhrases") -> "EventPhrases":
        """These where they are given, else the other's."""
        return EventPhrases(**(other.model_dump() | self.model_dump(exclude_none=True)))


class AttributePhrases(Strict):
    """What is said of one attribute; what is left out is said as of any."""

    name: Naming | None = None
    is_: Valued | None = Field(default=None, alias="is")
    rare: Valued | None = None
    number: Annotated[str, _known("name", "n")] | None = None
    is_yes: Naming | None = None
    is_no: Naming | None = None
    past: Annotated[str, _known("name", "ago")] | None = None
    future: Annotated[str, _known("name", "ahead")] | None = None
    unknown: Naming | None = None
    values: dict[Text, Plain] = Field(default_factory=dict)
    """A level of the attribute, and how it is called."""

    def over(self, other: "AttributePhrases") -> "AttributePhrases":
        """These where they are given, else the other's."""
        given = self.model_dump(by_alias=True, exclude_none=True)
        values = {**other.values, **self.values}
        return AttributePhrases(**{**other.model_dump(by_alias=True), **given, "values": values})


class Numbers(Strict):
    thousands: Annotated[str, Field(max_length=1)]
    decimal: Annotated[str, Field(min_length=1, max_length=1)]


class Listing(Strict):
    comma: Plain
    last: Plain


class TrendPhrases(Strict):
    more: Trend
    fewer: Trend
    same: Trend
    days: Counted


class VisitPhrases(Strict):
    events: Counted
    minutes: Counted
    each: Counting
    none: Plain


class ClockPhrases(Strict):
    part: Annotated[str, _known("n", "from", "to")]
    weekend: Counting


class RhythmPhrases(Strict):
    gap: Counted
    regular: Plain
    bursts: Plain
    unknown: Plain


class CriteriaPhrases(Strict):
    some: Met
    none: Met
    unmet: Annotated[str, _known("names")]
    unknown: Annotated[str, _known("names")]
    apart: Plain
    """Between the two."""
    names: dict[Criterion, Plain]


class SilencePhrases(Strict):
    last: Annotated[str, _known("ago")]
    never: Plain


class Wording(Strict):
    """Every word of the reasons."""

    sentence: Sentence
    listing: Listing
    numbers: Numbers
    plural: dict[str, Plain]
    within: Within
    ago: Counted
    ahead: Counted
    any_event: EventPhrases
    endings: dict[str, EventPhrases]
    events: dict[Text, EventPhrases]
    all_events: EventPhrases
    about: EventPhrases
    visits: EventPhrases
    active_days: Counted
    kinds: Counted
    channels: Counted
    topics: Counted
    value_sum: Counted
    trend: TrendPhrases
    visit: VisitPhrases
    clock: ClockPhrases
    rhythm: RhythmPhrases
    created: Annotated[str, _known("ago")]
    any_attribute: AttributePhrases
    attributes: dict[Text, AttributePhrases]
    email: dict[str, Plain]
    known: Annotated[str, _known("n", "of")]
    criteria: CriteriaPhrases
    other: Valued
    unknown: Plain
    topics_of_reasons: dict[str, Plain]
    silence: SilencePhrases
    outside_ages: Plain

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for key, phrases, optional in (
            ("any_event", self.any_event, {"names"}),
            ("any_attribute", self.any_attribute, set()),
        ):
            given = phrases.model_dump(by_alias=True)
            lacking = [
                name for name, text in given.items() if text is None and name not in optional
            ]
            if lacking:
                raise ValueError(f"{key} lacks {', '.join(lacking)}; give a template for each")
        return self

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)


@cache
def english() -> Wording:
    """The words where nobody gives others."""
    return Wording.model_validate(_built_in("en"))


def of_config(config: Config) -> Wording | None:
    """The wording that `score.reasons` names; None where it names none."""
    named = config.score.reasons
    return None if named is None else load(config.resolve(named))


def load(path: Path) -> Wording:
    """A file's templates in place of those of the language that it is `based_on` (default: English).

    Raises ConfigError with every problem at once.
    """
    try:
        tree = documents.read(path)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"wording {path} cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(
            f"wording {path} holds {type(tree).__name__}, a mapping of keys is needed."
        )
    language = tree.pop("based_on", "en")
    if language not in BUILT_IN:
        raise ConfigError(
            f"wording {path} is based_on {language!r}; there are: {', '.join(BUILT_IN)}."
        )
    try:
        return Wording.model_validate(_merged(_built_in(language), tree))
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in _problems(error))
        raise ConfigError(f"{path} is not a usable wording:\n{lines}") from error


def _built_in(language: str) -> dict[str, Any]:
    text = resources.files(__package__) / "wording" / f"{language}.yaml"
    tree: dict[str, Any] = yaml.safe_load(text.read_text(encoding="utf-8"))
    tree.pop("based_on", None)
    return tree


def _merged(base: Mapping[Any, Any], given: Mapping[Any, Any]) -> dict[Any, Any]:
    both = {**base, **given}
    return {
        key: _merged(base[key], value)
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) and key not in GRAMMAR
        else value
        for key, value in both.items()
    }


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "wording"
        message = item["msg"].removeprefix("Value error, ")
        got = "" if isinstance(item["input"], Mapping | Strict) else f" (got {item['input']!r})"
        lines.append(f"{place}: {message}{got}")
    return lines

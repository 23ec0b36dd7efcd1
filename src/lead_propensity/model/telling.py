"""One feature with a lead's value as a phrase, in the words of a `Wording`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lead_propensity.model.naming import number_in_words, plural, readable, shortened
from lead_propensity.model.subjects import FADED, FIRST, LAST, Group, Subject
from lead_propensity.model.wording import AttributePhrases, Counted, EventPhrases, Wording, fill

EVEN = 1.0
"""Standard deviation of the gaps by their mean, up to which events come at regular intervals (1: by chance)."""
QUARTER_HOURS = 6
Value = float | str | None
"""A number (NaN: missing), a text, or None."""


@dataclass(frozen=True)
class Teller:
    """Phrases without the sign; `levels` are the values of each category that the model knows alone."""

    wording: Wording
    levels: Mapping[str, frozenset[str]]
    _events: dict[tuple[str, str], EventPhrases] = field(default_factory=dict)
    _attributes: dict[str, AttributePhrases] = field(default_factory=dict)

    def sentence(self, phrase: str, sign: str) -> str:
        """The whole text of a reason."""
        whole = fill(self.wording.sentence, text=phrase, sign=sign)
        return whole[:1].upper() + whole[1:]

    def phrase(self, subject: Subject, value: Value) -> str:
        """What the lead's `value` of a feature says."""
        if subject.form == "category":
            return self._category(subject, value)
        if subject.form == "email":
            return self._email(subject, value)
        number = math.nan if value is None or isinstance(value, str) else float(value)
        number = number if math.isfinite(number) else math.nan
        of_attribute = _STATED.get(subject.form)
        if of_attribute is not None:
            return of_attribute(self, subject, number)
        return self._window(subject, _MEASURED[subject.form](self, subject, number))

    def silence(self, days: float) -> str:
        """How long ago the last event was; NaN: there was none."""
        if math.isnan(days):
            return self.wording.silence.never
        return fill(self.wording.silence.last, ago=self.counted(self.wording.ago, days))

    def criteria(self, states: Mapping[str, float], for_it: bool) -> str:
        """The five criteria: `states` are 1 met, 0 not met, NaN not known."""
        words, names = self.wording.criteria, dict(self.wording.criteria.names)
        called = {one: str(names.get(one, readable(one))) for one in states}  # type: ignore[call-overload]
        met = [called[one] for one, state in states.items() if state == 1.0]
        if for_it or len(met) == len(states):
            template = words.some if met else words.none
            n, of = self.number(len(met)), self.number(len(states))
            return fill(template, n=n, of=of, met=self._listed(met))
        unmet = [called[one] for one, state in states.items() if state == 0.0]
        unknown = [called[one] for one, state in states.items() if math.isnan(state)]
        both = ((words.unmet, unmet), (words.unknown, unknown))
        return words.apart.join(fill(t, names=self._listed(some)) for t, some in both if some)

    def topic(self, group: Group) -> str:
        """What a reason is about, for the report."""
        kind, name = group
        if kind in ("event", "about"):
            return self._names(self._event(kind, name), name)[1]
        if kind == "attribute":
            return self._called(self._attribute(name), name)
        return self.wording.topics_of_reasons.get(name, readable(name))

    def number(self, value: float) -> str:
        """As people write it; see `naming.number_in_words`."""
        signs = self.wording.numbers
        return number_in_words(value, signs.thousands, signs.decimal)

    def counted(self, phrases: Counted, value: float) -> str:
        """Of a number of 0 or more; what is begun does not count."""
        n = math.floor(value) if value < 10 else round(value)
        if n < 1:
            return phrases.none
        return phrases.one if n == 1 else fill(phrases.many, n=self.number(n))

    # What a lead did. Each gets a number, NaN where there is none.

    def _count(self, subject: Subject, value: float) -> str:
        return self._times(self._phrases_of(subject), subject.name, value)

    def _times(self, phrases: EventPhrases, name: str, value: float) -> str:
        n = 0 if math.isnan(value) else round(value)
        template = phrases.none if n < 1 else phrases.one if n == 1 else phrases.many
        one, many = self._names(phrases, name)
        return fill(template or "", n=self.number(n), name=one, names=many)

    def _days_since(self, subject: Subject, value: float) -> str:
        phrases = self._phrases_of(subject)
        if math.isnan(value):
            return fill(self.wording.within.ever, what=self._times(phrases, subject.name, 0))
        one, many = self._names(phrases, subject.name)
        template = phrases.first if subject.form == FIRST else phrases.last
        ago = self.counted(self.wording.ago, value)
        return fill(template or "", name=one, names=many, ago=ago)

    def _decayed(self, subject: Subject, value: float) -> str:
        phrases = self._phrases_of(subject)
        one, many = self._names(phrases, subject.name)
        template = phrases.recent if value > FADED else phrases.no_recent
        return fill(template or "", n="", name=one, names=many)

    def _sessions(self, subject: Subject, value: float) -> str:
        phrases = self.wording.visits.over(self.wording.any_event)
        return self._times(phrases, "visits", value)

    def _value_mean(self, subject: Subject, value: float) -> str:
        phrases = self._phrases_of(subject)
        if math.isnan(value):
            return self._times(phrases, subject.name, 0)
        one, many = self._names(phrases, subject.name)
        return fill(phrases.mean or "", n=self.number(value), name=one, names=many)

    def _trend(self, subject: Subject, value: float) -> str:
        words = self.wording.trend
        value = 0.0 if math.isnan(value) else value
        template = words.same if value == 0 else words.more if value > 0 else words.fewer
        days = self.counted(words.days, subject.days or 1)
        return fill(template, n=self.number(abs(value)), days=days)

    def _value_sum(self, subject: Subject, value: float) -> str:
        words = self.wording.value_sum
        return fill(words.many, n=self.number(value)) if value > 0 else words.none

    def _last_visit(self, subject: Subject, value: float) -> str:
        words = self.wording.visit
        phrases = words.minutes if subject.form == "last_session_minutes" else words.events
        return words.none if math.isnan(value) else self.counted(phrases, value)

    def _events_per_session(self, subject: Subject, value: float) -> str:
        words = self.wording.visit
        return words.none if math.isnan(value) else fill(words.each, n=self.number(value))

    def _day_part_share(self, subject: Subject, value: float) -> str:
        begins, ends = (self.number(QUARTER_HOURS * (subject.part + more)) for more in (0, 1))
        return self._share(self.wording.clock.part, value, {"from": begins, "to": ends})

    def _weekend_share(self, subject: Subject, value: float) -> str:
        return self._share(self.wording.clock.weekend, value, {})

    def _share(self, template: str, value: float, hours: Mapping[str, str]) -> str:
        if math.isnan(value):
            return self.wording.silence.never
        return fill(template, n=self.number(round(100 * value)), **hours)

    def _gap_mean(self, subject: Subject, value: float) -> str:
        words = self.wording.rhythm
        return words.unknown if math.isnan(value) else self.counted(words.gap, value)

    def _gap_variation(self, subject: Subject, value: float) -> str:
        words = self.wording.rhythm
        if math.isnan(value):
            return words.unknown
        return words.regular if value <= EVEN else words.bursts

    def _window(self, subject: Subject, what: str) -> str:
        """With the time that it speaks of, unless it names one."""
        words = self.wording.within
        if subject.form not in WINDOWED:
            return what
        if subject.days is None:
            return fill(words.ever, what=what)
        if subject.days == 1:
            return fill(words.one, what=what)
        return fill(words.many, what=what, n=self.number(subject.days))

    # What a lead says or is.

    def _created(self, subject: Subject, value: float) -> str:
        if math.isnan(value):
            return self._other(subject, value)
        return fill(self.wording.created, ago=self.counted(self.wording.ago, value))

    def _known(self, subject: Subject, value: float) -> str:
        n = 0.0 if math.isnan(value) else value
        return fill(self.wording.known, n=self.number(n), of=self.number(subject.of))

    def _number(self, subject: Subject, value: float) -> str:
        phrases = self._attribute(subject.name)
        name = self._called(phrases, subject.name)
        if math.isnan(value):
            return fill(phrases.unknown or "", name=name)
        return fill(phrases.number or "", name=name, n=self.number(value))

    def _yes_no(self, subject: Subject, value: float) -> str:
        phrases = self._attribute(subject.name)
        template = phrases.is_yes if value == 1.0 else phrases.is_no
        template = phrases.unknown if math.isnan(value) else template
        return fill(template or "", name=self._called(phrases, subject.name))

    def _date(self, subject: Subject, value: float) -> str:
        phrases = self._attribute(subject.name)
        name = self._called(phrases, subject.name)
        if math.isnan(value):
            return fill(phrases.unknown or "", name=name)
        if value < 0:
            ahead = self.counted(self.wording.ahead, -value)
            return fill(phrases.future or "", name=name, ahead=ahead)
        ago = self.counted(self.wording.ago, value)
        return fill(phrases.past or "", name=name, ago=ago)

    def _email(self, subject: Subject, value: Value) -> str:
        known = self.wording.email
        told = known.get(value, shortened(value)) if isinstance(value, str) else None
        return self._level(subject, told, rare=False)

    def _category(self, subject: Subject, value: Value) -> str:
        if not isinstance(value, str):
            return self._level(subject, None, rare=False)
        given = self._attribute(subject.name).values.get(value)
        rare = value not in self.levels.get(subject.feature.name, {value})
        return self._level(subject, given or shortened(value), rare)

    def _level(self, subject: Subject, told: str | None, rare: bool) -> str:
        phrases = self._attribute(subject.name)
        name = self._called(phrases, subject.name)
        if not told:  # nothing, or nothing but blanks
            return fill(phrases.unknown or "", name=name)
        return fill((phrases.rare if rare else phrases.is_) or "", name=name, value=told)

    def _other(self, subject: Subject, value: float) -> str:
        told = self.wording.unknown if math.isnan(value) else self.number(value)
        return fill(self.wording.other, name=readable(subject.name), value=told)

    # Which phrases, and what a thing is called.

    def _phrases_of(self, subject: Subject) -> EventPhrases:
        return self._event(subject.group[0], subject.name)

    def _event(self, kind: str, name: str) -> EventPhrases:
        if (kind, name) not in self._events:
            self._events[kind, name] = self._event_anew(kind, name)
        return self._events[kind, name]

    def _event_anew(self, kind: str, name: str) -> EventPhrases:
        words = self.wording
        if kind == "own":
            return words.all_events.over(words.any_event)
        if kind == "about":
            return words.about.over(words.any_event)
        ending = max((e for e in words.endings if name.lower().endswith(e)), key=len, default=None)
        by_ending = EventPhrases() if ending is None else words.endings[ending]
        own = words.events.get(name, EventPhrases())
        return own.over(by_ending.over(words.any_event))

    def _names(self, phrases: EventPhrases, name: str) -> tuple[str, str]:
        """Of one event, and of more."""
        one = fill(phrases.name or "", name=readable(name))
        many = None if phrases.names is None else fill(phrases.names, name=readable(name))
        return one, many or plural(one, self.wording.plural)

    def _attribute(self, name: str) -> AttributePhrases:
        if name not in self._attributes:
            own = self.wording.attributes.get(name, AttributePhrases())
            self._attributes[name] = own.over(self.wording.any_attribute)
        return self._attributes[name]

    def _called(self, phrases: AttributePhrases, name: str) -> str:
        return fill(phrases.name or "", name=readable(name))

    def _listed(self, names: list[str]) -> str:
        comma, last = self.wording.listing.comma, self.wording.listing.last
        return comma.join(names[:-1]) + last + names[-1] if len(names) > 1 else "".join(names)


Tell = Callable[[Teller, Subject, float], str]


def _simple(field: str) -> Tell:
    return lambda teller, subject, value: teller.counted(
        getattr(teller.wording, field), 0.0 if math.isnan(value) else value
    )


_MEASURED: dict[str, Tell] = {
    "count": Teller._count,
    "sessions": Teller._sessions,
    "active_days": _simple("active_days"),
    "types": _simple("kinds"),
    "channels": _simple("channels"),
    "topics": _simple("topics"),
    "value_sum": Teller._value_sum,
    "value_mean": Teller._value_mean,
    "events_per_session": Teller._events_per_session,
    LAST: Teller._days_since,
    FIRST: Teller._days_since,
    "decayed": Teller._decayed,
    "trend": Teller._trend,
    "last_session_events": Teller._last_visit,
    "last_session_minutes": Teller._last_visit,
    "day_part_share": Teller._day_part_share,
    "weekend_share": Teller._weekend_share,
    "gap_mean": Teller._gap_mean,
    "gap_variation": Teller._gap_variation,
}
WINDOWED = frozenset(list(_MEASURED)[:9])
"""Forms that say nothing of the time themselves."""
_STATED: dict[str, Tell] = {
    "created": Teller._created,
    "known": Teller._known,
    "number": Teller._number,
    "yes_no": Teller._yes_no,
    "date": Teller._date,
    "other": Teller._other,
}

"""The page's head: the seven questions of a sales leader, each with a short answer and where it comes from."""

from dataclasses import dataclass

from lead_propensity.evaluation.trusted import none_came
from lead_propensity.evaluation.verdict import winner
from lead_propensity.reporting.drawing import Card
from lead_propensity.reporting.formats import (
    NOTHING,
    decimal,
    interval,
    number,
    percent,
    points,
    signed,
)


@dataclass(frozen=True)
class Answer:
    """One question: `value` is read first, `detail` says how sure it is, `link` is a section's id.

    The page ends `detail` with a full stop.
    """

    question: str
    value: str
    detail: str
    link: str


def answers(card: Card) -> list[Answer]:
    """All seven, in this order; one for which the run has no figure says so."""
    return [
        _calls(card),
        _conversion(card),
        _certainty(card),
        _gain(card),
        _changes(card),
        _trust(card),
        _fairness(card),
    ]


def _calls(card: Card) -> Answer:
    bands, weekly = card["bands"], card["weekly"]
    ask = "How many leads should we call this week?"
    if bands["hot_refused"]:
        return Answer(ask, "0", bands["hot_refused"].rstrip("."), "calls")
    hot = _hot(card)
    if weekly is None:
        ask = "How many leads should we call?"
        detail = f"the hot ones: {number(hot['n'])} of the leads of the test part"
        return Answer(ask, percent(hot["share"]), detail, "calls")
    plan = "no plan was given" if weekly["plan"] is None else f"planned {number(weekly['plan'])}"
    spread = f"{number(weekly['lowest'])} to {number(weekly['highest'])} from week to week"
    detail = f"newly hot a week in the test part: {spread}, after a backlog of {number(weekly['backlog'])}; {plan}"
    return Answer(ask, number(weekly["per_week"]), detail, "calls")


def _conversion(card: Card) -> Answer:
    ask, hot = "What will they convert at?", _hot(card)
    if hot["observed"] is None:
        wins, n = number(card["headline"]["wins"]), number(card["headline"]["n"])
        told = f"of all became deals ({wins} of {n} test snapshots); of the hot nothing is known"
        return Answer(ask, percent(card["headline"]["base_rate"]), told, "calls")
    base = percent(card["headline"]["base_rate"])
    told = f"of the hot became deals; expected {percent(hot['expected'])}. Of all, {base} did"
    return Answer(ask, percent(hot["observed"]), told, "calls")


def _certainty(card: Card) -> Answer:
    ask, hot = "How sure are we?", _hot(card)
    if card["bands"]["hot_refused"]:
        return Answer(ask, "Not enough", "nobody is called hot, so no rate is promised", "calls")
    if hot["observed"] is None or hot["lower"] is None:
        return Answer(ask, "Not at all", "too few hot leads with a known outcome", "calls")
    told = f"95% interval of that rate, from {number(hot['labelled'])} hot snapshots"
    if hot["promised_lower"] is not None:
        told += f"; promised at least {percent(hot['promised_lower'])}: {hot['promise_words']}"
    return Answer(ask, f"{percent(hot['lower'])} to {percent(hot['upper'])}", told, "calls")


def _gain(card: Card) -> Answer:
    ask = "How much better is that than today's rules?"
    gaps, volume = card["comparison"]["differences"].get("rules"), card["comparison"]["volume"]
    if gaps is None:
        return Answer(ask, NOTHING, "no points rules were given: there is nothing to beat", "rules")
    if volume["n"]:
        gap, form, unit = gaps["capture"], points, "points"
        told = f"share of all deals found, model minus rules, at {number(volume['n'])} calls each"
    else:
        gap, form, unit, told = gaps["auc"], signed, "AUC", "model minus rules; nobody is hot"
    judged = f"{told}; {interval(gap, form)}. {_SHOWN[winner(gap)]}"
    value = NOTHING if gap["value"] is None else f"{form(gap['value'])} {unit}"
    return Answer(ask, value, judged, "rules")


_SHOWN = {
    "model": "The model is better",
    "rules": "The rules are better",
    "none": "No difference is shown",
    "unknown": "Too few to judge",
}


def _changes(card: Card) -> Answer:
    ask, moved = "Which leads changed?", card["changes"]
    if moved is None:
        return Answer(ask, NOTHING, "there are no two dates to compare", "calls")
    sampled = " of the sample" if (card["weekly"] or {}).get("weight", 1) > 1 else ""
    others = f"{number(moved['cooled'])} cooled, {number(moved['silent'])} fell silent"
    told = (
        f"from {moved['before']} to {moved['now']}; of the {number(moved['leads'])} leads{sampled} open on both days "
        f"{others}"
    )
    return Answer(ask, f"{number(moved['newly_hot'])} newly hot", told, "changes")


def _trust(card: Card) -> Answer:
    ratio = card["headline"]["expected_to_observed"]
    ask = "Can I trust the percentages?"
    alarms = (card.get("leaks") or {}).get("alarms", [])
    leaks = [row["column"] for row in alarms if row["reaches_model"]]
    if leaks:
        told = f"{_some(leaks)} may know the outcome: look into that before any percentage"
        return Answer(ask, "Not yet", told, "leaks")
    if ratio["value"] is None:
        too_high, told = none_came(card["headline"])
        return Answer(ask, "Too high" if too_high else "Unknown", told, "trust")
    told = (
        f"{decimal(ratio['value'])} deals expected for each that came; {interval(ratio, decimal)}"
    )
    if ratio["lower"] is not None and ratio["lower"] > 1:
        return Answer(ask, "Too high", told, "trust")
    if ratio["upper"] is not None and ratio["upper"] < 1:
        return Answer(ask, "Too low", told, "trust")
    return Answer(ask, "As a whole, yes" if _narrow(ratio) else "Not shown wrong", told, "trust")


def _narrow(ratio: Card) -> bool:
    """Whether an interval across 1 says much: a quarter too many or too few is ruled out."""
    lower, upper = ratio["lower"], ratio["upper"]
    return lower is not None and upper is not None and lower > 0.8 and upper < 1.25


def _fairness(card: Card) -> Answer:
    ask, found = "Who is scored unfairly?", card["fairness"]
    if not found:
        return Answer(ask, "Unknown", "no sensitive columns were declared", "fairness")
    rows = [(one["column"], row) for one in found for row in one["rows"] if not row["few"]]
    if not rows:
        return Answer(
            ask, "Unknown", "too few leads with a known outcome in each group", "fairness"
        )
    off = [f"{column} {row['level']} is scored {row['off']}" for column, row in rows if row["off"]]
    if not off:
        told = f"none of {number(len(rows))} groups is shown to be scored too high or too low"
        return Answer(ask, "Nobody, as far as shown", told, "fairness")
    groups = f"{number(len(off))} of {number(len(rows))} groups"
    return Answer(ask, groups, _some(off), "fairness")


def _some(names: list[str]) -> str:
    """The first two of them, and how many more."""
    more = f" and {number(len(names) - 2)} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more


def _hot(card: Card) -> Card:
    row: Card = next(row for row in card["bands"]["stock"] if row["band"] == "hot")
    return row

"""The model card: what the model is for, what it rests on, where it ends; each line from the scorecard.

After Mitchell and others, "Model Cards for Model Reporting" (2019).
"""

import re
from dataclasses import dataclass

from lead_propensity.model.fitting import mixed_in_words
from lead_propensity.reporting.drawing import Card
from lead_propensity.reporting.formats import day, decimal, interval, number, percent

_SPECIAL = re.compile(r"([\\`*_\[\]#|~<>&])")
FEATURES_NAMED = 5


@dataclass(frozen=True)
class Section:
    """A heading and its lines, plain text."""

    title: str
    lines: list[str]


def model_card(card: Card) -> list[Section]:
    """All sections, in their order."""
    return [
        Section("What it is", _identity(card)),
        Section("What it is for", _use(card)),
        Section("What it is not for", _limits(card)),
        Section("What it is made of", _members(card)),
        Section("What it learned from, and was judged on", _data(card)),
        Section("How good it is", _figures(card)),
        Section("Groups of people", _groups(card)),
        Section("What is not known", _unknown(card)),
        Section("For your lawyer: pointers, not advice", _law(card)),
    ]


def markdown(card: Card) -> str:
    """The card as a Markdown file; no text of the data can become a link, a tag or a heading."""
    parts = [f"# Model card: {_escaped(card['name'])}"]
    for section in model_card(card):
        lines = "\n".join(f"- {_escaped(line)}" for line in section.lines)
        parts.append(f"## {section.title}\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return _SPECIAL.sub(r"\\\1", line)


def _identity(card: Card) -> list[str]:
    version = (card.get("context") or {}).get("version")
    maker = f" with lead-propensity {version}" if version else ""
    lines = [f"Model {card['model_id']} of {card['name']}, made {day(card['created'])}{maker}."]
    if card["deployed"]:
        lines.append(card["deployed"]["sentence"])
    owner = card["owner"]
    lines.append(
        f"{owner} answers for it."
        if owner
        else "Nobody is named who answers for it (report.owner)."
    )
    return lines


def _use(card: Card) -> list[str]:
    bands = card["bands"]
    lines = [
        f"For each open lead: the probability that a deal {_horizon(card)}, a band, and where to send it.",
        "For people who decide whom to call next, and how many deals to expect.",
    ]
    if bands["hot_refused"]:
        return [*lines, f"Nobody is called hot: {bands['hot_refused']}"]
    plan = bands["hot_per_week"]
    planned = f" ({number(plan)} leads a week)" if plan else ""
    return [*lines, f"Hot is set by the policy {bands['policy']}{planned}."]


def _horizon(card: Card) -> str:
    days = card["horizon_days"]
    return f"is won within {number(days)} days" if days else "is won, as the export counts it"


def _limits(card: Card) -> list[str]:
    lines = [
        "Not for decisions about a person without a human who can decide otherwise, and not for credit, prices "
        "or who may buy.",
        "Not for saying what would make a lead buy: what the model uses is not what causes a deal.",
        "Not for other horizons, other companies, or leads that come by ways that the data did not have.",
    ]
    age = card["oldest_age_days"]
    if age is not None:
        lines.append(
            f"Not for leads older than {number(age)} days: it learned from none, and calls none hot."
        )
    return [*lines, card["verdict"]["scope"]]


def _members(card: Card) -> list[str]:
    choices = card["choices"] or {}
    lines = []
    if choices.get("blend"):
        lines.append(mixed_in_words(choices))
    elif choices.get("learner"):
        lines.append(f"Learner: {choices['learner']}.")
    if choices.get("calibrator"):
        lines.append(f"Log-odds become percentages by the calibrator {choices['calibrator']}.")
    features = [row for side in ("fit", "interest") for row in card["importance"][side]["features"]]
    first = sorted(features, key=lambda row: (-row["share"], row["feature"]))[:FEATURES_NAMED]
    named = "; ".join(f"{row['meaning']} ({percent(row['share'])})" for row in first)
    lines.append(f"Features: {number(len(card['catalogue'] or []))}. It looks most at: {named}.")
    shares = (percent(card["importance"][side]["share"]) for side in ("fit", "interest"))
    lines.append("Of what it uses {} is who a lead is, {} what it does.".format(*shares))
    return lines


def _data(card: Card) -> list[str]:
    lines = [
        f"{row['table']}: {number(row['rows'])} rows, {number(row['quarantined'])} of them set aside as broken."
        for row in (card["data"] or {}).get("tables") or []
    ]
    unit = "rows " if card["shape"] == "as exported" else ""
    lines += [
        f"{name}: {unit}{day(row['from'])} to {day(row['to'])}, {number(row['snapshots'])} snapshots of "
        f"{number(row['leads'])} leads, {number(row['won'])} won."
        for name in ("fit", "calibrate", "test")
        for row in card["parts"] or []
        if (row["population"], row["part"]) == ("training", name)
    ]
    left = card["dropped_snapshots"] or {}
    lines += [f"Left out: {reason}: {number(count)}." for reason, count in left.items() if count]
    if card["exported_at"]:
        lines.append(f"The data ends on {day(card['exported_at'])}.")
    return lines


def _figures(card: Card) -> list[str]:
    head, verdict = card["headline"], card["verdict"]
    lines = [
        verdict["sentence"],
        f"AUC {decimal(head['auc']['value'], 3)} ({interval(head['auc'], decimal)}); "
        f"log loss {decimal(head['log_loss']['value'], 3)}, of the base rate for everyone "
        f"{decimal(head['log_loss_constant']['value'], 3)}; {number(head['n'])} test snapshots, "
        f"{percent(head['base_rate'])} won.",
        verdict["hot"],
        verdict["calibration"],
    ]
    return [*lines, *verdict["trust"]]


def _groups(card: Card) -> list[str]:
    declared = [one["column"] for one in card["fairness"]]
    lines = []
    if declared:
        lines.append(f"Declared as sensitive, and in no feature: {', '.join(declared)}.")
        lines.append("Other columns may stand in for them: that was not examined.")
    return [*lines, *card["verdict"]["fairness"]]


def _unknown(card: Card) -> list[str]:
    lines = [
        "How leads would have ended if other ones had been called: outcomes came under the way of calling of "
        "their time.",
        "Whether the next period will be like this one: intervals speak of other leads of the same period.",
    ]
    if not card["fairness"]:
        lines.append(
            "Whether any group of people is scored unfairly: no sensitive column was declared."
        )
    if not card["segments"]["columns"]:
        lines.append("Whether the percentages hold in every segment: none was declared.")
    if not card["rules"]["lines"]:
        lines.append("Whether it beats the rules of today: none were given.")
    walked = card["backtest"]
    if not walked or walked["why_not"]:
        lines.append("Whether it would have held before: there was no walk forward.")
    return lines


def _law(card: Card) -> list[str]:
    days = card["horizon_days"]
    meant = f" within {number(days)} days" if days else ""
    return [
        "GDPR Art. 4(4): guessing from personal data how a person will behave is profiling; a score of a "
        f"person's chance to buy{meant} is likely to be it. Companies are no persons, their contacts are.",
        "GDPR Art. 22 and Recital 71: a decision based solely on automated processing, with legal or similarly "
        "significant effects, is forbidden but for its exceptions. Whom sales calls first is mostly none; whom "
        "nobody ever serves, or what price is offered, may be. The Court of Justice (C-634/21, SCHUFA, 2023): "
        "a score is itself such a decision where others draw strongly on it.",
        "GDPR Art. 22(3): where such decisions are allowed, a person may ask for a human who can decide "
        "otherwise, say their view and contest. Ask who that human is, and whether they ever decide otherwise.",
        "GDPR Art. 13(2)(f), 14(2)(g), 15(1)(h): for such decisions, meaningful information about the logic, "
        "the significance and the consequences (C-203/22, Dun & Bradstreet Austria, 2025). The reasons of each "
        "score and this card are material for it, not the answer itself.",
        "GDPR Art. 21: the right to object to profiling, and at any time to profiling for direct marketing; the "
        "lead must then leave the scores. Art. 17: the right to be forgotten.",
        "GDPR Art. 6, 9, 5(1)(c), 35: a legal basis; special categories; no more data than needed; whether an "
        "impact assessment is due. Sensitive columns are read here to check fairness only: that needs a basis, too.",
    ]

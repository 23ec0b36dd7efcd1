"""The gate's decision as a page of Markdown, for those who read it later."""

from collections.abc import Mapping
from typing import Any

HEADINGS = {
    "promote": "The challenger passed",
    "refuse": "The challenger was refused",
    "wait": "Not enough evidence",
    "not judged": "Not judged",
}


def markdown(decision: Mapping[str, Any]) -> str:
    """`decision` as `promotion.promote` keeps it."""
    champion = decision["champion"]
    against = "no champion yet" if champion is None else f"champion: version {champion['version']}"
    challenger = decision["challenger"]["version"]
    lines = [
        f"# {HEADINGS[decision['decision']]}: {decision['name']}, version {challenger}",
        "",
        f"{decision['at']}; {against}.",
        "",
        decision["sentence"],
    ]
    if decision["forced"]:
        lines += ["", "**It was made champion all the same, by force.**"]
    if decision["reason"]:
        lines += ["", f"Reason given: {decision['reason']}"]
    lines += _period(decision) + _conditions(decision)
    figures = {name: value for name, value in decision["figures"].items() if value is not None}
    if figures:
        lines += ["", "| figure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.6g} |" for name, value in figures.items()]
    return "\n".join(lines) + "\n"


def _period(decision: Mapping[str, Any]) -> list[str]:
    if "period" not in decision:
        return []
    period, attempts = decision["period"], decision["attempts"]
    rows = [
        f"Snapshots from {period['from']} until {period['until']}: {decision['evidence']['sentence']}",
        f"Models judged on this period so far: {attempts}; error allowed each: {decision['error']:.2%}.",
    ]
    rows += [
        f"The {role} is represented by the model {one['evaluated_model_id']}, which knew labels until "
        f"{one['labels_until']}; deployed is {one['deployed_model_id']}."
        for role, one in decision["judged"].items()
    ]
    return ["", *(f"- {row}" for row in rows)]


def _conditions(decision: Mapping[str, Any]) -> list[str]:
    if not decision["conditions"]:
        return []
    rows = [
        f"| {one['name']} | {'holds' if one['passed'] else '**not shown**'} | {one['sentence']} |"
        for one in decision["conditions"]
    ]
    return ["", "| condition | | what was found |", "|---|---|---|", *rows]

"""The report: one HTML file that needs no network."""

import re
from collections.abc import Mapping
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lead_propensity.reporting.against import COMPARED
from lead_propensity.reporting.answers import answers
from lead_propensity.reporting.canvas import inline
from lead_propensity.reporting.drawing import Card, Picture
from lead_propensity.reporting.formats import FORMS
from lead_propensity.reporting.model_card import model_card
from lead_propensity.reporting.pictures import pictures

SHORT = {
    "calls": "Calls",
    "why": "Reasons",
    "rules": "Rules",
    "trust": "Trust",
    "walk": "Before",
    "leaks": "Leaks",
    "looks": "Features",
    "data": "Data",
    "model-card": "Model card",
    "words": "Words",
}
"""What the navigation calls a section, by its id; others are called by their heading."""
_HEADING = re.compile(r'<h2 id="([\w-]+)">(.*?)</h2>', re.DOTALL)


def render(scorecard: Card, drawn: Mapping[str, Picture] | None = None) -> str:
    """The whole page, every text of the scorecard escaped; the same scorecard, the same bytes.

    `drawn` are its `pictures`, where the caller has them already.
    """
    shown = pictures(scorecard) if drawn is None else drawn
    return (
        page_environment()
        .get_template("report.html")
        .render(
            card=scorecard,
            style=asset("report.css"),
            script=asset("report.js"),
            pictures={name: inline(p.svg, name, p.alt) for name, p in shown.items()},
            answers=answers(scorecard),
            metrics=COMPARED,
            period=_period(scorecard),
            model_card_sections=model_card(scorecard),
        )
    )


def contents(body: Markup) -> list[tuple[str, Markup]]:
    """`(id, short name)` of each section of a page's body, in its order."""
    return [
        (name, Markup(SHORT.get(name, heading.strip())))  # the heading is escaped already
        for name, heading in _HEADING.findall(body)
    ]


def asset(name: str) -> Markup:
    """One of our own files, to stand in a page as it is."""
    file = resources.files(__package__) / "templates" / name
    return Markup(file.read_text(encoding="utf-8"))


def page_environment() -> Environment:
    """Templates with our formats; a name that a card does not have is an error."""
    page = Environment(
        loader=PackageLoader("lead_propensity.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {form.__name__: form for form in (*FORMS, contents)}
    page.globals |= {form.__name__: form for form in FORMS}
    return page


def _period(card: Card) -> str:
    days = card["horizon_days"]
    return f" within {days} days" if days else ", as exported"

"""The report: one HTML file that needs no network and no script."""

import math
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lead_propensity.reporting.canvas import inline
from lead_propensity.reporting.drawing import Card
from lead_propensity.reporting.pictures import pictures
from lead_propensity.reporting.quality import COMPARED

NOTHING = "\N{EN DASH}"


def render(scorecard: Card) -> str:
    """The whole page, every text of the scorecard escaped; the same scorecard, the same bytes."""
    page = _environment()
    drawn = {name: inline(p.svg, name, p.alt) for name, p in pictures(scorecard).items()}
    return page.get_template("report.html").render(
        card=scorecard,
        style=_style(),
        pictures=drawn,
        figures=big_figures(scorecard),
        metrics=COMPARED,
        period=_period(scorecard),
    )


def big_figures(card: Card) -> list[dict[str, str]]:
    """Three or four figures that a sales leader reads first: `label`, `value`, `detail`."""
    return [_calls(card), _conversion(card), _level(card), _gain(card)]


def _calls(card: Card) -> dict[str, str]:
    bands, weekly = card["bands"], card["weekly"]
    if bands["hot_refused"]:
        return _figure("hot leads to call", "0", bands["hot_refused"])
    hot = next(row for row in bands["stock"] if row["band"] == "hot")
    if weekly is None:
        detail = f"{number(hot['n'])} in the test part"
        return _figure("of the leads are hot: call them", percent(hot["share"]), detail)
    plan = "no plan given" if weekly["plan"] is None else f"planned {number(weekly['plan'])}"
    spread = f"{number(weekly['lowest'])} to {number(weekly['highest'])} from week to week"
    detail = f"{plan}; {spread}, after a backlog of {number(weekly['backlog'])}"
    return _figure("newly hot leads to call a week", number(weekly["per_week"]), detail)


def _conversion(card: Card) -> dict[str, str]:
    hot = next(row for row in card["bands"]["stock"] if row["band"] == "hot")
    if hot["observed"] is None:
        wins = (
            f"{number(card['headline']['wins'])} of {number(card['headline']['n'])} test snapshots"
        )
        return _figure("of all became deals", percent(card["headline"]["base_rate"]), wins)
    detail = interval(hot, percent)
    if hot["promised_lower"] is not None:
        detail += f"; promised at least {percent(hot['promised_lower'])}, {hot['promise_words']}"
    return _figure("of the hot became deals", percent(hot["observed"]), detail)


def _level(card: Card) -> dict[str, str]:
    ratio = card["headline"]["expected_to_observed"]
    return _figure(
        "deals expected for each that came", decimal(ratio["value"], 2), interval(ratio, decimal)
    )


def _gain(card: Card) -> dict[str, str]:
    gaps, volume = card["comparison"]["differences"].get("rules"), card["comparison"]["volume"]
    if gaps is None:
        auc = card["headline"]["auc"]
        detail = f"{interval(auc, decimal)}; there are no rules to beat"
        return _figure(
            "AUC: how well leads are ordered (0.5 = chance)", decimal(auc["value"], 2), detail
        )
    if not volume["n"]:
        label, detail = "AUC above the rules; nobody is hot", interval(gaps["auc"], signed)
        return _figure(label, signed(gaps["auc"]["value"]), detail)
    detail = f"{interval(gaps['capture'], points)}; at {number(volume['n'])} calls each"
    label = "points of all deals, model against rules"
    return _figure(label, points(gaps["capture"]["value"]), detail)


def _figure(label: str, value: str, detail: str) -> dict[str, str]:
    return {"label": label, "value": value, "detail": detail}


def _period(card: Card) -> str:
    days = card["horizon_days"]
    return f" within {days} days" if days else ", as exported"


def percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}%"


def points(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:+.1f}"


def signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3f}"


def number(value: float | None) -> str:
    """Whole numbers with thousands; small fractions keep one digit."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def decimal(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def thousandth(value: float | None) -> str:
    return decimal(value, 3)


def factor(log_ratio: float) -> str:
    """How many times too many, or too few: `1.20` of log(1.2)."""
    return f"{math.exp(log_ratio):.2f}"


def interval(row: Card, form: Any) -> str:
    """`95% interval a to b`, or that there is none."""
    if row["lower"] is None:
        return "no interval: too few"
    upper = "any" if row["upper"] is None else form(row["upper"])
    return f"95% interval {form(row['lower'])} to {upper}"


def _style() -> Markup:
    css = resources.files(__package__) / "templates" / "report.css"
    return Markup(css.read_text(encoding="utf-8"))  # our own file


def _environment() -> Environment:
    loader = PackageLoader("lead_propensity.reporting")
    page = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    forms = (percent, points, signed, number, decimal, thousandth, factor, interval)
    page.filters |= {form.__name__: form for form in forms}
    page.globals |= {form.__name__: form for form in forms}
    return page

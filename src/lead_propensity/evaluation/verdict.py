"""The report's first sentences, computed: who wins, by how much, how sure, and what to do."""

from collections.abc import Mapping
from typing import Any

from lead_propensity.evaluation.trusted import in_words, none_came, who_is_off

Figure = Mapping[str, float | None]
MODEL, RULES, NEITHER, UNKNOWN = "model", "rules", "none", "unknown"
ODOO_FORMS = {
    "odoo": "as it comes",
    "odoo_generous": "with all features",
    "odoo_calibrated": "with all features and our calibrator",
}
PLAN_TOLERANCE = 0.2
"""A weekly number of newly hot leads further from the plan than this share is told."""


def verdict(card: Mapping[str, Any]) -> dict[str, Any]:
    """`winner` (model, rules, none, unknown, no_rules), its `sentence`, and what follows from it.

    `card` is a scorecard with `headline`, `comparison`, `bands`, `weekly` and `rules`.
    """
    opening = _against_rules(card) if card["rules"]["lines"] else _without_rules(card)
    return {
        **opening,
        "overall": _overall(card),
        "best_rules": best_rules(card),
        "hybrid": hybrid(card),
        "odoo": odoo(card),
        "knowledge": _knowledge(card),
        "calibration": _calibration(card["headline"]),
        "hot": _hot(card["bands"]),
        "capacity": capacity(card),
        "bands": [warning["sentence"] for warning in card["bands"]["warnings"]],
        "trust": in_words(card["calibration"], card["reliability"]),
        "fairness": who_is_off(card["fairness"]),
        "scope": "Every figure and interval is conditional on this test period.",
    }


def winner(difference: Figure) -> str:
    """Who is better, from the interval of model minus rules (more is better)."""
    lower, upper = difference["lower"], difference["upper"]
    if lower is None or upper is None:
        return UNKNOWN
    if lower > 0:
        return MODEL
    return RULES if upper < 0 else NEITHER


def _against_rules(card: Mapping[str, Any]) -> dict[str, Any]:
    comparison, volume = card["comparison"], card["comparison"]["volume"]
    measure = "capture" if volume["n"] else "auc"
    difference = comparison["differences"]["rules"][measure]
    model, rules = (comparison["models"][name][measure] for name in ("model", "rules"))
    who = winner(difference)
    return {
        "winner": who,
        "measure": measure,
        "difference": dict(difference),
        "sentence": _sentence(who, measure, volume, model, rules, difference),
        "recommendation": _RECOMMENDATIONS[_advice(comparison, who)],
    }


def _advice(comparison: Mapping[str, Any], who: str) -> str:
    """The model where it is shown better in the rules' calls, the hybrid where it beats both over all calls.

    Where only its order of all leads is shown better, the rules stay for as many calls as theirs, and no more:
    whoever calls more orders all by the model, unless the hybrid beats it.
    """
    if who in (NEITHER, RULES) and _hybrid_against(comparison) == (MODEL, MODEL):
        return "hybrid"
    overall = winner(comparison["differences"]["rules"]["auc"])
    return "beyond" if (who, overall) == (NEITHER, MODEL) else who


def _hybrid_against(comparison: Mapping[str, Any]) -> tuple[str, str] | None:
    """Whether the hybrid orders all leads better than the rules, and than the model (`model`: it does)."""
    if comparison.get("hybrid_minus_rules") is None:
        return None
    gaps = comparison["hybrid_minus_rules"]["auc"], comparison["differences"]["hybrid"]["auc"]
    turned = {MODEL: RULES, RULES: MODEL}
    than_model = winner(gaps[1])
    return winner(gaps[0]), turned.get(than_model, than_model)


_RECOMMENDATIONS = {
    MODEL: "Use the model.",
    RULES: "Keep the rules.",
    NEITHER: "Keep the rules: the model is not shown to be better, and the rules are simpler.",
    "hybrid": (
        "Call the rules' hot leads first and go on by the model: over all call volumes this is shown better than "
        "either alone."
    ),
    "beyond": (
        "Call the rules' hot leads as before, for in as many calls the model is not shown to be better; for other "
        "numbers of calls, and for percentages, use the model."
    ),
    UNKNOWN: "Keep the rules until there are enough closed deals to judge.",
    "no_rules": "Write down the rules of today, so that the model has something to beat.",
}


def _sentence(
    who: str, measure: str, volume: Mapping[str, Any], model: Figure, rules: Figure, gap: Figure
) -> str:
    place = _place(volume)
    if who == UNKNOWN:
        return f"Not enough evidence to tell the model from the rules: {place}, no interval exists."
    if measure == "auc":
        found = (
            f"the AUC is {model['value']:.3f} for the model and {rules['value']:.3f} for the rules"
        )
        bounds = f"{gap['lower']:+.3f} to {gap['upper']:+.3f}"
        span = f"difference {gap['value']:+.3f}, 95% interval {bounds}"
    else:
        found = f"the model finds {_percent(model)} of the deals and the rules {_percent(rules)}"
        span = f"difference {_points(gap, 'value')} points, 95% interval {_span(gap)}"
    opening = {
        MODEL: "The model is better than the rules",
        RULES: "The rules are better than the model",
        NEITHER: "Neither the model nor the rules is shown to be better",
    }[who]
    return f"{opening}: {place}, {found} ({span})."


def best_rules(card: Mapping[str, Any]) -> str | None:
    """The model against the same rules with learned weights; None without rules."""
    differences = card["comparison"]["differences"]
    if "rules_reweighted" not in differences:
        return None
    measure = "capture" if card["comparison"]["volume"]["n"] else "auc"
    also = "also " if winner(differences["rules"][measure]) == MODEL else ""
    opening = {
        MODEL: f"The model {also}beats these rules re-weighted",
        RULES: "These rules, re-weighted, beat the model",
        NEITHER: "These rules, re-weighted, are not shown to be worse than the model",
        UNKNOWN: "Not enough evidence to compare the model with these rules re-weighted",
    }
    return _beside(card, "rules_reweighted", opening, "rules")


def odoo(card: Mapping[str, Any]) -> str | None:
    """The model against the form of Odoo's algorithm that did best here; None where it was not asked.

    Picked on the test part, which favours Odoo.
    """
    models = card["comparison"]["models"]
    measure = "capture" if card["comparison"]["volume"]["n"] else "auc"
    asked = [name for name in ODOO_FORMS if name in models]
    if not asked:
        return None
    chosen = max(asked, key=lambda name: models[name][measure]["value"] or 0.0)
    best = f"Odoo's algorithm in its strongest form here, {ODOO_FORMS[chosen]},"
    opening = {
        MODEL: f"The model beats {best.rstrip(',')}",
        RULES: f"{best} beats the model",
        NEITHER: f"{best} is not shown to be worse than the model",
        UNKNOWN: "Not enough evidence to compare the model with Odoo's algorithm",
    }
    return _beside(card, chosen, opening, "Odoo")


def _beside(card: Mapping[str, Any], other: str, opening: Mapping[str, str], name: str) -> str:
    """A sentence on model minus other: deals found in the same calls, without calls the AUC."""
    measure = "capture" if card["comparison"]["volume"]["n"] else "auc"
    gap = card["comparison"]["differences"][other][measure]
    who = winner(gap)
    if who == UNKNOWN:
        return f"{opening[who]}."
    if measure == "auc":
        return f"{opening[who]} (AUC, model minus {name} {_auc_span(gap)})."
    gain = f"{_points(gap, 'value')} points"
    return f"{opening[who]} (deals found, model minus {name} {gain}, 95% interval {_span(gap)})."


def hybrid(card: Mapping[str, Any]) -> str | None:
    """The rules' hot leads first, then the model, against each alone; None without rules."""
    comparison = card["comparison"]
    against = _hybrid_against(comparison)
    if against is None or UNKNOWN in against:
        return None
    words = {MODEL: "shown better", NEITHER: "not shown better", RULES: "shown worse"}
    than_rules, than_model = (words[who] for who in against)
    gap = comparison["differences"]["hybrid"]["auc"]
    turned = {"value": -gap["value"], "lower": -gap["upper"], "upper": -gap["lower"]}
    return (
        f"The rules' hot leads first, then the model: over all call volumes {than_rules} than the rules (AUC "
        f"{_auc_span(comparison['hybrid_minus_rules']['auc'])}) and {than_model} than the model (AUC "
        f"{_auc_span(turned)})."
    )


def _overall(card: Mapping[str, Any]) -> str | None:
    """The whole order of the leads, not only the first calls."""
    gaps = card["comparison"]["differences"].get("rules")
    if gaps is None:
        return None
    gap, who = gaps["auc"], winner(gaps["auc"])
    if who == UNKNOWN:
        return "Not enough evidence to say who orders all leads better."
    bounds = f"AUC, model minus rules {_auc_span(gap)}"
    opening = {
        MODEL: "Over all call volumes the model puts leads into a better order than the rules",
        RULES: "Over all call volumes the rules put leads into a better order than the model",
        NEITHER: "Over all call volumes neither is shown to put leads into a better order",
    }[who]
    return f"{opening} ({bounds})."


def _place(volume: Mapping[str, Any]) -> str:
    if not volume["n"]:
        return "neither calls anybody hot, so over the whole order of the test leads"
    counted = f"({volume['n']:,} of {volume['of']:,} test snapshots)"
    if volume["source"] == "rules":
        return f"at the rules' own hot volume {counted}"
    return f"the rules call nobody hot, so at the model's hot volume {counted}"


def _without_rules(card: Mapping[str, Any]) -> dict[str, Any]:
    gain = card["comparison"]["differences"]["constant"]["log_loss"]
    return {
        "winner": "no_rules",
        "measure": "log_loss",
        "difference": dict(gain),
        "sentence": "There is nothing to beat: no points rules were given.",
        "recommendation": _RECOMMENDATIONS["no_rules"],
    }


def _knowledge(card: Mapping[str, Any]) -> str:
    gap = card["comparison"]["differences"]["constant"]["log_loss"]
    lower, upper = gap["lower"], gap["upper"]
    if lower is None or upper is None or not 0 < card["headline"]["wins"] < card["headline"]["n"]:
        return "Not enough evidence to tell the model from the base rate alone."
    numbers = f"(log loss {gap['value']:+.4f}, 95% interval {lower:+.4f} to {upper:+.4f})"
    if upper < 0:
        return f"The model knows more than the base rate alone {numbers}."
    if lower > 0:
        return (
            f"The model does worse than the base rate alone {numbers}: do not use its percentages."
        )
    return f"The model is not shown to know more than the base rate alone {numbers}."


def _calibration(headline: Mapping[str, Any]) -> str:
    ratio: Figure = headline["expected_to_observed"]
    value, lower, upper = ratio["value"], ratio["lower"], ratio["upper"]
    if value is None:
        too_high, told = none_came(headline)
        if too_high:
            return f"The percentages were too high in this period: {told}."
        return f"The percentages cannot be checked: {told}."
    span = f"{value:.2f} deals expected for each that came, 95% interval {_bounds(lower, upper)}"
    if lower is not None and lower > 1:
        return f"The percentages were too high in this period: {span}."
    if upper is not None and upper < 1:
        return f"The percentages were too low in this period: {span}."
    return f"The percentages are not shown to be too high or too low: {span}."


def _bounds(lower: float | None, upper: float | None) -> str:
    if lower is None:
        return "unknown"
    return (
        f"{lower:.2f} to {upper:.2f}"
        if upper is not None
        else f"{lower:.2f} and up, with no upper end"
    )


def _hot(bands: Mapping[str, Any]) -> str:
    if bands["hot_refused"]:
        return f"Nobody is called hot: {bands['hot_refused']}"
    hot = next(row for row in bands["stock"] if row["band"] == "hot")
    if hot["observed"] is None:
        return "No lead of the test part with a known outcome was called hot."
    rate = f"{100 * hot['observed']:.1f}% of the hot became deals"
    span = f"(95% interval {100 * hot['lower']:.1f}% to {100 * hot['upper']:.1f}%)"
    missed = f"; expected: {100 * hot['expected']:.1f}%, outside the interval"
    expected = missed if hot["expected_outside"] else ""
    if hot["promise"] == "none":
        return f"{rate} {span}{expected}; nothing was promised."
    promised = f"promised: at least {100 * hot['promised_lower']:.1f}%, {hot['promise_words']}"
    return f"{rate} {span}{expected}; {promised}."


def capacity(card: Mapping[str, Any]) -> str | None:
    """Said where newly hot leads miss the weekly plan by more than a fifth; None otherwise.

    None too where nothing was planned, or nobody is hot for another reason than the plan.
    """
    weekly = card["weekly"]
    if weekly is None or not weekly["plan"] or card["bands"]["hot_refused"]:
        return None
    plan, found = weekly["plan"], weekly["per_week"]
    miss = found / plan - 1
    if abs(miss) <= PLAN_TOLERANCE:
        return None
    off = f"{100 * abs(miss):.1f}% {'more' if miss > 0 else 'fewer'}"
    return f"{found:,.1f} leads a week turned newly hot where {plan:,} were planned: {off}."


def _percent(figure: Figure) -> str:
    return "an unknown share" if figure["value"] is None else f"{100 * figure['value']:.1f}%"


def _points(figure: Figure, key: str) -> str:
    bound = figure[key]
    return "unknown" if bound is None else f"{100 * bound:+.1f}"


def _span(figure: Figure) -> str:
    return f"{_points(figure, 'lower')} to {_points(figure, 'upper')}"


def _auc_span(figure: Figure) -> str:
    return f"{figure['value']:+.3f}, 95% interval {figure['lower']:+.3f} to {figure['upper']:+.3f}"

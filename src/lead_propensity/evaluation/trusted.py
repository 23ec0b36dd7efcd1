"""What the figures on trust say, in words: one sentence a figure, each computed from it."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
NONE_DECLARED = (
    "No sensitive columns were declared (`features.sensitive`), so nobody can say whether a group is "
    "scored unfairly."
)
TOO_FEW = "Too few leads with a known outcome: nobody can say whether a group is scored unfairly."


def none_came(headline: Mapping[str, Any]) -> tuple[bool, str]:
    """Of a test part without a win: whether that shows the percentages to be too high, and in which words."""
    expected = headline["expected"]
    told = f"no deal was won in the test part, {expected * headline['n']:.1f} were expected"
    return expected > headline["upper"], told


def in_words(calibration: Row, bins: list[Row]) -> list[str]:
    """Sentences on spread, average error, bins, what was gained over the base rate, and new leads."""
    told = [
        _spread(calibration["slope"]),
        _error(calibration["smooth_error"]),
        _bins(bins),
        _skill(calibration["log_loss_skill"]),
        _unseen(calibration["unseen"]),
    ]
    return [sentence for sentence in told if sentence]


def who_is_off(found: list[Row]) -> list[str]:
    """Who is scored unfairly, and which groups are called less, from the scorecard's `fairness`."""
    if not found:
        return [NONE_DECLARED]
    named = [(f"{one['column']} {row['level']}", row) for one in found for row in one["rows"]]
    judged = sum(not row["few"] for _, row in named)
    if not judged:
        return [TOO_FEW]
    whole = found[0]["whole"]
    beside = "" if whole is None else f"; of all together {whole:.2f}"
    off = [
        f"{name} is scored {row['off']} beside the others: {_ratio(row)}{beside}."
        for name, row in named
        if row["off"]
    ]
    if not off:
        off = [
            f"None of {judged} groups is shown to be scored too high or too low beside the others. Few leads show "
            "little: look at the intervals."
        ]
    return [*off, *_called_less(found)]


def _ratio(row: Row) -> str:
    value, lower, upper = _three(row["expected_to_observed"])
    if value is None:
        return f"{row['expected']:.1%} of {row['labelled']:,} snapshots expected, and no deal came"
    span = "" if lower is None else f" (95% interval {lower:.2f} to {_upper(upper)})"
    return f"{value:.2f} deals expected for each that came{span}"


def _upper(upper: float | None) -> str:
    return "any" if upper is None else f"{upper:.2f}"


def _called_less(found: list[Row]) -> list[str]:
    """Groups shown to be hot less than four fifths as often as the group that is most often hot."""
    told = []
    for one in found:
        fewer = [row for row in one["rows"] if row["fewer_calls"]]
        if fewer:
            most = max(row["hot_share"] for row in one["rows"] if not row["few"])
            said = ", ".join(f"{row['level']} {row['hot_share']:.1%}" for row in fewer)
            told.append(
                f"By {one['column']}, fewer are hot than four fifths of the highest share ({most:.1%}): {said}. "
                "That alone is not unfair where fewer deals come; it is where to look first."
            )
    return told


def _spread(slope: Row) -> str:
    value, lower, upper = _three(slope)
    if value is None or lower is None or upper is None:
        return (
            "Whether the percentages are spread too far cannot be told: too few different outcomes."
        )
    span = f"(slope {value:.2f}, 95% interval {lower:.2f} to {upper:.2f}; 1 is right)"
    if upper < 1:
        return f"Their level apart, the percentages are spread too far: high ones too high, low ones too low {span}."
    if lower > 1:
        return f"Their level apart, the percentages are spread too little: high ones too low, low ones too high {span}."
    return f"The percentages are not shown to be spread too far or too little {span}."


def _error(error: Row) -> str:
    value, lower, upper = _three(error)
    if value is None or lower is None or upper is None:
        return ""
    off = (
        f"{100 * value:.1f} points on average (95% interval {100 * lower:.1f} to {100 * upper:.1f})"
    )
    chance = f"true percentages would seem less than {100 * error['by_chance']:.1f} off in 95 of 100 such samples"
    if lower > 0:
        return f"A percentage is off by {off}; {chance}."
    return f"A percentage seems off by {off}, which chance alone may do: {chance}."


def _bins(bins: list[Row]) -> str:
    if not bins:
        return ""
    outside = sum(not row["band_lower"] <= row["observed"] <= row["band_upper"] for row in bins)
    return (
        f"Of {len(bins)} groups of like percentage {outside} lie outside the band where true percentages would "
        "put 95 of 100."
    )


def _skill(skill: Row) -> str:
    value, lower, upper = _three(skill)
    if value is None or lower is None or upper is None:
        return ""
    span = f"(95% interval {100 * lower:.1f}% to {100 * upper:.1f}%)"
    return f"Of the base rate's log loss the model takes {100 * value:.1f}% away {span}."


def _unseen(unseen: Row | None) -> str:
    if unseen is None:
        return ""
    new, seen = unseen["new"], unseen["seen"]
    if not new["n"]:
        return "No snapshot of the test part is of a lead that the model had not learned from."
    if not seen["n"]:
        return f"Every test snapshot is of a lead that the model had not learned from: {_figures(new)}."
    opening = (
        f"{new['n']:,} of {new['n'] + seen['n']:,} test snapshots are of leads (or companies) that the model "
        "had not learned from"
    )
    return f"{opening}: {_figures(new)}, against {_figures(seen)} of the others."


def _figures(row: Row) -> str:
    auc, ratio = row["auc"], row["expected_to_observed"]
    ranked = "no AUC" if auc["value"] is None else f"AUC {auc['value']:.3f}{_span(auc, 3)}"
    if ratio["value"] is None:
        return f"{ranked} and no deal"
    return f"{ranked} and {ratio['value']:.2f} deals expected for each that came{_span(ratio, 2)}"


def _span(figure: Row, digits: int) -> str:
    _, lower, upper = _three(figure)
    if lower is None or upper is None:
        return ""
    return f" ({lower:.{digits}f} to {upper:.{digits}f})"


def _three(figure: Row) -> tuple[float | None, float | None, float | None]:
    return figure["value"], figure["lower"], figure["upper"]

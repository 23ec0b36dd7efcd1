"""A recalibration as a page, a picture and a card: before and after on the same later leads."""

from typing import Any

from lead_propensity.reporting.canvas import MODEL, MUTED, RULES, Canvas, inline
from lead_propensity.reporting.drawing import Card, Picture, column, percent_axes
from lead_propensity.reporting.report import asset, page_environment

SIDES = {"before": RULES, "after": MODEL}
FITTED = {
    "moved": "the old calibration at another level",
    "sigmoid": "a line drawn over the old calibration",
    "isotonic": "another shape",
}


def render(card: Card) -> str:
    """The page, every text escaped; the same card, the same bytes."""
    drawn = {name: inline(p.svg, name, p.alt) for name, p in _pictures(card).items()}
    page = page_environment()
    return page.get_template("recalibrated.html").render(
        card=card,
        found=card["recalibration"],
        pictures=drawn,
        style=asset("report.css"),
        script=asset("report.js"),
    )


def svg_files(card: Card) -> dict[str, str]:
    """SVG texts by file name, for a tracking server."""
    return {f"{name}.svg": picture.svg for name, picture in _pictures(card).items()}


def markdown(card: Card) -> str:
    """The model card: what was changed, on what, and what came of it. All else is the old model's."""
    found = card["recalibration"]
    rows = [
        f"| {name} | {found['before'][key]['value']:.4g} | {found['after'][key]['value']:.4g} |"
        for key, name in (
            ("log_loss", "log loss"),
            ("brier", "Brier score"),
            ("expected_to_observed", "expected to observed"),
            ("smooth_error", "smooth calibration error"),
        )
        if found["before"][key]["value"] is not None
    ]
    lines = [
        f"# Recalibration: {card['name']}",
        "",
        card["sentence"],
        "",
        f"The model `{card['recalibrated_from']}` had learned labels until {card['labels_until']}. Its members, side "
        "models and features are unchanged: what its own model card says of them holds.",
        "",
        f"| judged from {card['judged'][0]} until {card['judged'][1]} | before | after |",
        "|---|---|---|",
        *rows,
        "",
        *(f"- {note}" for note in card["notes"]),
    ]
    return "\n".join(lines) + "\n"


def told(choice: Card, off: list[str]) -> str:
    """What was done, and why, in words.

    >>> told({"kind": "kept", "gain": 0.0001, "error": 0.0004}, [])
    'The old calibration is as good as any fitted on newer deals, and the bands hold: nothing was changed.'
    >>> told({"kind": "moved", "gain": 0.01, "error": 0.002}, [])
    'Fitted again on newer deals: the old calibration at another level, and the bands.'
    >>> told({"kind": "kept", "outdated": "moved"}, [])[:63]
    'The old calibration at another level fits the newer deals bette'
    """
    if choice["kind"] != "kept":
        return f"Fitted again on newer deals: {FITTED[choice['kind']]}, and the bands."
    why = ""
    if choice.get("outdated"):
        why = (
            f"{FITTED[choice['outdated']].capitalize()} fits the newer deals better; but fitted on their first half "
            "it was no better in the second one. "
        )
    if off:
        return f"{why}The old calibration is kept; the bands were fitted again: {'; '.join(off)}."
    if why:
        return f"{why}The old calibration is kept, and the bands hold: nothing was changed."
    return (
        "The old calibration is as good as any fitted on newer deals, and the bands hold: nothing was "
        "changed."
    )


def _pictures(card: Card) -> dict[str, Picture]:
    return {"reliability": _reliability(card["recalibration"])}


def _reliability(found: Card) -> Picture:
    """Expected and observed rates of both, each in bins of its own."""
    rows: dict[str, list[Any]] = {side: found[side]["reliability"] for side in SIDES}
    reach = max(max(row["expected"], row["upper"]) for bins in rows.values() for row in bins)
    with Canvas("recalibrated", 4.0) as canvas:
        axes = canvas.axes
        axes.plot([0, reach], [0, reach], color=MUTED, linestyle=(0, (4, 3)))
        for side, colour in SIDES.items():
            expected = column(rows[side], "expected")
            for row, place in zip(rows[side], expected, strict=True):
                ends = [row["lower"], row["upper"]]
                axes.plot([place] * 2, ends, color=colour, linewidth=4, alpha=0.3)
            axes.plot(expected, column(rows[side], "observed"), "o", color=colour, label=side)
        axes.set(xlabel="Expected rate", ylabel="Observed rate", xlim=(0, None), ylim=(0, None))
        percent_axes(axes, "xy")
        canvas.legend()
        svg = canvas.svg()
    said = "; ".join(
        f"{side} "
        + ", ".join(f"{row['expected']:.1%} to {row['observed']:.1%}" for row in rows[side])
        for side in SIDES
    )
    return Picture(svg, f"Reliability, expected rate to observed rate by bin: {said}.")

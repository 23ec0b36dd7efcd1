"""The picture of the leakage audit: what each column tells by itself, the suspicious ones marked."""

from lead_propensity.reporting.canvas import HOT, MODEL, MUTED, Canvas
from lead_propensity.reporting.drawing import Card, Picture, one_line

MOST = 12
"""Columns shown: the suspicious ones first, then the strongest."""


def leaks(card: Card) -> Picture | None:
    """None where no column has a figure."""
    audited = card.get("leaks")
    rows = [row for row in audited["columns"] if row["auc"] is not None] if audited else []
    shown = sorted(rows[:MOST], key=lambda row: row["auc"])
    if not shown:
        return None
    suspicious: dict[bool, list[int]] = {True: [], False: []}
    for place, row in enumerate(shown):
        suspicious[row["suspicion"] != "none"].append(place)
    with Canvas("leaks", 1.1 + 0.42 * len(shown)) as canvas:
        axes = canvas.axes
        axes.axvline(0.5, color=MUTED, linestyle=(0, (4, 3)))
        for place, row in enumerate(shown):
            axes.text(0.505, place + 0.2, one_line(row["column"]), va="bottom", fontsize=9.5)
        for marked, colour in ((True, HOT), (False, MODEL)):
            values = [shown[place]["auc"] for place in suspicious[marked]]
            axes.hlines(suspicious[marked], 0.5, values, color=colour, linewidth=4)
            if values:
                label = "suspicious" if marked else "no suspicion"
                axes.plot(values, suspicious[marked], "Do"[not marked], color=colour, label=label)
        axes.set(yticks=[], ylim=(-0.5, len(shown) - 0.1))
        axes.set(xlim=(min(0.48, shown[0]["auc"] - 0.02), 1.01), xlabel="AUC of the column alone")
        axes.spines["left"].set_visible(False)
        canvas.legend()
        svg = canvas.svg()
    words = "; ".join(
        f"{one_line(row['column'])} {row['auc']:.2f}"
        + ("" if row["suspicion"] == "none" else " (suspicious)")
        for row in shown[::-1]
    )
    return Picture(svg, f"AUC of each column alone: {words}.")

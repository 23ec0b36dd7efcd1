"""The learning curve as an SVG, the same bytes for the same figures."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

COLOURS = ("#1b6ca8", "#3a9188", "#d1812c", "#8a8a8a")


def learning_curve(
    curves: dict[str, dict[int, list[float]]], bars: dict[int, float], out: Path
) -> None:
    """Excess in percent over the number of leads, each curve as mean and range of its seeds.

    `curves`: four of them, name -> leads -> one value a seed; `bars`: leads -> the most that is allowed.
    """
    with mpl.rc_context({"svg.hashsalt": "lead-propensity", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for colour, (name, points) in zip(COLOURS, curves.items(), strict=True):
            sizes = sorted(points)
            means = [sum(points[size]) / len(points[size]) for size in sizes]
            below = [mean - min(points[size]) for mean, size in zip(means, sizes, strict=True)]
            above = [max(points[size]) - mean for mean, size in zip(means, sizes, strict=True)]
            axes.errorbar(
                sizes, means, [below, above], label=name, color=colour, marker="o", capsize=4
            )
        axes.plot(list(bars), list(bars.values()), "_", ms=28, color="#b3261e", label="bar")
        axes.set(xscale="log", yscale="log", xlabel="leads", ylabel="excess log loss, %")
        axes.set_title("Beyond the truth, in % of what there is to be known", fontsize=10)
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="svg", metadata={"Date": None})

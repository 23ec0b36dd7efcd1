"""What quality.py found, as Markdown and as a picture of a table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from lead_propensity.evaluation.compare import Interval
from quality_figures import Figures, ranks
from quality_runs import OURS

BEST, OURS_COLOUR, PLAIN = "#cfe8cf", "#e8eef7", "#ffffff"


@dataclass
class Comparison:
    """The same contenders on several sets."""

    title: str
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)
    """Set, then contender."""
    cpu: dict[str, dict[str, float]] = field(default_factory=dict)
    """Seconds to learn and to predict; set, then contender."""
    walked: dict[str, dict[str, float]] = field(default_factory=dict)
    """Set, then `tracked` and `untracked`: expected to observed of ours, walking forward before the test part."""

    @property
    def contenders(self) -> list[str]:
        """The best mean rank first."""
        names = {name for figures in self.figures.values() for name in figures}
        return sorted(names, key=lambda name: (self.mean_rank(name), name))

    def mean_rank(self, name: str) -> float:
        """By log loss, over the sets on which it was measured."""
        found = [ranks(figures)[name] for figures in self.figures.values() if name in figures]
        return float(np.mean(found))

    def best_peer(self, set_name: str) -> str:
        """By log loss on the test rows, so the choice favours the peers."""
        figures = self.figures[set_name]
        return min((name for name in figures if name != OURS), key=lambda n: figures[n].log_loss)

    def rows(self) -> list[list[str]]:
        """Header, then one row a contender: its log loss on each set, mean rank and CPU."""
        found = [["contender", *self.figures, "mean rank", "CPU s"]]
        for name in self.contenders:
            losses = [
                f"{figures[name].log_loss:.4f}" if name in figures else ""
                for figures in self.figures.values()
            ]
            seconds = sum(cpu.get(name, 0.0) for cpu in self.cpu.values())
            found.append([name, *losses, f"{self.mean_rank(name):.2f}", f"{seconds:,.0f}"])
        return found


def markdown(comparisons: list[Comparison], sizes: Mapping[str, str]) -> str:
    """First the log losses of each comparison, then every figure of every set."""
    lines = ["# Quality of the probabilities", ""]
    for one in comparisons:
        lines += [f"## {one.title}", "", "Log loss on the test rows.", "", *_table(one.rows()), ""]
    walked = comparisons[0].walked
    lines += ["## Expected to observed, walking forward before the test part", ""]
    lines += [*_table([["", *walked], *_walked_rows(walked)]), ""]
    for one in comparisons:
        for name, figures in one.figures.items():
            lines += [f"## {name}: {one.title[0].lower()}{one.title[1:]}", "", sizes[name], ""]
            lines += [*_table(_details(figures, one.cpu[name])), ""]
    return "\n".join(lines)


def _walked_rows(walked: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    return [
        [name, *(f"{one[name]:.2f}" if one else "" for one in walked.values())]
        for name in ("tracked", "untracked")
    ]


def interval(found: Interval) -> str:
    return f"{found.value:+.4f} [{found.lower:+.4f}, {found.upper:+.4f}]"


def _details(figures: Mapping[str, Figures], cpu: Mapping[str, float]) -> list[list[str]]:
    head = [
        "contender",
        "log loss",
        "ours less this one [95%]",
        "AUC",
        "average precision",
        "Brier",
    ]
    found = [[*head, "smooth calibration error", "expected to observed", "CPU s"]]
    for name in sorted(figures, key=lambda name: figures[name].log_loss):
        one = figures[name]
        numbers = (one.auc, one.average_precision, one.brier, one.smooth_calibration_error)
        found.append(
            [name, f"{one.log_loss:.4f}", "" if name == OURS else interval(one.less_ours)]
            + [f"{number:.4f}" for number in numbers]
            + [f"{one.expected_to_observed:.2f}", f"{cpu.get(name, math.nan):,.1f}"]
        )
    return found


def _table(rows: list[list[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return [head, "|---" * len(rows[0]) + "|", *body]


def picture(comparison: Comparison, path: Path) -> None:
    """The log losses as an SVG of a table; the same figures give the same bytes."""
    rows = comparison.rows()
    with mpl.rc_context({"svg.hashsalt": "quality", "svg.fonttype": "none"}):
        figure = Figure(figsize=(1.25 * len(rows[0]) + 1, 0.3 * len(rows) + 0.5))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        table = axes.table(rows, cellColours=_colours(rows), loc="center", cellLoc="right")
        table.auto_set_font_size(False)
        table.set_fontsize(9)
        table.auto_set_column_width(list(range(len(rows[0]))))
        for (_, column), cell in table.get_celld().items():
            cell.set_edgecolor("#dddddd")
            if column == 0:
                cell.get_text().set_horizontalalignment("left")
        figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")


def _colours(rows: list[list[str]]) -> list[list[str]]:
    """The lowest number of each column, and our row."""
    best = [min(map(_number, column)) for column in zip(*rows[1:], strict=True)]
    head, *body = [[OURS_COLOUR if row[0] == OURS else PLAIN for _ in row] for row in rows]
    for colours, row in zip(body, rows[1:], strict=True):
        for place in range(1, len(row) - 1):
            if _number(row[place]) == best[place]:
                colours[place] = BEST
    return [head, *body]


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return math.inf

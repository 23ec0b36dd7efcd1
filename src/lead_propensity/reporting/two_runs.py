"""Two runs as a page and as sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lead_propensity.errors import DataError
from lead_propensity.evaluation.two_runs import Side, two_runs
from lead_propensity.files import write_text
from lead_propensity.reporting import stored
from lead_propensity.reporting.against import COMPARED
from lead_propensity.reporting.canvas import INK, MODEL, RULES, Canvas, inline
from lead_propensity.reporting.drawing import Card, Picture, label_rows, percent_axes
from lead_propensity.reporting.formats import decimal, number, percent, points, signed, thousandth
from lead_propensity.reporting.report import asset, page_environment

NAMES = {**COMPARED, "expected_to_observed": "Expected to observed"}
SHARES = ("capture", "conversion")
BETTER = {
    "a": "A is better",
    "b": "B is better",
    "none": "no difference shown",
    "apart": "they differ",
    "unknown": "–",
}


@dataclass(frozen=True)
class ComparedRuns:
    """What `compare_runs` found, and where the page is."""

    comparison: dict[str, Any]
    """As `evaluation.two_runs` tells it, with `runs` (who A and B are) and `sentences`."""
    out: Path | None

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The figures in words: name, A, B, A minus B, its 95% interval, who is better."""
        return [_cells(row) for row in self.comparison["figures"]]


def compare_runs(
    run_a: Path | str, run_b: Path | str, out: Path | str | None = None
) -> ComparedRuns:
    """Two run folders side by side; with `out` also as an HTML page there.

    Figures are paired where both runs judged the same snapshots, else those of each on its own test part.
    Raises DataError where a folder is no run, or both are the same one.
    """
    a, b = stored.read(run_a), stored.read(run_b)
    if a.folder.resolve() == b.folder.resolve():
        raise DataError(f"{run_a} and {run_b} are the same run. Give two different ones.")
    seed = int(a.scorecard["seed"])
    sides = [Side(run.scorecard, run.predictions) for run in (a, b)]
    found = two_runs(sides[0], sides[1], seed)
    found["runs"] = {"a": _about(a), "b": _about(b)}
    found["sentences"] = sentences(found)
    file = None if out is None else Path(out)
    if file is not None:
        write_text(render(found), file)
    return ComparedRuns(found, file)


def render(found: Mapping[str, Any]) -> str:
    """The page; the same comparison, the same bytes."""
    drawn = bands(found)
    page = page_environment()
    page.globals["told"] = told
    return page.get_template("compare.html").render(
        both=found,
        style=asset("report.css"),
        script=asset("report.js"),
        pictures={} if drawn is None else {"bands": inline(drawn.svg, "bands", drawn.alt)},
        names=NAMES,
        better=BETTER,
    )


def told(metric: str, value: float | None, *, difference: bool = False) -> str:
    """A figure as people read it; a difference of shares is in points."""
    if metric in SHARES:
        return points(value) if difference else percent(value)
    if metric == "expected_to_observed" and not difference:
        return decimal(value)
    return signed(value) if difference else thousandth(value)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    metric, gap = row["metric"], row["difference"]
    sides = [told(metric, row[side]["value"]) for side in ("a", "b")]
    if gap is None or gap["lower"] is None:
        return (NAMES[metric], *sides, "–", "–", BETTER[row["better"]])
    ends = [told(metric, gap[end], difference=True) for end in ("lower", "upper")]
    middle = told(metric, gap["value"], difference=True)
    return (NAMES[metric], *sides, middle, f"{ends[0]} to {ends[1]}", BETTER[row["better"]])


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What was compared, who orders leads better, whose percentages are nearer, whom each would call."""
    rows = {row["metric"]: row for row in found["figures"]}
    listed = [_matched(found["match"]), _judged("auc", "puts leads into a better order", rows)]
    if found["match"]["paired"]:
        listed.append(_judged("log_loss", "has percentages nearer to what happened", rows))
    called = {row["hot_in"]: row for row in found["called"]}
    if called:
        alone = " and ".join(_alone(side, called[f"only_{side}"]) for side in ("a", "b"))
        listed.append(
            f"Of the {number(sum(row['n'] for row in called.values()))} snapshots that both have, both call "
            f"{number(called['both']['n'])} hot, {alone}."
        )
    return listed


def _matched(match: Mapping[str, Any]) -> str:
    if not match["same_horizon"]:
        return (
            "The runs ask different questions: their horizons differ. Each is shown on its own test part, and "
            "no difference between their figures says which model is better."
        )
    if not match["common"]:
        return (
            "The runs have no test snapshot in common: each is shown on its own test part, differences are those of "
            "two independent samples, and a part that is easier to tell looks like a better model."
        )
    shares = f"{percent(match['share_a'])} of A's test part, {percent(match['share_b'])} of B's"
    left = (
        f" {number(match['disagree'])} are left out, for the runs hold different outcomes. Their data differ, "
        "and what is left may be easier to tell: do not read a difference as one of the models."
    ) * bool(match["disagree"])
    if not match["paired"]:
        few = "too few have an outcome, and the same one, to pair"
        return f"Of the {number(match['common'])} test snapshots in common ({shares}) {few}.{left}"
    if match["judged"] < match["common"]:
        common = f"{number(match['common'])} test snapshots in common ({shares})"
        return f"Both are judged on {number(match['judged'])} of the {common}.{left}"
    return f"Both are judged on the same {number(match['judged'])} test snapshots ({shares})."


def _judged(metric: str, does: str, rows: Mapping[str, Any]) -> str:
    row = rows[metric]
    gap, name = row["difference"], NAMES[metric]
    if gap is None or row["better"] == "unknown":
        return f"{name}: no interval, so nothing can be said of who {does}."
    span = f"{told(metric, gap['lower'], difference=True)} to {told(metric, gap['upper'], difference=True)}"
    figures = (
        f"{name}, A minus B {told(metric, gap['value'], difference=True)}, 95% interval {span}"
    )
    if row["better"] == "none":
        return f"Neither is shown to be the one that {does} ({figures})."
    return f"{row['better'].upper()} {does} ({figures})."


def _alone(side: str, row: Mapping[str, Any]) -> str:
    came = "" if row["observed"] is None else f", of which {percent(row['observed'])} became deals"
    return f"{side.upper()} alone {number(row['n'])}{came}"


def _about(run: stored.StoredRun) -> dict[str, Any]:
    card = run.scorecard
    head = card["headline"]
    facts = ("name", "model_id", "created", "horizon_days", "shape", "exported_at")
    counts = {key: head[key] for key in ("n", "leads", "wins", "base_rate")}
    return {key: card.get(key) for key in facts} | counts | {"folder": run.folder.name}


def bands(found: Mapping[str, Any]) -> Picture | None:
    """Observed rate of each band with its interval, A above B."""
    rows = [
        (row["band"], side, row[side])
        for row in found["bands"][::-1]
        for side in ("b", "a")
        if row[side]["observed"] is not None
    ]
    if not rows:
        return None
    with Canvas("two_bands", 1.2 + 0.4 * len(rows)) as canvas:
        axes = canvas.axes
        for place, (_, side, row) in enumerate(rows):
            colour = MODEL if side == "a" else RULES
            axes.plot(
                [row["lower"], row["upper"]], [place] * 2, color=colour, linewidth=7, alpha=0.35
            )
            axes.plot(row["observed"], place, "o", color=colour, markersize=8)
            axes.plot(row["expected"], place, "d", color=INK, markersize=6, markerfacecolor="none")
        label_rows(axes, [f"{band} {side.upper()}" for band, side, _ in rows])
        axes.set_xlim(left=0)
        axes.set_xlabel("Share that became deals")
        percent_axes(axes, "x")
        svg = canvas.svg()
    return Picture(svg, f"Bands, share that became deals: {_in_words(rows)}.")


def _in_words(rows: list[tuple[str, str, Card]]) -> str:
    return "; ".join(
        f"{band} {side.upper()} {row['observed']:.1%} ({row['lower']:.1%} to {row['upper']:.1%})"
        for band, side, row in rows[::-1]
    )

"""What the user sees: progress, and the tables at the end."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from lead_propensity.cli import logs
from lead_propensity.data.moments import words
from lead_propensity.data.tables import Check
from lead_propensity.progress import Progress as Callback
from lead_propensity.progress import silent


def console() -> Console:
    return Console(soft_wrap=True)


@contextmanager
def progress(quiet: bool) -> Iterator[Callback]:
    """A bar on a terminal, one line a phase elsewhere, nothing when quiet; see also `--log-format`."""
    if quiet:
        yield silent
    elif logs.is_json():
        yield logs.Phases()
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            yield _Bars(bars)
    else:
        yield _Lines()


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase not in self.tasks:
            self.tasks[phase] = self.bars.add_task(phase, total=total)
        self.bars.update(self.tasks[phase], completed=done, total=total)


class _Lines:
    def __init__(self) -> None:
        self.console = Console(stderr=True, soft_wrap=True)
        self.seen: set[str] = set()

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase not in self.seen:
            self.seen.add(phase)
            self.console.print(f"{phase} ...", highlight=False)


def print_check(found: Check) -> None:
    """The tables, what was set aside, and when the data ends."""
    table = Table("table", "rows", "kept", "set aside")
    table.add_column("source", overflow="fold")
    for count in found.counts:
        aside = count.rows - count.kept
        table.add_row(count.table, f"{count.rows:,}", f"{count.kept:,}", f"{aside:,}", count.source)
    screen = console()
    if found.counts:
        screen.print(table)
    for finding in found.quarantined:
        screen.print(f"set aside: {finding}", markup=False, highlight=False)
    if found.exported_at >= 0:
        ends = f"The data ends at {words(found.exported_at)} ({found.ends_by})."
        screen.print(ends, markup=False, highlight=False)
    if not (found.problems or found.excess or found.unlearnable):
        screen.print("The data keeps its contract.", highlight=False)


def log_scored(scored: Any, quiet: bool) -> None:
    """The warnings and the record of a run, where lines are JSON; a quiet run tells its warnings alone."""
    for warning in scored.record["warnings"]:
        logs.say(logging.WARNING, "warning", message=warning)
    if not quiet:
        told = {key: one for key, one in scored.record.items() if key not in ("warnings", "why")}
        logs.say(logging.INFO, "scored", **told)


def print_scored(scored: Any) -> None:
    """How many leads each band holds, what was set aside on the way there, and what to know of it."""
    screen, n = console(), scored.rows
    if scored.outlook:
        counts = ", ".join(f"{count:,} {band}" for band, count in scored.bands.items())
        screen.print(f"Dry run, nothing is written. {n:,} leads: {counts}", highlight=False)
        for line in scored.outlook:
            screen.print(line, markup=False, highlight=False)
    elif n == 0:
        screen.print(f"No open lead to score: {scored.out} has no rows.", highlight=False)
    else:
        counts = ", ".join(f"{count:,} {band}" for band, count in scored.bands.items())
        screen.print(f"{n:,} leads scored: {counts} -> {scored.out}", highlight=False)
    told = (_changed(scored.record), _not_scored(scored.counts), _set_aside(scored.found))
    for line in (*chain.from_iterable(told), *scored.notes):
        screen.print(line, markup=False, highlight=False)


def _changed(record: dict[str, Any]) -> Iterator[str]:
    """What is otherwise than at the moment before; nothing where every lead is new."""
    changes, drift = record["band_changes"], record["drift"]
    if any(count for change, count in changes.items() if change != "new"):
        counts = ", ".join(f"{count:,} {change}" for change, count in changes.items())
        yield f"bands since the moment before: {counts}"
    if drift and drift["called"]:
        names = ", ".join(one["name"] for one in drift["top"] if one["called"])
        yield f"drifted since the model was made: {drift['called']:,} of {drift['features']:,} features ({names})"


def _not_scored(counts: dict[str, Any]) -> Iterator[str]:
    """What became of the other leads; together they are the rows read."""
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in counts["not_scored"].items())
    if reasons:
        yield f"{counts['read']:,} rows of leads read; not scored: {reasons}"


def _set_aside(found: Check) -> Iterator[str]:
    for count in found.counts:
        if count.rows > count.kept:
            findings = [one for one in found.quarantined if one.table == count.table]
            reasons = ", ".join(f"{one.count:,} {one.reason}" for one in findings)
            aside = f"{count.rows - count.kept:,} of {count.rows:,} rows"
            yield f"set aside: {count.table} {aside} ({reasons})"


def print_run(run: Any) -> None:
    """The summary at the end of a training: the verdict, the models side by side, the bands."""
    card, screen = run.scorecard, console()
    screen.print()
    screen.print(card["verdict"]["sentence"], style="bold", markup=False, highlight=False)
    if card["verdict"]["overall"]:
        screen.print(card["verdict"]["overall"], markup=False, highlight=False)
    screen.print(card["verdict"]["calibration"], markup=False, highlight=False)
    if card["verdict"]["capacity"]:
        screen.print(card["verdict"]["capacity"], markup=False, highlight=False)
    for warning in card["verdict"]["bands"]:
        screen.print(warning, markup=False, highlight=False)
    screen.print(_models_table(card["comparison"]))
    screen.print(_bands_table(card["bands"]))
    for note in [card["deployed"]["sentence"], *card["notes"]]:
        screen.print(f"- {note}", markup=False, highlight=False)
    screen.print(f"report: {run.folder / 'report.html'}", markup=False, highlight=False)
    screen.print(
        f"model:  {run.logged.model_uri} in {run.logged.tracking_uri}",
        markup=False,
        highlight=False,
    )


def print_reported(done: Any) -> None:
    """Whether the figures are still those of the run, and where the page is."""
    screen = console()
    if done.forgotten:
        text = f"{done.forgotten:,} leads were forgotten since: the page shows the run's figures, not computed again."
        screen.print(text, highlight=False)
    elif done.differences:
        text = f"{len(done.differences):,} values are not the stored ones; the page shows the computed ones:"
        screen.print(text, style="yellow", highlight=False)
        for one in done.differences[:10]:
            screen.print(f"  {one}", markup=False, highlight=False)
    else:
        text = f"{done.figures:,} figures computed again: all are the stored ones."
        screen.print(text, highlight=False)
    screen.print(f"report: {done.out}", markup=False, highlight=False)


def print_compared(found: Any) -> None:
    """Who A and B are, the sentences, the figures, and the settings that differ."""
    both, screen = found.comparison, console()
    for side in ("a", "b"):
        run = both["runs"][side]
        screen.print(
            f"{side.upper()}: {run['folder']} ({run['name']})", markup=False, highlight=False
        )
    screen.print()
    for sentence in both["sentences"]:
        screen.print(sentence, markup=False, highlight=False)
    table = Table("test part", "A", "B", "A minus B", "95% interval", "")
    for row in found.rows:
        table.add_row(*row)
    screen.print(table)
    for row in both["settings"]:
        a, b = ("–" if row[side] is None else row[side] for side in ("a", "b"))
        screen.print(f"  {row['key']}: {a} | {b}", markup=False, highlight=False)
    if found.out:
        screen.print(f"page: {found.out}", markup=False, highlight=False)


def _models_table(comparison: dict[str, Any]) -> Table:
    volume = comparison["volume"]
    star = "*" if volume["source"] else ""
    headings = ("AUC", "log loss", f"deals found{star}", f"converted{star}")
    table = Table("test part", *headings, title_justify="left")
    for name, figures in comparison["models"].items():
        cells = [
            _figure(figures.get(metric)) for metric in ("auc", "log_loss", "capture", "conversion")
        ]
        table.add_row(comparison["labels"][name], *cells)
    if volume["source"]:
        table.caption = f"* at the {volume['n']:,} snapshots that the {volume['source']} call hot"
    return table


def _bands_table(bands: dict[str, Any]) -> Table:
    table = Table("band", "leads", "expected", "observed", "95% interval", "promised", "promise")
    for row in bands["stock"]:
        observed = "-" if row["observed"] is None else f"{row['observed']:.1%}"
        expected = "-" if row["expected"] is None else f"{row['expected']:.1%}"
        interval = "-" if row["lower"] is None else f"{row['lower']:.1%}-{row['upper']:.1%}"
        promised = "-" if row["promised_lower"] is None else f"≥{row['promised_lower']:.1%}"
        table.add_row(
            row["band"],
            f"{row['leads']:,}",
            expected,
            observed,
            interval,
            promised,
            row["promise_words"].partition(" (")[0],
        )
    return table


def _figure(figure: dict[str, Any] | None) -> str:
    return "-" if figure is None or figure["value"] is None else f"{figure['value']:.3f}"

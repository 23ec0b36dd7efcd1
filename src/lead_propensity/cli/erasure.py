"""The command `forget`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lead_propensity.cli.entry import Overrides, Quiet, app
from lead_propensity.cli.screen import console
from lead_propensity.config import load
from lead_propensity.errors import DataError

MOST_NAMED = 5
"""Files that were left alone and are named."""


@app.command(
    epilog="Example: `lead-propensity forget --lead-id-file gone.txt --in models --in scores.parquet --dry-run`"
)
def forget(
    lead_id_file: Annotated[Path, typer.Option(help="UTF-8 text, one lead_id a line.")],
    places: Annotated[
        list[Path] | None,
        typer.Option(
            "--in",
            metavar="PATH",
            help="A file or folder to look in; repeatable. Default: models/, other runs in the working directory, and "
            "the scores of which there are records there.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="CONFIG",
            help="The dataset's YAML file: what CRM and scores call `lead_id`, score.records, engine.work_folder.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Take leads out of scores, records, test predictions and private folders, and say where else they may be.

    Every Parquet, CSV and CSV.gz file at or below the places is looked through, and rewritten at once where it holds
    one of the leads. The same call again does no harm. Exit code 2 where a file could not be looked through or is in
    use.
    """
    from lead_propensity.serving import forgetting

    settings = None if config is None else load(config, overrides or ())
    named = forgetting.named_in(lead_id_file)
    done = forgetting.forget(named, places or (), settings, dry_run)
    if not quiet:
        _print(done, settings, lead_id_file)
    if done.unread:
        raise DataError(
            "Not all files could be looked through; they may hold the leads still. Mend or remove them, and run this "
            "again:\n" + "\n".join(f"  {one}" for one in done.unread)
        )


def _print(done: Any, settings: Any, file: Path) -> None:
    screen = console()
    for one in done.files:
        rows, leads = _several(one.rows, "row"), _several(len(one.leads), "lead")
        _line(f"{one.path}: {rows} of {leads} {'would go' if done.dry_run else 'gone'}")
    missing, repeated = len(done.named.ids) - len(done.found), ""
    if done.named.repeated:
        repeated = f" ({_several(done.named.repeated, 'line')} too many)"
    _line(
        f"{_several(len(done.named.ids), 'lead')} named{repeated}: {len(done.found):,} found, {missing:,} in none of "
        f"{_several(done.looked, 'file')}."
    )
    if done.passed:
        _line(f"Without a column of lead ids, and left alone: {_named(done.passed)}")
    if done.others:
        _line(f"Neither Parquet nor CSV, and not looked into: {_named(done.others)}")
    if done.scratch.removed:
        kind = "to be removed" if done.dry_run else "removed"
        folders = _several(done.scratch.removed, "folder")
        _line(f"Finished work of killed runs: {folders} {kind}.")
    if done.scratch.busy:
        _line(
            f"Scratch files of runs that are at work now ({done.scratch.busy:,}) were left; they go with them. What "
            "such a run writes may hold the leads: run this again when it has ended."
        )
    screen.print("Where they may be still:", style="bold")
    for line in _elsewhere(done, settings, file):
        _line(f"  {line}")


def _several(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _named(paths: Any) -> str:
    more = len(paths) - MOST_NAMED
    named = ", ".join(str(path) for path in paths[:MOST_NAMED])
    return f"{named} and {more:,} more" if more > 0 else named


LINE_BY_LINE = r"WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')"
"""So that psql takes each line for an id as it stands, with backslashes, quotes and commas."""


def _elsewhere(done: Any, settings: Any, file: Path) -> list[str]:
    column = "lead_id"
    if settings is not None:
        column = settings.score.columns.get("lead_id", column)
    quoted = '"' + column.replace('"', '""') + '"'
    looked = ", ".join(str(place) for place in done.places)
    lines = [
        f"runs and scores elsewhere than in {looked}: name them with --in",
        "the CRM and its exports: they would be scored again by the next run; remove them there first",
        "backups, and copies of scores that somebody made",
        "models learned from them cannot unlearn: train again. They hold no row of a lead, nor do reports and MLflow",
    ]
    if not done.tables:
        return [
            *lines,
            "tables of PostgreSQL that scores were written to (no record here names one)",
        ]
    lines.append("tables of PostgreSQL, in psql:")
    lines.append("  CREATE TEMP TABLE forget (id text);")
    lines.append(f"  \\copy forget FROM '{file}' {LINE_BY_LINE}")
    for table in done.tables:
        name = ".".join('"' + part.replace('"', '""') + '"' for part in table.split("."))
        lines.append(f"  DELETE FROM {name} WHERE {quoted} IN (SELECT id FROM forget);")
    return lines


def _line(text: str) -> None:
    console().print(text, markup=False, highlight=False, soft_wrap=True)

"""The command that watches: monitor."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lead_propensity.cli.entry import AsOf, ConfigPath, Overrides, Quiet, app
from lead_propensity.cli.screen import console, progress
from lead_propensity.config import load
from lead_propensity.errors import Refused


@app.command(
    epilog="Example: `lead-propensity monitor configs/bpic2012.yaml --scores scores/ --out monitor.html`"
)
def monitor(
    config: ConfigPath,
    scores: Annotated[
        str, typer.Option(help="The --out of `score`: a file, a folder/, postgres:TABLE.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A run folder, its model/, or models:/NAME@ALIAS (default: the champion)."
        ),
    ] = None,
    as_of: AsOf = None,
    out: Annotated[
        Path, typer.Option(help="The page; a JSON file of the same name comes beside it.")
    ] = Path("monitor.html"),
    log_mlflow: Annotated[
        bool, typer.Option("--log-mlflow/--no-log-mlflow", help="Also log to MLflow.")
    ] = True,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Watch past scores: volume, freshness, drift, and what happened; exit code 3 where something is to be done.

    Nothing is judged before its outcome is final. Advised is recalibration where the level is off, retraining where the
    order of the leads is lost or the features have drifted widely.
    """
    from lead_propensity import pipeline

    settings = load(config, overrides or ())
    with progress(quiet) as report:
        done = pipeline.monitor(settings, scores, model, as_of, out, log_mlflow, report)
    if not quiet:
        _print_monitored(done)
    if done.advice != "ok":
        raise Refused(done.found["advice"]["sentence"])


def _print_monitored(done: Any) -> None:
    """The sentence, what is odd, and a line for each moment."""
    found, screen = done.found, console()
    if done.advice == "ok":  # else it is the last line, on stderr
        screen.print(found["advice"]["sentence"], markup=False, highlight=False)
    for warning in found["warnings"]:
        screen.print(f"- {warning}", markup=False, highlight=False)
    table = Table()
    for title in ("scored", "leads", "won", "exp./obs.", "AUC", "drifted"):
        table.add_column(title, no_wrap=True)
    whole = all(one["as_of"][11:16] == "00:00" for one in found["moments"])
    for one in found["moments"]:
        table.add_row(*_cells(one, 10 if whole else 16))
    screen.print(table)
    screen.print(f"page: {done.page}", markup=False, highlight=False)


def _cells(one: dict[str, Any], signs: int) -> tuple[str, ...]:
    """Six cells, narrow enough for 80 columns; the page tells more."""
    figures, drift = one["figures"], one["drift"]
    judged = ("open", f"until {(one['judged_from'] or '-')[:10]}", "-")
    if figures is not None:
        ratio, auc = _figure(figures["expected_to_observed"]), _figure(figures["auc"])
        judged = (f"{figures['wins']:,}", ratio, auc)
    moved = "-" if drift is None else f"{drift['called']}/{drift['features']}"
    when = one["as_of"][:signs].replace("T", " ")
    return (when, f"{one['scored']:,}", *judged, moved)


def _figure(one: dict[str, float] | None) -> str:
    return "-" if one is None else f"{one['value']:.2f} ({one['lower']:.2f}-{one['upper']:.2f})"

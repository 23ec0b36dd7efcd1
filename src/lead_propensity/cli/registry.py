"""The commands of the registry: recalibrate, promote, rollback, history."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lead_propensity.cli.entry import REFUSED, ConfigPath, Overrides, Quiet, app
from lead_propensity.cli.screen import console, progress
from lead_propensity.config import load
from lead_propensity.errors import ConfigError

Registered = Annotated[
    str,
    typer.Argument(
        metavar="NAME|CONFIG", help="A registered model's name, or the dataset's YAML file."
    ),
]


@app.command(
    epilog="Example: `lead-propensity recalibrate acme.yaml --model models:/lead-propensity-acme@champion`"
)
def recalibrate(
    config: ConfigPath,
    model: Annotated[
        str, typer.Option(help="A run folder, models:/NAME@champion or models:/NAME/VERSION.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Run folder, new or empty (default: models/NAME/TIME).")
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Fit calibrator and bands again on newly matured deals: a new challenger; exit code 3 if too few matured.

    Before and after are judged on the later part of them. Where the old calibration is as good, nothing is changed.
    """
    from lead_propensity import pipeline

    settings = load(config, overrides or ())
    with progress(quiet) as report:
        run = pipeline.recalibrate(settings, model, out, report)
    if not quiet:
        _print_recalibrated(run)


@app.command(
    epilog="Example: `lead-propensity promote configs/bpic2012.yaml --challenger models/bpic2012/RUN`"
)
def promote(
    config: ConfigPath,
    challenger: Annotated[
        str | None,
        typer.Option(
            help="A run folder or models:/NAME/VERSION (default: models:/NAME@challenger)."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Past the gate; needs --reason, and both are recorded.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Decide and change nothing; counted as an attempt."),
    ] = False,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Make the challenger champion, if it passes the gate; exit code 3 if it does not.

    Both are judged on snapshots of the config's data that neither has learned from. MLflow keeps the decision.
    """
    from lead_propensity.serving import promotion

    settings = load(config, overrides or ())
    with progress(quiet) as report:
        done = promotion.promote(
            settings, challenger, force=force, reason=reason, dry_run=dry_run, progress=report
        )
    passed = done.promoted or (done.decision or {}).get("decision") == "promote"
    if not quiet:
        _print_promotion(done, dry_run)
    elif not passed and done.decision is not None:
        Console(stderr=True, soft_wrap=True).print(
            done.decision["sentence"], markup=False, highlight=False
        )
    if not passed:
        raise typer.Exit(REFUSED)


@app.command(
    epilog='Example: `lead-propensity rollback configs/bpic2012.yaml --reason "sales lost trust"`'
)
def rollback(
    name: Registered,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")],
    quiet: Quiet = False,
) -> None:
    """Make the champion before this one champion again."""
    from lead_propensity.serving import promotion

    if not reason.strip():
        raise ConfigError("--reason is empty. Say why the champion goes: it is recorded.")
    called = _called(name)
    change = promotion.rollback(called, reason)
    if not quiet:
        console().print(
            f"{called}: version {change.after} is champion again, in the place of version {change.before}.",
            markup=False,
            highlight=False,
        )


@app.command(epilog="Example: `lead-propensity history configs/bpic2012.yaml`")
def history(
    name: Registered,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON array, the oldest first.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Which model replaced which as champion, when, why, and with which figures."""
    from lead_propensity.tracking import champions, registry

    called = _called(name)
    changes = champions.history(called)
    now = registry.aliased(called, registry.CHAMPION)
    if as_json:
        told = json.dumps([asdict(one) for one in changes], indent=1)
        console().print(told, markup=False, highlight=False)
    elif not quiet:
        _print_history(called, changes, None if now is None else now.number)


def _print_recalibrated(run: Any) -> None:
    card, screen = run.scorecard, console()
    screen.print(card["sentence"], style="bold", markup=False, highlight=False)
    found = card["recalibration"]
    table = Table("figure", "before", "after")
    names = {
        "log_loss": "log loss",
        "brier": "Brier score",
        "expected_to_observed": "expected to observed",
        "smooth_error": "smooth calibration error",
    }
    for key, name in names.items():
        sides = [_figure(found[side][key]["value"], ".4f") for side in ("before", "after")]
        table.add_row(name, *sides)
    newly = [_figure(found[side]["newly_hot_per_week"], ".1f") for side in ("before", "after")]
    table.add_row("newly hot leads a week", *newly)
    table.caption = f"snapshots from {card['judged'][0]} until {card['judged'][1]}"
    screen.print(table, markup=False)
    screen.print(f"report: {run.folder / 'report.html'}", markup=False, highlight=False)
    if run.logged is None:
        screen.print("Nothing was registered.", highlight=False)
    else:
        where = f"{run.logged.model_uri} in {run.logged.tracking_uri}"
        screen.print(f"model:  {where}", markup=False, highlight=False)


def _called(name: str) -> str:
    """The registered name: given, or of the config that is given."""
    file = Path(name)
    if file.suffix in (".yaml", ".yml") or file.is_file():
        return load(file, ()).registered_name
    return name


def _print_promotion(done: Any, dry_run: bool) -> None:
    screen, decision, new = console(), done.decision, done.challenger
    if decision is None:
        screen.print(f"{new.uri} is the champion already.", markup=False, highlight=False)
        return
    against = "no champion yet" if done.champion is None else f"champion {done.champion.uri}"
    screen.print(f"challenger {new.uri}, {against}", markup=False, highlight=False)
    if "period" in decision:
        _print_ground(decision)
    if decision["conditions"]:
        screen.print(_conditions(decision["conditions"]), markup=False)
    screen.print(decision["sentence"], style="bold", markup=False, highlight=False)
    screen.print(_outcome(done, dry_run), markup=False, highlight=False)


def _print_ground(decision: Mapping[str, Any]) -> None:
    period, screen = decision["period"], console()
    screen.print(
        f"snapshots from {period['from']} until {period['until']}, models judged on them so far: "
        f"{decision['attempts']}, error allowed each: {decision['error']:.2%}",
        markup=False,
        highlight=False,
    )


def _conditions(conditions: list[Mapping[str, Any]]) -> Table:
    table = Table("condition", "")
    table.add_column("what was found", overflow="fold")
    for one in conditions:
        table.add_row(one["name"], "holds" if one["passed"] else "not shown", one["sentence"])
    return table


def _outcome(done: Any, dry_run: bool) -> str:
    if done.promoted:
        forced = ", by force" if done.decision["forced"] else ""
        return f"{done.challenger.uri} is champion now{forced}: models:/{done.challenger.name}@champion"
    return "A dry run: nothing was changed." if dry_run else "Nothing was changed."


def _print_history(name: str, changes: list[Any], now: int | None) -> None:
    screen = console()
    if not changes:
        screen.print(f"{name} has had no champion yet.", markup=False, highlight=False)
        return
    table = Table()
    for title in ("", "when (UTC)", "what", "version", "before", "log loss", "exp./obs."):
        table.add_column(title, no_wrap=True)
    for number, one in enumerate(changes, 1):
        figures = one.figures or {}
        table.add_row(
            str(number),
            one.at[:16].replace("T", " "),
            one.action,
            str(one.after),
            "-" if one.before is None else str(one.before),
            _figure(figures.get("log_loss_difference"), "+.4f"),
            _figure(figures.get("expected_to_observed"), ".2f"),
        )
    table.caption = (
        "log loss: minus the one before it (the first: minus the base rate for everyone)"
    )
    screen.print(table, markup=False)
    for number, one in enumerate(
        changes, 1
    ):  # in a column beside six others it would be a word wide
        why = ". ".join(text.rstrip(".") for text in (one.reason, one.sentence) if text)
        screen.print(f"{number}: {why or '-'}", markup=False, highlight=False)
    if now != changes[-1].after:
        here = "no version" if now is None else f"version {now}"
        screen.print(
            f"Champion is {here}, which no entry tells: the alias was moved past this program.",
            style="yellow",
            highlight=False,
        )


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)

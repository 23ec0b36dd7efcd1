"""The commands: parse, call the pipeline, print what came of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lead_propensity.cli.audit import print_leaks, refuse_leaks
from lead_propensity.cli.entry import AsOf, ConfigPath, Overrides, Quiet, RunFolder, app
from lead_propensity.cli.screen import (
    console,
    log_scored,
    print_check,
    print_compared,
    print_reported,
    print_run,
    print_scored,
    progress,
)
from lead_propensity.config import Config, load
from lead_propensity.errors import ConfigError
from lead_propensity.files import is_there, require_table_name


@app.command(epilog="Example: `lead-propensity check configs/bpic2012.yaml --leaks`")
def check(
    config: ConfigPath,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the rows set aside, one Parquet a table.")
    ] = None,
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Also look for columns that know the outcome.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --leaks: exit code 2 if the model sees one.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """List every violation of the data contract at once; exit code 2 if one stops a run.

    With `--leaks` a ranked table of the columns that seem to know the outcome follows, with the reason and what to do.
    """
    from lead_propensity import pipeline

    settings = load(config, overrides or ())
    found = pipeline.check(settings, out)
    if not quiet:
        print_check(found)
    found.raise_problems(learning=True)
    if leaks or strict:
        with progress(quiet) as report:
            audited = pipeline.leaks(settings, report)
        if not quiet:
            print_leaks(audited)
        if strict:
            refuse_leaks(audited)


@app.command(
    epilog="Example: `lead-propensity features configs/bpic2012.yaml --out matrix.parquet`"
)
def features(
    config: ConfigPath,
    out: Annotated[Path, typer.Option(help="Output, .parquet or .csv.")],
    as_of: AsOf = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Export the feature matrix: lead_id, as_of, order, won, part, and one column a feature."""
    from lead_propensity import pipeline

    require_table_name(out)
    settings = load(config, overrides or ())
    with progress(quiet) as report:
        made = pipeline.write_features(settings, out, as_of, report)
    if not quiet:
        console().print(
            f"{made.snapshots:,} snapshots with {made.features} features -> {out}", highlight=False
        )


@app.command(epilog="Example: `lead-propensity train configs/bpic2012.yaml --set model.trials=10`")
def train(
    config: ConfigPath,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, new or empty (default: models/NAME/TIME).")
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Train, calibrate and band a model, compare it with the rules, write the report, log to MLflow."""
    _train(load(config, overrides or ()), out, quiet)


@app.command(
    epilog="Example: `lead-propensity score configs/bpic2012.yaml --model models/bpic2012/RUN --out scores.parquet`"
)
def score(
    config: ConfigPath,
    model: Annotated[
        str, typer.Option(help="A run folder, its model/, or models:/NAME@challenger.")
    ],
    out: Annotated[
        str,
        typer.Option(
            help="A file (.parquet, .csv), a folder that ends in / (a part each moment), or postgres:TABLE."
        ),
    ],
    as_of: AsOf = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="As exported: score all rows of this file, in the place of the declared (or raw) one.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Score, say what would be written, and write nothing.")
    ] = False,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Score all open leads as of a moment: probability, band, route and reasons."""
    from lead_propensity import pipeline
    from lead_propensity.serving.sinks import require_name

    require_name(out)
    settings = _with_input(load(config, overrides or ()), input_file)
    with progress(quiet) as report:
        every_row = input_file is not None
        scored = pipeline.score(settings, model, out, as_of, every_row, report, dry_run)
    log_scored(scored, quiet)
    if not quiet or dry_run:
        print_scored(scored)


@app.command(epilog="Example: `lead-propensity report models/bpic2012/RUN`")
def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(help="The page (default: RUN's own report.html).")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Write it also where figures are not the stored ones.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Compute a run's figures again from its stored predictions, and write its report anew."""
    from lead_propensity.reporting.stored import report_again

    done = report_again(run, out, accept=accept)
    if not quiet:
        print_reported(done)


@app.command(
    epilog="Example: `lead-propensity compare models/bpic2012/RUN models/bpic2012/OTHER --out compare.html`"
)
def compare(
    run_a: RunFolder,
    run_b: RunFolder,
    out: Annotated[Path | None, typer.Option(help="An HTML page of it.")] = None,
    quiet: Quiet = False,
) -> None:
    """Two runs side by side: paired where they judged the same leads, and what was done otherwise."""
    from lead_propensity.reporting.two_runs import compare_runs

    found = compare_runs(run_a, run_b, out)
    if not quiet:
        print_compared(found)


@app.command(epilog="Example: `lead-propensity simulate --leads 2000 --seed 1 --out world`")
def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the tables, a config and its rules.")],
    leads: Annotated[int, typer.Option(min=100, help="How many leads.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same world.")] = 7,
    latent: Annotated[bool, typer.Option("--latent", help="Intent that no table shows.")] = False,
    drift: Annotated[
        bool, typer.Option("--drift", help="The base rate moves with the calendar.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a simulated B2B CRM world whose true probabilities are known."""
    _simulate(out, leads, seed, quiet, latent=latent, drift=drift)


@app.command(epilog="Example: `lead-propensity demo --leads 4000`")
def demo(
    leads: Annotated[int, typer.Option(min=1000, help="How many leads.")] = 6_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same figures.")] = 7,
    out: Annotated[
        Path | None, typer.Option(help="Run folder, new or empty (default: models/demo/TIME).")
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Simulate a CRM, train on it, compare with its rules, and score its open leads."""
    import tempfile

    from lead_propensity import pipeline

    with tempfile.TemporaryDirectory(prefix="lead-propensity-demo-") as folder:
        world = Path(folder) / "crm"
        _simulate(world, leads, seed, quiet)
        settings = load(world / "config.yaml", [f"model.seed={seed}", *(overrides or ())])
        run = _train(settings, out, quiet)
        with progress(quiet) as report:
            scored = pipeline.score(
                settings, str(run.folder), run.folder / "scores.parquet", progress=report
            )
        if not quiet:
            counts = ", ".join(f"{count:,} {band}" for band, count in scored.bands.items())
            console().print(
                f"{scored.rows:,} open leads scored: {counts}\n  -> {scored.out}",
                highlight=False,
            )


def _simulate(
    out: Path, leads: int, seed: int, quiet: bool, *, latent: bool = False, drift: bool = False
) -> None:
    from lead_propensity.data.simulate import simulate as make
    from lead_propensity.data.simulate import write

    if is_there(out) and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"--out {out} is not an empty folder. Give a new one: nothing is overwritten."
        )
    with progress(quiet) as report:
        world = make(leads, seed, latent=latent, drift=drift, progress=report)
        write(world, out)
    if not quiet:
        console().print(
            f"A world of {len(world.leads):,} leads, {len(world.events):,} events, {len(world.deals):,} deals -> {out}",
            highlight=False,
        )


def _train(settings: Config, out: Path | None, quiet: bool) -> Any:
    from lead_propensity import pipeline

    with progress(quiet) as report:
        run = pipeline.train(settings, out, report)
    if not quiet:
        print_run(run)
    return run


def _with_input(settings: Config, input_file: Path | None) -> Config:
    """As exported, with another file in the place of the declared one, or of the one that the query reads.

    It needs no outcome and none of the excluded columns. Raises ConfigError where it is not clear which
    file to replace.
    """
    if input_file is None:
        return settings
    source = settings.data.exported
    if source is None:
        raise ConfigError(
            "--input is for rows as exported; an event history is scored with --as-of. Leave it out."
        )
    given, names = str(input_file.resolve()), list(settings.data.raw)
    if source.sql is not None and len(names) != 1:
        keys = " or ".join(f"--set data.raw.{name}={input_file}" for name in names)
        raise ConfigError(
            f"--input: data.exported.sql reads {len(names)} raw files, so it is not clear which one "
            f"{input_file} replaces. In the place of --input give {keys or 'it a name in data.raw'}."
        )
    new = {"path": given, "postgres": None} if source.sql is None else {}
    raw = settings.data.raw if source.sql is None else {names[0]: given}
    source = source.model_copy(update={**new, "outcome": None})
    data = settings.data.model_copy(update={"exported": source, "raw": raw})
    return settings.model_copy(update={"data": data})

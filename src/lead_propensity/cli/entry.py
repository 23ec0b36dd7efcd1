"""The command line as a whole: its common arguments, its first options, and how it ends."""

import logging
import os
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from lead_propensity.cli import logs
from lead_propensity.cli.screen import console
from lead_propensity.errors import LeadPropensityError, Refused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="How likely each lead is to become a won deal: trained, calibrated, banded, and compared with your rules.",
)

LOG_FORMAT = "LEAD_PROPENSITY_LOG_FORMAT"
REFUSED = 3
"""Exit code of a refusal: schedulers tell it from an error."""

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The dataset's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the config, e.g. `model.trials=5`. Repeatable.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary; errors only.")]
RunFolder = Annotated[Path, typer.Argument(help="What `train` left, such as models/NAME/TIME.")]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
        help="The moment to look from (default of `score`: the export time). Without a zone: the config's.",
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        console().print(f"lead-propensity {version('lead-propensity')}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    shown: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    log_format: Annotated[
        logs.Form,
        typer.Option(
            envvar=LOG_FORMAT,
            help="Lines on standard error: `text`, or one JSON object each; anywhere in the line.",
        ),
    ] = logs.Form.text,
) -> None:
    """What stands before the command."""
    logs.choose(log_format)


def main() -> None:
    """Entry point. Exit codes: 0 done, 3 refused, 2 bad config, data or model, 130 interrupted, 1 our bug."""
    code = _exit_code(sys.argv[1:])
    logs.say(logging.INFO, "finished", exit_code=code)
    sys.exit(code)


def _exit_code(words: list[str]) -> int:
    """Run the command and say how it failed; a bug of ours is raised, or told where lines are JSON."""
    asked = _log_format_first(words)
    try:
        if not _asks_for_json(asked):
            app(asked)
        else:  # a mistake in the line itself would be drawn in a box
            return int(app(asked, standalone_mode=False) or 0)
    except TyperException as error:
        logs.choose(logs.Form.json)
        logs.fail("error", f"{error.format_message()} See --help.")
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Refused as error:
        logs.fail("refused", str(error), error.reasons)
        return REFUSED
    except LeadPropensityError as error:
        logs.fail("error", str(error))
        return 2
    except (KeyboardInterrupt, Exception) as error:
        # Ctrl-C in the middle of a query comes out of DuckDB as a RuntimeError.
        told = isinstance(error, RuntimeError) and "interrupted" in str(error).lower()
        if told or isinstance(error, KeyboardInterrupt):
            logs.fail("interrupted", "")
            return 130
        if not logs.is_json():
            raise
        logs.tell_bug(error)
        return 1
    return 0


def _asks_for_json(words: list[str]) -> bool:
    given = "=".join(words[: 1 + (words[:1] == ["--log-format"])])
    if given.startswith("--log-format="):
        return given == "--log-format=json"
    return os.environ.get(LOG_FORMAT) == "json"


def _log_format_first(words: list[str]) -> list[str]:
    """`--log-format` may stand behind the command, too: it is brought before it.

    >>> _log_format_first(["score", "acme.yaml", "--log-format", "json", "--quiet"])
    ['--log-format', 'json', 'score', 'acme.yaml', '--quiet']
    """
    for place, word in enumerate(words):
        if word == "--log-format" or word.startswith("--log-format="):
            end = place + 1 + ("=" not in word)
            return [*words[place:end], *words[:place], *words[end:]]
    return words

"""Write configuration.md and commands.md from the program itself.

    python docs/generate.py

`tests/test_docs.py` fails where the committed pages are others.
"""

import ast
import inspect
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from typer.testing import CliRunner

from lead_propensity import config
from lead_propensity.cli import app
from lead_propensity.features import points

DOCS = Path(__file__).parent
WIDTH = 88

MEANINGS = {
    "name": "Of the dataset: names the run folders, the MLflow experiment and the registered model.",
    "card.name": "Of the card, for the report.",
    "path": "A file or a folder of files: CSV, CSV.gz or Parquet. Relative to the config; see Paths.",
    "sql": "A DuckDB query over the names in `data.raw`.",
    "outcome": "The column that says how the lead ended.",
    "order_by": "A date or number column that grows with time; left out, the rows stand in time order.",
    "won": "Words of the `outcome` column that mean won.",
    "lost": "Words of the `outcome` column that mean lost.",
    "leads": "One row a lead: `lead_id`, `created_at`, optional `group_id`, attributes known from creation.",
    "attributes": "Optional. One row a value that became known later: `lead_id`, `attribute`, `value`, `known_at`.",
    "events": "Optional. `lead_id`, `occurred_at`, `event_type`, optional `channel`, `topic`, `value`, `known_at`.",
    "deals": "How leads ended: `lead_id`, `closed_at`, `outcome`, optional `amount`, `known_at`.",
    "exported": "Instead of the four tables: one row a lead with its outcome, and no history.",
    "max_quarantine_share": "The run stops when more of a table's rows than this break the contract.",
    "every_days": "Days between two snapshots of an open lead.",
    "horizon_days": "A deal won within so many days after the snapshot makes its label 1.",
    "max_age_days": "Older leads are not looked at any more.",
    "windows_days": "Lengths of the windows in which events are counted.",
    "half_lives_days": "Half-lives of the decayed counts.",
    "calibrate_days": "Length of the calibrate part.",
    "test_days": "Length of the test part, the last mature days.",
    "trials": "How many Optuna trials tune the trees.",
    "seed": "Of every random draw. The same data, config and seed give the same model.",
    "policy": "`capacity`: as many hot as sales can call; `value`: hot where a contact pays; `precision`: the most "
    "leads that are sure to convert at a target; `thresholds`: fixed.",
    "cost_per_contact": "value: what one contact costs.",
    "why": "The reason for the line; shown in the report.",
    "points": "What the line adds; below zero it takes away.",
    "attribute": "The attribute that the condition looks at.",
    "in": "Holds for these values.",
    "not_in": "Holds for other values than these.",
    "at_least": "Holds from this number on.",
    "below": "Holds below this number.",
    "missing": "true: holds where the attribute is not known; false: where it is.",
    "criterion": "Holds where this criterion is met.",
    "event": "Points for each event of this type.",
    "half_life_days": "An event's points are halved every so many days.",
    "silent_days": "Holds where there was no event for so many days.",
    "warm": "Warm from so many points on.",
    "hot": "Hot from so many points on.",
    "thresholds": "Points at which the bands begin.",
    "explicit": "Lines about attributes.",
    "implicit": "Lines about events and silence.",
    "criteria": "Lines about the five criteria.",
    "disqualify": "Conditions that make a lead cold, whatever its points.",
}
"""For keys that carry no docstring where they are declared."""

PLACES = {
    "data.attributes": "data.leads",
    "data.events": "data.leads",
}
"""Tables with the keys of another one are described there."""


def configuration() -> str:
    """Every key of a config and of a rules file: type, default, meaning."""
    lines = [
        "# Configuration",
        "",
        "<!-- Written by docs/generate.py from the config's own types. Do not edit by hand. -->",
        "",
        "One YAML file a dataset. Keys that are not listed here are refused, with the nearest known name.",
        "Each key can be changed for one run: `--set model.trials=5`. `-` in the default column: the key",
        "is needed; `none`: it may be left out. [configs](../configs) holds complete examples.",
        "",
        "**Paths** are relative to the config file. `${VARIABLE}` is filled in from the environment, and",
        "`package:NAME/...` starts in an installed Python package.",
    ]
    for place, model in _sections("", config.Config):
        lines += ["", f"## {_title(place)}", "", _first_paragraph(model), "", *_table(place, model)]
    lines += ["", "# The rules file", "", _first_paragraph(points.Scorecard), ""]
    lines += _table("card", points.Scorecard)
    lines += ["", "## A line", "", _first_paragraph(points.Line), "", *_table("line", points.Line)]
    lines += ["", "## thresholds", "", *_table("thresholds", points.Thresholds)]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """The help of every command, as `--help` prints it."""
    lines = [
        "# Commands",
        "",
        "<!-- Written by docs/generate.py from the commands' own help. Do not edit by hand. -->",
        "",
        "Exit codes: 0 done (also when the rules win, or nobody is hot); 2 the config, the data or the",
        "model cannot be used, and the message says what to do; 3 refused (`promote`: the gate said no, or",
        "cannot tell yet; `score` and `monitor`: a limit was passed, or something is advised), and the",
        "message says why; 1 a bug of ours.",
        "",
        "Progress goes to standard error: bars on a terminal, plain lines elsewhere, nothing with",
        "`--quiet`. Files appear whole or not at all.",
    ]
    names = [str(one.name or one.callback.__name__) for one in app.registered_commands]  # type: ignore[union-attr]
    for arguments in ([], *([name] for name in names)):
        title = " ".join(["lead-propensity", *arguments])
        lines += ["", f"## {title}", "", "```text", _help(arguments), "```"]
    return "\n".join(lines) + "\n"


PAGES = {"configuration.md": configuration, "commands.md": commands}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


def _sections(place: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and those below it, depth first, with where they stand in the file."""
    yield place, model
    for name, field in model.model_fields.items():
        inner = f"{place}.{name}".lstrip(".")
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel) and inner not in PLACES:
                yield from _sections(inner, kind)


def _title(place: str) -> str:
    same = [one for one, described in PLACES.items() if described == place]
    return ", ".join([place, *same]) or "The whole file"


def _table(place: str, model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    needed, said = schema.get("required", []), _docstrings(model)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, tree in schema["properties"].items():
        below = f"{place}.{name}".lstrip(".")
        meaning = (
            said.get(name) or MEANINGS.get(below) or MEANINGS.get(name) or f"See {_link(below)}."
        )
        default = "-" if name in needed else _default(tree)
        cells = (f"`{name}`", _kind(tree), default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _link(place: str) -> str:
    title = _title(PLACES.get(place, place))
    anchor = re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")
    return f"[{place}](#{anchor})"


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Key -> the text that stands below its declaration, its parents' included."""
    found: dict[str, str] = {}
    for kind in reversed([one for one in model.__mro__ if issubclass(one, BaseModel)]):
        if kind.__module__.startswith("pydantic"):
            continue
        body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
        for declared, said in itertools.pairwise(body):
            if isinstance(declared, ast.AnnAssign) and isinstance(said, ast.Expr):
                found[declared.target.id] = " ".join(str(said.value.value).split())  # type: ignore[union-attr, attr-defined]
    return found


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())


def _default(tree: dict[str, Any]) -> str:
    if "$ref" in tree or tree.get("default") is None:
        return "none"
    return f"`{json.dumps(tree['default'])}`"


def _kind(tree: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in tree:
        return " or ".join(_kind(one) for one in tree["anyOf"] if one.get("type") != "null")
    if "$ref" in tree:
        return "keys"
    if "enum" in tree:
        return " or ".join(f"`{value}`" for value in tree["enum"])
    if "const" in tree:
        return f"`{tree['const']}`"
    if tree["type"] == "array":
        return "lines" if "$ref" in tree["items"] else f"list of {_kind(tree['items'])}"
    if tree["type"] == "object":
        return f"names, each with {_kind(tree['additionalProperties'])}"
    words = {"integer": "whole number", "number": "number", "boolean": "true or false"}
    text = "time" if tree.get("format") == "date-time" else "text"
    return words.get(tree["type"], text) + _bounds(tree)


def _bounds(tree: dict[str, Any]) -> str:
    signs = {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
    }
    found = [f"{sign} {tree[key]}" for key, sign in signs.items() if key in tree]
    return f" {', '.join(found)}" if found else ""


def _help(arguments: list[str]) -> str:
    shown = CliRunner().invoke(
        app,
        [*arguments, "--help"],
        prog_name="lead-propensity",
        env={"COLUMNS": str(WIDTH), "TERM": "dumb", "NO_COLOR": "1"},
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    return re.sub(r"[ \t]+$", "", plain, flags=re.MULTILINE).strip("\n")


if __name__ == "__main__":
    main()

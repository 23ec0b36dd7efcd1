"""The leakage audit on the screen."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from lead_propensity.cli.screen import console
from lead_propensity.errors import DataError

MOST_OTHERS = 8
"""Columns without suspicion that are shown, the strongest first."""
SUSPICIONS = {"leak": "leak?", "hidden": "hidden", "follows": "sum", "none": "-"}


def print_leaks(audited: Mapping[str, Any]) -> None:
    """The ranked columns, each with what speaks against it and what to do."""
    counts, screen = audited["counts"], console()
    alarms = {(one["column"], one["source"]): one for one in audited["alarms"]}
    table = Table("column", "suspicion", "AUC*", "missing*", title_justify="left")
    table.add_column("why, and what to do", overflow="fold")
    others = 0
    for row in audited["columns"]:
        alarm = alarms.get((row["column"], row["source"]))
        others += alarm is None
        if others > MOST_OTHERS:
            break
        words = "" if alarm is None else f"{'; '.join(alarm['reasons'])}. {alarm['remedy']}"
        table.add_row(
            row["column"],
            SUSPICIONS[row["suspicion"]],
            _figure(row["auc"]),
            _figure(row["auc_missing"]),
            words,
        )
    table.caption = (
        f"* AUC of the column alone, and of its being missing, on {counts['snapshots']:,} snapshots of "
        f"{counts['leads']:,} leads before the test part. hidden: no snapshot sees it."
    )
    screen.print(table, markup=False)
    if len(audited["columns"]) > len(table.rows):
        rest = len(audited["columns"]) - len(table.rows)
        screen.print(f"{rest} more columns without suspicion.", highlight=False)
    screen.print(audited["sentence"], style="bold", markup=False, highlight=False)


def refuse_leaks(audited: Mapping[str, Any]) -> None:
    """Raises DataError where the model sees a suspicious column."""
    seen = [alarm["column"] for alarm in audited["alarms"] if alarm["reaches_model"]]
    if seen:
        raise DataError(
            f"Columns that the model sees seem to know the outcome ({len(seen)}): {', '.join(seen)}. "
            "Leave them out, or say when they were known; without --strict this is no error."
        )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

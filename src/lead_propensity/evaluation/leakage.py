"""The leakage audit: which columns seem to know the outcome, the most suspicious first, and what to do.

It looks at attributes, event types and exported columns, not at the features made of them. Labels are those of
the fit and the calibrate part, raw rows those known before the test part. Nothing is changed by what it finds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.evaluation import suspicion
from lead_propensity.evaluation.alone import MIN_OF_EACH, Alone, Halves, quick_auc
from lead_propensity.evaluation.columns import Column, rows_of
from lead_propensity.evaluation.columns import columns as columns_of
from lead_propensity.evaluation.separation import Separation, separation
from lead_propensity.evaluation.suspicion import Reason
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.traces import Traces
from lead_propensity.model.looks import Look, Rows, looks

SEED = 7
"""Of the halves that judge, and of the sample of large parts: the audit is the same for every run's seed."""
MOST_NOTES = 4
REMEDIES = {
    "event": "If it records how the deal ends it must go: features.exclude_events.",
    "column": "What was not known before the outcome must go: data.exported.exclude.",
    "lead column": "What was not known before the outcome must go (data.leads.exclude), or come with the time at "
    "which it was known (data.attributes).",
    "attribute": "What was not known before the outcome must carry the time at which it was known (`known_at`), or "
    "go (features.explicit).",
    "measure": "Look which of the columns that it is made of was not known before the outcome.",
}
"""What to do about a column that the model sees, by its source."""
CALENDAR = 0.1
"""So much more AUC where the same days taught it than later: the column knows the date."""


@dataclass(frozen=True)
class Audited:
    """What was found of one column."""

    column: Column
    strongest: Look | None
    alone: Alone | None
    """Figures of its strongest feature."""
    reasons: tuple[Reason, ...]
    reaches_model: bool
    """Whether a snapshot of the fit part saw it vary; else its times keep it out, or nothing is made of it."""
    follows: bool = False
    """Whether it would be suspicious if the columns that it sums were not."""

    @property
    def auc(self) -> float:
        """0.5 where there is none."""
        return 0.5 if self.alone is None or self.alone.auc is None else self.alone.auc


def audit(train: Dataset, calibrate: Dataset, traces: Traces) -> dict[str, Any]:
    """Plain JSON: `columns` (the most suspicious first), `alarms`, `calendar`, `quick`, `counts`, `sentence`.

    `calendar` names columns that know the date: no leak, but a random split would believe them.
    `train` and `calibrate` are the labelled snapshots of the fit and the calibrate part; of more than 40,000
    rows of a part those of some groups are looked at. The same data give the same audit.
    """
    rows = Rows.of(train, calibrate, SEED)
    halves = Halves.of(rows, SEED)
    history = train.catalogue.definition.get("shape") != "exported"
    columns = columns_of(looks(rows, train.catalogue.features), train.catalogue.definition, traces)
    found = [_audited(column, halves, history, traces) for column in columns]
    if any(one.reasons and not one.column.is_sum for one in found):
        found = [_told_by_its_columns(one) for one in found]
    found.sort(
        key=lambda one: (
            not one.reasons,
            not one.follows,
            not one.reaches_model,
            -one.auc,
            one.column.name,
        )
    )
    alarms = [_alarm(one) for one in found if one.reasons]
    return {
        "columns": [_row(one) for one in found],
        "alarms": alarms,
        "calendar": _know_the_date(found, rows),
        "quick": _quick(found, halves),
        "counts": {
            "columns": len(found),
            "snapshots": len(rows.won),
            "leads": len(np.unique(rows.lead)),
            "won": int(rows.won.sum()),
        },
        "sentence": headline(alarms, len(found)),
    }


def headline(alarms: Sequence[Mapping[str, Any]], columns: int) -> str:
    """How many columns are suspicious, and whether the model sees them."""
    if not alarms:
        return f"None of {columns:,} columns is suspected of knowing the outcome."
    seen = sum(1 for alarm in alarms if alarm["reaches_model"])
    if len(alarms) == 1:
        return f"1 column is suspicious, of {columns:,}. The model {'sees' if seen else 'does not see'} it."
    all_or_none = {0: "none of them", len(alarms): "them all"}
    where = f"The model sees {all_or_none.get(seen, f'{seen:,} of them')}."
    return f"{len(alarms):,} columns are suspicious, of {columns:,}. {where}"


def context(found: dict[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The audit for the scorecard, its alarms before the other notes of `facts`."""
    return {"leaks": found, "notes": [*notes(found), *facts["notes"]]}


def figures(found: Mapping[str, Any] | None) -> dict[str, float | None]:
    """What is worth tracking from run to run; nothing where there was no audit."""
    if found is None:
        return {}
    seen = [alarm for alarm in found["alarms"] if alarm["reaches_model"]]
    return {
        "leak_alarms": float(len(found["alarms"])),
        "leak_alarms_seen": float(len(seen)),
        "leak_quick_auc": found["quick"]["all"]["time"],
        "leak_quick_auc_without_alarms": found["quick"]["without_alarms"]["time"],
    }


def notes(found: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each kind of alarm: columns with the same reasons share one."""
    same: dict[str, list[str]] = {}
    for alarm in found["alarms"]:
        if alarm["reaches_model"]:
            same.setdefault(f"{'; '.join(alarm['reasons'])}. {alarm['remedy']}", []).append(
                alarm["column"]
            )
    told = [f"Possible leak: {_names(names)}: {words}" for words, names in same.items()]
    others = [name for names in list(same.values())[MOST_NOTES:] for name in names]
    if others:
        told = [*told[:MOST_NOTES], f"Possible leak as well, see the audit: {_names(others)}."]
    hidden = [alarm["column"] for alarm in found["alarms"] if not alarm["reaches_model"]]
    if hidden:
        told.append(
            f"Written with the outcome or after it, and not seen by the model: {_names(hidden)}. "
            "`check --leaks` says why."
        )
    return tuple(told)


def _audited(column: Column, halves: Halves, history: bool, traces: Traces) -> Audited:
    varying = [look for look in column.looks if look.varies]
    figures = [Alone.of(look, halves) for look in varying]
    best = max(range(len(varying)), key=lambda k: (figures[k].auc or 0.0, -k), default=None)
    strongest = None if best is None else varying[best]
    alone = None if best is None else figures[best]
    reasons: list[Reason | None] = [_separated(column, varying, halves.rows, history)]
    if alone is not None and _enough(halves.rows):
        reasons.append(suspicion.orders(alone))
        if column.has_no_times:
            reasons.append(suspicion.bad_name(column.name, alone))
    if column.source != "event" and not any(reasons):
        reasons += [suspicion.winners_only(row) for row in rows_of(column, traces.fills)]
    endings = rows_of(column, traces.endings)
    reasons += [suspicion.around_ending(row) for row in endings]
    early = any(row["earlier"] for row in endings) and not column.looks
    return Audited(
        column, strongest, alone, tuple(one for one in reasons if one), bool(varying) or early
    )


def _separated(column: Column, varying: Sequence[Look], rows: Rows, history: bool) -> Reason | None:
    found = [(separation(look, rows, history), look.feature.name) for look in varying]
    parted: list[tuple[Separation, str]] = [(one, name) for one, name in found if one is not None]
    if not parted:
        return None
    best, feature = max(parted, key=lambda pair: (pair[0].pure, pair[0].odds_ratio))
    return suspicion.separates(best, feature, column.name)


def _enough(rows: Rows) -> bool:
    """Whether ten groups won and ten lost: an order of fewer is chance."""
    won = pd.Series(rows.won).groupby(rows.group).max()
    return bool(min(won.sum(), len(won) - won.sum()) >= MIN_OF_EACH)


def _told_by_its_columns(one: Audited) -> Audited:
    return replace(one, reasons=(), follows=bool(one.reasons)) if one.column.is_sum else one


def _know_the_date(found: Sequence[Audited], rows: Rows) -> list[str]:
    """By a gap that chance hardly makes: an AUC of no signal varies by 1 / sqrt(12 n), n of the rarer outcome."""
    won = rows.won[~rows.is_fit]
    rarer = min(won.sum(), len(won) - won.sum())
    least = max(CALENDAR, 3.0 / np.sqrt(12.0 * max(1.0, rarer)))
    return [one.column.name for one in found if not one.reasons and _gap(one.alone) >= least]


def _gap(alone: Alone | None) -> float:
    if alone is None or alone.auc_random is None or alone.auc_time is None:
        return 0.0
    return alone.auc_random - alone.auc_time


def _quick(found: Sequence[Audited], halves: Halves) -> dict[str, dict[str, float | None]]:
    """AUC on the calibrate part of all columns, and of those without an alarm, by either split."""
    seen = [one for one in found if one.strongest is not None and not one.column.is_sum]
    clean = [one for one in seen if not one.reasons]
    figures: dict[str, dict[str, float | None]] = {}
    for name, chosen in (("all", seen), ("without_alarms", clean)):
        if name == "without_alarms" and len(clean) == len(seen):
            figures[name] = figures["all"]
            continue
        strongest = [one.strongest for one in chosen if one.strongest is not None]
        figures[name] = {
            "random": quick_auc(strongest, halves, time_ordered=False),
            "time": quick_auc(strongest, halves, time_ordered=True),
        }
    return figures


def _alarm(one: Audited) -> dict[str, Any]:
    reasons, remedy = [reason.words for reason in one.reasons], _remedy(one)
    return {
        "column": one.column.name,
        "source": one.column.source,
        "rules": [reason.rule for reason in one.reasons],
        "reasons": reasons,
        "reaches_model": one.reaches_model,
        "sentence": f"`{one.column.name}`: {'; '.join(reasons)}.",
        "remedy": remedy,
    }


def _remedy(one: Audited) -> str:
    source = one.column.source
    if one.reaches_model:
        return REMEDIES[source]
    if one.column.looks or source in ("event", "attribute"):
        return "No snapshot sees it as long as its times are right. Leave it out, and nobody has to rely on that."
    return "No feature is made of it. Leave it out, so that this stays so."


def _suspicion(one: Audited) -> str:
    if one.reasons:
        return "leak" if one.reaches_model else "hidden"
    return "follows" if one.follows else "none"


def _row(one: Audited) -> dict[str, Any]:
    alone = one.alone
    return {
        "column": one.column.name,
        "source": one.column.source,
        "suspicion": _suspicion(one),
        "features": len(one.column.looks),
        "feature": None if one.strongest is None else one.strongest.feature.name,
        **{
            name: None if alone is None else getattr(alone, name)
            for name in ("auc", "auc_missing", "missing", "auc_random", "auc_time")
        },
    }


def _names(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")

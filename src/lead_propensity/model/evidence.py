"""How much the fit part can say: too few wins, columns that will not last, columns that name leads.

Nothing is changed by what is found: it is said, worst first. The test part is never looked at. Columns that
seem to know the outcome are found by `evaluation/leakage.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from lead_propensity.features.matrix import Dataset
from lead_propensity.model import steadiness
from lead_propensity.model.intervals import design_effect
from lead_propensity.model.looks import Look, Rows, looks

Kind = Literal["few_wins", "vanished", "drift", "id_like", "duplicates", "constant"]
SEED = 7
"""Of the sample of large parts."""
ENOUGH = 10.0
"""Wins (or losses, if fewer) for each parameter: Peduzzi et al. 1996, J Clin Epidemiol 49:1373."""
MAX_NAMES = 10


@dataclass(frozen=True)
class Ladder:
    """Which learner the number of wins allowed, and how many parameters its linear part has."""

    learner: str
    """`base_rate`, `logistic` or `blend`."""
    parameters: int


@dataclass(frozen=True)
class Finding:
    """One thing seen: in which columns, in figures, and in words with what to do about it."""

    kind: Kind
    columns: tuple[str, ...]
    figures: dict[str, float]
    sentence: str


@dataclass(frozen=True)
class Evidence:
    """All findings, the worst first."""

    findings: tuple[Finding, ...]

    def of_kind(self, kind: Kind) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def notes(self) -> tuple[str, ...]:
        """At most ten sentences, the worst first; columns that the encoding dropped are told there."""
        told = [finding.sentence for finding in self.findings if finding.kind != "constant"]
        return tuple(told[:10])

    def to_json(self) -> list[dict[str, Any]]:
        return [{**asdict(one), "columns": list(one.columns)} for one in self.findings]


def examine(train: Dataset, calibrate: Dataset, ladder: Ladder) -> Evidence:
    """What the labelled rows of the fit part show, and whether the calibrate part still looks like it.

    Larger parts are sampled, whole groups at a time; the same data give the same findings.
    """
    rows = Rows.of(train, calibrate, SEED)
    seen = looks(rows, train.catalogue.features)
    ids = steadiness.id_like(seen, rows)
    findings = [
        *_few_wins(train, ladder),
        *_vanished(seen, rows),
        *_drifting(seen, rows, frozenset(ids)),
        *_ids(ids),
        *_duplicates(seen, rows),
        *_constant(seen),
    ]
    return Evidence(tuple(findings))


def _few_wins(train: Dataset, ladder: Ladder) -> list[Finding]:
    """Groups are no leads twice: a design effect of the groups' outcomes is divided out."""
    wins, losses = _effective(train)
    share = min(wins, losses) / max(1, ladder.parameters)
    if ladder.learner == "base_rate" or share >= ENOUGH:
        return []
    learner = "logistic model is" if ladder.learner == "logistic" else "members of the blend are"
    fewer = "won" if wins <= losses else "lost"
    return [
        Finding(
            "few_wins",
            (),
            {"won": wins, "lost": losses, "parameters": ladder.parameters, "per_parameter": share},
            f"Little evidence for so many columns: what amounts to {wins:,.0f} won and {losses:,.0f} lost leads "
            f"teaches {ladder.parameters:,} parameters, {share:.1f} {fewer} leads each. Below 10 (Peduzzi 1996, "
            "Riley 2019) the weight of a single feature is mostly chance, so the "
            f"{learner} shrunk as far as the time folds ask for. Trust the order of many leads "
            "more than one reason. More history helps, or fewer columns: features.explicit, "
            "features.families, features.windows_days.",
        )
    ]


def _effective(train: Dataset) -> tuple[float, float]:
    """Won and lost leads, as many as independent ones would tell as much."""
    leads = train.keys.assign(won=train.won).groupby("lead_id", sort=False)
    each = leads.agg(won=("won", "max"), group=("group_id", "first"))
    won = each["won"].to_numpy(np.float64)
    repeats = design_effect(won, each["group"].to_numpy())
    return float(won.sum()) / repeats, float(len(won) - won.sum()) / repeats


def _vanished(seen: Sequence[Look], rows: Rows) -> list[Finding]:
    gone, new = steadiness.vanished(seen, rows), steadiness.appeared(seen, rows)
    told = [
        (
            gone,
            "vary in the fit part and have one value, or none, in the calibrate part: what was learned from "
            "them no longer speaks. Look whether their source dried up; if so, leave them out.",
        ),
        (
            new,
            "have one value, or none, in the fit part and others in the calibrate part: nothing could be "
            "learned from them yet. With a longer fit part (smaller calibrate and test parts in `split`) they "
            "may help.",
        ),
    ]
    return [
        Finding("vanished", names, {}, f"{_names(names)} {words}") for names, words in told if names
    ]


def _drifting(seen: Sequence[Look], rows: Rows, but: frozenset[str]) -> list[Finding]:
    drifts = steadiness.drifts(seen, rows, but)[:MAX_NAMES]
    if not drifts:
        return []
    named = ", ".join(f"`{one.column}` ({one.index:.2g})" for one in drifts)
    return [
        Finding(
            "drift",
            tuple(one.column for one in drifts),
            {one.column: one.index for one in drifts},
            f"Moving columns: between the first and the last third of fit and calibrate these are distributed "
            f"otherwise (population stability index above .25, most first): {named}. Scores built on them age "
            "fast: look whether a source or a process changed, watch expected to observed by period, and "
            "train again often.",
        )
    ]


def _ids(names: tuple[str, ...]) -> list[Finding]:
    return _listed(
        "id_like",
        names,
        "nearly every lead has a value of its own, or a number that counts leads: it names leads instead of "
        "describing them, and new leads lie outside of all that was learned. Leave such columns out.",
    )


def _duplicates(seen: Sequence[Look], rows: Rows) -> list[Finding]:
    groups = steadiness.duplicates(seen, rows)
    if not groups:
        return []
    named = "; ".join(_names(group, 4) for group in groups[:MAX_NAMES])
    more = f"; and {len(groups) - MAX_NAMES} more groups" if len(groups) > MAX_NAMES else ""
    return [
        Finding(
            "duplicates",
            tuple(name for group in groups for name in group),
            {"groups": float(len(groups))},
            f"Columns that say the same: {named}{more}. Harmless for the score; importance is shared among them.",
        )
    ]


def _constant(seen: Sequence[Look]) -> list[Finding]:
    words = "have one value in the fit part, or none: left out."
    return _listed("constant", steadiness.constant(seen), words)


def _listed(kind: Kind, names: tuple[str, ...], words: str) -> list[Finding]:
    return [Finding(kind, names, {}, f"{_names(names)}: {words}")] if names else []


def _names(names: Sequence[str], most: int = MAX_NAMES) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")

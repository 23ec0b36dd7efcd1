"""Why a column is suspected of knowing the outcome: each rule with its limit, and its finding in words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from scipy.special import betaincinv

from lead_propensity.evaluation.alone import Alone
from lead_propensity.evaluation.separation import ODDS, Separation, filled_odds_ratio

Rule = Literal["separates", "winners_only", "orders", "name", "late", "stands"]

ORDERS = 0.95
"""AUC of one column that decides by itself."""
NAMED = 0.65
"""AUC from which a column is told whose name speaks against it. Below, it does little harm."""
HINTS = frozenset(
    (
        *(
            "last",
            "latest",
            "final",
            "stage",
            "status",
            "disposition",
            "outcome",
            "result",
            "reason",
        ),
        *("closed", "closing", "close", "won", "lost", "converted", "signed"),
        *("tag", "tags", "note", "notes", "comment", "comments", "remark", "remarks"),
        *("quality", "rating", "grade", "score"),
    )
)
"""Words in a name that say: kept up to date until the export, or a judgement that sales wrote down."""
MOSTLY = 0.75
"""Share of the closed leads, at the lower end of its 95% interval, for which a column comes with the closing."""


@dataclass(frozen=True)
class Reason:
    """A rule that a column broke, and what was seen, to be read after the column's name."""

    rule: Rule
    words: str


def separates(found: Separation, feature: str, column: str) -> Reason:
    """`feature` is named where the column itself is not what separates."""
    where = f"where it {found.words}" if feature == column else f'where "{feature}" {found.words}'
    return Reason(
        "separates",
        f"{where} ({found.leads:,} leads of the fit part), {percent(found.share_won)} won; elsewhere "
        f"{percent(found.share_won_outside)}",
    )


def winners_only(row: Mapping[str, Any]) -> Reason | None:
    """`row` of `Traces.fills`."""
    filled, won, empty, empty_won = (
        int(row[name]) for name in ("filled", "filled_won", "empty", "empty_won")
    )
    if filled_odds_ratio(filled, won, empty, empty_won) < ODDS:
        return None
    return Reason(
        "winners_only",
        f"of the {filled:,} leads that have it filled in {percent(won / filled)} won before the test part; of the "
        f"others {percent(empty_won / empty)}",
    )


def orders(alone: Alone) -> Reason | None:
    if alone.auc is None or alone.auc <= ORDERS:
        return None
    return Reason(
        "orders",
        f"alone it puts {alone.auc:.0%} of won-lost pairs in the right order, which honest columns hardly do",
    )


def bad_name(column: str, alone: Alone) -> Reason | None:
    """For columns without times alone: where times are known, they say more than names."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)
    hints = [word.lower() for word in words if word.lower() in HINTS]
    if not hints or alone.auc is None or alone.auc <= NAMED:
        return None
    return Reason(
        "name",
        f'its name ("{hints[0]}") speaks of a state that is kept up to date, or of a judgement by sales; nothing '
        f"tells when it was written, and alone it puts {alone.auc:.0%} of won-lost pairs in the right order",
    )


def around_ending(row: Mapping[str, Any]) -> Reason | None:
    """`row` of `Traces.endings`."""
    leads, late, stands = (int(row[name]) for name in ("leads", "late", "stands"))
    moment = "day" if row["moment_hours"] > 1 else "hour"
    have = f"of {leads:,} closed leads that have it ({percent(int(row['won']) / leads)} won)"
    if lower_end(late, leads) >= MOSTLY:
        when = f"when they closed: in the {moment} before, or after"
        return Reason("late", f"{have}, {percent(late / leads)} first got it {when}")
    if lower_end(stands, leads) >= MOSTLY:
        when = f"within the {moment} from closing on: it ends with the outcome"
        return Reason("stands", f"{have}, {percent(stands / leads)} got the last one {when}")
    return None


def lower_end(hits: int, trials: int) -> float:
    """Of the 95% interval of a share, after Clopper and Pearson (1934).

    >>> round(lower_end(13, 13), 2), lower_end(0, 5)
    (0.75, 0.0)
    """
    return float(betaincinv(hits, trials - hits + 1, 0.025)) if hits else 0.0


def percent(share: float) -> str:
    """Never `100%` of what is not all, nor `0%` of what is not none."""
    if share in (0.0, 1.0):
        return "all" if share else "none"
    return f"{min(max(share, 0.001), 0.999):.1%}"

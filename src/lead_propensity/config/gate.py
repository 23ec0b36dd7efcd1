"""What the gate asks of a model before it becomes champion."""

from typing import Annotated

from pydantic import Field

from lead_propensity.config.base import Share, Strict


class GateConfig(Strict):
    """When `promote` lets a challenger take the champion's place; see docs/registry.md."""

    margin: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """So much of what the champion gains over the base rate (in log loss) a challenger may lose at most, at
    the bound of its interval."""
    error: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """How often a challenger that is worse than `margin` allows may pass; divided by the number of attempts
    on the same test period."""
    level_within: Annotated[float, Field(gt=1, le=10)] = 1.25
    """Expected over observed deals must lie between 1 over this and this, with its whole interval."""
    rules_margin: Share = 0.02
    """So much less AUC than the rules a model may have at most, at the bound of its interval."""
    min_wins: Annotated[int, Field(ge=10)] = 50
    """Fewer won leads after both models' labels: not enough evidence."""
    min_leads: Annotated[int, Field(ge=20)] = 200
    """Fewer leads there: not enough evidence."""
    cleared: tuple[str, ...] = ()
    """Columns whose leakage alarm somebody looked at and found to be none; other alarms keep the gate closed."""

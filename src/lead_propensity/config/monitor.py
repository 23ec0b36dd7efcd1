"""From when on `monitor` speaks up; how far the level may lie off, and what the rules may be ahead, says the gate."""

from typing import Annotated

from pydantic import Field

from lead_propensity.config.base import Share, Strict


class MonitorConfig(Strict):
    """When drift is called, and when retraining or recalibration is advised."""

    min_psi: Annotated[float, Field(gt=0, le=10)] = 0.1
    """A feature's PSI must lie so far above what sampling alone brings before it counts as drifted."""
    error: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """How often drift is called at a moment, or a sound model is ever advised against, by chance."""
    drifted_share: Share = 0.3
    """Retraining is advised where drifted features carry so large a share of the model's importance."""

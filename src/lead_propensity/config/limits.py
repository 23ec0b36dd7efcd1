"""Beyond which limits scores are not written."""

from typing import Annotated

from pydantic import Field

from lead_propensity.config.base import Strict

Part = Annotated[float, Field(ge=0, le=1)]
Age = Annotated[float, Field(ge=0, le=36_500)]


class LimitsConfig(Strict):
    """Beyond these limits `score` refuses: it ends with exit code 3, and the old scores stay. Fewer than five leads or
    events that the model does not know are no reason."""

    max_data_age_days: Age = 7
    """So long before the moment of scoring may the data end."""
    max_unseen_share: Part = 0.2
    """So many of the leads may show a value of a category that the model does not know; what it had grouped as
    rare when it was trained is allowed besides."""
    max_unknown_events_share: Part = 0.2
    """So many of the events in the longest window may be of types that the model does not know."""
    max_model_age_days: Age = 365
    """A model that learned from older deals than this gets a warning; age alone never stops a run."""

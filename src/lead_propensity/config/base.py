"""What every section of the config is made of."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Criterion = Literal["need", "fit", "budget", "influence", "timeline"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
"""The five criteria of a hot lead."""

Days = Annotated[int, Field(ge=1, le=3650)]
Share = Annotated[float, Field(gt=0, lt=1)]
Money = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """A frozen node of the config that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

"""How probabilities become bands, and bands become routes: what marketing and sales agree on."""
# ruff: noqa: RUF012 (pydantic copies mutable defaults; ruff knows this of its own classes only)

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from lead_propensity.config.base import CRITERIA, Criterion, Days, Money, Share, Strict

Route = Literal["sales", "qualify", "follow_up", "nurture", "re-engage", "casual", "release"]
ROUTES: tuple[Route, ...] = get_args(Route)
"""Where a lead goes next, the most urgent first."""


class RoutesConfig(Strict):
    """Names, rules and day limits of the routes; marketing and sales own them together."""

    names: dict[Route, Annotated[str, Field(min_length=1)]] = {}
    """What the company calls a route, e.g. `re-engage: Win back`; two routes may share a name."""
    qualify_first: tuple[Criterion, ...] = CRITERIA
    """A hot lead of which one of these recorded criteria is unknown is asked first; `[]`: nobody is."""
    follow_up_days: Days = 30
    """When to come back to a hot lead whose timeline says later, where it holds no date."""
    silent_days: Days = 60
    """No event for so long: an engaged lead is to be re-engaged."""
    release_days: Days = 180
    """No event for so long: the lead is released."""


class BandsConfig(Strict):
    """How a probability becomes cold, warm or hot."""

    policy: Literal["thresholds", "capacity", "value", "precision"] = "capacity"
    hot: Share | None = None
    """thresholds: hot from this probability on."""
    warm: Share | None = None
    """Warm from this probability on (default: the base rate of the calibrate part)."""
    hot_per_week: Annotated[int, Field(ge=1)] | None = None
    """capacity: leads that become hot in a week."""
    hot_share: Share = 0.1
    """capacity without `hot_per_week`, and as exported: the share of leads that are hot."""
    target: Share | None = None
    """precision: at least this share of the hot must be won, at 95% confidence."""
    cost_per_contact: Money | None = None
    value_per_win: Money | None = None
    """value: hot where probability x value_per_win covers cost_per_contact (default: the mean amount of
    the won deals of the fit and calibrate parts)."""
    hot_requires: dict[Criterion, Literal["met", "known"]] = {}
    """What a lead must show to be hot, e.g. `{budget: met}`; one that does not is warm."""
    stages: tuple[str, ...] = ()
    """Event types that record the funnel's stages, in their order, e.g. `[MQL, SAL, SQL, offer]`."""
    routes: RoutesConfig = RoutesConfig()

    @field_validator("stages")
    @classmethod
    def _each_once(cls, stages: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({stage for stage in stages if stages.count(stage) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} stands there twice; give each stage once, in order")
        return stages

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.policy == "thresholds" and self.hot is None:
            raise ValueError("policy `thresholds` needs `hot`, a probability")
        if self.policy == "value" and self.cost_per_contact is None:
            raise ValueError("policy `value` needs `cost_per_contact`")
        if self.policy == "precision" and self.target is None:
            raise ValueError("policy `precision` needs `target`, the share of the hot to be won")
        if self.hot is not None and self.warm is not None and self.warm > self.hot:
            raise ValueError(f"`warm` ({self.warm}) must not exceed `hot` ({self.hot})")
        return self

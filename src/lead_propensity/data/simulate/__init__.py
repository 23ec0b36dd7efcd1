"""A seeded CRM world whose true probability is known."""

from lead_propensity.data.simulate.world import World, simulate, write

__all__ = ["World", "simulate", "write"]

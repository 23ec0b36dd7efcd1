"""What a config may ask of the report."""

from lead_propensity.config.base import Strict


class ReportConfig(Strict):
    """What the report shows beyond its usual figures."""

    segments: tuple[str, ...] = ()
    """Attributes (as exported: columns) by whose values the percentages are checked, such as industry, as
    they were known at the snapshot. They need not be features."""
    owner: str | None = None
    """Who answers for the model: the model card names them."""

"""A company's own features, as an installed package brings them; see docs/custom-features.md."""

from lead_propensity import CustomFeature, History


def days_between_visits(history: History) -> float | None:
    days_ago = history.of("visit").days_ago
    return days_ago[-2] - days_ago[-1] if len(days_ago) > 1 else None


def share_of_prices(history: History) -> float | None:
    recent = history.within(days=30)
    return len(recent.of("price")) / len(recent) if len(recent) else None


visit_gap = CustomFeature("visit_gap", "days between the last two visits", days_between_visits)
price_share = CustomFeature(
    "price_share",
    "share of price pages in the last 30 days",
    share_of_prices,
    window="last 30 days",
)

"""When scores are not to be acted on: every limit that is passed, with what to do. `score.limits` holds them."""

from collections.abc import Mapping

from lead_propensity.config import Config
from lead_propensity.data.moments import iso, words
from lead_propensity.data.tables import Check
from lead_propensity.errors import Refused
from lead_propensity.features.catalogue import VERSION
from lead_propensity.features.windows import DAY_US
from lead_propensity.model.propensity import PropensityModel

KEPT = "The old scores stay as they are."


def refusals(
    config: Config, found: Check, model: PropensityModel, moment: int | None
) -> tuple[str, ...]:
    """What the tables and the model alone tell; `moment` in int64 microseconds, None: as exported."""
    version = model.catalogue.definition["version"]
    told = [*found.excess]
    if version != VERSION:
        told.append(
            f"the model's features are of version {version}, this program makes version {VERSION}: it would be fed "
            "with what it never saw. Train it again, or score with the program that trained it."
        )
    if moment is not None and found.exported_at >= 0:
        told += _stale(found.exported_at, moment, config.score.limits.max_data_age_days)
    return tuple(told)


def require(told: tuple[str, ...], found: Check, model: PropensityModel) -> None:
    """Raises Refused at once where the work cannot go on: without rows, or with other features."""
    emptied = any(count.kept == 0 for count in found.counts)
    if told and (emptied or model.catalogue.definition["version"] != VERSION):
        raise Refused(*told, KEPT)


def _stale(data_until: int, moment: int, max_days: float) -> list[str]:
    if moment - data_until <= max_days * DAY_US:
        return []
    days = (moment - data_until) / DAY_US
    return [
        f"the data end at {words(data_until)}, {days:,.1f} days before the moment of scoring, {words(moment)}; at "
        f"most {max_days:g} days may lie between. Bring newer data (is data.exported_at still right?), or raise "
        "score.limits.max_data_age_days."
    ]


def warnings(config: Config, model: PropensityModel, moment: int | None) -> tuple[str, ...]:
    """What stops no run."""
    if moment is None or model.horizon_days is None:
        return ()
    days, limit = (moment - model.labels_until) / DAY_US, config.score.limits.max_model_age_days
    if days <= limit:
        return ()
    return (
        f"The model learned from deals known until {iso(model.labels_until)}, {days:,.0f} days before the moment of "
        f"scoring; more than {limit:g} (score.limits.max_model_age_days). Look at what it foretold, and train anew "
        "where it was wrong.",
    )


def shares(tally: Mapping[str, int]) -> tuple[str, ...]:
    """What the features of the leads tell, see `familiar`."""
    return ()

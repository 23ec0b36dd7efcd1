"""When scores are not to be acted on: every limit that is passed, with what to do. `score.limits` holds them."""

from collections import Counter
from collections.abc import Iterator, Mapping

import duckdb
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.data.moments import iso, words
from lead_propensity.data.tables import Check
from lead_propensity.errors import Refused
from lead_propensity.features import kept, vocabulary
from lead_propensity.features.catalogue import VERSION
from lead_propensity.features.windows import DAY_US
from lead_propensity.model.encoding import CategoryColumn, Encoding
from lead_propensity.model.learners import BaseRate
from lead_propensity.model.propensity import PropensityModel

LEADS, UNSEEN = "leads", "unseen "
EVENTS, UNKNOWN = "events", "unknown events"
NAMED = 3
"""Unknown types that a message names."""
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
        raise Refused(*told, then=KEPT)


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


def tally(model: PropensityModel, X: pd.DataFrame) -> Counter[str]:
    """Of some leads: how many there are, and how many show a level of each category that the model does not know."""
    found = Counter({LEADS: len(X)})
    for column in _categories(model):
        found[UNSEEN + column.name] = column.unknown(X[column.name])
    return found


def tally_events(
    con: duckdb.DuckDBPyConnection, config: Config, model: PropensityModel, moment: int
) -> Counter[str]:
    """The events of the longest window, those of unknown types, and the most frequent of these types."""
    types = vocabulary.counted(con, config.features, model.catalogue.definition, moment)
    unknown = Counter({f"{UNKNOWN}: {name}": count for name, count in types.unknown.items()})
    told = {EVENTS: types.events, UNKNOWN: unknown.total()}
    return Counter(told) + Counter(dict(unknown.most_common(NAMED)))


def shares(config: Config, model: PropensityModel, found: Mapping[str, int]) -> Iterator[str]:
    """What the counts of all leads (`tally`, `tally_events`) say."""
    limits, leads = config.score.limits, found.get(LEADS, 0)
    for column in _categories(model):
        count = found.get(UNSEEN + column.name, 0)
        if leads and count / leads - column.rare > limits.max_unseen_share:
            yield (
                f"{column.name}: {count:,} of {leads:,} leads ({count / leads:.1%}) show a value that the model does "
                f"not know; when it was trained {column.rare:.1%} did, and at most {limits.max_unseen_share:.1%} more "
                "may. Has the field been renamed or coded anew? Mend it in the source, train again, or raise "
                "score.limits.max_unseen_share."
            )
    yield from _unknown_events(found, limits.max_unknown_events_share)


def _unknown_events(found: Mapping[str, int], limit: float) -> Iterator[str]:
    events, unknown = found.get(EVENTS, 0), found.get(UNKNOWN, 0)
    if events and unknown / events > limit:
        named = [name for name in found if name.startswith(f"{UNKNOWN}: ")]
        first = sorted(named, key=lambda name: (-found[name], name))[:NAMED]
        examples = ", ".join(repr(kept.shown(name.removeprefix(f"{UNKNOWN}: "))) for name in first)
        yield (
            f"events: {unknown:,} of {events:,} in the longest window ({unknown / events:.1%}) are of types that the "
            f"model does not know ({examples}); at most {limit:.1%} may. Name types that no feature may see in "
            "features.exclude_events and train again, mend the source, or raise score.limits.max_unknown_events_share."
        )


def _categories(model: PropensityModel) -> list[CategoryColumn]:
    line = model.logistic
    if isinstance(line, BaseRate):
        return []  # it looks at no feature
    encoding = line.encoding
    columns = encoding.columns if isinstance(encoding, Encoding) else encoding.categories
    return [column for column in columns if isinstance(column, CategoryColumn)]

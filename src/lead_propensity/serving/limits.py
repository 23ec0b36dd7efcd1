"""When scores are not to be acted on: every limit that is passed, with what to do. `score.limits` holds them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import duckdb
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.data.moments import iso, words
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
FEWEST = 5
"""Fewer leads or events than this that the model does not know are no reason to refuse, whatever their share."""
KEPT = "No scores are written; those that were there stay as they are."


def require(told: Iterable[str]) -> None:
    """Raises Refused with all that is told, if anything is."""
    reasons = tuple(told)
    if reasons:
        raise Refused(*reasons, then=KEPT)


def other_features(model: PropensityModel) -> Iterator[str]:
    """What the model alone tells."""
    version = model.catalogue.definition["version"]
    if version != VERSION:
        yield (
            f"the model's features are of version {version}, this program makes version {VERSION}: it would be fed "
            "with what it never saw. Train it again, or score with the program that trained it."
        )


def stale(config: Config, data_until: int, moment: int | None) -> Iterator[str]:
    """What the ages of the data tell: int64 microseconds; `data_until` -1: nobody knows, `moment` None: as exported."""
    max_days = config.score.limits.max_data_age_days
    if moment is None or data_until < 0 or moment - data_until <= max_days * DAY_US:
        return
    days = (moment - data_until) / DAY_US
    yield (
        f"the data end at {words(data_until)}, {days:,.1f} days before the moment of scoring, {words(moment)}; at "
        f"most {max_days:g} days may lie between. Bring newer data (is data.exported_at still right?), or raise "
        "score.limits.max_data_age_days."
    )


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


def unseen(config: Config, model: PropensityModel, found: Mapping[str, int]) -> Iterator[str]:
    """What the counts of all leads say, see `tally`."""
    limits, leads = config.score.limits, found.get(LEADS, 0)
    for column in _categories(model):
        count = found.get(UNSEEN + column.name, 0)
        if count >= FEWEST and count / leads - column.rare > limits.max_unseen_share:
            yield (
                f"{column.name}: {count:,} of {leads:,} leads ({count / leads:.1%}) show a value that the model does "
                f"not know; when it was trained {column.rare:.1%} did, and at most {limits.max_unseen_share:.1%} more "
                "may. Has the field been renamed or coded anew? Mend it in the source, train again, or raise "
                "score.limits.max_unseen_share."
            )


def unknown_events(config: Config, found: Mapping[str, int]) -> Iterator[str]:
    """What the counts of all events say, see `tally_events`."""
    events, unknown = found.get(EVENTS, 0), found.get(UNKNOWN, 0)
    limit = config.score.limits.max_unknown_events_share
    if unknown >= FEWEST and unknown / events > limit:
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
    return encoding.texts if isinstance(encoding, Encoding) else []

"""Why a lead scores as it does, in words: three topics for it, two against."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lead_propensity.features.catalogue import Feature
from lead_propensity.model.learners import Learner

FOR, AGAINST = 3, 2
BATCH = 5_000
SMALLEST = 0.01
"""Log-odds below which a topic is no reason."""


def explain(
    learner: Learner, features: Sequence[Feature], X: pd.DataFrame, rows: np.ndarray
) -> list[str]:
    """A JSON array of {text, sign, strength} for each of the row positions `rows`.

    `strength` is the topic's log-odds, the text its strongest feature with the lead's value.
    """
    by_name = {feature.name: feature for feature in features}
    used = [by_name[name] for name in learner.names]
    told: list[str] = []
    for start in range(0, len(rows), BATCH):
        some = X.iloc[rows[start : start + BATCH]]
        told.extend(_batch(learner.contributions(some)[:, :-1], used, some))
    return told


def _batch(parts: np.ndarray, used: Sequence[Feature], X: pd.DataFrame) -> list[str]:
    topic_of, topic_names = pd.factorize(pd.Series([f.topic for f in used], dtype=object))
    totals = np.zeros((len(parts), len(topic_names)))
    for place, owner in enumerate(topic_of):
        totals[:, owner] += parts[:, place]
    values = [X[feature.name].to_numpy(object) for feature in used]
    told = []
    for row in range(len(parts)):
        reasons = []
        for topic in _strongest(totals[row]):
            total = float(totals[row, topic])
            members = np.flatnonzero(topic_of == topic)
            place = int(members[np.argmax(parts[row, members] * np.sign(total))])
            reasons.append(_reason(used[place], values[place][row], total))
        told.append(json.dumps(reasons, ensure_ascii=False))
    return told


def _strongest(totals: np.ndarray) -> list[int]:
    falling = np.argsort(-totals, kind="stable")
    above = [int(topic) for topic in falling[:FOR] if totals[topic] >= SMALLEST]
    below = [int(topic) for topic in falling[::-1][:AGAINST] if totals[topic] <= -SMALLEST]
    return above + below


def _reason(feature: Feature, value: object, strength: float) -> dict[str, object]:
    sign = "+" if strength > 0 else "-"
    text = f"{feature.meaning}: {_shown(value)} ({sign})"
    return {"text": text, "sign": sign, "strength": round(strength, 3)}


def _shown(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return "not known"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
    return str(value)

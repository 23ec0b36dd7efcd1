"""What a lead does in one sitting: the fixed list of sessions that the world draws from.

A session is drawn as one of a thousand *slots*, each with its events written out. So the
generator and the truth share one exact distribution of a day's engagement.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SLOTS = 1000
"""Slots of each mix; slot 0..999 is the early mix, 1000..1999 the late one."""


class EventType(NamedTuple):
    """One event type: how much engagement it adds, and where it happens."""

    engagement: float
    channel: str


class Kind(NamedTuple):
    """One kind of session: slots per thousand in both mixes, and (fewest, most) of each event."""

    early: int
    late: int
    by_mail: bool
    events: dict[str, tuple[int, int]]


EVENT_TYPES = {
    "page_view": EventType(0.2, "web"),
    "pricing_page_view": EventType(1.5, "web"),
    "email_open": EventType(0.15, "email"),
    "email_click": EventType(0.6, "email"),
    "newsletter_read": EventType(0.2, "email"),
    "survey_answer": EventType(1.0, "survey"),
    "webinar": EventType(2.0, "webinar"),
    "download": EventType(1.2, "web"),
    "demo_request": EventType(4.0, "web"),
    "question": EventType(1.5, "chat"),
    "call": EventType(2.0, "phone"),
    "meeting_booked": EventType(4.0, "calendar"),
    "unsubscribe": EventType(0.0, "email"),
}
TYPE_NAMES = tuple(EVENT_TYPES)

KINDS = {
    "browse": Kind(330, 240, False, {"page_view": (4, 13)}),
    "pricing": Kind(40, 140, False, {"page_view": (2, 7), "pricing_page_view": (1, 3)}),
    "mail": Kind(283, 130, True, {"email_open": (1, 3)}),
    "click": Kind(
        100, 90, True, {"email_open": (1, 1), "email_click": (1, 2), "page_view": (1, 5)}
    ),
    "newsletter": Kind(120, 55, True, {"email_open": (1, 1), "newsletter_read": (1, 1)}),
    "survey": Kind(20, 30, True, {"email_open": (1, 1), "survey_answer": (1, 3)}),
    "webinar": Kind(30, 50, False, {"page_view": (1, 3), "webinar": (1, 1)}),
    "download": Kind(40, 60, False, {"page_view": (2, 5), "download": (1, 2)}),
    "question": Kind(12, 50, False, {"page_view": (1, 4), "question": (1, 2)}),
    "demo": Kind(6, 42, False, {"page_view": (1, 4), "demo_request": (1, 1)}),
    "call": Kind(6, 58, False, {"call": (1, 1)}),
    "meeting": Kind(1, 50, False, {"meeting_booked": (1, 1), "page_view": (0, 2)}),
    "unsubscribe": Kind(12, 5, True, {"email_open": (1, 1), "unsubscribe": (1, 1)}),
}


class Slots(NamedTuple):
    """All 2 x SLOTS slots: slot s holds types[first[s] : first[s] + length[s]]."""

    types: Ints
    first: Ints
    length: Ints
    engagement: Floats
    by_mail: Flags
    unsubscribes: Flags
    kind: npt.NDArray[np.str_]


def _build() -> Slots:
    # A constant of the world, not a draw of it: every seed knows the same sessions.
    draw = np.random.default_rng(20_240_510)
    rows, kinds = [], []
    for mix in ("early", "late"):
        for name, kind in KINDS.items():
            for _ in range(getattr(kind, mix)):
                rows.append(_events(kind, draw))
                kinds.append(name)
    length = np.array([len(row) for row in rows])
    weights = np.array([kind.engagement for kind in EVENT_TYPES.values()])
    return Slots(
        types=np.concatenate(rows),
        first=np.cumsum(length) - length,
        length=length,
        engagement=np.array([weights[row].sum() for row in rows]),
        by_mail=np.array([KINDS[name].by_mail for name in kinds]),
        unsubscribes=np.array([name == "unsubscribe" for name in kinds]),
        kind=np.array(kinds),
    )


def _events(kind: Kind, draw: np.random.Generator) -> Ints:
    counts = [int(draw.integers(low, high + 1)) for low, high in kind.events.values()]
    return np.repeat([TYPE_NAMES.index(name) for name in kind.events], counts)


SESSIONS = _build()
"""The slots, shared by the generator and the truth."""


def slots_of(*kinds: str) -> Ints:
    """Early-mix slots of these kinds."""
    return np.flatnonzero(np.isin(SESSIONS.kind[:SLOTS], kinds))

"""What can go wrong, by whose hand it is mended."""

import re

_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_EXAMPLE = re.compile(rf"(lead |e\.g\. ){_QUOTED}")
_UNREADABLE = " cannot be read: "
"""What follows is a reader's message: it quotes cells, and whole lines of a file."""
_READERS = re.compile(
    r"(?s:Original Line: .*?(?=\n(?:Expected|Error|Could|Invalid|CSV must|\.\.\.)|\Z))"
    rf"|(?<=columns, got )\d+: .*|{_QUOTED}"
)
_HIDDEN = "(not shown)"


class LeadPropensityError(Exception):
    """Base of every error that a user can mend; its text says what was got, needed and to do."""


class ConfigError(LeadPropensityError):
    """The config, a rules file or a command's argument is not usable."""


class DataError(LeadPropensityError):
    """The tables break their contract, or hold too little to answer the question."""


class ModelError(LeadPropensityError):
    """A model folder is missing, damaged, or does not fit the data."""


class Refused(LeadPropensityError):  # noqa: N818 (a refusal is no error)
    """All could be read, but the result would not be one to act on; schedulers tell it from an error (exit code 3).

    Each of the `reasons` becomes a line of the message, `then` (how things stand now) the last one.
    """

    def __init__(self, *reasons: str, then: str = "") -> None:
        super().__init__("\n".join((*reasons, *filter(None, [then]))))
        self.reasons = reasons


def without_cells(message: str) -> str:
    """A message as it may be kept or logged: the cells that it quotes, ids of leads among them, are not shown.

    >>> without_cells("events: 1 row, e.g. 'soon' of lead 'L7'")
    'events: 1 row, e.g. (not shown) of lead (not shown)'
    >>> without_cells("x.csv cannot be read: CSV parse error: Expected 3 columns, got 2: Jane Doe,1")
    'x.csv cannot be read: CSV parse error: Expected 3 columns, got (not shown)'
    """
    told, cut, readers = message.partition(_UNREADABLE)
    return _EXAMPLE.sub(rf"\1{_HIDDEN}", told) + cut + _READERS.sub(_HIDDEN, readers)

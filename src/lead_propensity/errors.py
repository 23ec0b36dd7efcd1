"""What can go wrong, by whose hand it is mended."""


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

"""Lists of words as people write them in YAML."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field


def _words(value: object) -> object:
    """One value or a list of them, as the texts that a table holds."""
    values = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(one, bool) for one in values):
        raise ValueError("YAML reads an unquoted yes, no, true or false as a truth value; quote it")
    return tuple(str(one) if isinstance(one, int | float) else one for one in values)


def _all_or_list(value: object) -> object:
    if isinstance(value, list | tuple) or value == "all":
        return value
    raise ValueError("give `all`, or a list of names such as [industry, size]")


Words = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_words)]
Names = Annotated[Literal["all"] | tuple[str, ...], BeforeValidator(_all_or_list)]

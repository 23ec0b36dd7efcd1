"""Connections come from the environment, and stand in no config, error, log or model."""

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from lead_propensity.errors import ConfigError

POSTGRES = "LEAD_PROPENSITY_POSTGRES"
"""The environment variable that names the database: a URI, or libpq's `host=... dbname=...`."""
POSTGRES_SINK = "LEAD_PROPENSITY_POSTGRES_SINK"
"""The same for the database that scores are written to, where it is another one."""

_ADDRESS = re.compile(r"\bpostgres(ql)?://", re.IGNORECASE)
_KEYS = re.compile(r"\b(host|hostaddr|user|dbname|service)\s*=", re.IGNORECASE)
_SECRET = re.compile(r"(?:password|secret)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE)
_HIDDEN = "***"


def is_connection(text: str) -> bool:
    """Whether a text says how to reach a database, with or without a password."""
    return bool(_ADDRESS.search(text) or (_SECRET.search(text) and _KEYS.search(text)))


def refuse_connections(tree: object, place: str = "") -> None:
    """Raises ConfigError, which does not repeat it, where any text of a config is a connection."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            refuse_connections(str(key), f"{place}.<key>" if place else "<key>")
            refuse_connections(value, f"{place}.{key}" if place else str(key))
    elif isinstance(tree, list | tuple):
        for value in tree:
            refuse_connections(value, place)
    elif isinstance(tree, str) and is_connection(tree):
        raise ConfigError(
            f"{place or 'config'} holds a connection to a database (not repeated here); a config is copied into "
            f"runs and must hold none. Put it into the environment variable {POSTGRES}, or into a libpq "
            "service file (PGSERVICE), and write the query only: `postgres: SELECT ...`."
        )


def without_secrets(text: str) -> str:
    """A server's message with every password that the environment holds taken out, also in pieces.

    libpq quotes pieces of an address that it cannot read: a password that holds @ or / becomes a host.
    """
    for secret in sorted(set(_secrets()), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _HIDDEN, text)
    return text


def _secrets() -> Iterator[str]:
    yield from _pieces(os.environ.get("PGPASSWORD", ""))
    for name in (POSTGRES, POSTGRES_SINK):
        address = os.environ.get(name, "")
        user = re.search(r"://(.*)@", address, re.DOTALL)
        if user is not None:
            yield from _pieces(user[1].partition(":")[2])
        elif "@" in address:
            yield from _pieces(address.rpartition("@")[0])
        for secret in _SECRET.findall(address):
            yield from _pieces(secret.strip("'"))


def _pieces(secret: str) -> Iterator[str]:
    for whole in (secret, unquote(secret)):
        yield from filter(None, (whole, *re.split(r"[\W_]+", whole)))

"""Reading a config: one YAML file, `--set` on top, every mistake named at once."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from lead_propensity.config import documents
from lead_propensity.config.documents import shown
from lead_propensity.config.tree import Config
from lead_propensity.errors import ConfigError


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config; `overrides` are `key.sub=value` texts whose value is YAML.

    Raises ConfigError with every violation at once.
    """
    path = Path(path)
    tree = _read(path)
    for override in overrides:
        _override(tree, override)
    try:
        return Config.model_validate(tree, context={"folder": path.resolve().parent})
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in _violations(error, Config))
        raise ConfigError(f"{path} is not a usable config:\n{lines}") from error


def _read(path: Path) -> dict[str, object]:
    try:
        tree = documents.read(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file. Give the path of a config, see `configs/`."
        ) from error
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds {type(tree).__name__}, a mapping of keys is needed.")
    return tree


def _override(tree: dict[str, object], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError(f"--set {override!r} is not of the form key.sub=value.")
    *parents, leaf = key.split(".")
    node = tree
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: `{parent}` holds a value, not keys.")
        node = child
    try:
        node[leaf] = documents.parsed(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML: {error}") from error


def _violations(error: ValidationError, root: type[BaseModel]) -> list[str]:
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{place}: unknown key{_nearest(item['loc'], root)}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            tells = not isinstance(item["input"], Mapping | BaseModel)
            got = f" (got {shown(item['input'])})" if tells else ""
            lines.append(f"{place or 'config'}: {message}{got}")
    return lines


def _nearest(place: tuple[int | str, ...], root: type[BaseModel]) -> str:
    node: type[BaseModel] | None = root
    for part in place[:-1]:
        node = _child(node, str(part)) if node else None
    known = sorted(node.model_fields) if node else []
    close = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}"


def _child(node: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = node.model_fields.get(name)
    kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next(
        (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None
    )

"""A model folder: plain text files, and `digests.json` that knows each one's sha256."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lead_propensity.errors import ModelError

DIGESTS = "digests.json"


def json_bytes(tree: object) -> bytes:
    """The same bytes for the same tree; NaN is refused."""
    text = json.dumps(tree, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def model_id(files: Mapping[str, bytes]) -> str:
    """Twelve hex digits that stand for the content of all files."""
    return hashlib.sha256(json_bytes(digests(files))).hexdigest()[:12]


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files, and their digests last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / DIGESTS).write_bytes(json_bytes(digests(files)))


def read(folder: Path) -> dict[str, bytes]:
    """All files that the digests list. Raises ModelError for a missing or changed one."""
    expected = parsed(DIGESTS, _content(folder, DIGESTS))
    files = {}
    for name, digest in expected.items():
        if Path(name).name != name:
            raise ModelError(f"{folder / DIGESTS} lists {name!r}, which is no plain file name.")
        files[name] = _content(folder, name)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ModelError(
                f"{folder / name} has changed since it was saved: its sha256 is not the one in "
                f"{DIGESTS}. Train again, or restore the folder."
            )
    return files


def parsed(name: str, content: bytes) -> dict[str, Any]:
    """A JSON object. Raises ModelError for anything else, and for numbers that are not finite."""
    try:
        tree = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} of the model folder is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ModelError(f"{name} of the model folder holds no JSON object. Train again.")
    return tree


def require_fields(kind: Any, tree: object) -> None:
    """Raises ValueError unless the JSON `tree` holds what the fields of the class `kind` must."""
    try:
        TypeAdapter(kind).validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (kind.__name__, *first["loc"]))
        raise ValueError(f"{place}: {first['msg']}") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number to reckon with")
    return number


def _content(folder: Path, name: str) -> bytes:
    try:
        path = (folder / name).resolve(strict=True)
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise ModelError(
                f"{folder / name} leads to {path}, which is no file of the model folder. Copy the folder with its "
                "files in the place of the links."
            )
        return path.read_bytes()
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # names that no file can have, links in a circle
        raise ModelError(
            f"{folder / name!s} cannot be read ({getattr(error, 'strerror', None) or error}). Give the folder of a "
            "trained model: it holds model.json and digests.json."
        ) from error

"""Paths as a config may write them: with environment variables, inside packages, relative."""

import importlib.util
import os
import re
from pathlib import Path

from lead_propensity.errors import ConfigError


def resolve(path: str, folder: Path) -> Path:
    """An absolute path; what is relative starts at `folder`.

    Raises ConfigError for an unset variable, a missing package, an unknown user.
    """
    unset = [name for name in re.findall(r"\$\{(\w+)\}", path) if name not in os.environ]
    if unset:
        raise ConfigError(
            f"path {path!r} uses the environment variable {unset[0]}, which is not set. "
            f"Set it, e.g. `export {unset[0]}=/where/the/data/lies`."
        )
    filled = re.sub(r"\$\{(\w+)\}", lambda match: os.environ[match[1]], path)
    if filled.startswith("package:"):
        package, _, rest = filled.removeprefix("package:").partition("/")
        return _package_folder(package, path) / rest
    try:
        return Path(os.path.normpath(folder / Path(filled).expanduser()))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"path {path!r}: {error} Write the folder out.") from error


def _package_folder(package: str, path: str) -> Path:
    """Nothing is imported to find it: a config runs no code, also not that of a package above another."""
    top, *below = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    folder = None
    if spec is not None and spec.has_location and spec.origin is not None:
        folder = Path(spec.origin).parent.joinpath(*below)
    if folder is None or (below and not folder.is_dir()):
        raise ConfigError(
            f"path {path!r} needs the Python package {package!r}, which is not installed. "
            f"Install it: `pip install {package.replace('_', '-')}`."
        )
    return folder

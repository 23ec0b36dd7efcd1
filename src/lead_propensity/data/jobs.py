"""Finished buckets of a long piece of work, kept where a run that was killed can find them again."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from pydantic import ValidationError

from lead_propensity.config import Strict
from lead_propensity.errors import ConfigError
from lead_propensity.files import replacing, write_text

MANIFEST = "manifest.json"
_QUICKLY: dict[str, Any] = {
    "compression": "lz4",
    "use_dictionary": False,
    "write_statistics": False,
}
"""These files are read once at most, and mostly never."""
LOCK = "lock"


class _Bucket(Strict):
    digest: str
    """Of all that the bucket was made from."""
    rows: int
    file: str


class _Manifest(Strict):
    buckets: dict[int, _Bucket]


class Job:
    """The finished buckets of one job. Only the run that holds the job's lock may make one.

    `folder` None: it keeps nothing, because another living run works at the same job. That run is not
    waited for: to compute a bucket twice is cheaper than to stand still for as long as it lives.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._manifest = _Manifest(buckets={}) if folder is None else _read(folder)
        if folder is not None:
            _remove_leftovers(folder, self._manifest)
            os.utime(folder)  # in use today: old enough to be removed only days after

    def kept(self, bucket: int, digest: str) -> pa.Table | None:
        """The finished bucket; None where it is not there, made from something else, or damaged."""
        entry = self._manifest.buckets.get(bucket)
        if self._folder is None or entry is None or entry.digest != digest:
            return None
        try:
            table = pa.parquet.read_table(
                self._folder / entry.file, page_checksum_verification=True, partitioning=None
            )
        except (OSError, pa.ArrowException):
            return None
        return table if table.num_rows == entry.rows else None

    def keep(self, bucket: int, digest: str, table: pa.Table) -> None:
        """Keep a finished bucket in the place of an earlier one of that number.

        `digest`: letters and digits. Raises ConfigError where the disk takes no more.
        """
        if self._folder is None:
            return
        assert digest.isalnum(), f"{digest!r} is to be part of a file name"
        # The digest stands in the name: whatever moment the run dies at, the manifest never leads
        # to a file made from something else.
        entry = _Bucket(digest=digest, rows=table.num_rows, file=f"{bucket}-{digest}.parquet")
        manifest = _Manifest(buckets=self._manifest.buckets | {bucket: entry})
        try:
            with replacing(self._folder / entry.file) as scratch:
                pa.parquet.write_table(table, scratch, **_QUICKLY, write_page_checksum=True)
            write_text(manifest.model_dump_json(indent=1), self._folder / MANIFEST)
        except ConfigError as error:
            raise ConfigError(
                f"finished work cannot be kept: {error} Make room there, or name a folder on a larger "
                "disk in engine.work_folder."
            ) from error
        self._manifest = manifest
        _remove_leftovers(self._folder, manifest)


def _read(folder: Path) -> _Manifest:
    try:
        return _Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):  # none yet, or damaged: the work is done again
        return _Manifest(buckets={})


def _remove_leftovers(folder: Path, manifest: _Manifest) -> None:
    """Buckets that were replaced, and what a killed run wrote and never entered in the manifest."""
    known = {LOCK, MANIFEST, *(entry.file for entry in manifest.buckets.values())}
    for path in folder.iterdir():
        if path.name not in known:
            with suppress(OSError):
                path.unlink()

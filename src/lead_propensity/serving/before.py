"""What a sink held before: the band of each lead at the latest moment before this one."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lead_propensity.errors import DataError
from lead_propensity.files import DEFUSED, streamed
from lead_propensity.serving.naming import Naming

BEFORE = pa.schema([("lead_id", pa.string()), ("band", pa.string())])
"""Of the pieces that are given."""
AT_ONCE = 100_000
_MOMENT = pa.timestamp("us", tz="UTC")
_ASKED = {
    "lead_id": pa.string(),
    "as_of": _MOMENT,
    "band": pa.string(),
    "previous_band": pa.string(),
}
NEEDED = ("lead_id", "as_of", "band")
_PREFIX = "as_of_utc="


def of_file(path: Path, naming: Naming, moment: int) -> Iterator[pa.Table]:
    """By what a file of scores says; nothing where there is none, or none of ours.

    Of rows of an earlier moment their band; of rows of this one the band before that they tell
    themselves, so that a rerun gives the same rows; of later ones nothing. Raises DataError where the
    file cannot be read, or lacks a column under the name that it would be given now.
    """
    if not path.is_file():
        return
    try:
        for rows in _rows(path, {naming.columns[ours]: ours for ours in _ASKED}):
            yield _known(rows, moment)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def of_folder(folder: Path, naming: Naming, moment: int) -> Iterator[pa.Table]:
    """By the latest part before the moment. Raises DataError where it cannot be read."""
    parts = {
        at: part for part in folder.glob(f"{_PREFIX}*") if (at := _parsed(part.name)) is not None
    }
    earlier = [at for at in parts if at < moment]
    if earlier:
        yield from of_file(parts[max(earlier)] / "part.parquet", naming, moment)


def folder_of(moment: int) -> str:
    """How the part of a moment is called: a date, or with the time where it is no midnight."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=moment)
    midnight = moment % 86_400_000_000 == 0
    return _PREFIX + at.strftime("%Y-%m-%d" if midnight else "%Y-%m-%dT%H-%M-%S.%f")


def is_part(folder: Path) -> bool:
    """Whether it is named as the part of a moment."""
    return folder.name.startswith(_PREFIX)


def _parsed(name: str) -> int | None:
    text = name.removeprefix(_PREFIX)
    try:
        at = datetime.strptime(text, "%Y-%m-%d" if "T" not in text else "%Y-%m-%dT%H-%M-%S.%f")
    except ValueError:
        return None
    return (at.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _rows(path: Path, names: dict[str, str]) -> Iterator[pa.Table]:
    """Those of our columns that the file has, under our names, some rows at a time."""
    for batch in _csv(path, names) if path.suffix == ".csv" else _parquet(path, names):
        table = pa.Table.from_batches([batch])
        ours = [names[one] for one in table.column_names]
        yield table.rename_columns(ours).cast(pa.schema([(one, _ASKED[one]) for one in ours]))


def _parquet(path: Path, names: dict[str, str]) -> Iterator[pa.RecordBatch]:
    with streamed(path) as file:
        there = _there(file.schema_arrow.names, names)
        yield from file.iter_batches(AT_ONCE, columns=there)


def _csv(path: Path, names: dict[str, str]) -> Iterator[pa.RecordBatch]:
    parsing = pa.csv.ParseOptions(newlines_in_values=True)
    with pa.csv.open_csv(path, parse_options=parsing) as head:
        there = _there(head.schema.names, names)
    kinds = {name: _ASKED[names[name]] for name in there}
    options = pa.csv.ConvertOptions(
        include_columns=there, column_types=kinds, strings_can_be_null=True, null_values=[""]
    )
    place = next(place for place, name in enumerate(there) if names[name] == "lead_id")
    with pa.csv.open_csv(path, parse_options=parsing, convert_options=options) as reader:
        for batch in reader:
            lead = pc.replace_substring_regex(batch.column(place), DEFUSED, r"\1")
            yield batch.set_column(place, there[place], lead)


def _there(found: Sequence[str], names: dict[str, str]) -> list[str]:
    """The columns to read. Raises ValueError where one is missing that is needed, or stands there twice."""
    there = {names[name]: name for name in names if name in found}
    missing = [name for name, ours in names.items() if ours in NEEDED and ours not in there]
    twice = [name for name in there.values() if list(found).count(name) > 1]
    if missing or twice:
        told = [f"no column {name!r}" for name in missing]
        told += [f"the column {name!r} twice" for name in twice]
        raise ValueError(f"it has {' and '.join(told)}; have score.columns changed since?")
    return list(there.values())


def _known(rows: pa.Table, moment: int) -> pa.Table:
    at = rows["as_of"].cast(pa.int64())
    nothing = pa.nulls(len(rows), pa.string())
    own = rows["previous_band"] if "previous_band" in rows.column_names else nothing
    earlier, same = pc.less(at, moment), pc.equal(at, moment)
    band = pc.if_else(earlier, rows["band"], pc.if_else(same, own, nothing))
    table = pa.table([rows["lead_id"], band], schema=BEFORE)
    return table.filter(pc.and_(pc.is_valid(table["lead_id"]), pc.is_valid(table["band"])))

"""What a run of `score` tells of itself: its record, the leads it could not score, the rows it set aside."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lead_propensity.config import Config
from lead_propensity.config.credentials import without_secrets
from lead_propensity.data import tables
from lead_propensity.data.engine import identifier, literal
from lead_propensity.data.moments import iso
from lead_propensity.data.tables import Check
from lead_propensity.errors import ConfigError, LeadPropensityError, Refused, without_cells
from lead_propensity.features import standing
from lead_propensity.files import replacing
from lead_propensity.model.bands import BANDS
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.progress import Clock, Progress
from lead_propensity.serving import records
from lead_propensity.serving.history import CHANGES

ASIDE = "row in quarantine: "
"""Before the reason for which the row of a lead was set aside."""
ROOM = 2_000
"""Bytes that a record may grow by after scores are replaced: the last seconds."""
_LISTED = pa.schema([("lead_id", pa.string()), ("reason", pa.string())])
_TABLES = ("leads", "attributes", "events", "deals", "exported")


class Account:
    """The record of one run in the making; `kept` gives it."""

    def __init__(self, config: Config, out: str, progress: Progress) -> None:
        self.folder = records.records_folder(out, config)
        self.clock = Clock(progress)
        self._began = time.monotonic()
        nothing = dict.fromkeys(("as_of", "data_until", "model_id", "labels_until"))
        self.record: dict[str, Any] = {
            "command": "score",
            "outcome": None,
            "why": [],
            "name": config.name,
            **nothing,
            "out": out,
            **{name: {} for name in ("counts", "bands", "band_changes", "quarantined")},
            "drift": None,
            "warnings": [],
            "seconds": {},
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": version("lead-propensity"),
        }

    def tell(self, **facts: Any) -> None:
        """Put facts into the record: JSON, times as ISO text."""
        assert facts.keys() <= self.record.keys(), f"a record has no {facts.keys()}"
        self.record |= facts

    def warn(self, *warnings: str) -> None:
        """Tell what stops no run, without the cells that it quotes."""
        self.tell(warnings=[*self.record["warnings"], *map(without_cells, warnings)])

    def meet(self, model: PropensityModel) -> None:
        """Tell which model it is. As exported its `labels_until` is no time."""
        until = None if model.horizon_days is None else iso(model.labels_until)
        self.tell(model_id=model.model_id, labels_until=until)

    def look(self, found: Check, moment: int | None) -> None:
        """Tell what the contracts found, and which moment is looked at."""
        aside = {count.table: count.rows - count.kept for count in found.counts}
        until = None if found.exported_at < 0 else iso(found.exported_at)
        as_of = None if moment is None else iso(moment)
        self.tell(as_of=as_of, quarantined=aside, data_until=until)

    def count(
        self,
        found: Check,
        bands: Mapping[Any, int],
        changes: Mapping[Any, int],
        unscored: Mapping[str, int],
    ) -> None:
        """Tell what became of every row, see `counted`."""
        told = {band: int(bands.get(band, 0)) for band in reversed(BANDS)}
        moved = {change: int(changes.get(change, 0)) for change in CHANGES}
        self.tell(
            bands=told, band_changes=moved, counts=counted(found, sum(told.values()), unscored)
        )

    def make_sure(self) -> None:
        """That the record can be written; ask before scores are replaced. Raises ConfigError."""
        records.prove(self.folder, len(json.dumps(self.record)) + ROOM)

    def close(self, outcome: str, why: tuple[str, ...] = (), write: bool = True) -> None:
        """Tell how the run ended, and write the record: it outlives the leads, so no message in it quotes one."""
        seconds = {name: round(spent, 3) for name, spent in self.clock.seconds.items()}
        seconds["total"] = round(time.monotonic() - self._began, 3)
        told = [without_cells(without_secrets(line)) for line in why]
        self.tell(outcome=outcome, why=told, seconds=seconds)
        if write:
            records.append(self.folder, self.record)


@contextmanager
def kept(config: Config, out: str, progress: Progress, dry_run: bool) -> Iterator[Account]:
    """The account of a run; its record is written however the block ends, unless the process is killed.

    A dry run writes nothing. Raises ConfigError where `out` names no place for scores, or the record
    cannot be written: that is seen before the work, again before scores are replaced, and else said.
    """
    account = Account(config, out, progress)
    if dry_run:
        yield account
        account.close("dry run", write=False)
        return
    records.require(account.folder)
    try:
        yield account
    except BaseException as error:
        outcome = "refused" if isinstance(error, Refused) else "failed"
        with suppress(ConfigError):  # what went wrong first is what the user must hear
            account.close(outcome, _why(error))
        raise
    try:
        account.close("done")
    except ConfigError as error:
        raise ConfigError(f"the new scores are in {out}, but {error}") from error


def _why(error: BaseException) -> tuple[str, ...]:
    if isinstance(error, Refused):
        return error.reasons
    if isinstance(error, LeadPropensityError):
        return (str(error),)
    return (type(error).__name__,)  # its message may quote a cell


def counted(found: Check, scored: int, unscored: Mapping[str, int]) -> dict[str, Any]:
    """How the rows of the leads (as exported: the rows) were dealt with; they add up, or the run ends here."""
    (table,) = (count for count in found.counts if count.table in ("leads", "exported"))
    aside = {
        f"{ASIDE}{one.reason}": one.count for one in found.quarantined if one.table == table.table
    }
    not_scored = {**unscored, **aside}
    told = scored + sum(not_scored.values())
    assert told == table.rows, f"{table.rows} rows were read, {told} are accounted for"
    return {"read": table.rows, "scored": scored, "not_scored": not_scored}


def set_aside(con: duckdb.DuckDBPyConnection, found: Check, folder: Path) -> None:
    """Put the rows that this run set aside in the place of the last one's."""
    there = {finding.table for finding in found.quarantined}
    for table in set(_TABLES) - there:
        (folder / records.QUARANTINE / f"{table}.parquet").unlink(missing_ok=True)
    tables.write_quarantine(con, found, folder / records.QUARANTINE)


def list_unscored(con: duckdb.DuckDBPyConnection, config: Config, folder: Path) -> None:
    """Write who could not be scored, and why, by reason and lead; leads that have closed are left out."""
    listed = ", ".join(map(literal, standing.LISTED))
    rows = con.cursor().sql(f"""
        SELECT lead_id, reason FROM unscored WHERE reason IN ({listed})
        UNION ALL {_of_quarantine(con, config)} ORDER BY reason, lead_id""")
    with (
        replacing(folder / records.NOT_SCORED) as scratch,
        pq.ParquetWriter(scratch, _LISTED, compression="zstd") as writer,
    ):
        for batch in rows.to_arrow_reader(100_000):
            writer.write_batch(batch.cast(_LISTED))


def _of_quarantine(con: duckdb.DuckDBPyConnection, config: Config) -> str:
    """SQL: (lead_id, reason) of the rows set aside; null where the table names no lead."""
    table = "leads" if config.data.exported is None else "exported"
    source = config.data.exported or config.data.leads
    assert source is not None
    theirs = source.columns.get("lead_id", "lead_id")
    names = [row[0] for row in con.execute(f"DESCRIBE quarantine_{table}").fetchall()][1:]
    lead = f"CAST({identifier(theirs)} AS VARCHAR)" if theirs in names else "NULL"
    return f"SELECT {lead}, {literal(ASIDE)} || reason FROM quarantine_{table}"

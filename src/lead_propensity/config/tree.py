"""The config tree: typed to its leaves, frozen, with the one home of every default."""
# ruff: noqa: RUF012 (pydantic copies mutable defaults; ruff knows this of its own classes only)

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, PrivateAttr, field_validator, model_validator

from lead_propensity.config.bands import BandsConfig
from lead_propensity.config.base import Criterion, Days, Share, Strict
from lead_propensity.config.credentials import refuse_connections
from lead_propensity.config.gate import GateConfig
from lead_propensity.config.monitor import MonitorConfig
from lead_propensity.config.paths import resolve
from lead_propensity.config.report import ReportConfig
from lead_propensity.config.score import ScoreConfig
from lead_propensity.config.sources import DealsSource, ExportedSource, TableSource
from lead_propensity.config.words import Names

Family = Literal[
    "counts", "values", "recency", "decay", "active_days", "breadth", "trend",
    "sessions", "clock", "rhythm", "topics", "dwell",
]  # fmt: skip
AttributeKind = Literal["number", "category", "boolean", "date", "email"]


def known_zone(zone: str | None) -> str | None:
    """The name of a time zone, or none. Raises ValueError for another text."""
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{zone!r} is no time zone; use a name like Europe/Berlin") from error
    return zone


class DataConfig(Strict):
    """The tables, and how their times are to be read."""

    exported_at: datetime | None = None
    """When the data was exported (default: the latest time seen). Rows known later are set aside."""
    timezone: str | None = None
    """Zone of times that carry none; without it such times stop the run."""
    raw: dict[str, str] = {}
    """Names for `sql`, each a file or folder."""
    leads: TableSource | None = None
    attributes: TableSource | None = None
    events: TableSource | None = None
    deals: DealsSource | None = None
    exported: ExportedSource | None = None
    null_values: tuple[str, ...] = ("",)
    """Texts that mean missing."""
    repeated_events: Literal["quarantine", "keep"] = "quarantine"
    """What to do with events that repeat another one in every column."""
    max_quarantine_share: Annotated[float, Field(ge=0, le=1)] = 0.05

    @field_validator("exported_at", mode="before")
    @classmethod
    def _no_number(cls, moment: object) -> object:
        if isinstance(moment, int | float):
            raise ValueError("give a time like 2025-12-31T00:00:00Z")
        return moment

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        return known_zone(zone)

    @model_validator(mode="after")
    def _zone_of_the_export(self) -> Self:
        if self.exported_at is not None and self.exported_at.tzinfo is None and not self.timezone:
            raise ValueError(
                f"exported_at {self.exported_at} carries no zone: write {self.exported_at:%Y-%m-%dT%H:%M:%S}Z, "
                "or declare `timezone`"
            )
        return self

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        history = [self.leads, self.attributes, self.events, self.deals]
        if self.exported is not None and any(table is not None for table in history):
            raise ValueError("give either `exported`, or `leads` and `deals`, not both")
        if self.exported is None and (self.leads is None or self.deals is None):
            raise ValueError(
                "give `leads` and `deals` (and, where you have them, `events`), or `exported`"
            )
        return self


class SnapshotsConfig(Strict):
    """When an open lead is looked at, and how far ahead a win counts."""

    every_days: Days = 14
    ages_days: tuple[Days, ...] = ()
    """Look at these lead ages instead of at a calendar grid."""
    horizon_days: Days = 90
    max_age_days: Days = 365
    max_leads: Annotated[int, Field(ge=100)] | None = None
    """Train on about so many leads at most, chosen by a hash of `lead_id` (default: all); each then stands
    for several."""

    @field_validator("ages_days")
    @classmethod
    def _ascending(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(days)))

    @model_validator(mode="after")
    def _young_enough(self) -> Self:
        older = [days for days in self.ages_days if days > self.max_age_days]
        if older:
            raise ValueError(
                f"ages_days {older} exceed max_age_days ({self.max_age_days}), so no lead is looked at then; "
                "raise max_age_days, or leave them out"
            )
        return self


class FeaturesConfig(Strict):
    """Which features are made."""

    families: tuple[Family, ...] = (
        "counts",
        "values",
        "recency",
        "decay",
        "active_days",
        "breadth",
        "trend",
    )
    """What is measured of the events. Beyond the default: `sessions` (visits), `clock` (times of day,
    weekends), `rhythm` (how regular), `topics` (what leads read about), `dwell` (mean values)."""
    timezone: str | None = None
    """Zone in which days, hours and weekends are told apart (default: `data.timezone`, else UTC)."""
    windows_days: tuple[Days, ...] = (7, 30, 90)
    half_lives_days: tuple[Days, ...] = (14,)
    explicit: Names = "all"
    """Attributes to use (as exported: columns)."""
    implicit: Names = "all"
    """Event types to use (as exported: columns that count what a lead did)."""
    exclude_events: tuple[str, ...] = ()
    """Event types that no feature and no rule may see, such as those that record the outcome."""
    negative_events: tuple[str, ...] = ("unsubscribe",)
    """Event types that speak against interest; they count over all time."""
    custom: tuple[str, ...] = ()
    """Features that installed packages bring, by name; see the page Custom features."""
    kinds: dict[str, AttributeKind] = {}
    """Attribute kinds where the guess from the data is wrong."""
    criteria: dict[Criterion, str] = {}
    """Which attribute holds which of the five criteria (default: the one of that name)."""
    met: tuple[str, ...] = ("met", "yes", "true", "1")
    """Values of a criterion's attribute that mean it is met; other values mean it is not."""
    sensitive: tuple[str, ...] = ()
    """Attributes (as exported: columns) that no feature is made of, such as gender; the report shows how
    fairly their groups are scored."""

    @field_validator("windows_days", "half_lives_days")
    @classmethod
    def _ascending(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(days)))

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        return known_zone(zone)

    @model_validator(mode="after")
    def _sensitive_is_no_feature(self) -> Self:
        listed = (names for names in (self.explicit, self.implicit) if names != "all")
        used = {*self.criteria.values(), *(name for names in listed for name in names)}
        both = [name for name in self.sensitive if name in used]
        if both:
            raise ValueError(
                f"{', '.join(map(repr, both))} stands in `sensitive` and in `explicit`, `implicit` or `criteria`; "
                "no feature may be made of a sensitive attribute: take it out of one of them"
            )
        return self


class SplitConfig(Strict):
    """How the time line is cut. The purge between the parts is one horizon."""

    calibrate_days: Days = 30
    test_days: Days = 60
    calibrate_share: Share = 0.15
    """As exported: share of the rows, before the test part."""
    test_share: Share = 0.25
    """As exported: share of the rows, the last ones."""


class ModelConfig(Strict):
    """How the model is chosen."""

    trials: Annotated[int, Field(ge=1, le=10_000)] = 30
    trial_rows: Annotated[int, Field(ge=1_000)] = 50_000
    """Most snapshots that a trial and the walk forward see; the final fit sees all."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    min_wins_logistic: Annotated[int, Field(ge=2)] = 20
    """Fewer won leads in the fit part: the base rate."""
    min_wins_trees: Annotated[int, Field(ge=2)] = 100
    """Fewer won leads in the fit part: the logistic model alone."""
    backtest_periods: Annotated[int, Field(ge=0, le=24)] = 4
    """Into so many periods the time before the test part is cut, to walk forward; 0: no walk."""
    refit: Literal["auto", "always", "never"] = "auto"
    """Whether the model is fitted again, on all labels known when the test part begins, and once more, to
    be deployed, on the test part's labels, too: `auto` unless that harmed in the walk forward."""


class RegistryConfig(Strict):
    """Names in MLflow."""

    name: str | None = None
    """Registered model (default: `lead-propensity-<name>`)."""


class SparkConfig(Strict):
    """Where Spark runs, for `engine.kind: spark`."""

    master: str = "local[*]"
    """Spark's master URL, e.g. `spark://host:7077`, `yarn` or `local[4]`."""
    options: dict[str, str] = {}
    """Spark's own settings by their names, e.g. `spark.executor.memory: 8g`."""
    partitions: Annotated[int, Field(ge=1)] | None = None
    """Into how many parts the leads are cut (default: by the size of the files and the number of cores)."""
    chunk_rows: Annotated[int, Field(ge=1)] = 200_000
    """About so many rows of whole leads are worked on at a time; memory grows with it."""


class EngineConfig(Strict):
    """What the machine may use. Results do not depend on it."""

    kind: Literal["local", "spark"] = "local"
    """`local`: this machine; `spark`: a cluster, when one machine is outgrown (the page Spark)."""
    spark: SparkConfig = SparkConfig()

    threads: Annotated[int, Field(ge=1, le=512)] | None = None
    """Default: all cores."""
    memory_limit: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]+)?\s?[KMGT]i?B$")] | None = (
        None
    )
    """Of the whole process, e.g. `4GB`; default: 60% of what the machine or container offers. Work that
    does not fit goes to disk."""
    work_folder: str | None = None
    """An absolute path for scratch files, in `lead-propensity-<user>` below it; default: the system's
    temporary folder."""


class Config(Strict):
    """One dataset's whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=200)]
    data: DataConfig
    snapshots: SnapshotsConfig = SnapshotsConfig()
    features: FeaturesConfig = FeaturesConfig()
    split: SplitConfig = SplitConfig()
    model: ModelConfig = ModelConfig()
    bands: BandsConfig = BandsConfig()
    rules: str | None = None
    """The points scorecard, a YAML file; left out, there is nothing to beat."""
    report: ReportConfig = ReportConfig()
    score: ScoreConfig = ScoreConfig()
    registry: RegistryConfig = RegistryConfig()
    gate: GateConfig = GateConfig()
    monitor: MonitorConfig = MonitorConfig()
    engine: EngineConfig = EngineConfig()

    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="before")
    @classmethod
    def _no_connection(cls, tree: Any) -> Any:
        refuse_connections(tree)
        return tree

    @model_validator(mode="after")
    def _sample_of_a_history(self) -> Self:
        if self.data.exported is not None and self.snapshots.max_leads is not None:
            raise ValueError(
                "snapshots.max_leads is for an event history; rows as exported are all used. Leave it out"
            )
        return self

    @model_validator(mode="after")
    def _stages_of_a_history(self) -> Self:
        if self.data.exported is not None and self.bands.stages:
            raise ValueError(
                "bands.stages are events of an event history; rows as exported have none. Leave it out"
            )
        return self

    def model_post_init(self, context: Any) -> None:
        """Relative paths start where the config file lies: `load` gives it as validation context."""
        self._folder = (context or {}).get("folder", Path())

    @property
    def registered_name(self) -> str:
        return self.registry.name or f"lead-propensity-{self.name}"

    def resolve(self, path: str) -> Path:
        """An absolute path: `${VARIABLE}` and `package:name/...` are filled in, the rest is relative to the config."""
        return resolve(path, self._folder)

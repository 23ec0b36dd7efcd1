"""The config: one YAML file, typed to its leaves, frozen, unknown keys refused."""

from lead_propensity.config.file import load
from lead_propensity.config.tree import (
    CRITERIA,
    AttributeKind,
    BandsConfig,
    Config,
    Criterion,
    DataConfig,
    DealsSource,
    EngineConfig,
    ExportedSource,
    Family,
    FeaturesConfig,
    ModelConfig,
    RoutesConfig,
    SnapshotsConfig,
    SparkConfig,
    Strict,
    TableSource,
)

__all__ = [
    "CRITERIA",
    "AttributeKind",
    "BandsConfig",
    "Config",
    "Criterion",
    "DataConfig",
    "DealsSource",
    "EngineConfig",
    "ExportedSource",
    "Family",
    "FeaturesConfig",
    "ModelConfig",
    "RoutesConfig",
    "SnapshotsConfig",
    "SparkConfig",
    "Strict",
    "TableSource",
    "load",
]

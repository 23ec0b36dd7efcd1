"""The config: one YAML file, typed to its leaves, frozen, unknown keys refused."""

from lead_propensity.config.bands import ROUTES, BandsConfig, Route, RoutesConfig
from lead_propensity.config.base import CRITERIA, Criterion, Days, Strict
from lead_propensity.config.file import load
from lead_propensity.config.gate import GateConfig
from lead_propensity.config.limits import LimitsConfig
from lead_propensity.config.monitor import MonitorConfig
from lead_propensity.config.report import ReportConfig
from lead_propensity.config.sources import DealsSource, ExportedSource, TableSource
from lead_propensity.config.tree import (
    AttributeKind,
    Config,
    DataConfig,
    EngineConfig,
    Family,
    FeaturesConfig,
    ModelConfig,
    SnapshotsConfig,
    SparkConfig,
)

__all__ = [
    "CRITERIA",
    "ROUTES",
    "AttributeKind",
    "BandsConfig",
    "Config",
    "Criterion",
    "DataConfig",
    "Days",
    "DealsSource",
    "EngineConfig",
    "ExportedSource",
    "Family",
    "FeaturesConfig",
    "GateConfig",
    "LimitsConfig",
    "ModelConfig",
    "MonitorConfig",
    "ReportConfig",
    "Route",
    "RoutesConfig",
    "SnapshotsConfig",
    "SparkConfig",
    "Strict",
    "TableSource",
    "load",
]

"""How likely is each lead to become a won deal, as of a moment, and can the number be trusted?"""

from importlib.metadata import version

from lead_propensity.config import Config
from lead_propensity.config import load as load_config
from lead_propensity.data.simulate import simulate
from lead_propensity.errors import ConfigError, DataError, LeadPropensityError, ModelError
from lead_propensity.features.custom import CustomFeature, History
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.pipeline import (
    check,
    features,
    load_model,
    monitor,
    recalibrate,
    score,
    train,
    write_features,
)
from lead_propensity.reporting.stored import report_again
from lead_propensity.reporting.two_runs import compare_runs

__version__ = version("lead-propensity")

__all__ = [
    "Config",
    "ConfigError",
    "CustomFeature",
    "DataError",
    "History",
    "LeadPropensityError",
    "ModelError",
    "PropensityModel",
    "check",
    "compare_runs",
    "features",
    "load_config",
    "load_model",
    "monitor",
    "recalibrate",
    "report_again",
    "score",
    "simulate",
    "train",
    "write_features",
]

"""The straight lines: check, train a model on what was known, score the leads that are open."""

from lead_propensity.pipeline.checking import check, leaks
from lead_propensity.pipeline.matrices import WrittenFeatures, features, write_features
from lead_propensity.pipeline.monitoring import Monitored, monitor
from lead_propensity.pipeline.recalibrating import RecalibratedRun, recalibrate
from lead_propensity.pipeline.scoring import ScoredLeads, load_model, score
from lead_propensity.pipeline.training import TrainedRun, train

__all__ = [
    "Monitored",
    "RecalibratedRun",
    "ScoredLeads",
    "TrainedRun",
    "WrittenFeatures",
    "check",
    "features",
    "leaks",
    "load_model",
    "monitor",
    "recalibrate",
    "score",
    "train",
    "write_features",
]

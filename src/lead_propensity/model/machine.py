"""What of the machine the learners may use."""

import os

from lead_propensity.config import EngineConfig


def threads_of(engine: EngineConfig) -> int:
    """Threads for LightGBM; no result depends on it."""
    return engine.threads or os.cpu_count() or 1

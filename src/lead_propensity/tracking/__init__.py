"""MLflow, imported in this room only: runs, the registry, and the pyfunc file that others serve."""

import os

# MLflow reads this while it is imported; whoever wants to send usage figures sets it to false.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

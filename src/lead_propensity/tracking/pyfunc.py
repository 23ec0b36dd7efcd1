"""The model as others serve it: MLflow stores this file as it is (*models from code*).

Our own `score` does not use it: it downloads the portable folder and loads that.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from lead_propensity.model.propensity import PropensityModel


class PropensityPyfunc(PythonModel):
    """From the feature matrix to the untracked probability.

    The input is the matrix that `lead-propensity features` exports, with the catalogue's columns:
    float64 numbers (NaN = missing) and text categories (None = missing); further columns are
    ignored. The output has one column, `probability_untracked`: P(won within the model's horizon)
    by the stored calibrator, *without* the level shift that `lead-propensity score` adds from
    recently closed cohorts. Bands hold for the tracked probability, so they are not given here.
    """

    def load_context(self, context: PythonModelContext) -> None:
        self.model = PropensityModel.load(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        catalogue = self.model.catalogue
        prediction = self.model.predict(model_input[catalogue.names], catalogue.fingerprint)
        return pd.DataFrame({"probability_untracked": prediction.probability_untracked})


mlflow.models.set_model(PropensityPyfunc())

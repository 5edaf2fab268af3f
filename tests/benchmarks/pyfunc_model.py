"""The boosters as MLflow serves them: probabilities, without explanation or record."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import xgboost


class Boosters(mlflow.pyfunc.PythonModel):
    """Every endpoint's booster, asked with one table."""

    def load_context(self, context: Any) -> None:
        self.boosters = {}
        for name, path in context.artifacts.items():
            self.boosters[name] = xgboost.Booster(model_file=Path(path))
            self.boosters[name].set_param({"nthread": 1})

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        data = xgboost.DMatrix(model_input.astype(float).to_numpy(), nthread=1)
        return pd.DataFrame({name: booster.predict(data) for name, booster in self.boosters.items()})


mlflow.models.set_model(Boosters())

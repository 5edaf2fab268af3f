"""How MLflow loads a registered bundle: a plain function over the bundle's files, without pickle."""

from pathlib import Path

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

from features.dictionary import Field
from models.bundle.bundle import ModelBundle
from models.bundle.reading import read_bundle
from models.bundle.tables import score_names, score_table

TYPES = {"flag": DataType.boolean, "category": DataType.string}


class AnswersAtHorizons:
    """Answers a table of patients with every endpoint at the protocol's horizons, for batch use in MLflow."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle

    def predict(self, patients: pd.DataFrame) -> pd.DataFrame:
        """Return one column an outcome and horizon; the table is validated as every cohort is."""
        return score_table(self.bundle, patients)


def _load_pyfunc(path: str) -> AnswersAtHorizons:
    return AnswersAtHorizons(read_bundle(Path(path)))


def signature(bundle: ModelBundle) -> ModelSignature:
    """Return the model's signature, made from the dictionary."""
    inputs: list[ColSpec | TensorSpec] = [_column(field) for field in bundle.dictionary.fields]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, name) for name in score_names(bundle)]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _column(field: Field) -> ColSpec:
    """Return a column's type; numbers are left open, as MLflow refuses whole ones for double."""
    kind = TYPES.get(field.type, AnyType())  # type: ignore[no-untyped-call]
    return ColSpec(kind, field.name, required=field.name == "disease")

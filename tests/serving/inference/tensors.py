"""Patients as input tensors, as a client writes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.bundle.bundle import ModelBundle
from tests.lib.patients import BREAST
from tests.serving.client import COLORECTAL, MODEL

NAME = f"{MODEL}.overall_survival"
PATIENTS = (BREAST, COLORECTAL)


def column(bundle: ModelBundle, name: str, patients: Sequence[dict[str, Any]] = PATIENTS) -> np.ndarray:
    """Return a predictor's column: NaN, or an empty text, where a patient lacks it."""
    if bundle.dictionary[name].type == "category":
        return np.array([str(p.get(name, "")) for p in patients], dtype=np.object_)
    return np.array([float(p.get(name, np.nan)) for p in patients])


def json_inputs(bundle: ModelBundle, patients: Sequence[dict[str, Any]] = PATIENTS) -> list[dict[str, Any]]:
    """Return every predictor as a JSON tensor, null where it is missing."""
    made = []
    for field in bundle.dictionary.fields:
        values = [None if v != v or v == "" else v for v in column(bundle, field.name, patients).tolist()]
        datatype = "BYTES" if field.type == "category" else "FP64"
        shape = [len(patients)]
        made.append({"name": field.name, "datatype": datatype, "shape": shape, "data": values})
    return made


def tensor(name: str, *data: Any, datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": list(data)} | more


BREAST_ONLY = tensor("disease", "breast_cancer", datatype="BYTES")

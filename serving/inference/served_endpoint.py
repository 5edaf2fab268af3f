"""One endpoint of a served model, as a model of the Open Inference Protocol."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.dictionary import Field
from features.errors import InvalidRequest, NotFound, Problem
from models.answer.fitted_endpoint import FittedEndpoint
from serving.champions import Champion
from serving.inference.tensors import BOOL, BYTES, FP64, NUMERIC, InputTensor, OutputTensor

PLATFORM = "salvage_bundle"
PROBABILITY, LOW, HIGH, WARNINGS, RECORD = "probability", "low", "high", "warnings", "record"
OUTPUTS = (PROBABILITY, LOW, HIGH, WARNINGS, RECORD)
FLAGS: Mapping[object, bool] = {1: True, 0: False, "true": True, "false": False}  # true is 1, false 0
MOST_NAMED = 50


def split_name(name: str) -> tuple[str, str]:
    """Return the served model and the endpoint that a model's name stands for.

    >>> split_name("salvage-relapse-survival.overall_survival")
    ('salvage-relapse-survival', 'overall_survival')
    """
    model, _, endpoint = name.rpartition(".")
    return model, endpoint


@dataclass(frozen=True)
class ServedEndpoint:
    """One endpoint of a champion: metadata, input tensors to patients, answers to output tensors."""

    champion: Champion
    endpoint: FittedEndpoint

    @classmethod
    def of(cls, champion: Champion, endpoint: str) -> "ServedEndpoint":
        """Return a champion's endpoint.

        Raises:
            NotFound: when the champion does not predict it.

        """
        fitted = {one.endpoint.name: one for one in champion.bundle.endpoints}
        if endpoint not in fitted:
            raise NotFound("this model does not predict this endpoint")
        return cls(champion, fitted[endpoint])

    @property
    def name(self) -> str:
        """Return the model's name in the protocol: MODEL.ENDPOINT."""
        return f"{self.champion.stamp.name}.{self.endpoint.endpoint.name}"

    @property
    def horizons(self) -> tuple[float, ...]:
        """Return the horizons answered, in months; none for an endpoint without time."""
        return self.champion.bundle.protocol.horizons if self.endpoint.endpoint.timed else ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a row of the answer: outcomes, and horizons where the endpoint is timed."""
        outcomes = len(self.endpoint.model.outcomes)
        return (outcomes, len(self.horizons)) if self.horizons else (outcomes,)

    def metadata(self) -> dict[str, Any]:
        """Return the model's metadata: its tensors, and their axes in ``properties``."""
        stamp, bundle = self.champion.stamp, self.champion.bundle
        answers = [
            {"name": n, "datatype": FP64, "shape": [-1, *self.shape]} for n in (PROBABILITY, LOW, HIGH)
        ]
        return {
            "name": self.name,
            "versions": [stamp.version],
            "platform": PLATFORM,
            "inputs": [
                {"name": field.name, "datatype": _datatype(field), "shape": [-1]}
                for field in bundle.dictionary.fields
            ],
            "outputs": [
                *answers,
                *({"name": n, "datatype": BYTES, "shape": [-1]} for n in (WARNINGS, RECORD)),
            ],
            "properties": {
                "title": self.endpoint.endpoint.title,
                "outcomes": ",".join(self.endpoint.model.outcomes),
                "horizons_months": ",".join(f"{h:g}" for h in self.horizons),
                "index_event": bundle.protocol.time_zero,
                "evidence": stamp.evidence,
                "bundle": stamp.bundle,
            },
        }

    def patients(self, tensors: Sequence[InputTensor]) -> list[dict[str, Any]]:
        """Convert rows to patients, validated as on the native routes.

        Raises:
            InvalidRequest: naming every tensor, and every value by its row, that the model cannot take.

        """
        fields = {field.name: field for field in self.champion.bundle.dictionary.fields}
        problems = [*_tensor_problems(tensors, fields)]
        if problems:
            raise InvalidRequest("request", problems)
        columns = {one.name: [_as_field(fields[one.name], value) for value in one.values] for one in tensors}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        for number, row in enumerate(rows):
            try:
                self.champion.bundle.validate(row)
            except InvalidRequest as error:
                problems += [Problem(f"{p.field}[{number}]", p.problem, p.remedy) for p in error.problems]
        if problems:
            raise InvalidRequest("request", problems[:MOST_NAMED])
        return rows

    def outputs(self, answers: Sequence[Mapping[str, Any]]) -> list[OutputTensor]:
        """Return recorded answers as tensors, one row each; NaN where follow-up supports no answer."""
        rows = [self._row(answer["prediction"]) for answer in answers]
        shape = (len(rows), *self.shape)
        numbers = [
            OutputTensor(name, FP64, shape, [_number(one.get(name)) for row in rows for one in row])
            for name in (PROBABILITY, LOW, HIGH)
        ]
        texts = {
            WARNINGS: [_warnings(answer["prediction"]) for answer in answers],
            RECORD: [answer["audit"]["id"] for answer in answers],
        }
        return [
            *numbers,
            *(OutputTensor(name, BYTES, (len(rows),), values) for name, values in texts.items()),
        ]

    def _row(self, prediction: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return a row's probabilities by outcome and horizon, empty ones where the disease has no answer."""
        name = self.endpoint.endpoint.name
        answered = [e for e in prediction["endpoints"] if e["endpoint"] == name]
        if not answered:
            return [{}] * math.prod(self.shape)
        return [one for outcome in answered[0]["outcomes"] for one in outcome["probabilities"]]


def _warnings(prediction: Mapping[str, Any]) -> str:
    """Return how typical the patient is and every warning, as one text."""
    return "; ".join(
        [prediction["typical"]["words"], *(warning["message"] for warning in prediction["warnings"])]
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _datatype(field: Field) -> str:
    return BYTES if field.type == "category" else FP64


def _tensor_problems(tensors: Sequence[InputTensor], fields: Mapping[str, Field]) -> list[Problem]:
    names = [one.name for one in tensors]
    problems = [
        Problem(n, "is given twice", "give it once") for n in {n for n in names if names.count(n) > 1}
    ]
    for one in tensors:
        if one.name not in fields:
            problems.append(Problem(one.name, "is no input of this model", "see the model's metadata"))
        elif one.datatype not in _accepted(fields[one.name]):
            expected = "expected " + " or ".join(_accepted(fields[one.name]))
            problems.append(Problem(one.name, f"cannot be {one.datatype}", expected))
    if len({len(one.values) for one in tensors}) > 1:
        problems.append(Problem("inputs", "have different numbers of rows", "give as many values in each"))
    return problems


def _accepted(field: Field) -> tuple[str, ...]:
    """Return the datatypes that a predictor's tensor may have; the first one can encode missing values."""
    if field.type == "category":
        return (BYTES,)
    return (
        FP64,
        *(name for name in NUMERIC if name != FP64),
        *((BOOL, BYTES) if field.type == "flag" else ()),
    )


def _as_field(field: Field, value: Any) -> Any:
    """Convert a tensor's value to the dictionary's type: integers, and flags as booleans."""
    if field.type == "flag":
        return FLAGS.get(value, value)
    if field.type == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value

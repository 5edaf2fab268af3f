"""A patient's answer: what patients of one disease and one horizon have in common, and each one's numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from features.dictionary import Dictionary, FloatArray
from features.encoder import Encoder
from models.answer.endpoint_answer import EndpointAnswer
from models.answer.json import Template, markers, numbers_as_json
from models.estimators.curves import IntArray
from models.patient.applicability import Applicability
from models.patient.next_tests import Information, Now
from models.patient.typicality import Likeness
from models.prediction import Caution, NextTest, Prediction

AT_ONCE = 256


@dataclass(frozen=True)
class Parts:
    """What changes from patient to patient; a marker may stand for anything in it.

    ``numbers`` are in the order of the endpoints; ``values`` are the predictors', None where missing;
    ``times`` are a survival outcome's median and lower bound.
    """

    numbers: Sequence[Any]
    values: Sequence[Any]
    times: Sequence[Any]
    next_tests: Any
    typical: Any
    warnings: Any


@dataclass(frozen=True)
class PatientAnswer:
    """The answers of every endpoint that answers for a disease, the leading one first."""

    endpoints: tuple[EndpointAnswer, ...]
    disease: str
    stratum: int
    dictionary: Dictionary
    encoder: Encoder
    information: Information
    likeness: Likeness
    applicability: Applicability
    index_event: str
    unanswered: tuple[Caution, ...]
    notice: str

    def predictions(self, patients: Sequence[Mapping[str, float]]) -> list[Prediction]:
        """Return what is said of each patient of the disease, read by the dictionary."""
        return [self._prediction(parts) for parts in self._parts(patients)]

    def answers(self, patients: Sequence[Mapping[str, float]]) -> list[bytes]:
        """Return the same as JSON."""
        return [self._template.filled(_as_json(parts)) for parts in self._parts(patients)]

    def _parts(self, patients: Sequence[Mapping[str, float]]) -> Iterator[Parts]:
        for start in range(0, len(patients), AT_ONCE):
            some = patients[start : start + AT_ONCE]
            X = self.encoder.encode_each(some)
            each = [endpoint.numbers(X, self._strata(len(X))) for endpoint in self.endpoints]
            crossings = np.hstack([numbers.crossings for numbers in each]).tolist()
            values = np.hstack([numbers.values for numbers in each]).tolist()
            scores = [None] * len(X) if each[0].scores is None else list(each[0].scores)
            rows = zip(some, X, scores, values, crossings, strict=True)
            yield from (self._of_one(*row) for row in rows)

    def _of_one(
        self,
        patient: Mapping[str, float],
        x: FloatArray,
        scores: FloatArray | None,
        numbers: Sequence[float],
        crossings: Sequence[float],
    ) -> Parts:
        return Parts(
            numbers,
            [field.value(patient[field.name]) for field in self.dictionary.fields],
            [each.time(at, months) for (each, at), months in zip(self._times, crossings, strict=True)],
            self._next_tests(patient, x, scores),
            self.likeness.typical(self.information, x, self.disease),
            self.unanswered + self.applicability.cautions(patient, self.disease, self.dictionary),
        )

    @cached_property
    def _times(self) -> tuple[tuple[EndpointAnswer, int], ...]:
        """Return the statement that each time belongs to, and its place there."""
        return tuple((each, at) for each in self.endpoints for at in range(each.times))

    def _next_tests(
        self, patient: Mapping[str, float], x: FloatArray, scores: FloatArray | None
    ) -> tuple[NextTest, ...]:
        """Rank the missing tests by how far knowing them would move the leading endpoint's first answer."""
        given = self.information.given(patient, x, self.disease)
        if not given:
            return ()
        leading = self.endpoints[0]
        rows, moved = zip(*(self._variants(n, each.values, x) for n, each in given.items()), strict=True)
        X = np.vstack([x[None], *rows])
        if scores is not None:
            scores = np.vstack([np.zeros((1, len(scores))), *moved]) + scores
        answers = leading.first_answers(X, self._strata(len(X)), scores)
        ends = np.cumsum([len(variants) for variants in rows])[:-1]
        by_test = dict(zip(given, np.split(answers[1:], ends), strict=True))
        words = leading.endpoint.words(leading.endpoint.model.outcomes[0], leading.horizon)
        return self.information.ranked(given, by_test, Now(float(answers[0]), f"the {words}"))

    def _variants(self, name: str, values: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Return the patient with each value of a test, and how far it moves an additive model's scores."""
        columns, shown = self.encoder.show(name, values)
        X = np.repeat(x[None], len(values) + 1, axis=0)
        X[1:, columns] = shown
        changes = self.endpoints[0].score_changes(X, self._strata(len(X)), columns)
        return X[1:], None if changes is None else changes[1:]

    def _strata(self, count: int) -> IntArray:
        return np.full(count, self.stratum)

    def _prediction(self, parts: Parts) -> Prediction:
        numbers, times = iter(parts.numbers), iter(parts.times)
        return Prediction(
            index_event=self.index_event,
            endpoints=tuple(each.prediction(numbers, parts.values, times) for each in self.endpoints),
            next_tests=parts.next_tests,
            typical=parts.typical,
            warnings=parts.warnings,
            notice=self.notice,
        )

    @cached_property
    def _template(self) -> Template:
        """Return the answer's JSON with a marker for each part, numbered as :func:`_as_json` orders them."""
        said = sum(endpoint.count for endpoint in self.endpoints)
        counts = [said, len(self.dictionary.fields), len(self._times)]
        starts = np.cumsum([0, *counts]).tolist()
        numbers, values, times = (
            markers(count, start=start) for count, start in zip(counts, starts[:-1], strict=True)
        )
        return Template.of(self._prediction(Parts(numbers, values, times, *markers(3, start=starts[-1]))))


def _as_json(parts: Parts) -> list[bytes]:
    """Return every part as JSON."""
    rest = (*parts.values, *parts.times, parts.next_tests, parts.typical, parts.warnings)
    return numbers_as_json(parts.numbers) + [orjson.dumps(part) for part in rest]

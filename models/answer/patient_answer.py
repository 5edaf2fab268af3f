"""What one disease's patients have in common, explained at one horizon, and what is found of each of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from features.dictionary import Dictionary, FloatArray
from features.encoder import Encoder
from models.answer.endpoint_answer import Statement
from models.answer.json import Template, markers, numbers_as_json
from models.estimators.curves import IntArray
from models.patient.applicability import Applicability
from models.patient.next_tests import Information, Now
from models.patient.typicality import Likeness
from models.prediction import Caution, NextTest, Prediction

AT_ONCE = 256


@dataclass(frozen=True)
class Found:
    """What changes from patient to patient; a marker may stand for anything in it.

    ``numbers`` are in the order of the statements; ``values`` are the predictors', None where missing;
    ``times`` are a survival outcome's median and lower bound.
    """

    numbers: Sequence[Any]
    values: Sequence[Any]
    times: Sequence[Any]
    next_tests: Any
    typical: Any
    warnings: Any


@dataclass(frozen=True)
class Frame:
    """The statements of every endpoint that answers for a disease, the first leading, and their company."""

    statements: tuple[Statement, ...]
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
        return [self._prediction(found) for found in self._found(patients)]

    def answers(self, patients: Sequence[Mapping[str, float]]) -> list[bytes]:
        """Return the same as JSON."""
        return [self._template.filled(_as_json(found)) for found in self._found(patients)]

    def _found(self, patients: Sequence[Mapping[str, float]]) -> Iterator[Found]:
        for start in range(0, len(patients), AT_ONCE):
            some = patients[start : start + AT_ONCE]
            X = self.encoder.encode_each(some)
            each = [statement.numbers(X, self._strata(len(X))) for statement in self.statements]
            fallen = np.hstack([numbers.fallen for numbers in each]).tolist()
            said = np.hstack([numbers.said for numbers in each]).tolist()
            rows = zip(some, X, each[0].scores, said, fallen, strict=True)
            yield from (self._of_one(*row) for row in rows)

    def _of_one(
        self,
        patient: Mapping[str, float],
        x: FloatArray,
        scores: FloatArray,
        numbers: Sequence[float],
        fallen: Sequence[float],
    ) -> Found:
        return Found(
            numbers,
            [field.value(patient[field.name]) for field in self.dictionary.fields],
            [each.time(at, months) for (each, at), months in zip(self._times, fallen, strict=True)],
            self._next_tests(patient, x, scores),
            self.likeness.typical(self.information, x, self.disease),
            self.unanswered + self.applicability.cautions(patient, self.disease, self.dictionary),
        )

    @cached_property
    def _times(self) -> tuple[tuple[Statement, int], ...]:
        """Return the statement that each time belongs to, and its place there."""
        return tuple((each, at) for each in self.statements for at in range(each.times))

    def _next_tests(
        self, patient: Mapping[str, float], x: FloatArray, scores: FloatArray
    ) -> tuple[NextTest, ...]:
        """Rank the missing tests by how much knowing them would move the leading endpoint's first answer."""
        given = self.information.given(patient, x, self.disease)
        if not given:
            return ()
        leading = self.statements[0]
        changes = [self._changes(name, each.values, x) for name, each in given.items()]
        answers = leading.first_answers(np.vstack([np.zeros_like(scores), *changes]) + scores)
        ends = np.cumsum([len(change) for change in changes])[:-1]
        by_test = dict(zip(given, np.split(answers[1:], ends), strict=True))
        words = leading.endpoint.words(leading.endpoint.model.outcomes[0], leading.horizon)
        return self.information.ranked(given, by_test, Now(float(answers[0]), None, f"the {words}"))

    def _changes(self, name: str, values: FloatArray, x: FloatArray) -> FloatArray:
        """Return by how much each value of a test would change the leading scores of a patient without it."""
        columns, shown = self.encoder.show(name, values)
        X = np.repeat(x[None], len(values) + 1, axis=0)
        X[1:, columns] = shown
        return self.statements[0].score_changes(X, self._strata(len(X)), columns)[1:]

    def _strata(self, count: int) -> IntArray:
        return np.full(count, self.stratum)

    def _prediction(self, found: Found) -> Prediction:
        numbers, times = iter(found.numbers), iter(found.times)
        return Prediction(
            index_event=self.index_event,
            endpoints=tuple(each.said(numbers, found.values, times) for each in self.statements),
            next_tests=found.next_tests,
            typical=found.typical,
            warnings=found.warnings,
            notice=self.notice,
        )

    @cached_property
    def _template(self) -> Template:
        """Return the answer's JSON with a marker for each part, numbered as :func:`_as_json` orders them."""
        said = sum(statement.count for statement in self.statements)
        counts = [said, len(self.dictionary.fields), len(self._times)]
        starts = np.cumsum([0, *counts]).tolist()
        numbers, values, times = (
            markers(count, start=start) for count, start in zip(counts, starts[:-1], strict=True)
        )
        return Template.of(self._prediction(Found(numbers, values, times, *markers(3, start=starts[-1]))))


def _as_json(found: Found) -> list[bytes]:
    """Return every part as JSON."""
    rest = (*found.values, *found.times, found.next_tests, found.typical, found.warnings)
    return numbers_as_json(found.numbers) + [orjson.dumps(part) for part in rest]

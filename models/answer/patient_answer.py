"""A patient's answer: what patients of one disease and one horizon have in common, and each one's numbers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import isnan
from typing import Any

import numpy as np
import orjson

from features.dictionary import Dictionary, Field, FloatArray
from features.encoder import Encoder
from models.answer.endpoint_answer import EndpointAnswer, Numbers
from models.answer.json import Template, markers, numbers_as_json
from models.answer.mean_explained import explained_mean
from models.patient.applicability import Applicability
from models.patient.completion import Completion, Completions
from models.patient.draws import Told
from models.patient.next_tests import Now, next_test
from models.patient.typicality import Likeness
from models.prediction import Caution, ExplainedScale, NextTest, Prediction

AT_ONCE = 256
LEAST_VARIANCE = 1e-9


@dataclass(frozen=True)
class AnswerParts:
    """What changes from patient to patient; a marker may stand for anything in it.

    ``numbers`` are in the order of the endpoints; ``values`` are the applying predictors', None where
    unknown;
    ``times`` are survival outcomes' medians, restricted means and lower bounds.
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
    dictionary: Dictionary
    encoder: Encoder
    completion: Completion
    likeness: Likeness
    applicability: Applicability
    index_event: str
    unanswered: tuple[Caution, ...]
    notice: str

    def predictions(
        self, patients: Sequence[Mapping[str, float]], completed: Completions | None = None
    ) -> list[Prediction]:
        """Return the prediction for each patient of the disease, read by the dictionary.

        ``completed`` are the rows of up to 256 patients, where they are not to be drawn anew.
        """
        return [self._prediction(parts) for parts in self._parts(patients, completed)]

    def answers(self, patients: Sequence[Mapping[str, float]]) -> list[bytes]:
        """Return the same as JSON."""
        return [self._template.filled(_as_json(parts)) for parts in self._parts(patients)]

    def explained_means(
        self, patient: Mapping[str, float], answered: Prediction
    ) -> dict[str, ExplainedScale]:
        """Return, by survival endpoint, the explanation of the restricted mean that was answered."""
        X, Z = self.encoder.encode_each([patient]), self.completion.scores([patient], self.disease)
        completed = self.completion.complete(Z, X, self.disease)
        values = [field.value(patient[field.name]) for field in self._fields]
        stated = {e.endpoint: e.outcomes[0].restricted_mean for e in answered.endpoints}
        return {
            name: explained_mean(endpoint, completed, values, mean.months)
            for endpoint in self.endpoints
            if (mean := stated[name := endpoint.endpoint.endpoint.name]) is not None
        }

    def _parts(
        self, patients: Sequence[Mapping[str, float]], given: Completions | None = None
    ) -> Iterator[AnswerParts]:
        for start in range(0, len(patients), AT_ONCE):
            some = patients[start : start + AT_ONCE]
            X, Z = self.encoder.encode_each(some), self.completion.scores(some, self.disease)
            completed = self.completion.complete(Z, X, self.disease) if given is None else given
            each = [endpoint.numbers(completed, X) for endpoint in self.endpoints]
            times = [numbers.times.tolist() for numbers in each]
            values = np.hstack([numbers.values for numbers in each]).tolist()
            ends = np.append(completed.first[1:], len(completed.X))
            for at, (start, end) in enumerate(zip(completed.first.tolist(), ends.tolist(), strict=True)):
                tests: tuple[NextTest, ...] = ()
                if (told := completed.told[at]) is not None:
                    rows = slice(start, end)
                    tests = self._next_tests(each[0], at, rows, told, completed.weights[rows], X[at], Z[at])
                own = zip(self.endpoints, times, strict=True)
                made = chain.from_iterable(endpoint.times_of(months[at]) for endpoint, months in own)
                yield self._of_one(some[at], Z[at], tests, values[at], list(made))

    def _of_one(
        self,
        patient: Mapping[str, float],
        z: FloatArray,
        tests: tuple[NextTest, ...],
        numbers: Sequence[float],
        times: Sequence[object],
    ) -> AnswerParts:
        return AnswerParts(
            numbers,
            [field.value(patient[field.name]) for field in self._fields],
            times,
            tests,
            self.likeness.typical(self.completion, z, self.disease),
            self.unanswered
            + self.applicability.cautions(patient, self.disease, self.dictionary)
            + self._not_known(patient, tests),
        )

    def _not_known(self, patient: Mapping[str, float], tests: Sequence[NextTest]) -> tuple[Caution, ...]:
        """Return one caution for all unknown values, in the order of how far they could move the answer."""
        order = [test.predictor for test in tests]
        blank = [field for field in self._fields if isnan(patient[field.name])]
        if not blank:
            return ()
        place = {name: at for at, name in enumerate(order)}
        labels = [f.label for f in sorted(blank, key=lambda f: place.get(f.name, len(order)))]
        message = f"not known, what matters most first: {'; '.join(labels)}"
        return (Caution("not_known", None, message),)

    @cached_property
    def _fields(self) -> tuple[Field, ...]:
        """Return the predictors that have a meaning in the disease."""
        return tuple(field for field in self.dictionary.fields if field.applies(self.disease))

    def _next_tests(
        self,
        numbers: Numbers,
        at: int,
        rows: slice,
        told: Told,
        weights: FloatArray,
        x: FloatArray,
        z: FloatArray,
    ) -> tuple[NextTest, ...]:
        """Rank unknown values by how far knowing them would move the leading endpoint's first answer.

        An additive model's scores move as :func:`if_known` says. Any other model answers
        the rows that have each plausible value, with the other unknown values as expected.
        """
        leading = self.endpoints[0]
        words = leading.endpoint.words(leading.endpoint.model.outcomes[0], leading.horizon)
        now = Now(float(numbers.now[at]), f"the {words}")
        names, answers, chances = [], [], []
        if numbers.scores is None or numbers.shares is None:
            for each in self.completion.plausible(z, x, self.disease):
                names.append(each.predictor)
                answers.append(leading.first_probabilities(each.X).tolist())
                chances.append(each.weights.tolist())
        else:
            names = [self.dictionary.names[place] for place in told.unknown]
            shares = numbers.shares[rows][:, :, told.unknown]
            moved = (weights @ numbers.scores[rows])[None, :, None] + if_known(told.drawn, shares, weights)
            flat = np.ascontiguousarray(moved.transpose(2, 0, 1).reshape(-1, moved.shape[1]))
            answers = leading.first_answers(flat).reshape(len(names), -1).tolist()
            chances = [weights.tolist()] * len(names)
        tests = [
            next_test(self.dictionary[name], own, chance, now)
            for name, own, chance in zip(names, answers, chances, strict=True)
        ]
        return tuple(sorted(tests, key=lambda test: -test.expected_change))

    def _prediction(self, parts: AnswerParts) -> Prediction:
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
        count = sum(endpoint.count for endpoint in self.endpoints)
        counts = [count, len(self._fields), sum(endpoint.times for endpoint in self.endpoints)]
        starts = np.cumsum([0, *counts]).tolist()
        numbers, values, times = (
            markers(count, start=start) for count, start in zip(counts, starts[:-1], strict=True)
        )
        return Template.of(
            self._prediction(AnswerParts(numbers, values, times, *markers(3, start=starts[-1])))
        )


def _as_json(parts: AnswerParts) -> list[bytes]:
    """Return every part as JSON."""
    rest = (*parts.values, *parts.times, parts.next_tests, parts.typical, parts.warnings)
    return numbers_as_json(parts.numbers) + [orjson.dumps(part) for part in rest]


def if_known(drawn: FloatArray, shares: FloatArray, weights: FloatArray) -> FloatArray:
    """Return how far scores move if one unknown predictor is known to be as drawn, (rows, scores, unknown).

    ``drawn`` (rows, unknown) are the scores drawn, ``shares`` (rows, scores, unknown) what they add to an
    additive model's. Beside its own share, a value moves those of the unknown values that it tells of, along
    the slopes of these on their scores.
    """
    apart = drawn - weights @ drawn
    covariance = (apart * weights[:, None]).T @ apart
    variance = np.maximum(np.diag(covariance), LEAST_VARIANCE)
    slopes = np.einsum("m,mu,msu->su", weights, apart, shares) / variance
    told = covariance / variance
    np.fill_diagonal(told, 0.0)
    moved: FloatArray = shares - np.tensordot(weights, shares, axes=1) + apart[:, None, :] * (slopes @ told)
    return moved

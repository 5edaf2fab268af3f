"""Completion: plausible complete rows of a patient with unknown values, over which answers are averaged.

A known number beyond what training saw in the disease stands at the border of what it saw. An unknown value,
or a category that no training patient of the disease had, is drawn from its joint distribution with the known
ones (models/patient/joint.py). Draws are fixed normal deviates, so a patient has the same rows at any time.
One unknown category or flag has a row for each of its values, weighted by their probabilities.

A predictor that has no meaning in the disease, or that training knew of hardly anyone, stays missing, as it
was when the model was fitted.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from features.censoring import BoolArray
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.encoder import Encoder
from models.estimators.additive import require_numbers
from models.estimators.curves import IntArray
from models.patient.draws import (
    Drawing,
    Told,
    average,
    blanks,
    complete_one,
    draw_each,
    drawing_of,
    expected_row,
    plausible_knots,
    score,
)
from models.patient.joint import JointDistribution, read_numbers

LARGEST_SAMPLE = 20_000
NEAR = 1e-9


@dataclass(frozen=True)
class Completions:
    """Complete rows of some patients, one patient after the other.

    ``X`` has shape (rows, columns), ``weights`` (rows,) sum to one for each patient, whose rows begin at
    ``first`` (patients,). ``unknown`` (patients, predictors) tells which of the dictionary's predictors were
    drawn, ``told`` (patients,) what the known ones tell of them, in places of the dictionary; None without
    any.
    """

    X: FloatArray
    weights: FloatArray
    first: IntArray
    unknown: BoolArray
    told: tuple[Told | None, ...]

    @cached_property
    def counts(self) -> IntArray:
        """Return the number of each patient's rows."""
        return np.diff(self.first, append=len(self.X))

    @property
    def complete(self) -> bool:
        """Tell whether every patient has one row: nothing was drawn."""
        return len(self.first) == len(self.X)

    def one_each(self) -> FloatArray:
        """Return one row of each patient (patients, columns), of another draw from patient to patient."""
        return self.X[self.first + np.arange(len(self.first)) % self.counts]

    def strata(self, stratum: IntArray) -> IntArray:
        """Return the stratum of each row, given each patient's."""
        return np.repeat(stratum, self.counts)

    def one_by_one(self) -> "Iterator[Completions]":
        """Yield each patient's own."""
        ends = np.append(self.first[1:], len(self.X))
        for at, (start, end) in enumerate(zip(self.first.tolist(), ends.tolist(), strict=True)):
            own, nothing = slice(start, end), np.zeros(1, dtype=np.int64)
            yield Completions(
                self.X[own], self.weights[own], nothing, self.unknown[at : at + 1], self.told[at : at + 1]
            )

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the weighted means over each patient's rows of values (rows, ...), as (patients, ...)."""
        if self.complete:
            return values
        flat = np.ascontiguousarray(values.reshape(len(values), -1))
        out = np.zeros((len(self.first), flat.shape[1]))
        average(flat, self.weights, self.first, out)
        return out.reshape(len(out), *values.shape[1:])

    def variance(self, values: FloatArray) -> FloatArray:
        """Return the weighted variances over each patient's rows of values (rows, ...)."""
        if self.complete:
            return np.zeros_like(values)
        return self.mean((values - np.repeat(self.mean(values), self.counts, axis=0)) ** 2)


@dataclass(frozen=True)
class Plausible:
    """An unknown predictor's plausible values: rows ``X`` (values, columns) with ``weights`` (values,)."""

    predictor: str
    X: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class InDisease:
    """What completes the rows of one disease's patients.

    ``low`` and ``high`` (columns,) are the encoded borders of what training saw; ``low`` is above ``high``
    where it saw nothing.
    """

    joint: JointDistribution
    low: FloatArray
    high: FloatArray

    def check(self, encoder: Encoder, disease: str) -> None:
        """Raise ValueError, naming the part, where it is not of the encoder's columns and the disease."""
        for end in (self.low, self.high):
            require_numbers("borders", end, (len(encoder.columns),), finite=False)
        seen = np.isfinite(self.low) & np.isfinite(self.high) & (self.low <= self.high)
        if not (seen | ((self.low == np.inf) & (self.high == -np.inf))).all():
            raise ValueError("borders are not as they must be")
        self.joint.check(encoder.dictionary, disease)
        for name, margin in self.joint.margins.items():
            columns, shown = encoder.show(name, margin.values)
            below, above = shown < self.low[columns] - NEAR, shown > self.high[columns] + NEAR
            if not np.isfinite(shown).all() or (below | above).any():
                raise ValueError(f"margin of {name} is not as it must be")


@dataclass(frozen=True)
class Completion:
    """Completes the rows of every disease's patients."""

    encoder: Encoder
    diseases: Mapping[str, InDisease]

    @classmethod
    def fit(cls, cohort: Cohort, encoder: Encoder, diseases: Sequence[str]) -> "Completion":
        """Estimate each disease's borders and joint distribution from training patients.

        Of more than 20,000 patients of a disease every second, third or so is used for the distribution. The
        result does not depend on the number of threads.
        """
        named, X, fitted = np.array(cohort.text("disease")), encoder.encode(cohort), {}
        shown = {column.predictor for column in encoder.columns} - {"disease"}
        with threadpool_limits(1):  # threads change the order of sums
            for disease in diseases:
                rows = np.flatnonzero(named == disease)
                some = rows[:: 1 + max(0, len(rows) - 1) // LARGEST_SAMPLE]
                fields = [f for f in encoder.dictionary.fields if f.applies(disease) and f.name in shown]
                joint = JointDistribution.fit(fields, {f.name: cohort.values[f.name][some] for f in fields})
                low = np.where(np.isnan(X[rows]), np.inf, X[rows]).min(axis=0, initial=np.inf)
                high = np.where(np.isnan(X[rows]), -np.inf, X[rows]).max(axis=0, initial=-np.inf)
                fitted[disease] = InDisease(joint, low, high)
        return cls(encoder, fitted)

    def within(self, X: FloatArray, disease: str) -> FloatArray:
        """Return encoded rows (patients, columns) with every number within what training saw.

        What training never saw in the disease is missing.
        """
        here = self.diseases[disease]
        clipped = np.minimum(np.maximum(X, here.low), here.high)
        return np.where(here.low > here.high, np.nan, clipped)

    def scores(self, patients: Sequence[Mapping[str, float]], disease: str) -> FloatArray:
        """Return scores (patients, predictors) of patients of one disease, read by the dictionary.

        They are NaN where a value is unknown, or a category that no training patient of the disease had.
        """
        names, joint, _ = self._drawing(disease)
        values = np.array([[patient[name] for name in names] for patient in patients], dtype=np.float64)
        Z = np.empty((len(patients), len(names)))
        score(joint, values.reshape(Z.shape), Z)
        return Z

    def cohort_scores(self, cohort: Cohort, disease: str) -> FloatArray:
        """Return the same of a cohort's patients, who all have the disease."""
        names, joint, _ = self._drawing(disease)
        Z = np.empty((len(cohort), len(names)))
        values = np.array([cohort.values[name] for name in names])
        score(joint, np.ascontiguousarray(values.T.reshape(Z.shape)), Z)
        return Z

    def complete_cohort(self, cohort: Cohort) -> Completions:
        """Complete a cohort's patients, in its order."""
        named, X = np.array(cohort.text("disease"), dtype=object), self.encoder.encode(cohort)
        each: dict[int, Completions] = {}
        for disease in dict.fromkeys(named.tolist()):
            rows = np.flatnonzero(named == disease)
            scores = self.cohort_scores(cohort.take(rows), disease)
            each |= zip(rows.tolist(), self.complete(scores, X[rows], disease).one_by_one(), strict=True)
        return joined([each[row] for row in range(len(cohort))])

    def complete(self, Z: FloatArray, X: FloatArray, disease: str) -> Completions:
        """Complete patients of one disease with scores ``Z``, encoded as ``X`` (patients, columns)."""
        _, joint, places = self._drawing(disease)
        X, blank = self.within(X, disease), np.isnan(Z)
        unknown = np.zeros((len(X), len(self.encoder.predictors)), dtype=bool)
        unknown[:, places] = blank
        if not blank.any():
            return Completions(X, np.ones(len(X)), np.arange(len(X)), unknown, (None,) * len(X))
        parts = [
            complete_one(joint, z, x, gaps) if len(gaps) else (x[None], np.ones(1), None)
            for z, x, gaps in zip(Z, X, map(np.flatnonzero, blank), strict=True)
        ]
        rows, weights, told = zip(*parts, strict=True)
        placed = tuple(
            one and one._replace(unknown=places[one.unknown], known=places[one.known]) for one in told
        )
        first = np.cumsum([0, *map(len, weights)])[:-1].astype(np.int64)
        return Completions(np.vstack(rows), np.concatenate(weights), first, unknown, placed)

    def complete_under(self, plan: Collection[str], patient: Cohort, bare: Cohort) -> Completions:
        """Complete one patient under a plan; ``bare`` is the same patient without any.

        Unknown values are drawn as in ``bare``: under each of several plans it is the same person, whoever
        tends to have them in the training cohort. Elements of ``plan`` that are left open are drawn given the
        others and the person.
        """
        disease = str(patient.text("disease")[0])
        names, joint, places = self._drawing(disease)
        (z,), (base,) = (self.cohort_scores(one, disease) for one in (patient, bare))
        planned, encoded = np.isin(names, list(plan)), self.encoder.encode(patient)
        if not np.isnan(z[~planned]).any():
            return self.complete(z[None], encoded, disease)
        made, told = self.complete(base[None], self.encoder.encode(bare), disease), blanks(base)
        person, x = ~planned[told], self.within(encoded, disease)[0]
        rows, drawn = np.empty(made.X.shape), np.empty((len(made.X), len(told)))
        (own,) = made.told
        assert own is not None
        for m in range(len(rows)):
            whole, row = z.copy(), made.X[m].copy()
            for p in np.flatnonzero(planned).tolist():
                row[joint.columns[p, : joint.widths[p]]] = x[joint.columns[p, : joint.widths[p]]]
            whole[told[person]] = own.drawn[m, person]
            open_ones, scores = draw_each(joint, whole, row)
            rows[m], drawn[m] = open_ones[m], whole[told]
            drawn[m, np.isin(told, blanks(whole))] = scores[m]
        left = np.isnan(z[told])
        kept = Told(places[told[left]], own.known, own.means[left], np.ascontiguousarray(drawn[:, left]))
        unknown = np.zeros((1, len(self.encoder.predictors)), dtype=bool)
        unknown[0, places[np.isnan(z)]] = True
        return Completions(rows, made.weights, made.first, unknown, (kept,))

    def plausible(self, z: FloatArray, x: FloatArray, disease: str) -> Iterator["Plausible"]:
        """Yield, for each unknown predictor of one patient, a row for each of its plausible values.

        The other unknown values are as expected.
        """
        names, joint, _ = self._drawing(disease)
        centre, mean, spread = expected_row(joint, z, self.within(x[None], disease)[0])
        for p in np.flatnonzero(np.isnan(z)).tolist():
            knots, weights = plausible_knots(joint, p, mean[p], spread[p])
            X = np.repeat(centre[None], len(knots), axis=0)
            X[:, joint.columns[p, : joint.widths[p]]] = joint.shown[knots, : joint.widths[p]]
            yield Plausible(names[p], X, weights)

    def _drawing(self, disease: str) -> tuple[tuple[str, ...], Drawing, IntArray]:
        """Return what a disease's rows are drawn with, made once: names, distribution, dictionary places."""
        made = self._made.get(disease)
        if made is None:
            joint = self.diseases[disease].joint
            names = tuple(joint.margins)
            places = np.array([self.encoder.predictors.index(name) for name in names], dtype=np.int64)
            made = self._made[disease] = names, drawing_of(joint, self.encoder), places
        return made

    @cached_property
    def _made(self) -> dict[str, tuple[tuple[str, ...], Drawing, IntArray]]:
        return {}

    def check(self, diseases: Collection[str]) -> None:
        """Raise ValueError, naming the part, where it does not fit the encoder and these diseases."""
        if set(self.diseases) != set(diseases):
            raise ValueError("the completion's diseases are not as they must be")
        for disease, here in self.diseases.items():
            here.check(self.encoder, disease)

    def as_dict(self) -> dict[str, Any]:
        """Return borders and distributions as JSON values; no patient's row is among them."""
        return {
            disease: {
                "low": [None if np.isinf(end) else end for end in here.low.tolist()],
                "high": [None if np.isinf(end) else end for end in here.high.tolist()],
                "joint": here.joint.as_dict(),
            }
            for disease, here in self.diseases.items()
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], *, encoder: Encoder) -> "Completion":
        return cls(
            encoder,
            {
                disease: InDisease(
                    JointDistribution.from_dict(here["joint"]),
                    read_numbers([np.inf if end is None else end for end in here["low"]]),
                    read_numbers([-np.inf if end is None else end for end in here["high"]]),
                )
                for disease, here in stored.items()
            },
        )


def joined(each: Sequence[Completions]) -> Completions:
    """Return several patients' completions as one."""
    starts = np.cumsum([0, *(len(one.X) for one in each)])[:-1]
    return Completions(
        np.vstack([one.X for one in each]),
        np.concatenate([one.weights for one in each]),
        np.concatenate([one.first + start for one, start in zip(each, starts, strict=True)]),
        np.vstack([one.unknown for one in each]),
        tuple(chain.from_iterable(one.told for one in each)),
    )

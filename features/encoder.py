"""The encoder: a cohort's predictors as a float matrix with stable column names."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.cohort import Cohort
from features.dictionary import Dictionary, Field, FloatArray


@dataclass(frozen=True)
class EncodedColumn:
    """One matrix column: its predictor and, for a nominal predictor, the category it indicates."""

    predictor: str
    category: str | None = None

    @property
    def name(self) -> str:
        """Return ``predictor``, or ``predictor=category`` for an indicator."""
        return self.predictor if self.category is None else f"{self.predictor}={self.category}"


@dataclass(frozen=True)
class Encoder:
    """Encodes a protocol's predictors with the vocabulary of the training cohort.

    Numbers on a log scale become log(1 + value), flags 0/1, ordered categories their position, and a nominal
    predictor one 0/1 indicator for each category of the training cohort except the first. Missing values and
    categories absent from training become NaN; :meth:`unseen` names the latter.
    """

    dictionary: Dictionary
    vocabulary: Mapping[str, tuple[str, ...]]
    columns: tuple[EncodedColumn, ...]

    @classmethod
    def fit(cls, cohort: Cohort, *, predictors: tuple[str, ...]) -> "Encoder":
        """Learn the vocabulary from a training cohort; a constant predictor gets no column."""
        dictionary = cohort.dictionary.slice(predictors)
        vocabulary = {
            f.name: _seen(f, cohort.values[f.name]) for f in dictionary.fields if f.type == "category"
        }
        columns: list[EncodedColumn] = []
        for field in dictionary.fields:
            values = cohort.values[field.name]
            if np.unique(values[~np.isnan(values)]).size < 2:
                continue
            nominal = field.type == "category" and not field.ordered
            shown = vocabulary[field.name][1:] if nominal else (None,)
            columns += [EncodedColumn(field.name, category) for category in shown]
        return cls(dictionary, vocabulary, tuple(columns))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the matrix's column names."""
        return tuple(column.name for column in self.columns)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Return every predictor of the protocol, including those without a column."""
        return self.dictionary.names

    def encode(self, cohort: Cohort) -> FloatArray:
        """Return the design matrix, shape (patients, columns), NaN where missing."""
        matrix = np.empty((len(cohort), len(self.columns)))
        for at, (column, shown) in enumerate(zip(self.columns, self._shown, strict=True)):
            values = cohort.values[column.predictor]
            matrix[:, at] = values if shown is None else shown[_positions(values)]
        return self._scaled(matrix)

    def encode_each(self, patients: Sequence[Mapping[str, float]]) -> FloatArray:
        """Return the matrix of :meth:`encode` for patients as ``cohort.read_patient`` returns them."""
        showing = [(column.predictor, shown) for column, shown in zip(self.columns, self._lists, strict=True)]
        rows = [
            [
                value if shown is None or value != value else shown[int(value)]
                for value, shown in ((patient[name], shown) for name, shown in showing)
            ]
            for patient in patients
        ]
        return self._scaled(np.array(rows, dtype=np.float64).reshape(len(patients), len(self.columns)))

    def show(self, predictor: str, values: FloatArray) -> tuple[list[int], FloatArray]:
        """Return a predictor's column positions, and its values encoded in them, shape (values, columns)."""
        columns = [at for at, column in enumerate(self.columns) if column.predictor == predictor]
        shown = [self._shown[at] for at in columns]
        each = [values if by is None else by[_positions(values)] for by in shown]
        each = [np.log1p(v) if at in self._logarithmic else v for at, v in zip(columns, each, strict=True)]
        return columns, np.stack(each, axis=1)

    def unseen(self, cohort: Cohort) -> dict[str, list[bool]]:
        """Return, by category predictor, which patients have a category that is absent from training."""
        absent = {}
        for name, seen in self.vocabulary.items():
            known = [self.dictionary[name].category_names.index(c) for c in seen]
            values = cohort.values[name]
            absent[name] = (~np.isnan(values) & ~np.isin(values, known)).tolist()
        return absent

    def owners(self) -> npt.NDArray[np.int64]:
        """Return the position of the predictor that each column shows, shape (columns,)."""
        return np.array([self.predictors.index(column.predictor) for column in self.columns], dtype=np.int64)

    def _scaled(self, matrix: FloatArray) -> FloatArray:
        """Replace the columns on a log scale by log(1 + value), in place."""
        for at in self._logarithmic:
            matrix[:, at] = np.log1p(matrix[:, at])
        return matrix

    @cached_property
    def _logarithmic(self) -> tuple[int, ...]:
        return tuple(
            at
            for at, column in enumerate(self.columns)
            if self.dictionary[column.predictor].scale == "log"
            and self.dictionary[column.predictor].type != "category"
        )

    @cached_property
    def _shown(self) -> tuple[FloatArray | None, ...]:
        """Return each column's code for every category, then NaN for missing; None for a number or flag."""
        return tuple(self._categories_shown(column) for column in self.columns)

    @cached_property
    def _lists(self) -> tuple[list[float] | None, ...]:
        return tuple(None if shown is None else shown.tolist() for shown in self._shown)

    def _categories_shown(self, column: EncodedColumn) -> FloatArray | None:
        field = self.dictionary[column.predictor]
        if field.type != "category":
            return None
        seen = self.vocabulary[field.name]
        shown = [
            math.nan
            if name not in seen
            else float(at if column.category is None else name == column.category)
            for at, name in enumerate(field.category_names)
        ]
        return np.array([*shown, math.nan])

    def as_dict(self) -> dict[str, Any]:
        columns = [[c.predictor, c.category] for c in self.columns]
        return {"vocabulary": {n: list(v) for n, v in self.vocabulary.items()}, "columns": columns}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], *, dictionary: Dictionary) -> "Encoder":
        """Read what :meth:`as_dict` wrote, for the predictors in this dictionary."""
        vocabulary = {name: tuple(seen) for name, seen in stored["vocabulary"].items()}
        return cls(dictionary, vocabulary, tuple(EncodedColumn(*c) for c in stored["columns"]))


def _positions(values: FloatArray) -> npt.NDArray[np.int64]:
    """Return the index of each value's category code; -1, the last one, for a missing value."""
    return np.where(np.isnan(values), -1.0, values).astype(np.int64)


def _seen(field: Field, values: FloatArray) -> tuple[str, ...]:
    present = np.unique(values[~np.isnan(values)]).astype(int)
    return tuple(field.category_names[i] for i in present)
